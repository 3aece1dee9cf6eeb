"""The identity that travels with every statement, in the same trip and the same transaction.

It is the role ``todo_app``, which cannot pass the policies, and the user. Both are transaction-local. The user is
bound to the transaction by its start time, which ``app.uid()`` compares: a setting that leaked into a later transaction
names nobody.

With it comes where unqualified names are looked up: through a pooler, whoever had the connection before may have left
another path, or temporary tables with the names of ours. Nor is anything compiled: plans are made for users who have
much (``migrations/planning.py``), and for most it would take longer than what it is to hasten.

Behind a pooler it sets the planner settings as well, for the same transaction.
"""

from math import inf

from todo.database import planner
from todo.database.connection import Call
from todo.database.statements import CompiledText, raw

# Every name in it is qualified, operators and types too: it is read while the path is still another's. Left to itself,
# PostgreSQL looks for temporary tables first.
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
# What may take long works long, and waits for others no longer than any other request does.
_LOCK_TIMEOUT = "pg_catalog.set_config('lock_timeout', $4, true)"


def _identity(*more: str) -> CompiledText:
    return raw(", ".join((_SETTINGS, *more)), is_identity=True)


# By whether a pooler stands between.
_IDENTITY = {False: _identity(), True: _identity(planner.set_config_calls(is_local=True))}
_IDENTITY_FOR_BULK = {
    False: _identity(_LOCK_TIMEOUT),
    True: _identity(_LOCK_TIMEOUT, planner.set_config_calls(is_local=True)),
}

# What the server needs to say that the time is over, before nobody listens any more.
_SPARE_MILLISECONDS = 200
_MIN_MILLISECONDS = 50


# Task: T-023
class CallerContext:
    """Makes the statement that says, for the rest of the transaction, who is asking and for how long."""

    def __init__(self, *, role: str, timeout_milliseconds: int, bulk_timeout_milliseconds: int) -> None:
        self._role = role.encode()
        self._timeout_milliseconds = timeout_milliseconds
        self._timeout = str(timeout_milliseconds).encode()
        self._bulk_timeout = str(bulk_timeout_milliseconds).encode()

    def statement_for(self, user_id: str, *, seconds_left: float = inf, is_pooled: bool = False) -> Call:
        """Return the statement. Raises ValueError for an id that PostgreSQL would cut short at a NUL.

        Where fewer ``seconds_left`` than usual, as after waiting for a connection, the server is to end earlier as
        well: a connection on which it has not answered in time is lost, with all that it has prepared.
        """
        if "\x00" in user_id:
            raise ValueError("a user id cannot have a NUL")
        return _IDENTITY[is_pooled], (self._role, user_id.encode(), self._timeout_within(seconds_left))

    # Task: T-383
    def bulk_statement_for(self, user_id: str, *, seconds_left: float = inf, is_pooled: bool = False) -> Call:
        """Return the statement for a transaction that may take long."""
        _, (role, user, timeout) = self.statement_for(user_id, seconds_left=seconds_left)
        return _IDENTITY_FOR_BULK[is_pooled], (role, user, self._bulk_timeout, timeout)

    def _timeout_within(self, seconds: float) -> bytes:
        if seconds * 1_000 >= self._timeout_milliseconds + _SPARE_MILLISECONDS:
            return self._timeout
        return b"%d" % max(_MIN_MILLISECONDS, int(seconds * 1_000) - _SPARE_MILLISECONDS)
