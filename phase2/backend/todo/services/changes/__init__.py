"""The change log: read as feed, snapshot and history, and reverted by undo. Database triggers write it."""

from todo.services.changes.feed import Feed, latest, since
from todo.services.changes.history import history
from todo.services.changes.snapshot import snapshot
from todo.services.changes.undo import undo

__all__ = ["Feed", "history", "latest", "since", "snapshot", "undo"]
