"""Errors of PostgreSQL, by SQLSTATE (PostgreSQL documentation, appendix A)."""

from collections.abc import Sequence
from enum import StrEnum

from psycopg import pq
from psycopg.pq import DiagnosticField

from todo.errors import TodoError, Unavailable


class SqlState(StrEnum):
    """The codes that the services handle. Any other code is a defect of the application."""

    foreign_key_violation = "23503"
    check_violation = "23514"
    not_null_violation = "23502"
    serialization_failure = "40001"
    deadlock_detected = "40P01"
    query_canceled = "57014"
    lock_not_available = "55P03"
    in_failed_sql_transaction = "25P02"
    # An unknown time zone: our statements have no other parameter that can cause this error.
    invalid_parameter_value = "22023"
    # Raised by the triggers and functions of the application.
    parent_cycle = "TD001"
    too_deep = "TD002"
    under_trash = "TD003"
    unknown_neighbour = "TD004"
    position_exhausted = "TD005"
    limit_exceeded = "TD006"


# Task: T-020
class DatabaseError(Exception):
    """A statement failed and its transaction was rolled back. Carries names only, never values."""

    def __init__(
        self,
        sqlstate: str,
        constraint: str | None = None,
        *,
        table: str | None = None,
        before: Sequence[pq.abc.PGresult] = (),
    ) -> None:
        self.sqlstate = sqlstate
        self.constraint = constraint
        self.table = table
        # Results of the statements before the failed one. Their effects were rolled back.
        self.before = before
        super().__init__(f"PostgreSQL answered SQLSTATE {sqlstate}")


class ConnectionLost(Exception):
    """The connection ended before all results arrived.

    ``untouched`` is true if the server cannot have committed anything. Then every statement can be sent again.
    """

    def __init__(self, *, untouched: bool) -> None:
        self.untouched = untouched
        super().__init__("the connection to PostgreSQL was lost")


class UnsafeDatabase(Exception):
    """The database would not isolate users from each other. The message is one line and says what to fix."""


# SQLSTATE classes of temporary failures: connection exception, insufficient resources, operator intervention, system
# error.
_UNAVAILABLE_CLASSES = ("08", "53", "57", "58")
_UNAVAILABLE = frozenset(
    {
        SqlState.serialization_failure,
        SqlState.deadlock_detected,
        # Read-only transaction: during a failover, or at some hosts when the disk is full.
        "25006",
        # Idle-in-transaction timeout; transaction timeout.
        "25P03",
        "25P04",
        # Object in use; lock not available.
        "55006",
        SqlState.lock_not_available,
    }
)

# The transaction was rolled back in favour of another one. It can be sent again.
RETRYABLE_SQLSTATES = frozenset({SqlState.serialization_failure, SqlState.deadlock_detected})

# A prepared statement that the connection no longer has (26000: after DISCARD or DEALLOCATE), or whose result type a
# migration changed (0A000: "cached plan must not change result type"). PostgreSQL rejects it before executing it.
STALE_PLAN_SQLSTATES = frozenset({"26000", "0A000"})


def sqlstate_of(result: pq.abc.PGresult) -> str:
    """Return the SQLSTATE of an error result; ``08006`` (connection failure) if the result has none."""
    state = result.error_field(DiagnosticField.SQLSTATE)
    return state.decode() if state else "08006"


def to_database_error(result: pq.abc.PGresult, before: Sequence[pq.abc.PGresult] = ()) -> DatabaseError:
    """Return the exception for an error result. ``before`` are the results of the statements in front of it."""
    constraint = result.error_field(DiagnosticField.CONSTRAINT_NAME)
    table = result.error_field(DiagnosticField.TABLE_NAME)
    return DatabaseError(
        sqlstate_of(result),
        constraint.decode() if constraint else None,
        table=table.decode() if table else None,
        before=before,
    )


def as_unavailable(error: DatabaseError) -> TodoError | None:
    """Return the 503 error for a temporary failure, else ``None``."""
    if error.sqlstate[:2] in _UNAVAILABLE_CLASSES or error.sqlstate in _UNAVAILABLE:
        return Unavailable("The database is busy or restarting. Try again in a moment.", code="database_unavailable")
    return None
