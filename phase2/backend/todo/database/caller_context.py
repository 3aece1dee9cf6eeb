"""The identity: a statement in front of every transaction, in the same round trip, that sets the caller.

It sets the role ``todo_app``, which cannot bypass the policies, and the user id. Both are transaction-local. The user
id is bound to the start time of the transaction, which ``app.uid()`` compares: a value that leaked into a later
transaction names no user.

It sets the search path, because the previous client of a pooler may have left another path, or temporary tables with
the names of ours. It disables JIT: plans are made for users with many rows (``migrations/sql/planner_statistics.sql``)
and therefore look expensive, but for most users compiling takes longer than it saves.

Behind a pooler it also sets the planner settings, for the same transaction.
"""

from math import inf

from todo.database import planner
from todo.database.connection import Call
from todo.database.statements import CompiledText, raw

# Every name is qualified, including operators and types, because this is parsed with the previous search path. pg_temp
# is last in the new one: PostgreSQL searches it first by default.
_SETTINGS = (
    "SELECT pg_catalog.set_config('role', $1, true),"
    " pg_catalog.set_config('app.user', extract(epoch FROM pg_catalog.now())"
    " OPERATOR(pg_catalog.||) ' ' OPERATOR(pg_catalog.||) $2::pg_catalog.text, true),"
    " pg_catalog.set_config('search_path', 'pg_catalog, public, pg_temp', true),"
    " pg_catalog.set_config('statement_timeout', $3, true),"
    " pg_catalog.set_config('timezone', 'UTC', true),"
    " pg_catalog.set_config('datestyle', 'ISO', true),"
    " pg_catalog.set_config('jit', 'off', true)"
)
# A bulk statement may run longer, but waits for locks no longer than any other statement.
_LOCK_TIMEOUT = "pg_catalog.set_config('lock_timeout', $4, true)"


def _identity(*more: str) -> CompiledText:
    return raw(", ".join((_SETTINGS, *more)), is_identity=True)


# By ``is_pooled``.
_IDENTITY = {False: _identity(), True: _identity(planner.set_config_calls(is_local=True))}
_IDENTITY_FOR_BULK = {
    False: _identity(_LOCK_TIMEOUT),
    True: _identity(_LOCK_TIMEOUT, planner.set_config_calls(is_local=True)),
}

# The server's timeout ends this much before the client's deadline, so that the client still receives the error.
_SPARE_MILLISECONDS = 200
_MIN_MILLISECONDS = 50


# Task: T-023
class CallerContext:
    """Builds the statement that sets the caller and the timeouts for the rest of the transaction."""

    def __init__(self, *, role: str, timeout_milliseconds: int, bulk_timeout_milliseconds: int) -> None:
        self._role = role.encode()
        self._timeout_milliseconds = timeout_milliseconds
        self._timeout = str(timeout_milliseconds).encode()
        self._bulk_timeout = str(bulk_timeout_milliseconds).encode()

    def statement_for(self, user_id: str, *, seconds_left: float = inf, is_pooled: bool = False) -> Call:
        """Return the statement. Raises ValueError for an id with a NUL, where PostgreSQL would cut it off.

        With fewer ``seconds_left`` than usual, for example after waiting for a connection, the server's timeout is
        shorter too: a connection that gets no answer before the deadline is closed, and loses its prepared statements.
        """
        if "\x00" in user_id:
            raise ValueError("a user id cannot have a NUL")
        return _IDENTITY[is_pooled], (self._role, user_id.encode(), self._timeout_within(seconds_left))

    # Task: T-383
    def bulk_statement_for(self, user_id: str, *, seconds_left: float = inf, is_pooled: bool = False) -> Call:
        """Return the statement for a bulk transaction, which may take longer."""
        _, (role, user, timeout) = self.statement_for(user_id, seconds_left=seconds_left)
        return _IDENTITY_FOR_BULK[is_pooled], (role, user, self._bulk_timeout, timeout)

    def _timeout_within(self, seconds: float) -> bytes:
        if seconds * 1_000 >= self._timeout_milliseconds + _SPARE_MILLISECONDS:
            return self._timeout
        return b"%d" % max(_MIN_MILLISECONDS, int(seconds * 1_000) - _SPARE_MILLISECONDS)
