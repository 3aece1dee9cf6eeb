"""Signals, between processes that share a database: two pools stand for two processes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
import pytest

from support.helpers import UNHURRIED, eventually, grace_period
from support.relay import Relay
from todo.database import Database, DatabaseOptions, LocalSignals, PostgresSignals
from todo.database import signals as signals_module

Heard = list[str | None]


@asynccontextmanager
async def process(
    url: str, direct_url: str | None = None, options: DatabaseOptions = UNHURRIED
) -> AsyncIterator[PostgresSignals]:
    """The signals of a process."""
    database = Database(url, options)
    await database.open()
    signals = PostgresSignals(database, direct_url or url)
    yield signals
    await signals.close()
    await database.close()


async def listening(signals: PostgresSignals) -> Heard:
    """Begin to listen, and return what is heard from then on."""
    heard: Heard = []
    signals.listen(heard.append)
    await eventually(lambda: heard == [None])
    heard.clear()
    return heard


def is_sent(signals: PostgresSignals) -> bool:
    """Tell whether nothing is on its way any more."""
    return not signals._pending and signals._sending is not None and signals._sending.done()


def listeners(admin: psycopg.Connection) -> int:
    """Count the connections that wait for signals."""
    [count] = admin.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE query = 'LISTEN todo_changes' AND datname = current_database()"
    ).fetchall()[0]
    return int(count)


# Task: T-151
class TestLocalSignals:
    async def test_tell_who_listens(self) -> None:
        signals = LocalSignals()
        heard: Heard = []
        signals.publish("too early")
        signals.listen(heard.append)

        signals.publish("alice")
        signals.listen(None)
        signals.publish("too late")

        assert heard == ["alice"]
        await signals.close()


# Task: T-151
class TestPostgresSignals:
    async def test_tell_every_process_once(self, database_url: str) -> None:
        async with process(database_url) as one, process(database_url) as other:
            here, there = await listening(one), await listening(other)

            one.publish("alice")
            other.publish("bob 'quoted' ünd")
            await eventually(lambda: len(here) >= 2 and len(there) >= 2)
            await grace_period()

        assert sorted(filter(None, here)) == sorted(filter(None, there)) == ["alice", "bob 'quoted' ünd"]

    async def test_tell_this_process_at_once_and_without_the_database(self) -> None:
        signals = PostgresSignals(
            Database("postgresql://nobody@127.0.0.1:1/nothing"), "postgresql://nobody@127.0.0.1:1/x"
        )
        heard: Heard = []
        signals.listen(heard.append)

        signals.publish("alice")

        assert heard == ["alice"]
        await signals.close()

    async def test_reach_others_from_a_process_that_does_not_listen(self, database_url: str) -> None:
        async with process(database_url) as one, process(database_url) as other:
            there = await listening(other)

            one.publish("alice")

            await eventually(lambda: there == ["alice"])

    async def test_become_few_statements_when_there_are_many(
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

    async def test_listen_only_as_long_as_somebody_does(self, database_url: str, admin: psycopg.Connection) -> None:
        before = listeners(admin)
        async with process(database_url) as signals:
            signals.publish("alice")
            await grace_period()
            asleep = listeners(admin)
            await listening(signals)
            awake = listeners(admin)
            signals.listen(None)

            await eventually(lambda: listeners(admin) == before)

        assert (asleep, awake) == (before, before + 1)

    async def test_say_that_some_may_be_lost_after_an_interruption(
        self, database_url: str, relay: Relay, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(signals_module, "_RECONNECT_SECONDS", (0.05, 0.1))
        async with process(database_url, relay.url) as one, process(database_url) as other:
            heard = await listening(one)
            relay.refusing = True
            relay.cut()
            await eventually(lambda: "interrupted" in caplog.text)
            other.publish("lost")
            await eventually(lambda: is_sent(other))
            relay.refusing = False
            await eventually(lambda: heard == [None])

            other.publish("alice")

            await eventually(lambda: heard == [None, "alice"])

    async def test_are_lost_without_harm_while_the_database_is_away(self, relay: Relay) -> None:
        relay.refusing = True
        async with process(relay.url, options=DatabaseOptions(budget_seconds=0.2)) as signals:
            signals.publish("alice")

            await eventually(lambda: is_sent(signals))

    async def test_send_the_last_ones_before_they_end(self, database_url: str) -> None:
        async with process(database_url) as other:
            there = await listening(other)
            async with process(database_url) as one:
                one.publish("alice")

            await eventually(lambda: there == ["alice"])

    def test_do_not_ride_in_the_transaction_of_a_write(self, admin: psycopg.Connection) -> None:
        functions = admin.execute(
            "SELECT p.proname, p.prosrc ~* 'notify' FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid"
        ).fetchall()

        assert functions
        assert not any(notifies for _, notifies in functions)
