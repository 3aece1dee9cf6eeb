"""All behaviour and all SQL: no HTTP, no network."""
