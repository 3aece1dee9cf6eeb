"""Channels: one reader of the change log per user and process, with and without signals."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager

import psycopg
import pytest

from support.clocks import Clock
from support.failing_relay import Relay
from support.helpers import eventually, grace_period
from support.live import write_tasks
from support.processes import TIMEOUT_SECONDS
from support.users import sign_up
from todo.database import Database, DatabaseOptions, LocalSignals, Session, cancelled
from todo.errors import Gone, TooManyRequests, Unavailable
from todo.services import changes, live
from todo.services.live import Event, Live, LiveOptions

FOREVER = float(2**53)

Batches = AsyncGenerator[list[Event], None]


class DeafSignals(LocalSignals):
    """Signals that are never delivered."""

    def publish(self, user_id: str) -> None:
        """Drop the signal."""


@pytest.fixture
def user_id(database_url: str) -> str:
    """Return the id of a new user."""
    return sign_up(database_url, "alice")


@pytest.fixture
def signals() -> LocalSignals:
    """Return signals within the process."""
    return LocalSignals()


def made(database: Database, signals: LocalSignals, clock: Callable[[], float] = time.time, **bounds: float) -> Live:
    # Timeouts that no test waits for, unless it sets them.
    return Live(database, signals, LiveOptions(**{"heartbeat_seconds": 60, "poll_seconds": 60, **bounds}), clock)  # type: ignore[arg-type]


@asynccontextmanager
async def following(
    live: Live, user_id: str, since: int | None = None, until: float = FOREVER
) -> AsyncIterator[tuple[Event, Batches]]:
    """Follow a user; yield the first event and the batches after it."""
    async with aclosing(live.follow(user_id, since, expires_at=lambda: until)) as batches:
        [ready] = await anext(batches)
        yield ready, batches


async def take(batches: Batches, count: int) -> list[int]:
    """Return the revisions of the next ``count`` changes."""
    told: list[Event] = []
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while len(told) < count:
            told += await anext(batches)
    assert {event.name for event in told} == {"change"}
    return [event.revision for event in told]


async def until_revision(batches: Batches, revision: int) -> AsyncIterator[list[Event]]:
    """Yield batches of changes up to and including ``revision``."""
    async with asyncio.timeout(TIMEOUT_SECONDS):
        async for page in batches:
            yield page
            if page[-1].revision >= revision:
                return


async def last(batches: Batches) -> Event:
    """Return the last event of the stream."""
    told: list[Event] = []
    async with asyncio.timeout(TIMEOUT_SECONDS):
        async for batch in batches:
            told += batch
    return told[-1]


def failures_of(feed: Live, monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Return what is set once a look at the log has failed."""
    read, failed = feed._log.read, asyncio.Event()

    async def noted(user_id: str, cursor: int, *, limit: int) -> list[Event]:
        try:
            return await read(user_id, cursor, limit=limit)
        except Unavailable:
            failed.set()
            raise

    monkeypatch.setattr(feed._log, "read", noted)
    return failed


# Task: T-152
class TestFollow:
    async def test_follower_receives_new_changes_after_a_signal(
        self, database: Database, database_url: str, signals: LocalSignals, user_id: str
    ) -> None:
        async with following(made(database, signals), user_id) as (ready, batches):
            write_tasks(database_url, user_id, 3)
            signals.publish(user_id)

            assert ready == Event("ready", 0, b'{"revision":0}')
            assert await take(batches, 3) == [1, 2, 3]

    async def test_follower_receives_changes_by_polling_if_the_signal_is_lost(
        self, database: Database, database_url: str, user_id: str
    ) -> None:
        async with following(made(database, DeafSignals(), poll_seconds=0.1), user_id) as (_, batches):
            write_tasks(database_url, user_id, 3)

            assert await take(batches, 3) == [1, 2, 3]

    async def test_followers_of_one_user_share_one_read_of_the_log(
        self,
        database: Database,
        database_url: str,
        signals: LocalSignals,
        user_id: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        reads: list[int] = []
        since = changes.since

        async def counted(session: Session, revision: int, *, limit: int) -> changes.Feed:
            found = await since(session, revision, limit=limit)
            # The last look of the channel of another test may still be under way.
            if session.user_id == user_id:
                reads.append(revision)
            return found

        monkeypatch.setattr(changes, "since", counted)
        feed = made(database, signals)
        async with following(feed, user_id) as (_, one), following(feed, user_id) as (_, two):
            # The channel looks for itself first. From then on its readers read what it has read.
            await eventually(lambda: reads == [0])
            waiting = [asyncio.create_task(take(batches, 2)) for batches in (one, two)]
            await grace_period()

            write_tasks(database_url, user_id, 2)
            signals.publish(user_id)

            assert await asyncio.gather(*waiting) == [[1, 2]] * 2
            # One read that finds the changes, one that finds the end of the log.
            await eventually(lambda: reads == [0, 0, 2])

    async def test_follower_receives_missed_changes_in_pages_and_then_new_ones(
        self, database: Database, database_url: str, signals: LocalSignals, user_id: str
    ) -> None:
        write_tasks(database_url, user_id, 350)
        async with aclosing(made(database, signals).follow(user_id, 20, expires_at=lambda: FOREVER)) as batches:
            [ready] = await anext(batches)
            told = await take(batches, 330)
            write_tasks(database_url, user_id, 2)
            signals.publish(user_id)
            told += await take(batches, 2)

        assert ready.revision == 20
        assert told == list(range(21, 353))

    async def test_follow_rejects_a_revision_that_is_not_in_the_log(
        self, database: Database, signals: LocalSignals, user_id: str
    ) -> None:
        feed = made(database, signals)

        with pytest.raises(Gone) as refusal:
            await anext(feed.follow(user_id, 1, expires_at=lambda: FOREVER))

        assert refusal.value.code == "resync_required"
        assert feed._channels == {}

    async def test_connections_per_user_are_limited(
        self, database: Database, signals: LocalSignals, user_id: str
    ) -> None:
        feed = made(database, signals, connections_per_user=1)
        async with following(feed, user_id), following(feed, "somebody-else"):
            with pytest.raises(TooManyRequests):
                await anext(feed.follow(user_id, None, expires_at=lambda: FOREVER))

        async with following(feed, user_id) as (ready, _):
            assert ready.name == "ready"

    async def test_idle_follower_receives_heartbeats(
        self, database: Database, signals: LocalSignals, user_id: str
    ) -> None:
        async with following(made(database, signals, heartbeat_seconds=0.01), user_id) as (_, batches):
            assert [await anext(batches) for _ in range(2)] == [[], []]

    async def test_stream_ends_when_the_token_expires_unless_it_is_renewed(
        self, database: Database, database_url: str, signals: LocalSignals, user_id: str
    ) -> None:
        clock, until = Clock(100.0), [110.0]
        feed = made(database, signals, clock, heartbeat_seconds=0.01)
        async with aclosing(feed.follow(user_id, None, expires_at=lambda: until[0])) as batches:
            await anext(batches)
            clock.now, until[0] = 115.0, 120.0
            write_tasks(database_url, user_id, 1)
            signals.publish(user_id)
            while not (told := await anext(batches)):
                pass
            clock.now = 120.0

            assert [event.revision for event in told] == [1]
            assert await last(batches) == Event("expired", 1, b'{"since":1}')

    async def test_slow_follower_is_told_the_revision_from_which_to_resume(
        self, database: Database, database_url: str, signals: LocalSignals, user_id: str
    ) -> None:
        feed = made(database, signals)
        async with following(feed, user_id) as (_, slow):
            await eventually(lambda: feed._channels[user_id]._from is not None)
            write_tasks(database_url, user_id, 1)
            signals.publish(user_id)
            assert await take(slow, 1) == [1]
            write_tasks(database_url, user_id, live._KEPT_EVENTS + 1)
            signals.publish(user_id)
            await eventually(lambda: feed._channels[user_id]._to == live._KEPT_EVENTS + 2)

            assert [await anext(slow)] == [[Event("resume", 1, b'{"since":1}')]]

        async with aclosing(feed.follow(user_id, 1, expires_at=lambda: FOREVER)) as again:
            await anext(again)
            assert len(await take(again, live._KEPT_EVENTS + 1)) == live._KEPT_EVENTS + 1

    async def test_channel_keeps_a_bounded_number_of_events_and_bytes(
        self,
        database: Database,
        database_url: str,
        signals: LocalSignals,
        user_id: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(live, "_KEPT_BYTES", 100_000)
        feed = made(database, signals)
        async with following(feed, user_id):
            channel = feed._channels[user_id]
            await eventually(lambda: channel._from is not None)
            write_tasks(database_url, user_id, live._KEPT_EVENTS + 200)
            signals.publish(user_id)
            await eventually(lambda: channel._to == live._KEPT_EVENTS + 200)
            few = len(channel._tail)
            write_tasks(database_url, user_id, 30, length=9000)
            signals.publish(user_id)
            await eventually(lambda: channel._to == live._KEPT_EVENTS + 230)

            assert few <= live._KEPT_EVENTS
            assert 1 <= len(channel._tail) < 12
            assert channel._bytes == sum(len(event.data) for event in channel._tail) <= 100_000
            assert channel.after(channel._to - 1) == [channel._tail[-1]]
            assert channel._tail[-1].revision == channel._to

    async def test_batches_are_limited_in_bytes(
        self, database: Database, database_url: str, signals: LocalSignals, user_id: str
    ) -> None:
        write_tasks(database_url, user_id, 30, length=9000)
        feed = made(database, signals)
        async with following(feed, user_id) as (_, from_the_tail), following(feed, user_id, 0) as (_, from_the_log):
            await eventually(lambda: feed._channels[user_id]._from == 30)
            told = [page async for page in until_revision(from_the_log, 30)]
            write_tasks(database_url, user_id, 30, length=9000)
            signals.publish(user_id)
            told += [page async for page in until_revision(from_the_tail, 60)]

        assert [event.revision for page in told for event in page] == list(range(1, 61))
        assert max(sum(len(event.data) for event in page) for page in told) <= live._PAGE_BYTES

    async def test_event_larger_than_a_page_is_delivered_alone(
        self,
        database: Database,
        database_url: str,
        signals: LocalSignals,
        user_id: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(live, "_PAGE_BYTES", 1)
        write_tasks(database_url, user_id, 3)
        async with following(made(database, signals), user_id, 0) as (_, batches):
            assert await take(batches, 3) == [1, 2, 3]

    async def test_log_is_read_in_smaller_pages_if_events_are_large(
        self,
        database: Database,
        database_url: str,
        signals: LocalSignals,
        user_id: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        limits: list[int] = []
        since = changes.since

        async def noted(session: Session, revision: int, *, limit: int) -> changes.Feed:
            limits.append(limit)
            return await since(session, revision, limit=limit)

        write_tasks(database_url, user_id, 120, length=9000)
        feed = made(database, signals)
        async with following(feed, user_id):
            await eventually(lambda: feed._channels[user_id]._from == 120)
            monkeypatch.setattr(changes, "since", noted)

            async with following(feed, user_id, 0) as (_, batches):
                await take(batches, 119)

        assert limits[0] == 100
        assert set(limits[1:]) <= {12, 14}

    async def test_many_readers_of_one_user_do_not_delay_another_user(
        self,
        database: Database,
        database_url: str,
        signals: LocalSignals,
        user_id: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        other = sign_up(database_url, "bob")
        for owner in (user_id, other):
            write_tasks(database_url, owner, 1)
        since, released = changes.since, asyncio.Event()

        async def slow(session: Session, revision: int, *, limit: int) -> changes.Feed:
            if session.user_id == user_id:
                await released.wait()
            return await since(session, revision, limit=limit)

        monkeypatch.setattr(changes, "since", slow)
        feed = made(database, signals)
        many = [feed.follow(user_id, 0, expires_at=lambda: FOREVER) for _ in range(10)]
        beginning = [asyncio.create_task(anext(batches)) for batches in many]
        await eventually(lambda: user_id in feed._channels and len(feed._channels[user_id].readers) == 10)

        async with asyncio.timeout(TIMEOUT_SECONDS), following(feed, other, 0) as (_, batches):
            assert await take(batches, 1) == [1]

        released.set()
        await asyncio.gather(*beginning)
        for each in many:
            await each.aclose()

    async def test_streams_end_with_a_reconnect_event_when_the_server_stops(
        self, database: Database, database_url: str, signals: LocalSignals, user_id: str
    ) -> None:
        feed = made(database, signals)
        async with following(feed, user_id) as (_, idle), following(feed, user_id) as (_, busy):
            write_tasks(database_url, user_id, 1)
            signals.publish(user_id)
            assert await take(idle, 1) == await take(busy, 1) == [1]
            waiting = asyncio.create_task(last(idle))
            await grace_period()

            # One follower waits for events, the other one for its client.
            feed.stop()
            feed.stop()

            assert await waiting == await last(busy) == Event("reconnect", 1, b'{"since":1}')

    async def test_follower_that_connects_after_the_stop_receives_a_reconnect_event(
        self, database: Database, signals: LocalSignals, user_id: str
    ) -> None:
        feed = made(database, signals)
        feed.stop()

        async with following(feed, user_id) as (_, batches):
            assert (await last(batches)).name == "reconnect"

    async def test_follower_of_a_deleted_account_is_told_to_resume(
        self, database: Database, database_url: str, signals: LocalSignals, user_id: str
    ) -> None:
        feed = made(database, signals)
        async with following(feed, user_id) as (_, batches):
            write_tasks(database_url, user_id, 1)
            signals.publish(user_id)
            await take(batches, 1)
            with psycopg.connect(database_url, autocommit=True) as admin:
                admin.execute('DELETE FROM "user" WHERE id = %s', (user_id,))
            signals.publish(user_id)

            assert (await last(batches)).name == "resume"

        with pytest.raises(Gone):
            await anext(feed.follow(user_id, 1, expires_at=lambda: FOREVER))


# Task: T-152
class TestChannels:
    async def test_channel_exists_only_while_the_user_has_followers(
        self, database: Database, signals: LocalSignals, user_id: str
    ) -> None:
        feed = made(database, signals)
        tasks = asyncio.all_tasks()
        async with following(feed, user_id), following(feed, user_id), following(feed, "somebody-else"):
            assert set(feed._channels) == {user_id, "somebody-else"}
            heard = signals._listener

        assert feed._channels == {}
        assert (heard is None, signals._listener) == (False, None)
        await eventually(lambda: asyncio.all_tasks() <= tasks)

    async def test_channel_is_removed_when_its_follower_is_cancelled_at_any_time(
        self, database: Database, database_url: str, signals: LocalSignals, user_id: str
    ) -> None:
        feed = made(database, signals)

        async def follow() -> None:
            async with following(feed, user_id) as (_, batches):
                async for _ in batches:
                    pass

        for seconds in (0.0, 0.001, 0.002, 0.005, 0.05):
            task = asyncio.create_task(follow())
            await asyncio.sleep(seconds)
            await cancelled(task)

            assert feed._channels == {}
        write_tasks(database_url, user_id, 1)
        async with aclosing(feed.follow(user_id, 0, expires_at=lambda: FOREVER)) as batches:
            await anext(batches)
            assert await take(batches, 1) == [1]

    async def test_channel_recovers_when_the_database_is_available_again(
        self, database_url: str, signals: LocalSignals, user_id: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with Relay(database_url) as relay:
            relayed = Database(relay.url, DatabaseOptions(pool_size=2))
            await relayed.open()
            feed = made(relayed, signals)
            failed = failures_of(feed, monkeypatch)
            await self._goes_on(relay, feed, failed, database_url, signals, user_id)
            await relayed.close()

    async def _goes_on(
        self, relay: Relay, feed: Live, failed: asyncio.Event, database_url: str, signals: LocalSignals, user_id: str
    ) -> None:
        async with following(feed, user_id) as (_, batches):
            await eventually(lambda: feed._channels[user_id]._from is not None)
            relay.refusing = True
            relay.cut()
            write_tasks(database_url, user_id, 2)
            signals.publish(user_id)
            await failed.wait()
            relay.refusing = False

            # The channel recovers by itself: the signal is lost, and the next poll is a minute away.
            assert await take(batches, 2) == [1, 2]

    async def test_channel_survives_an_unexpected_exception(
        self,
        database: Database,
        database_url: str,
        signals: LocalSignals,
        user_id: str,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        feed = made(database, signals)
        async with following(feed, user_id) as (_, batches):
            await eventually(lambda: feed._channels[user_id]._from is not None)
            with monkeypatch.context() as broken:
                broken.setattr(feed._log, "read", None)
                signals.publish(user_id)
                await eventually(lambda: "reading the change log failed" in caplog.text)
            write_tasks(database_url, user_id, 1)
            signals.publish(user_id)

            assert await take(batches, 1) == [1]


# Task: T-152
class TestUnauthenticatedConnections:
    def test_unauthenticated_connections_are_counted_and_limited(self) -> None:
        feed = Live(Database("postgresql://"), LocalSignals(), LiveOptions(max_unauthenticated=1))
        with feed.unauthenticated(), pytest.raises(Unavailable), feed.unauthenticated():
            pass

        with feed.unauthenticated():
            assert feed._unauthenticated_count == 1
        assert feed._unauthenticated_count == 0
