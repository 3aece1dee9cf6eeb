"""The only room that talks to PostgreSQL: one user, one statement, one trip."""

from todo.database.errors import DatabaseFault, SqlState
from todo.database.pool import Database, DatabaseOptions
from todo.database.session import Row, Session
from todo.database.statements import OwnedByCaller, Statement

__all__ = [
    "Database",
    "DatabaseFault",
    "DatabaseOptions",
    "OwnedByCaller",
    "Row",
    "Session",
    "SqlState",
    "Statement",
]
