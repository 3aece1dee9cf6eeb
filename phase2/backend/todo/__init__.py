"""A multi-user todo backend. Every SQL statement sees only the rows of the caller."""
