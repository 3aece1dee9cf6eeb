"""Tasks: create, read, update, complete, skip, reopen, move, trash, and batches of these."""
