"""A psycopg connection that sends several statements in one network message and waits once.

It uses libpq's pipeline mode: Parse, Bind and Execute for every statement, and one Sync. Without BEGIN, the pipeline is
one implicit transaction (PostgreSQL documentation, "Pipelining"). So the identity, which the first statement sets
transaction-locally, holds for the other statements and for nothing else.
"""

import asyncio
import contextlib
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import orjson
from psycopg import AsyncConnection, OperationalError, postgres
from psycopg import Error as PsycopgError
from psycopg.adapt import Transformer
from psycopg.pq import ConnStatus, ExecStatus, TransactionStatus
from psycopg.pq.abc import PGresult
from psycopg.rows import TupleRow
from psycopg.types.string import TextLoader

from todo.database import prepared
from todo.database.errors import STALE_PLAN_SQLSTATES, ConnectionLost, sqlstate_of, to_database_error
from todo.database.statements import CompiledText, raw

Row = dict[str, Any]
Call = tuple[CompiledText, Sequence[Any]]

_FAILED = frozenset({ExecStatus.FATAL_ERROR, ExecStatus.PIPELINE_ABORTED, ExecStatus.BAD_RESPONSE})

# admin_shutdown, crash_shutdown, cannot_connect_now, idle_session_timeout.
_SHUTDOWN_SQLSTATES = frozenset({"57P01", "57P02", "57P03", "57P05"})

_TIMESTAMPTZ = postgres.types["timestamptz"].oid
_JSONB = postgres.types["jsonb"].oid

_CANCEL_SECONDS = 1.0
ROLLBACK = raw("ROLLBACK")
_CLOSES = b""


class _Sent(NamedTuple):
    """A sent pipeline. ``prepares`` has, for each expected result, the name that it prepares; None for a statement."""

    prepares: Sequence[bytes | None]
    by_known_name: bool


class _Stale(Exception):
    """The server refused to execute ``text`` by name: it lacks the name, or a migration has changed the columns.

    Nothing of the statement was executed, and the transaction was rolled back.
    """

    def __init__(self, text: CompiledText) -> None:
        self.text = text


# Task: T-022
class Connection(AsyncConnection[TupleRow]):
    """A connection for ``execute_pipeline``. ``broken`` shows, without a round trip, that the server has closed it.

    The socket stays registered with the event loop as long as the connection lives: registering it for each wait costs
    two system calls, and an idle connection would not notice that the server has closed it.
    """

    broken = False
    is_pooled = True
    # The statements that may be executed by name.
    names: prepared.OwnNames
    # The user who has the connection, if it counts towards the user's limit.
    holder: str | None = None
    # Called at the deadline; returns a later one, or None. ``has_extended_lease``: the pool has granted more time.
    extend_deadline: Callable[[], float | None] | None = None
    has_extended_lease = False

    def prepare(self) -> None:
        """Replace psycopg's own waiting. After this, use only ``execute_pipeline``, ``rows`` and ``close``."""
        self._loop = asyncio.get_running_loop()
        self._waiter: asyncio.Future[None] | None = None
        self.names = prepared.no_names()
        # With shared names: the names that this transaction has executed; None before its identity is set.
        self._transaction_names: set[bytes] | None = None
        for name in ("uuid", "date", "json", "jsonb", "timestamptz"):
            self.adapters.register_loader(name, TextLoader)
        self._transformer = Transformer(self)
        self.pgconn.enter_pipeline_mode()
        self._descriptor = self.pgconn.socket
        self._loop.add_reader(self._descriptor, self._on_readable)

    @property
    def is_idle(self) -> bool:
        """Return whether nothing is left for the next user to find: no transaction, and no pending result."""
        return not self.broken and self.pgconn.transaction_status == TransactionStatus.IDLE

    def _on_readable(self) -> None:
        # Read the socket here and not in the waiting task: until it is read, the event loop would call this again and
        # again. An idle connection receives notices, changed parameters, or the server's shutdown error.
        try:
            self.pgconn.consume_input()
        except OperationalError:
            self.mark_broken()
        if self._waiter is not None and (self.broken or not self.pgconn.is_busy()):
            self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _expire(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            extended = self._extended_deadline()
            if extended is None:
                self._waiter.set_exception(TimeoutError())
            else:
                self._timer = self._loop.call_at(extended, self._expire)

    def _extended_deadline(self) -> float | None:
        """Return a later deadline that has not passed yet; ``None`` if there is none."""
        extended = self.extend_deadline() if self.extend_deadline is not None else None
        return extended if extended is not None and self._loop.time() < extended else None

    def mark_broken(self) -> None:
        """Mark the connection as unusable. The pool replaces it."""
        if not self.broken:
            self.broken = True
            if hasattr(self, "_loop"):
                self._loop.remove_reader(self._descriptor)
                self._loop.remove_writer(self._descriptor)

    async def close(self) -> None:
        """Close, and first stop what the server may still be doing for this connection: it could hold locks."""
        self.mark_broken()
        if not self.closed and self.pgconn.transaction_status == TransactionStatus.ACTIVE:
            # While the connection is open: a pooler finds the statement by it.
            with contextlib.suppress(PsycopgError, OSError):
                await self.cancel_safe(timeout=_CANCEL_SECONDS)
        await super().close()

    async def execute_pipeline(self, calls: Sequence[Call], *, deadline: float) -> list[PGresult]:
        """Send all statements at once and return a result for each, in one round trip.

        ``deadline`` is a time of the event loop's clock. Raises DatabaseError if a statement failed (all are rolled
        back), ConnectionLost, and TimeoutError. If the results did not arrive completely, for whatever reason, the
        connection is broken: later results must never reach another user.
        """
        if self.broken:
            raise ConnectionLost(untouched=True)
        if self._waiter is not None:
            raise RuntimeError("one exchange at a time: another task waits on this connection")
        was_idle = self.is_idle
        try:
            return await self._execute_pipeline_once(calls, deadline)
        except _Stale as stale:
            self.names.note_refused(stale.text)
            if not self.is_idle:
                await self._roll_back(deadline, began_before=not was_idle)
            return await self._execute_pipeline_once(calls, deadline, prepare_again=True)

    async def _execute_pipeline_once(
        self, calls: Sequence[Call], deadline: float, *, prepare_again: bool = False
    ) -> list[PGresult]:
        """Send and receive once. ``prepare_again`` prepares all statements again; without it, may raise _Stale."""
        if self._loop.time() >= deadline and self._extended_deadline() is None:
            # Send nothing, above all no COMMIT, if there is no time to wait for the result.
            raise TimeoutError
        try:
            sent = self._send(calls, prepare_again=prepare_again)
            results = await self._collect(len(sent.prepares), deadline)
        except BaseException:
            self.mark_broken()
            raise
        failed = self._record_prepared(results, sent.prepares)
        if failed is None:
            if self.names.are_shared:
                self._note_shared(calls, sent)
            return _statement_results(results, sent.prepares)
        before = _statement_results(results[: results.index(failed)], sent.prepares)
        if sent.by_known_name and sqlstate_of(failed) in STALE_PLAN_SQLSTATES and len(before) < len(calls):
            raise _Stale(calls[len(before)][0])
        raise to_database_error(failed, before)

    async def _roll_back(self, deadline: float, *, began_before: bool) -> None:
        """Roll back the transaction in which a statement was refused. Raises ConnectionLost if it began earlier."""
        if began_before:
            # This connection cannot repeat the earlier round trips of the transaction.
            self.mark_broken()
            raise ConnectionLost(untouched=True)
        await self._execute_pipeline_once([(ROLLBACK, ())], deadline)

    # Task: T-412
    async def probe(self, *, deadline: float) -> Row:
        """Return the row of ``prepared.PROBE``, which shows whether there is a pooler, and what it does with names."""
        name = prepared.PROBE_PREFIX + secrets.token_hex(16).encode()
        try:
            self.pgconn.send_prepare(name, prepared.PROBE.sql)
            self.pgconn.send_query_prepared(name, [name])
            self.pgconn.send_close_prepared(name)
            self.pgconn.pipeline_sync()
        except OperationalError:
            raise ConnectionLost(untouched=True) from None
        results = await self._collect(3, deadline)
        for result in results:
            if result.status in _FAILED:
                raise to_database_error(result)
        [row] = self.rows(results[1], prepared.PROBE)
        return row

    def _send(self, calls: Sequence[Call], *, prepare_again: bool) -> _Sent:
        """Queue the calls and a Sync."""
        pgconn = self.pgconn
        names = self.names
        known: set[bytes] = set() if prepare_again else names.known
        may_name = not names.are_shared
        if names.are_shared:
            if pgconn.transaction_status != TransactionStatus.INTRANS:
                self._transaction_names = None
            elif self._transaction_names is not None:
                # The transaction keeps its server connection. Use only names that it has executed before: a refusal
                # would end the transaction.
                known, may_name = self._transaction_names, True
        prepares: list[bytes | None] = []
        by_known_name = False
        try:
            for text, values in calls:
                name = text.name
                may_name = may_name or text.is_identity
                if may_name and name in known:
                    by_known_name = True
                    pgconn.send_query_prepared(name, values)
                elif name in prepares:
                    pgconn.send_query_prepared(name, values)
                elif may_name and names.may_prepare(name):
                    # The server or the pooler may have the name already. Closing an unknown name is not an error.
                    pgconn.send_close_prepared(name)
                    pgconn.send_prepare(name, text.sql)
                    pgconn.send_query_prepared(name, values)
                    prepares += (_CLOSES, name)
                else:
                    pgconn.send_query_params(text.sql, values)
                prepares.append(None)
            pgconn.pipeline_sync()
        except OperationalError:
            # Without the Sync, the server cannot have committed anything.
            raise ConnectionLost(untouched=True) from None
        return _Sent(prepares, by_known_name)

    async def _collect(self, expected: int, deadline: float) -> list[PGresult]:
        """Return the results up to the Sync: ``expected`` of them, and one more if the commit itself failed."""
        pgconn = self.pgconn
        results: list[PGresult] = []
        stream_ended = False
        while self._is_sending():
            await self._wait(deadline, for_writing=True)
        # Limited, in case a lost connection returns results without end.
        while len(results) <= expected + 1:
            while not self.broken and pgconn.is_busy():
                await self._wait(deadline)
            result = pgconn.get_result()
            if result is None:
                # The end of a statement's results. On a lost connection, results that have arrived, such as the
                # server's shutdown error, are still read, until a statement has no result at all.
                if stream_ended:
                    break
                stream_ended = self.broken
            elif result.status == ExecStatus.PIPELINE_SYNC:
                return results
            else:
                stream_ended = False
                results.append(result)
                if pgconn.status == ConnStatus.BAD:
                    self.mark_broken()
        raise ConnectionLost(untouched=_ended_before_commit(results, expected))

    def _is_sending(self) -> bool:
        try:
            return not self.broken and self.pgconn.flush() != 0
        except OperationalError:
            self.mark_broken()
            return False

    async def _wait(self, deadline: float, *, for_writing: bool = False) -> None:
        """Wait for a result, or until the socket accepts more data. Raises TimeoutError at the deadline."""
        self._waiter = waiter = self._loop.create_future()
        self._timer = self._loop.call_at(deadline, self._expire)
        if for_writing:
            self._loop.add_writer(self._descriptor, self._wake)
        try:
            await waiter
        finally:
            self._waiter = None
            self._timer.cancel()
            # The descriptor of a broken connection is closed, and may belong to another socket by now.
            if for_writing and not self.broken:
                self._loop.remove_writer(self._descriptor)

    def _record_prepared(self, results: Sequence[PGresult], prepares: Sequence[bytes | None]) -> PGresult | None:
        """Note the prepared names, which a rollback does not remove. Return the first failed result, if any."""
        failed = None
        for index, result in enumerate(results):
            if result.status in _FAILED:
                failed = failed or result
            elif name := prepares[index]:
                self.names.add(name)
        return failed

    def _note_shared(self, calls: Sequence[Call], sent: _Sent) -> None:
        """Note the names that an explicit transaction has executed, once its identity is set."""
        if sent.by_known_name:
            self.names.note_executed()
        if self.pgconn.transaction_status != TransactionStatus.INTRANS:
            return
        if self._transaction_names is None:
            if not any(text.is_identity for text, _ in calls):
                return
            self._transaction_names = set()
        self._transaction_names.update(text.name for text, _ in calls if text.name in self.names.known)

    def encode(self, text: CompiledText, values: Mapping[str, Any]) -> Sequence[Any]:
        """Return the values in PostgreSQL's text format, in the order of the statement's placeholders."""
        return text.encode(values, self._transformer)

    # Task: T-211
    def rows(self, result: PGresult, text: CompiledText) -> list[Row]:
        """Return the result's rows as dictionaries by column name, in the server's order.

        Instants are RFC 3339 text in UTC, because they are only copied to responses. JSON is parsed.
        """
        if not result.ntuples:
            return []
        if text.shape is None:
            text.shape = _shape_of(result)
        columns, instants, documents = text.shape
        transformer = self._transformer
        transformer.set_pgresult(result)
        rows = [dict(zip(columns, values, strict=False)) for values in transformer.load_rows(0, result.ntuples, tuple)]
        for name in instants:
            for row in rows:
                # The server sends ``2026-03-10 09:00:00.5+00``: the identity has set the format and the zone.
                if instant := row[name]:
                    row[name] = f"{instant[:10]}T{instant[11:-3]}Z"
        for name in documents:
            for row in rows:
                if document := row[name]:
                    row[name] = [] if document == "[]" else orjson.loads(document)
        return rows


def _shape_of(result: PGresult) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Return the names of all columns, of the timestamptz columns, and of the JSONB columns."""
    columns = tuple((result.fname(index) or b"").decode() for index in range(result.nfields))

    def of_type(oid: int) -> tuple[str, ...]:
        return tuple(name for index, name in enumerate(columns) if result.ftype(index) == oid)

    return columns, of_type(_TIMESTAMPTZ), of_type(_JSONB)


def _statement_results(results: Sequence[PGresult], prepares: Sequence[bytes | None]) -> list[PGresult]:
    """Return the results of the statements, without those of closing and preparing names."""
    return [result for result, name in zip(results, prepares, strict=False) if name is None]


def _ended_before_commit(results: Sequence[PGresult], expected: int) -> bool:
    """Return whether the server sent its shutdown error in place of a statement's result.

    It commits at the Sync, after it has answered every statement. So nothing was committed.
    """
    for result in results[:expected]:
        if result.status in _FAILED:
            return sqlstate_of(result) in _SHUTDOWN_SQLSTATES
    return False
