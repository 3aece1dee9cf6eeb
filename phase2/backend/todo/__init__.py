"""A multi-user todo backend: every statement sees the caller's rows and nobody else's."""
