"""One file per outside system. No database."""
