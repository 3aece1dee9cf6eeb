"""Signals between processes that share a database. Two pools act as two processes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
import pytest

from support.databases import open_database
from support.failing_relay import Relay
from support.helpers import LONG_TIMEOUTS, eventually, grace_period
from todo.database import Database, DatabaseOptions, LocalSignals, PostgresSignals
from todo.database import signals as signals_module

Received = list[str | None]


@asynccontextmanager
async def process(
    url: str, direct_url: str | None = None, options: DatabaseOptions = LONG_TIMEOUTS
) -> AsyncIterator[PostgresSignals]:
    """Run the signals of a process."""
    async with open_database(url, options) as database:
        signals = PostgresSignals(database, direct_url or url)
        yield signals
        await signals.close()


async def listening(signals: PostgresSignals) -> Received:
    """Start to listen, and return a list that grows with each signal."""
    received: Received = []
    signals.listen(received.append)
    await eventually(lambda: received == [None])
    received.clear()
    return received


def is_sent(signals: PostgresSignals) -> bool:
    """Return whether all published signals are sent."""
    return not signals._pending and signals._sending is not None and signals._sending.done()


def listeners(admin: psycopg.Connection) -> int:
    """Return the number of connections that listen for signals."""
    [count] = admin.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE query = 'LISTEN todo_changes' AND datname = current_database()"
    ).fetchall()[0]
    return int(count)


# Task: T-151
class TestLocalSignals:
    async def test_local_signals_reach_the_listener(self) -> None:
        signals = LocalSignals()
        received: Received = []
        signals.publish("too early")
        signals.listen(received.append)

        signals.publish("alice")
        signals.listen(None)
        signals.publish("too late")

        assert received == ["alice"]
        await signals.close()


# Task: T-151
class TestPostgresSignals:
    async def test_signals_reach_every_process_once(self, database_url: str) -> None:
        async with process(database_url) as one, process(database_url) as other:
            here, there = await listening(one), await listening(other)

            one.publish("alice")
            other.publish("bob 'quoted' ünd")
            await eventually(lambda: len(here) >= 2 and len(there) >= 2)
            await grace_period()

        assert sorted(filter(None, here)) == sorted(filter(None, there)) == ["alice", "bob 'quoted' ünd"]

    async def test_signals_reach_their_own_process_without_the_database(self) -> None:
        signals = PostgresSignals(
            Database("postgresql://nobody@127.0.0.1:1/nothing"), "postgresql://nobody@127.0.0.1:1/x"
        )
        received: Received = []
        signals.listen(received.append)

        signals.publish("alice")

        assert received == ["alice"]
        await signals.close()

    async def test_process_that_does_not_listen_can_send_signals(self, database_url: str) -> None:
        async with process(database_url) as one, process(database_url) as other:
            there = await listening(other)

            one.publish("alice")

            await eventually(lambda: there == ["alice"])

    async def test_many_signals_are_sent_in_few_statements(
        self, database_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        batches: list[int] = []
        notify = Database.notify

        async def counted(database: Database, channel: str, messages: list[str]) -> None:
            batches.append(len(messages))
            await notify(database, channel, messages)

        monkeypatch.setattr(Database, "notify", counted)
        async with process(database_url) as one, process(database_url) as other:
            there = await listening(other)
            for n in range(3000):
                one.publish(f"user-{n % 1200}")

            await eventually(lambda: len(set(there)) == 1200)

        assert batches == [500, 500, 200]

    async def test_process_listens_only_while_it_has_a_listener(
        self, database_url: str, admin: psycopg.Connection
    ) -> None:
        before = listeners(admin)
        async with process(database_url) as signals:
            signals.publish("alice")
            await grace_period()
            without_listener = listeners(admin)
            await listening(signals)
            with_listener = listeners(admin)
            signals.listen(None)

            await eventually(lambda: listeners(admin) == before)

        assert (without_listener, with_listener) == (before, before + 1)

    async def test_listener_is_told_that_signals_may_be_lost_after_an_interruption(
        self, database_url: str, relay: Relay, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(signals_module, "_RECONNECT_SECONDS", (0.05, 0.1))
        async with process(database_url, relay.url) as one, process(database_url) as other:
            received = await listening(one)
            relay.refusing = True
            relay.cut()
            await eventually(lambda: "interrupted" in caplog.text)
            other.publish("lost")
            await eventually(lambda: is_sent(other))
            relay.refusing = False
            await eventually(lambda: received == [None])

            other.publish("alice")

            await eventually(lambda: received == [None, "alice"])

    async def test_signals_are_dropped_while_the_database_is_unavailable(self, relay: Relay) -> None:
        relay.refusing = True
        async with process(relay.url, options=DatabaseOptions(budget_seconds=0.2)) as signals:
            signals.publish("alice")

            await eventually(lambda: is_sent(signals))

    async def test_pending_signals_are_sent_before_closing(self, database_url: str) -> None:
        async with process(database_url) as other:
            there = await listening(other)
            async with process(database_url) as one:
                one.publish("alice")

            await eventually(lambda: there == ["alice"])

    def test_triggers_send_no_signals(self, admin: psycopg.Connection) -> None:
        functions = admin.execute(
            "SELECT p.proname, p.prosrc ~* 'notify' FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid"
        ).fetchall()

        assert functions
        assert not any(notifies for _, notifies in functions)
