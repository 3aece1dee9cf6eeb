"""What the server does of its own accord, beside its requests."""
