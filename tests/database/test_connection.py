"""Exchanges with the server: reused, lost and interrupted connections, prepared statements, and results."""

import asyncio
import random
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from support.databases import open_database
from support.failing_relay import Relay
from support.helpers import (
    ADD,
    COUNT,
    LONG_TIMEOUTS,
    PROCESS,
    eventually,
    grace_period,
    is_available,
    soon,
    sql,
    waiting,
)
from support.users import sign_up
from todo.database import Database, DatabaseError, DatabaseOptions, Session
from todo.database.connection import Connection
from todo.database.errors import ConnectionLost
from todo.database.statements import raw
from todo.errors import Unavailable

Admin = psycopg.Connection[Any]

_LOCK = 4_711
WAIT = sql(f"SELECT pg_advisory_xact_lock({_LOCK})::text, 'done' AS word", repeatable=True)
WAIT_AND_ADD = sql(
    "INSERT INTO tasks (user_id, id, title, status, priority, created_at, updated_at, creation_digest)"
    " SELECT :user_id, :task_id, 'A task', 'pending', 'low', now(), now(), '' FROM"
    f" (SELECT pg_advisory_xact_lock({_LOCK})) AS l RETURNING title"
)
ECHO = sql("SELECT CAST(:word AS text) AS word", repeatable=True)


@contextmanager
def _locked(admin: Admin) -> Iterator[None]:
    admin.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
    try:
        yield
    finally:
        admin.execute("SELECT pg_advisory_unlock_all()")


@asynccontextmanager
async def _lent(database: Database) -> AsyncIterator[Connection]:
    connection = await database.acquire(deadline=soon())
    try:
        yield connection
    finally:
        await database.release(connection)


async def _process(session: Session) -> int:
    return int((await session.fetch_one(PROCESS))["id"])


def _kill(admin: Admin, process: int) -> None:
    admin.execute("SELECT pg_terminate_backend(%s, 5000)", (process,))


# Task: T-022
class TestReuse:
    async def test_requests_reuse_the_connection(self, solo: Database, user_id: str) -> None:
        processes = {await _process(Session(solo, user_id)) for _ in range(20)}

        assert len(processes) == 1

    async def test_unsolicited_messages_of_the_server_are_ignored(
        self, relay: Relay, relayed: Database, user_id: str
    ) -> None:
        before = await _process(Session(relayed, user_id))

        relay.send_to_clients(_message(b"S", b"application_name\0other\0"))
        relay.send_to_clients(_message(b"N", b"SWARNING\0VWARNING\0C01000\0Mlook out\0\0"))
        await grace_period()

        assert await _process(Session(relayed, user_id)) == before

    async def test_connection_is_reused_after_notices(self, solo: Database, user_id: str) -> None:
        session = Session(solo, user_id)
        before = await _process(session)

        rows = await session.execute_many(
            (sql("DO $$ BEGIN RAISE NOTICE 'well'; RAISE WARNING 'well, well'; END $$"), {}), (ECHO, {"word": "yes"})
        )

        assert rows == [[], [{"word": "yes"}]]
        assert await _process(session) == before

    async def test_connection_is_reused_after_an_error(self, solo: Database, user_id: str) -> None:
        session = Session(solo, user_id)
        before = await _process(session)

        with pytest.raises(DatabaseError) as error:
            await session.fetch_all(sql("SELECT 1 / 0"))

        assert error.value.sqlstate == "22012"
        assert await _process(session) == before

    @pytest.mark.parametrize("size", [1_000_000, 20_000_000])
    async def test_values_larger_than_a_socket_buffer_are_sent_and_received(
        self, relayed: Database, user_id: str, size: int
    ) -> None:
        word = random.Random(7).randbytes(size // 2).hex()

        row = await Session(relayed, user_id).fetch_one(ECHO, word=word)

        assert row["word"] == word

    async def test_sending_waits_while_the_socket_is_full(self, relay: Relay, relayed: Database, user_id: str) -> None:
        await _process(Session(relayed, user_id))
        relay.freeze()
        word = "x" * 8_000_000
        asking = asyncio.create_task(Session(relayed, user_id).fetch_one(ECHO, word=word))
        await grace_period()

        relay.thaw()

        assert (await asking)["word"] == word


def _message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!i", len(body) + 4) + body


# Task: T-022
class TestLoss:
    """A lost connection. The caller gets an error only if the outcome of a write is unknown."""

    async def test_connection_lost_while_idle_is_replaced(self, solo: Database, user_id: str, admin: Admin) -> None:
        session = Session(solo, user_id)
        for _ in range(3):
            _kill(admin, await _process(session))

        assert await session.fetch_one(ECHO, word="still here") == {"word": "still here"}

    async def test_all_connections_lost_while_idle_are_replaced(
        self, database: Database, user_id: str, admin: Admin
    ) -> None:
        await asyncio.gather(*(Session(database, user_id).fetch_all(COUNT) for _ in range(50)))
        admin.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE application_name = 'todo' AND datname = current_database()"
        )

        results = await asyncio.gather(*(Session(database, user_id).fetch_one(COUNT) for _ in range(50)))

        assert results == [{"n": 0}] * 50

    async def test_connection_cut_while_idle_is_replaced(self, relay: Relay, relayed: Database, user_id: str) -> None:
        session = Session(relayed, user_id)
        await session.fetch_all(COUNT)

        relay.cut()

        assert await session.fetch_one(COUNT) == {"n": 0}

    async def test_read_is_repeated_after_the_connection_is_lost(
        self, solo: Database, user_id: str, admin: Admin
    ) -> None:
        with _locked(admin):
            reading = asyncio.create_task(Session(solo, user_id).fetch_one(WAIT))
            await eventually(lambda: waiting(admin))
            _kill(admin, *waiting(admin))
            await eventually(lambda: waiting(admin))

        assert (await reading)["word"] == "done"

    async def test_write_is_repeated_if_the_server_reports_that_it_was_terminated(
        self, solo: Database, user_id: str, admin: Admin
    ) -> None:
        with _locked(admin):
            writing = asyncio.create_task(Session(solo, user_id).fetch_one(WAIT_AND_ADD, task_id=uuid4()))
            await eventually(lambda: waiting(admin))
            _kill(admin, *waiting(admin))
            await eventually(lambda: waiting(admin))

        assert await writing == {"title": "A task"}
        assert await Session(solo, user_id).fetch_one(COUNT) == {"n": 1}

    async def test_write_is_not_repeated_if_the_connection_is_cut(
        self, relay: Relay, relayed: Database, user_id: str, admin: Admin
    ) -> None:
        with _locked(admin):
            writing = asyncio.create_task(Session(relayed, user_id).fetch_one(WAIT_AND_ADD, task_id=uuid4()))
            await eventually(lambda: waiting(admin))
            relay.cut()
            with pytest.raises(Unavailable, match="Check whether your change was made"):
                await writing

        # The server did not notice the lost connection, and finished the write.
        await eventually(lambda: _count(admin, user_id))
        assert await Session(relayed, user_id).fetch_one(COUNT) == {"n": 1}

    async def test_write_whose_response_is_lost_has_its_effect(
        self, relay: Relay, relayed: Database, user_id: str, admin: Admin
    ) -> None:
        session = Session(relayed, user_id)
        await session.fetch_all(COUNT)
        relay.muted = True
        writing = asyncio.create_task(session.fetch_one(ADD, task_id=uuid4()))
        await eventually(lambda: _count(admin, user_id))

        relay.muted = False
        relay.cut()

        with pytest.raises(Unavailable):
            await writing
        assert await Session(relayed, user_id).fetch_one(COUNT) == {"n": 1}

    async def test_connection_lost_before_sending_raises_at_once(self, solo: Database, admin: Admin) -> None:
        async with _lent(solo) as connection:
            _kill(admin, connection.pgconn.backend_pid)
            await eventually(lambda: connection.broken)

            with pytest.raises(ConnectionLost) as lost:
                await connection.execute_pipeline([(raw("SELECT 1"), ())], deadline=float("inf"))

        assert lost.value.untouched


def _count(admin: Admin, user_id: str) -> int:
    [[count]] = admin.execute("SELECT count(*) FROM tasks WHERE user_id = %s", (user_id,)).fetchall()
    return int(count)


# Task: T-022
class TestInterruption:
    """A result of an interrupted request must never reach another request."""

    async def test_connection_of_a_cancelled_request_is_not_reused(
        self, solo: Database, user_id: str, admin: Admin
    ) -> None:
        before = await _process(Session(solo, user_id))
        with _locked(admin):
            asking = asyncio.create_task(Session(solo, user_id).fetch_one(WAIT))
            await eventually(lambda: waiting(admin))
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            other = await Session(solo, "bob").fetch_one(sql("SELECT app.uid() AS id", repeatable=True))
            # The statement is cancelled on the server, too: the test still holds the lock.
            await eventually(lambda: not waiting(admin))

        assert other == {"id": "bob"}
        assert await _process(Session(solo, user_id)) != before

    async def test_cancellation_at_any_time_mixes_up_no_results(self, database_url: str, user_id: str) -> None:
        chance = random.Random(11)
        async with open_database(database_url, replace(LONG_TIMEOUTS, pool_size=2)) as database:
            pairs: list[tuple[str, str]] = []

            async def ask(number: int) -> None:
                word = f"{number} " + "x" * chance.choice([0, 100, 100_000])
                pairs.append((word, (await Session(database, f"user {number}").fetch_one(ECHO, word=word))["word"]))

            for start in range(0, 400, 8):
                tasks = [asyncio.create_task(ask(number)) for number in range(start, start + 8)]
                for task in chance.sample(tasks, 4):
                    for _ in range(chance.randrange(4)):
                        await asyncio.sleep(0)
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

            # The pool still has both connections.
            rows = await asyncio.gather(*(Session(database, user_id).fetch_one(COUNT) for _ in range(2)))
            held = [await database.acquire(deadline=soon()) for _ in range(2)]
            for connection in held:
                await database.release(connection)

        assert len(pairs) >= 200
        assert all(asked == answered for asked, answered in pairs)
        assert rows == [{"n": 0}] * 2

    async def test_second_exchange_at_the_same_time_raises(self, solo: Database, admin: Admin) -> None:
        async with _lent(solo) as connection:
            with _locked(admin):
                statement = raw(f"SELECT pg_advisory_xact_lock({_LOCK})::text, 'first' AS word")
                first = asyncio.create_task(connection.execute_pipeline([(statement, ())], deadline=soon()))
                await eventually(lambda: waiting(admin))
                with pytest.raises(RuntimeError, match="one exchange at a time"):
                    await connection.execute_pipeline([(raw("SELECT 'second'"), ())], deadline=soon())
            [result] = await first

            assert connection.rows(result, statement)[0]["word"] == "first"

    async def test_error_between_queueing_and_sending_breaks_the_connection(self, solo: Database) -> None:
        async with _lent(solo) as connection:
            with pytest.raises(TypeError):
                await connection.execute_pipeline(
                    [(raw("SELECT 'secret'"), ()), (raw("SELECT $1"), (7,))], deadline=soon()
                )

            assert connection.broken

    async def test_silent_server_is_unavailable_at_the_deadline(self, relay: Relay, user_id: str) -> None:
        async with open_database(relay.url, DatabaseOptions(pool_size=1, budget_seconds=0.3)) as database:
            await eventually(lambda: database._pool.get_stats()["pool_available"])
            relay.freeze()

            with pytest.raises(Unavailable, match="did not answer in time"):
                await Session(database, user_id).fetch_one(COUNT)

            relay.thaw()
            await eventually(lambda: is_available(database, user_id))

    async def test_nothing_is_sent_after_the_deadline(self, solo: Database) -> None:
        async with _lent(solo) as connection:
            with pytest.raises(TimeoutError):
                await connection.execute_pipeline(
                    [(raw("SELECT 1"), ())], deadline=asyncio.get_running_loop().time() - 1
                )

            assert connection.is_idle


# Task: T-022
class TestPlans:
    """Statements prepared by name. The server may drop them, and schema changes may make them stale."""

    async def test_statements_are_prepared_again_after_deallocate_all(self, solo: Database, user_id: str) -> None:
        session = Session(solo, user_id)
        before = await _process(session)
        async with _lent(solo) as connection:
            await connection.execute_pipeline([(raw("DEALLOCATE ALL"), ())], deadline=soon())

        assert await _process(session) == before

    async def test_statements_are_prepared_again_on_every_connection_after_a_schema_change(
        self, database: Database, user_id: str, admin: Admin, shape: str
    ) -> None:
        read = sql(f"SELECT side FROM {shape}")

        async def ask() -> list[list[dict[str, Any]]]:
            return await asyncio.gather(*(Session(database, user_id).fetch_all(read) for _ in range(20)))

        before = await ask()
        admin.execute(f"ALTER TABLE {shape} ALTER side TYPE text USING 'long'")

        after = await ask()

        assert (before, after) == ([[{"side": 1}]] * 20, [[{"side": "long"}]] * 20)

    async def test_transaction_is_not_repeated_because_of_a_stale_statement(
        self, solo: Database, user_id: str, admin: Admin, shape: str
    ) -> None:
        read = sql(f"SELECT side FROM {shape}")
        await Session(solo, user_id).fetch_all(read)
        admin.execute(f"ALTER TABLE {shape} ALTER side TYPE text USING 'long'")
        session = Session(solo, user_id)

        with pytest.raises(Unavailable):
            async with session.transaction():
                await session.fetch_one(ADD, task_id=uuid4())
                await session.fetch_all(read)

        assert await Session(solo, user_id).fetch_all(read) == [{"side": "long"}]
        assert await Session(solo, user_id).fetch_one(COUNT) == {"n": 0}

    async def test_number_of_prepared_statements_is_bounded(self, solo: Database, user_id: str) -> None:
        session = Session(solo, user_id)
        for number in range(250):
            await Session(solo, user_id).fetch_all(sql(f"SELECT {number}"))

        [row] = await session.fetch_all(sql("SELECT count(*)::int AS n FROM pg_prepared_statements"))

        assert row["n"] <= 200


# Task: T-022
class TestCommit:
    async def test_failed_commit_raises_a_database_error(self, solo: Database, user_id: str, admin: Admin) -> None:
        table = f"late_{uuid4().hex}"
        admin.execute(f"CREATE TABLE {table} (n int UNIQUE DEFERRABLE INITIALLY DEFERRED)")
        admin.execute(f"GRANT SELECT, INSERT ON {table} TO todo_app")
        session = Session(solo, user_id)
        before = await _process(session)

        with pytest.raises(DatabaseError) as error:
            await session.fetch_all(sql(f"INSERT INTO {table} VALUES (1), (1)"))

        assert error.value.sqlstate == "23505"
        assert await session.fetch_all(sql(f"SELECT * FROM {table}")) == []
        assert await _process(session) == before
        admin.execute(f"DROP TABLE {table}")

    async def test_nothing_is_committed_if_one_of_several_statements_fails(self, solo: Database, user_id: str) -> None:
        session = Session(solo, user_id)

        with pytest.raises(DatabaseError) as error:
            await session.execute_many(
                (ADD, {"task_id": uuid4()}),
                (sql("SELECT 1 / CAST(:zero AS int)"), {"zero": 0}),
                (ADD, {"task_id": uuid4()}),
            )

        assert error.value.sqlstate == "22012"
        assert await session.fetch_one(COUNT) == {"n": 0}


# Task: T-022
class TestRows:
    async def test_result_values_are_json_types(self, solo: Database, user_id: str) -> None:
        row = await Session(solo, user_id).fetch_one(
            sql(
                "SELECT '018f0000-0000-7000-8000-000000000000'::uuid AS id, '2026-03-10'::date AS day,"
                " '2026-03-10 10:00:00.5+01'::timestamptz AS at, null AS nothing, true AS yes, 7 AS seven"
            )
        )

        assert row == {
            "id": "018f0000-0000-7000-8000-000000000000",
            "day": "2026-03-10",
            "at": "2026-03-10T09:00:00.5Z",
            "nothing": None,
            "yes": True,
            "seven": 7,
        }

    async def test_instants_are_in_utc_whatever_the_settings_of_the_server(self, database_url: str) -> None:
        user_id = sign_up(database_url, "alice")
        async with open_database(
            f"{database_url}&options=-c%20timezone%3DAsia/Tokyo%20-c%20datestyle%3DGerman"
        ) as database:
            row = await Session(database, user_id).fetch_one(sql("SELECT '2026-03-10 09:00+00'::timestamptz AS at"))

        assert row == {"at": "2026-03-10T09:00:00Z"}
