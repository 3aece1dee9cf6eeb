"""A psycopg connection that sends several statements in one network message and waits once.

libpq's pipeline mode does it: Parse, Bind and Execute of every statement, and one Sync. Without BEGIN the whole
is one implicit transaction (PostgreSQL documentation, "Pipelining"), so an identity that is set
transaction-locally by the first statement holds for the rest and for nothing else.
"""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

from psycopg import AsyncConnection, OperationalError
from psycopg.adapt import Loader, Transformer
from psycopg.pq import ConnStatus, ExecStatus
from psycopg.pq.abc import PGresult
from psycopg.rows import TupleRow
from psycopg.types.string import TextLoader

from todo.database.errors import STALE_CONNECTION, ConnectionLost, fault_of, sqlstate_of
from todo.database.statements import CompiledText

Row = dict[str, Any]
Call = tuple[CompiledText, Sequence[Any]]

# A connection remembers this many plans; further shapes are planned each time. Bounds the server's memory.
_MOST_PREPARED = 200

_FAILED = frozenset({ExecStatus.FATAL_ERROR, ExecStatus.PIPELINE_ABORTED, ExecStatus.BAD_RESPONSE})

# admin_shutdown, crash_shutdown, cannot_connect_now, idle_session_timeout.
_LAST_WORDS = frozenset({"57P01", "57P02", "57P03", "57P05"})

# The event loop holds tasks weakly.
_background: set[asyncio.Task[None]] = set()


class Rfc3339Loader(Loader):
    """timestamptz as the text of RFC 3339 in UTC: the server says ``2026-03-10 09:00:00.5+00``."""

    def load(self, data: Any) -> str:
        text = bytes(data).decode()
        if text[-3:] != "+00" or text[10] != " ":
            raise ValueError("PostgreSQL answered an instant that is not ISO, in UTC")
        return f"{text[:10]}T{text[11:-3]}Z"


# Task: T-022
class Connection(AsyncConnection[TupleRow]):
    """Use ``exchange`` only. ``lost`` tells, without a trip, that the server has hung up.

    One reader stays registered with the event loop for the connection's life: registering it anew for each
    wait costs two system calls, and an idle connection that becomes readable has died.
    """

    lost = False
    pooled = True

    def prepare(self) -> None:
        """Take over from psycopg's own waiting: after this only ``exchange``, ``rows`` and ``close`` may be used."""
        self._loop = asyncio.get_running_loop()
        self._waiter: asyncio.Future[None] | None = None
        self._prepared: set[bytes] = set()
        self.adapters.register_loader("timestamptz", Rfc3339Loader)
        for name in ("uuid", "date", "json", "jsonb"):
            self.adapters.register_loader(name, TextLoader)
        self._transformer = Transformer(self)
        self.pgconn.enter_pipeline_mode()
        self._descriptor = self.pgconn.socket
        self._loop.add_reader(self._descriptor, self._on_readable)

    def _on_readable(self) -> None:
        if self._waiter is None:
            self.give_up()
        else:
            self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def give_up(self) -> None:
        """Mark the connection as beyond use; the pool replaces it."""
        if not self.lost:
            self.lost = True
            self._loop.remove_reader(self._descriptor)

    async def close(self) -> None:
        if hasattr(self, "_loop"):
            self.give_up()
        await super().close()

    async def exchange(self, calls: Sequence[Call], *, deadline: float) -> list[PGresult]:
        """Send every statement at once and return a result for each; all of it is one trip.

        ``deadline`` is a time of the event loop's clock. Raises DatabaseFault when a statement failed (all are
        rolled back), ConnectionLost, and TimeoutError; after the latter two the connection is lost.
        """
        preparations = self._send(calls)
        try:
            results = await self._collect(deadline)
        except (TimeoutError, asyncio.CancelledError):
            # What the server is doing is not known: nobody may use this connection again, and the statement
            # must not go on holding its locks.
            self.give_up()
            self._cancel_statement()
            raise
        return self._check(results, preparations)

    def _send(self, calls: Sequence[Call]) -> list[bytes | None]:
        """Queue the calls. Returns, for each result that will come, the name that it prepares, or None."""
        pgconn = self.pgconn
        expected: list[bytes | None] = []
        try:
            for text, values in calls:
                if text.name in self._prepared:
                    pgconn.send_query_prepared(text.name, values)
                elif self.pooled or len(self._prepared) >= _MOST_PREPARED:
                    pgconn.send_query_params(text.sql, values)
                else:
                    pgconn.send_prepare(text.name, text.sql)
                    pgconn.send_query_prepared(text.name, values)
                    expected.append(text.name)
                expected.append(None)
            pgconn.pipeline_sync()
        except OperationalError:
            # Without the Sync nothing can have been committed.
            self.give_up()
            raise ConnectionLost(untouched=True) from None
        return expected

    async def _collect(self, deadline: float) -> list[PGresult]:
        pgconn = self.pgconn
        results: list[PGresult] = []
        try:
            while pgconn.flush():
                await self._wait(deadline, for_writing=True)
                pgconn.consume_input()
            while True:
                while pgconn.is_busy():
                    await self._wait(deadline)
                    pgconn.consume_input()
                result = pgconn.get_result()
                if result is None:
                    continue
                if result.status == ExecStatus.PIPELINE_SYNC:
                    return results
                results.append(result)
                if pgconn.status == ConnStatus.BAD:
                    break
        except OperationalError:
            # The socket is closed, but what came before, the server's last words among it, is still readable.
            while (result := pgconn.get_result()) is not None:
                results.append(result)
        self.give_up()
        raise ConnectionLost(untouched=_nothing_was_executed(results))

    async def _wait(self, deadline: float, *, for_writing: bool = False) -> None:
        """Wait until the socket is readable (or writable). Raises TimeoutError at the deadline."""
        self._waiter = waiter = self._loop.create_future()
        timer = self._loop.call_at(deadline, self._wake)
        if for_writing:
            self._loop.add_writer(self._descriptor, self._wake)
        try:
            await waiter
        finally:
            self._waiter = None
            timer.cancel()
            if for_writing:
                self._loop.remove_writer(self._descriptor)
        if self._loop.time() >= deadline:
            raise TimeoutError

    def _check(self, results: list[PGresult], preparations: Sequence[bytes | None]) -> list[PGresult]:
        """Keep the statements' own results; remember what was prepared, which outlives even a rollback."""
        answers: list[PGresult] = []
        failed: PGresult | None = None
        for prepares, result in zip(preparations, results, strict=True):
            if result.status in _FAILED:
                failed = failed or result
            elif prepares is None:
                answers.append(result)
            else:
                self._prepared.add(prepares)
        if failed is None:
            return answers
        if sqlstate_of(failed) in STALE_CONNECTION:
            self.give_up()
            raise ConnectionLost(untouched=True)
        raise fault_of(failed)

    def _cancel_statement(self) -> None:
        """Ask the server to stop what this connection runs: in the background, and at most for a second."""
        task = self._loop.create_task(self._cancel())
        _background.add(task)
        task.add_done_callback(_background.discard)

    async def _cancel(self) -> None:
        with contextlib.suppress(Exception):
            await self.cancel_safe(timeout=1.0)
        await self.close()

    def encode(self, text: CompiledText, values: Mapping[str, Any]) -> Sequence[Any]:
        """Return the values as PostgreSQL reads them, in the order of the statement's placeholders."""
        return text.encode(values, self._transformer)

    def rows(self, result: PGresult, text: CompiledText) -> list[Row]:
        """Return the result's rows as dictionaries, by column name, in the server's order."""
        if not result.ntuples:
            return []
        columns = text.columns
        if columns is None:
            columns = text.columns = tuple((result.fname(i) or b"").decode() for i in range(result.nfields))
        transformer = self._transformer
        transformer.set_pgresult(result)
        return transformer.load_rows(0, result.ntuples, lambda values: dict(zip(columns, values, strict=False)))


def _nothing_was_executed(results: Sequence[PGresult]) -> bool:
    """Tell whether the server said goodbye instead of answering the first statement.

    It writes its answers in order and flushes all of them with its last words. So if a FATAL is all that came,
    it never finished the first statement, let alone the Sync that would have committed.
    """
    return bool(results) and results[0].status in _FAILED and sqlstate_of(results[0]) in _LAST_WORDS
