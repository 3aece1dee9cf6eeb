"""What PostgreSQL can answer other than rows, by SQLSTATE (PostgreSQL documentation, appendix A)."""

from collections.abc import Sequence
from enum import StrEnum

from psycopg import pq
from psycopg.pq import DiagnosticField

from todo.errors import TodoError, Unavailable


class SqlState(StrEnum):
    """The codes that services tell apart. Everything else is a defect of ours."""

    foreign_key_violation = "23503"
    check_violation = "23514"
    not_null_violation = "23502"
    serialization_failure = "40001"
    deadlock_detected = "40P01"
    query_canceled = "57014"
    lock_not_available = "55P03"
    in_failed_sql_transaction = "25P02"
    # An unknown time zone, where no other parameter can be wrong.
    invalid_parameter_value = "22023"
    # Raised by our own triggers and functions.
    circle = "TD001"
    too_deep = "TD002"
    under_trash = "TD003"
    no_such_place = "TD004"
    no_room = "TD005"
    one_too_many = "TD006"


# Task: T-020
class DatabaseFault(Exception):
    """A statement failed and its transaction was rolled back. Carries no values, only names."""

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
        # What the statements in front of this one answered, although it was all taken back.
        self.before = before
        super().__init__(f"PostgreSQL answered SQLSTATE {sqlstate}")


class ConnectionLost(Exception):
    """The connection ended under a statement.

    ``untouched`` tells that the server cannot have executed anything, so repeating is safe for any statement.
    """

    def __init__(self, *, untouched: bool) -> None:
        self.untouched = untouched
        super().__init__("the connection to PostgreSQL was lost")


class UnsafeDatabase(Exception):
    """The database would not keep users apart. The message says, in one line, what to mend."""


# The server is well but cannot serve now: connection failures, resources, interventions, the system under it.
_UNAVAILABLE_CLASSES = ("08", "53", "57", "58")
_UNAVAILABLE = frozenset(
    {
        SqlState.serialization_failure,
        SqlState.deadlock_detected,
        # Read-only, as during a failover or on a full disk at some hosts.
        "25006",
        # Idle in a transaction for too long; a transaction for too long.
        "25P03",
        "25P04",
        # An object in use; a lock that was not to be had.
        "55006",
        SqlState.lock_not_available,
    }
)

# The transaction gave way to another one, and nothing of it was kept: it may be sent again.
ROLLED_BACK_FOR_OTHERS = frozenset({SqlState.serialization_failure, SqlState.deadlock_detected})

# A prepared statement that the connection lost (26000: DISCARD, DEALLOCATE) or that outlived a migration (0A000:
# "cached plan must not change result type"). Refused before it is executed.
STALE_PLAN = frozenset({"26000", "0A000"})


def sqlstate_of(result: pq.abc.PGresult) -> str:
    """Return the SQLSTATE of an error result; ``08006`` when the server did not get to say one."""
    state = result.error_field(DiagnosticField.SQLSTATE)
    return state.decode() if state else "08006"


def fault_of(result: pq.abc.PGresult, before: Sequence[pq.abc.PGresult] = ()) -> DatabaseFault:
    """Make the exception for an error result, which came after the results ``before``."""
    constraint = result.error_field(DiagnosticField.CONSTRAINT_NAME)
    table = result.error_field(DiagnosticField.TABLE_NAME)
    return DatabaseFault(
        sqlstate_of(result),
        constraint.decode() if constraint else None,
        table=table.decode() if table else None,
        before=before,
    )


def as_unavailable(fault: DatabaseFault) -> TodoError | None:
    """Return 503 for a fault that waiting may mend, else ``None``."""
    if fault.sqlstate[:2] in _UNAVAILABLE_CLASSES or fault.sqlstate in _UNAVAILABLE:
        return Unavailable("The database is busy or restarting. Try again in a moment.", code="database_unavailable")
    return None
