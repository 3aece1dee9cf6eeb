"""The only room that talks to PostgreSQL: one user, one statement, one trip."""

from todo.database.cancellation import cancelled
from todo.database.connection import Row
from todo.database.errors import DatabaseFault, SqlState, UnsafeDatabase
from todo.database.pool import Database, DatabaseOptions
from todo.database.retries import RetryKey
from todo.database.session import Session
from todo.database.signals import LocalSignals, PostgresSignals, Signals
from todo.database.statements import OwnedByCaller, Statement
from todo.database.upkeep import empty_trash, prune

__all__ = [
    "Database",
    "DatabaseFault",
    "DatabaseOptions",
    "LocalSignals",
    "OwnedByCaller",
    "PostgresSignals",
    "RetryKey",
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
