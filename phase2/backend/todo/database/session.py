"""A session runs statements as one user. No statement can run without a user."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from math import inf
from typing import Any

import orjson
from psycopg.pq.abc import PGresult

from todo.database.connection import ROLLBACK, Call, Connection, Row
from todo.database.errors import ConnectionLost, DatabaseError, SqlState, as_unavailable
from todo.database.idempotency import (
    PREAMBLE,
    STORE_RESPONSE,
    IdempotencyKey,
    in_use,
    is_without_effect,
    stored_response,
    with_stored_response,
)
from todo.database.pool import Database
from todo.database.statements import USER_ID, CompiledText, Statement, raw
from todo.errors import TOO_MUCH_AT_ONCE, Conflict, Forbidden, NotFound, Unavailable

_BEGIN = raw("BEGIN")
_COMMIT = raw("COMMIT")
_CALLER_EXISTS = raw("SELECT app.caller_exists() AS caller_exists")

# By the naming convention of todo.models: the foreign key of every user-owned table to Better Auth's users.
_OWNER_FOREIGN_KEY_SUFFIX = f"_{USER_ID}_user"

# The index of the look-up's result. The identity's result is the first.
_LOOK_UP_INDEX = len(PREAMBLE)

_FAILURES = (ConnectionLost, DatabaseError, TimeoutError)

Request = tuple[Statement, Mapping[str, Any]]
_Text = tuple[CompiledText, Mapping[str, Any]]


# Task: T-023
class Session:
    """Runs statements as ``user_id``, for one request.

    All round trips share one time budget, which begins with the first one. Longer work, such as a stream, opens a
    session for each step. A ``bulk`` session gets an extended lease when its budget ends, if not too many have one.
    Until then it is an ordinary session, so a quick request to a bulk route is treated as any other.

    The values of a statement are passed by name; ``user_id`` is added. Every method may raise Unavailable, and
    Forbidden if the account of a valid token was deleted; DatabaseError only for violations that the caller expects.
    """

    __slots__ = (
        "_closing",
        "_connection",
        "_database",
        "_deadline",
        "_has_written",
        "_is_bulk",
        "_is_finished",
        "idempotency_key",
        "replayed",
        "user_id",
    )

    def __init__(self, database: Database, user_id: str, *, bulk: bool = False) -> None:
        # With a key, the first statement that writes, or the transaction, has its effect once. A repeated request gets
        # the stored response.
        self.idempotency_key: IdempotencyKey | None = None
        # Whether the response is a stored one.
        self.replayed = False
        self._database = database
        self._connection: Connection | None = None
        # Statements that are sent with the transaction's commit.
        self._closing: list[_Text] = []
        self._deadline: float | None = None
        self._has_written = False
        self._is_finished = False
        self._is_bulk = bulk
        self.user_id = user_id

    async def fetch_all(self, statement: Statement, /, **values: Any) -> list[Row]:
        """Return every row."""
        return (await self.execute_many((statement, values)))[0]

    async def fetch_first(self, statement: Statement, /, **values: Any) -> Row | None:
        """Return the first row, or ``None``."""
        rows = (await self.execute_many((statement, values)))[0]
        return rows[0] if rows else None

    async def fetch_one(self, statement: Statement, /, **values: Any) -> Row:
        """Return the only row. Raises NotFound if there is none."""
        row = await self.fetch_first(statement, **values)
        if row is None:
            if statement.part_of_write:
                await self.ensure_caller_exists()
            raise NotFound
        return row

    async def execute_many(self, *requests: Request) -> list[list[Row]]:
        """Run several statements in one round trip and one transaction; return the rows of each.

        With an idempotency key, the last statement must be the one that writes, and only its rows are returned.
        """
        writes = any(statement.writes for statement, _ in requests)
        if writes and self._connection is None:
            await self._database.wait_for_extended_lease(self.user_id, deadline=self._until())
            if self.idempotency_key is not None:
                *before, (statement, values) = requests
                return [*([] for _ in before), await self._once(self.idempotency_key, before, statement, values)]
        rows = await self._run(self._texts(requests), repeatable=all(statement.repeatable for statement, _ in requests))
        if writes:
            self._note_write()
        return rows

    async def ensure_caller_exists(self) -> None:
        """Raise Forbidden if the account was deleted while its token is still valid."""
        [[row]] = await self._run([(_CALLER_EXISTS, {})], repeatable=True)
        if not row["caller_exists"]:
            raise _account_deleted()

    @asynccontextmanager
    async def transaction(self, *requests: Request) -> AsyncIterator[tuple[list[Row] | None, list[list[Row]]]]:
        """Run several round trips in one transaction, which commits at the end. Not nestable, never repeated.

        ``requests`` are sent with BEGIN. Yields the stored response of an equal request (then nothing is left to do) or
        ``None``, and the rows of each of ``requests``. Give the response to ``store_response``. A statement that fails
        ends the transaction, even if its error is caught.
        """
        if self._connection is not None:
            raise RuntimeError("a transaction cannot be nested")
        await self._database.wait_for_extended_lease(self.user_id, deadline=self._until())
        texts = self._texts(requests)
        preamble = self._preamble(self.idempotency_key) if self.idempotency_key is not None else []
        try:
            connection, results = await self._begin([*preamble, *texts])
        except _FAILURES as error:
            raise self._as_in_use(error) or self._to_caller_error(error) from None
        self._connection = connection
        try:
            stored = self._stored(self.idempotency_key, results[len(preamble) - 1]) if self.idempotency_key else None
            own = zip(results[len(preamble) :], texts, strict=True)
            self._is_finished = False
            yield stored, [connection.rows(result, text) for result, (text, _) in own]
            if not self._is_finished:
                await self._commit(connection, self._closing)
            self._connection = None
            if self._has_written:
                self._note_write()
        except BaseException:
            if not connection.is_idle:
                # If this fails, the connection is closed, and the server rolls back by itself.
                with contextlib.suppress(ConnectionLost, DatabaseError, TimeoutError):
                    await connection.execute_pipeline([(ROLLBACK, ())], deadline=self._until())
            raise
        finally:
            self._connection = None
            self._closing.clear()
            await self._database.release(connection)

    async def _begin(self, texts: Sequence[_Text]) -> tuple[Connection, list[PGresult]]:
        """Begin a transaction of this user with ``texts``. Return the connection to release, and their results."""
        while True:
            connection = await self._database.acquire(deadline=self._until(), user_id=self.user_id)
            try:
                opening = [(_BEGIN, ()), self._identify(connection)]
                calls = [*opening, *self._encode(connection, texts)]
                results = await connection.execute_pipeline(calls, deadline=self._until())
            except BaseException as error:
                had_extended_lease = connection.has_extended_lease
                await self._database.release(connection)
                if had_extended_lease or not isinstance(error, ConnectionLost):
                    raise
            else:
                return connection, results[len(opening) :]

    async def _commit(self, connection: Connection, texts: Sequence[_Text]) -> list[PGresult]:
        """Send ``texts`` and the commit in one round trip; return their results."""
        calls = [*self._encode(connection, texts), (_COMMIT, ())]
        try:
            *results, commit = await connection.execute_pipeline(calls, deadline=self._until())
        except _FAILURES as error:
            raise self._to_caller_error(error) from None
        if commit.command_status != b"COMMIT":
            raise DatabaseError(SqlState.in_failed_sql_transaction)
        return results

    async def finish(self, *requests: Request) -> list[Row]:
        """Send the transaction's last statements and its commit in one round trip; return the rows of the last one.

        With an idempotency key, these rows are stored as the response.
        """
        connection = self._connection
        if connection is None:
            raise RuntimeError("no transaction to finish")
        *others, (answer, values) = requests
        if self.idempotency_key is not None:
            answer, values = with_stored_response(answer), {**values, **self.idempotency_key.values}
        texts = self._texts([*others, (answer, values)])
        results = await self._commit(connection, texts)
        self._is_finished = True
        self._has_written = self._has_written or any(statement.writes for statement, _ in requests)
        return connection.rows(results[-1], texts[-1][0])

    def store_response(self, answer: list[Row]) -> None:
        """Store the response of this transaction for a repeated request. It is sent with the commit."""
        if self.idempotency_key is not None:
            values = {**self.idempotency_key.values, "retry_answer": orjson.dumps(answer).decode()}
            self._closing.append((STORE_RESPONSE.text(self._database.dialect), values))

    def _as_in_use(self, error: Exception) -> Exception | None:
        """Return Conflict if the transaction could not begin because an equal request is still running."""
        if self.idempotency_key is None or not isinstance(error, DatabaseError):
            return None
        # BEGIN and the identity precede the lock.
        return in_use(error, answered=2)

    async def _once(
        self,
        idempotency_key: IdempotencyKey,
        before: Sequence[Request],
        statement: Statement,
        values: Mapping[str, Any],
    ) -> list[Row]:
        """Run a statement that writes; if an equal request has run it already, return that one's rows."""
        effect = (with_stored_response(statement), {**values, **idempotency_key.values})
        texts = [*self._preamble(idempotency_key), *self._texts([*before, effect])]
        try:
            # Any statement is repeatable with a key.
            *_, rows = await self._database.run(
                lambda connection: self._send(connection, texts),
                deadline=self._until(),
                repeatable=True,
                user_id=self.user_id,
            )
        except DatabaseError as error:
            was_looked_up = len(error.before) > _LOOK_UP_INDEX
            stored = self._stored(idempotency_key, error.before[_LOOK_UP_INDEX]) if was_looked_up else None
            if stored is not None:
                return stored
            if is_without_effect(error):
                return []
            raise in_use(error, answered=1) or self._to_caller_error(error) from None
        except (ConnectionLost, TimeoutError) as error:
            raise self._to_caller_error(error) from None
        self.idempotency_key = None
        self._note_write()
        return rows

    def _preamble(self, idempotency_key: IdempotencyKey) -> list[_Text]:
        return self._texts((statement, idempotency_key.values) for statement in PREAMBLE)

    def _texts(self, requests: Iterable[Request]) -> list[_Text]:
        return [(statement.text(self._database.dialect), values) for statement, values in requests]

    def _encode(self, connection: Connection, texts: Sequence[_Text]) -> list[Call]:
        # ``user_id`` is last, so that no value can name another user.
        return [(text, connection.encode(text, {**values, USER_ID: self.user_id})) for text, values in texts]

    def _stored(self, idempotency_key: IdempotencyKey, looked_up: PGresult) -> list[Row] | None:
        """Return the rows stored by an equal request, if any, and note in ``replayed`` whether there are some."""
        rows = stored_response(idempotency_key, looked_up)
        self.replayed = rows is not None
        return rows

    def _note_write(self) -> None:
        """Report a write: after the commit to ``on_write``, and inside of a transaction to the transaction."""
        if self._connection is not None:
            self._has_written = True
        elif self._database.on_write is not None:
            self._database.on_write(self.user_id)

    def _until(self) -> float:
        if self._deadline is None:
            self._deadline = asyncio.get_running_loop().time() + self._database.options.budget_seconds
        return self._deadline

    def _to_caller_error(self, error: Exception) -> Exception:
        """Convert a database error to the error for the caller. Violations that a service expects stay as they are."""
        if isinstance(error, ConnectionLost):
            return _unavailable("The connection to the database was lost. Check whether your change was made.")
        if isinstance(error, TimeoutError):
            return _unavailable("The database did not answer in time. Check whether your change was made.")
        if not isinstance(error, DatabaseError):
            return error
        if error.sqlstate == SqlState.foreign_key_violation and (error.constraint or "").endswith(
            _OWNER_FOREIGN_KEY_SUFFIX
        ):
            return _account_deleted()
        if self._is_bulk and error.sqlstate == SqlState.query_canceled:
            # The statement did not wait for a lock: that would end with another SQLSTATE.
            return Conflict(TOO_MUCH_AT_ONCE, code="too_much_at_once")
        return as_unavailable(error) or error

    def _identify(self, connection: Connection) -> Call:
        """Return the identity statement for a connection that this session uses from now on."""
        options = self._database.options
        left = inf
        # With a budget shorter than the statement timeout, the client's deadline ends the request.
        if options.statement_timeout_milliseconds < options.budget_seconds * 1_000:
            left = self._until() - asyncio.get_running_loop().time()
        if not self._is_bulk:
            return self._database.caller_context.statement_for(
                self.user_id, seconds_left=left, is_pooled=connection.is_pooled
            )
        connection.extend_deadline = partial(self._extend_deadline, connection)
        return self._database.caller_context.bulk_statement_for(
            self.user_id, seconds_left=left, is_pooled=connection.is_pooled
        )

    def _extend_deadline(self, connection: Connection) -> float | None:
        """Return a later deadline when the usual time ends; ``None`` if too many sessions have an extended lease."""
        if not connection.has_extended_lease and self._database.grant_extended_lease(connection):
            options = self._database.options
            self._deadline = self._until() + options.bulk_budget_seconds - options.budget_seconds
        return self._deadline if connection.has_extended_lease else None

    async def _run(self, texts: Sequence[_Text], *, repeatable: bool) -> list[list[Row]]:
        try:
            if self._connection is not None:
                if self._is_finished:
                    raise RuntimeError("the transaction is finished, and its identity with it")
                return await self._send(self._connection, texts)
            return await self._database.run(
                lambda connection: self._send(connection, texts),
                deadline=self._until(),
                repeatable=repeatable,
                user_id=self.user_id,
            )
        except _FAILURES as error:
            raise self._to_caller_error(error) from None

    async def _send(self, connection: Connection, texts: Sequence[_Text]) -> list[list[Row]]:
        calls = self._encode(connection, texts)
        if self._connection is None:
            calls.insert(0, self._identify(connection))
        results = await connection.execute_pipeline(calls, deadline=self._until())
        own = results[len(results) - len(texts) :]
        return [connection.rows(result, text) for result, (text, _) in zip(own, texts, strict=True)]


def _unavailable(detail: str) -> Unavailable:
    return Unavailable(f"{detail} Then try again.", code="database_unavailable")


def _account_deleted() -> Forbidden:
    return Forbidden("The account of this token no longer exists.", code="account_gone")
