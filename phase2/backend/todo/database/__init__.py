"""The only layer besides migrations that talks to PostgreSQL.

Its names are imported at their first use, so that a command that only creates an account does not load SQLAlchemy.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from todo.database.cancellation import cancelled
    from todo.database.connection import Row
    from todo.database.errors import DatabaseError, SqlState, UnsafeDatabase
    from todo.database.idempotency import IdempotencyKey
    from todo.database.maintenance import empty_trash, prune
    from todo.database.pool import Database, DatabaseOptions
    from todo.database.session import Session
    from todo.database.signals import LocalSignals, PostgresSignals, Signals
    from todo.database.statements import MAX_CACHED_STATEMENTS, OwnedByCaller, Statement

_MODULES = {
    "MAX_CACHED_STATEMENTS": "statements",
    "Database": "pool",
    "DatabaseError": "errors",
    "DatabaseOptions": "pool",
    "LocalSignals": "signals",
    "OwnedByCaller": "statements",
    "PostgresSignals": "signals",
    "IdempotencyKey": "idempotency",
    "Row": "connection",
    "Session": "session",
    "Signals": "signals",
    "SqlState": "errors",
    "Statement": "statements",
    "UnsafeDatabase": "errors",
    "cancelled": "cancellation",
    "empty_trash": "maintenance",
    "prune": "maintenance",
}

__all__ = [
    "MAX_CACHED_STATEMENTS",
    "Database",
    "DatabaseError",
    "DatabaseOptions",
    "IdempotencyKey",
    "LocalSignals",
    "OwnedByCaller",
    "PostgresSignals",
    "Row",
    "Session",
    "Signals",
    "SqlState",
    "Statement",
    "UnsafeDatabase",
    "cancelled",
    "empty_trash",
    "prune",
]


def __getattr__(name: str) -> Any:
    """Import a name of this package at its first use (PEP 562)."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
