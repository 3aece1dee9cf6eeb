"""A session: statements run as one user, and cannot run as nobody.

With every statement travels the identity, in the same trip and the same transaction: the role ``todo_app``, which
cannot pass the policies, and the user. Both are transaction-local. The user is bound to the transaction by its start
time, which ``app.uid()`` compares: a setting that leaked into a later transaction names nobody.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from todo.database.connection import Call, Connection, Row
from todo.database.errors import ROLLED_BACK_FOR_OTHERS, ConnectionLost, DatabaseFault, SqlState, as_unavailable
from todo.database.pool import Database
from todo.database.statements import USER_ID, CompiledText, Statement, raw
from todo.errors import Forbidden, NotFound, Unavailable

_IDENTITY = raw(
    "SELECT pg_catalog.set_config('role', $1, true),"
    " pg_catalog.set_config('app.user', extract(epoch FROM pg_catalog.now()) || ' ' || $2::text, true),"
    " pg_catalog.set_config('statement_timeout', $3, true),"
    " pg_catalog.set_config('timezone', 'UTC', true),"
    " pg_catalog.set_config('datestyle', 'ISO', true)",
    "role",
    "user",
    "timeout",
)
_BEGIN = raw("BEGIN")
_COMMIT = raw("COMMIT")
_ROLLBACK = raw("ROLLBACK")
_CALLER_EXISTS = raw("SELECT app.caller_exists() AS caller_exists")

_MOST_ATTEMPTS = 3

# By the naming convention of todo.models: the foreign key of every user-owned table to Better Auth's users.
_OWNER_KEY = f"_{USER_ID}_user"

Request = tuple[Statement, Mapping[str, Any]]
_Text = tuple[CompiledText, Mapping[str, Any]]


# Task: T-023
class Session:
    """What a route gets: runs statements as ``user_id`` and as nobody else.

    The values of a statement are given by name; ``user_id`` is added. Every method may raise Unavailable, and
    Forbidden when a verified user's account is gone; DatabaseFault only for violations that the caller expects.
    """

    __slots__ = ("_connection", "_database", "user_id")

    def __init__(self, database: Database, user_id: str) -> None:
        self._database = database
        self._connection: Connection | None = None
        self.user_id = user_id

    async def all(self, statement: Statement, /, **values: Any) -> list[Row]:
        """Return every row."""
        return (await self.together((statement, values)))[0]

    async def first(self, statement: Statement, /, **values: Any) -> Row | None:
        """Return the first row, or ``None``."""
        rows = (await self.together((statement, values)))[0]
        return rows[0] if rows else None

    async def one(self, statement: Statement, /, **values: Any) -> Row:
        """Return the only row. Raises NotFound when there is none."""
        row = await self.first(statement, **values)
        if row is None:
            if statement.part_of_write:
                await self.ensure_caller_exists()
            raise NotFound
        return row

    async def together(self, *requests: Request) -> list[list[Row]]:
        """Run several statements in one trip and one transaction; return the rows of each."""
        texts = [(statement.text(self._database.dialect), values) for statement, values in requests]
        return await self._run(texts, repeatable=all(statement.repeatable for statement, _ in requests))

    async def ensure_caller_exists(self) -> None:
        """Raise Forbidden if the account of a token that still verifies has been deleted."""
        [[row]] = await self._run([(_CALLER_EXISTS, {})], repeatable=True)
        if not row["caller_exists"]:
            raise _account_is_gone()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        """Hold several trips together: all is committed at the end, or nothing. Not nestable, never repeated."""
        async with self._database.connection(deadline=self._deadline()) as connection:
            with _as_errors():
                await connection.exchange([(_BEGIN, ()), self._identity(connection)], deadline=self._deadline())
            self._connection = connection
            try:
                yield
            except BaseException:
                if not connection.lost:
                    with _as_errors():
                        await connection.exchange([(_ROLLBACK, ())], deadline=self._deadline())
                raise
            else:
                with _as_errors():
                    await connection.exchange([(_COMMIT, ())], deadline=self._deadline())
            finally:
                self._connection = None

    def _deadline(self) -> float:
        return asyncio.get_running_loop().time() + self._database.options.budget_seconds

    def _identity(self, connection: Connection) -> Call:
        options = self._database.options
        values = {"role": options.role, "user": self.user_id, "timeout": options.statement_timeout_milliseconds}
        return _IDENTITY, connection.encode(_IDENTITY, values)

    async def _run(self, texts: Sequence[_Text], *, repeatable: bool) -> list[list[Row]]:
        with _as_errors():
            if self._connection is not None:
                return await self._send(self._connection, texts, deadline=self._deadline())
            return await self._run_alone(texts, repeatable=repeatable)

    async def _run_alone(self, texts: Sequence[_Text], *, repeatable: bool) -> list[list[Row]]:
        """Run in a transaction of its own, again if that is safe: after a lost connection, or a deadlock."""
        deadline = self._deadline()
        attempts_left = _MOST_ATTEMPTS
        while True:
            attempts_left -= 1
            connection = await self._database.acquire(deadline=deadline)
            try:
                return await self._send(connection, texts, deadline=deadline)
            except ConnectionLost as lost:
                if not (lost.untouched or repeatable) or not attempts_left:
                    raise
            except DatabaseFault as fault:
                if fault.sqlstate not in ROLLED_BACK_FOR_OTHERS or not attempts_left:
                    raise
            finally:
                await self._database.release(connection)

    async def _send(self, connection: Connection, texts: Sequence[_Text], *, deadline: float) -> list[list[Row]]:
        calls = [(text, connection.encode(text, {USER_ID: self.user_id, **values})) for text, values in texts]
        if self._connection is None:
            calls.insert(0, self._identity(connection))
        results = await connection.exchange(calls, deadline=deadline)
        own = results[len(results) - len(texts) :]
        return [connection.rows(result, text) for result, (text, _) in zip(own, texts, strict=True)]


@contextmanager
def _as_errors() -> Iterator[None]:
    """Turn what the database says into the errors that callers know; what is left is for the service."""
    try:
        yield
    except ConnectionLost:
        raise Unavailable(
            "The connection to the database was lost. Look whether your change was made, then try again.",
            code="database_unavailable",
        ) from None
    except TimeoutError:
        raise Unavailable("The database did not answer in time. Try again.", code="database_unavailable") from None
    except DatabaseFault as fault:
        if fault.sqlstate == SqlState.foreign_key_violation and (fault.constraint or "").endswith(_OWNER_KEY):
            raise _account_is_gone() from None
        unavailable = as_unavailable(fault)
        if unavailable is not None:
            raise unavailable from None
        raise


def _account_is_gone() -> Forbidden:
    return Forbidden("The account of this token no longer exists.", code="account_gone")
