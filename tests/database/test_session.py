"""Statements as one user and nobody else, and transactions of several trips."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from support.helpers import ADD, COUNT, UNHURRIED, eventually, gate, sql, waiting
from support.people import sign_up
from support.processes import PATIENCE_SECONDS
from todo.database import Database, DatabaseError, DatabaseOptions, Session
from todo.database.statements import raw
from todo.errors import Conflict, Forbidden, NotFound, Unavailable

Admin = psycopg.Connection[Any]

WHO = sql("SELECT app.uid() AS id, current_user::text AS role", repeatable=True)
PROCESS = sql("SELECT pg_backend_pid() AS id", repeatable=True)
FAIL = sql("SELECT 1 / 0")


# Task: T-023
class TestIdentity:
    @pytest.mark.parametrize(
        "user_id",
        [
            "o'brien",
            '"quoted"',
            " spaces at both ends ",
            "   ",
            "\t\r\n",
            "'; DROP TABLE tasks; --",
            "$1 %s :user_id \\ \\\\",
            "naïve 用户 🙂 \u202e",
            "x" * 255,
            "",
        ],
    )
    async def test_is_the_user_to_the_letter(self, database: Database, admin: Admin, user_id: str) -> None:
        admin.execute(
            'INSERT INTO "user" (id, name, email, "emailVerified") VALUES (%s, %s, %s, true)', (user_id, "odd", uuid4())
        )
        session = Session(database, user_id)

        await session.fetch_one(ADD, task_id=uuid4())

        assert await session.fetch_one(WHO) == {"id": user_id, "role": "todo_app"}
        assert await session.fetch_one(COUNT) == {"n": 1}
        assert await Session(database, f"{user_id} ").fetch_one(COUNT) == {"n": 0}
        admin.execute('DELETE FROM "user" WHERE id = %s', (user_id,))

    async def test_is_refused_where_it_would_be_cut_short(self, database: Database, user_id: str) -> None:
        with pytest.raises(ValueError, match="NUL"):
            await Session(database, f"{user_id}\x00").fetch_one(COUNT)

    async def test_is_not_a_value_that_a_statement_could_give(self, database: Database, user_id: str) -> None:
        row = await Session(database, user_id).fetch_one(sql("SELECT CAST(:user_id AS text) AS id"), user_id="another")

        assert row == {"id": user_id}

    async def test_ends_with_its_transaction(self, solo: Database, user_id: str) -> None:
        await Session(solo, user_id).fetch_one(ADD, task_id=uuid4())

        after = await _without_identity(solo, "SELECT app.uid() AS id, current_user::text AS role")

        assert after == [{"id": None, "role": "postgres"}]

    async def test_that_leaks_into_the_session_shows_nothing(self, solo: Database, user_id: str) -> None:
        await Session(solo, user_id).fetch_one(ADD, task_id=uuid4())
        await _without_identity(
            solo, f"SELECT set_config('app.user', extract(epoch FROM now()) || ' {user_id}', false)::text AS leaked"
        )

        visible = await _without_identity(
            solo,
            "SELECT set_config('role', 'todo_app', true) AS role",
            "SELECT app.uid() AS id, count(*)::int FROM tasks",
        )
        bobs = await Session(solo, "bob").fetch_one(COUNT)
        alices = await Session(solo, user_id).fetch_one(COUNT)

        assert visible == [{"id": None, "count": 0}]
        assert (bobs, alices) == ({"n": 0}, {"n": 1})

    async def test_holds_for_every_statement_of_a_trip(self, solo: Database, user_id: str) -> None:
        rows = await Session(solo, user_id).execute_many((WHO, {}), (ADD, {"task_id": uuid4()}), (WHO, {}), (COUNT, {}))

        who = [{"id": user_id, "role": "todo_app"}]
        assert rows == [who, [{"title": "A task"}], who, [{"n": 1}]]

    async def test_does_not_let_rows_be_written_for_another(self, database: Database, database_url: str) -> None:
        alice, bob = (sign_up(database_url, name) for name in ("alice", "bob"))
        theft = sql(
            "INSERT INTO tasks (user_id, id, title, status, priority, created_at, updated_at, creation_digest)"
            " VALUES (:owner, :task_id, 'A task', 'pending', 'low', now(), now(), '') RETURNING title"
        )

        with pytest.raises(DatabaseError) as error:
            await Session(database, bob).fetch_one(theft, owner=alice, task_id=uuid4())

        assert error.value.sqlstate == "42501"
        assert await Session(database, alice).fetch_one(COUNT) == {"n": 0}


async def _without_identity(database: Database, *statements: str) -> list[dict[str, Any]]:
    """Run statements in one transaction as a defect of ours would, and return the last one's rows."""
    texts = [raw(statement) for statement in statements]
    deadline = asyncio.get_running_loop().time() + 5
    connection = await database.acquire(deadline=deadline)
    try:
        results = await connection.execute_pipeline([(text, ()) for text in texts], deadline=deadline)
        return connection.rows(results[-1], texts[-1])
    finally:
        await database.release(connection)


# Task: T-023
class TestOne:
    async def test_finds_the_row(self, database: Database, user_id: str) -> None:
        assert await Session(database, user_id).fetch_one(COUNT) == {"n": 0}

    async def test_finds_nothing(self, database: Database, user_id: str) -> None:
        with pytest.raises(NotFound):
            await Session(database, user_id).fetch_one(sql("SELECT title FROM tasks", repeatable=True))

    async def test_tells_a_writer_whose_account_is_gone(self, database: Database) -> None:
        with pytest.raises(Forbidden) as forbidden:
            await Session(database, "nobody").fetch_one(sql("DELETE FROM tasks RETURNING title"))

        assert forbidden.value.code == "account_gone"

    async def test_tells_so_when_the_database_refuses_the_row(self, database: Database) -> None:
        with pytest.raises(Forbidden) as forbidden:
            await Session(database, "nobody").fetch_one(ADD, task_id=uuid4())

        assert forbidden.value.code == "account_gone"


# Task: T-023
class TestTransaction:
    async def test_keeps_all_of_it(self, solo: Database, user_id: str) -> None:
        session = Session(solo, user_id)

        async with session.transaction():
            await session.fetch_one(ADD, task_id=uuid4())
            await session.fetch_one(ADD, task_id=uuid4())
            assert await session.fetch_one(WHO) == {"id": user_id, "role": "todo_app"}

        assert await Session(solo, user_id).fetch_one(COUNT) == {"n": 2}

    async def test_shows_nothing_to_others_before_its_end(self, database: Database, user_id: str) -> None:
        session = Session(database, user_id)

        async with session.transaction():
            await session.fetch_one(ADD, task_id=uuid4())
            seen = await Session(database, user_id).fetch_one(COUNT)

        assert (seen, await Session(database, user_id).fetch_one(COUNT)) == ({"n": 0}, {"n": 1})

    async def test_keeps_nothing_but_its_connection_when_its_body_fails(self, solo: Database, user_id: str) -> None:
        session = Session(solo, user_id)
        before = await session.fetch_all(PROCESS)

        with pytest.raises(KeyError):
            async with session.transaction():
                await session.fetch_one(ADD, task_id=uuid4())
                raise KeyError

        assert await Session(solo, user_id).fetch_one(COUNT) == {"n": 0}
        assert await Session(solo, user_id).fetch_all(PROCESS) == before

    async def test_keeps_nothing_when_a_statement_fails(self, solo: Database, user_id: str) -> None:
        session = Session(solo, user_id)

        with pytest.raises(DatabaseError, match="22012"):
            async with session.transaction():
                await session.fetch_one(ADD, task_id=uuid4())
                await session.fetch_all(FAIL)

        assert await Session(solo, user_id).fetch_one(COUNT) == {"n": 0}

    async def test_does_not_pass_for_kept_when_its_body_hides_a_failure(self, solo: Database, user_id: str) -> None:
        session = Session(solo, user_id)

        with pytest.raises(DatabaseError, match="25P02"):
            async with session.transaction():
                await session.fetch_one(ADD, task_id=uuid4())
                with pytest.raises(DatabaseError):
                    await session.fetch_all(FAIL)

        assert await Session(solo, user_id).fetch_one(COUNT) == {"n": 0}

    async def test_is_not_to_be_nested(self, solo: Database, user_id: str) -> None:
        session = Session(solo, user_id)

        with pytest.raises(RuntimeError, match="inside of a transaction"):
            async with session.transaction(), session.transaction():
                pass

        assert await Session(solo, user_id).fetch_one(COUNT) == {"n": 0}

    async def test_ends_when_its_task_is_cancelled(self, solo: Database, user_id: str) -> None:
        session = Session(solo, user_id)
        begun = asyncio.Event()

        async def work() -> None:
            async with session.transaction():
                await session.fetch_one(ADD, task_id=uuid4())
                begun.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(work())
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

        assert await Session(solo, user_id).fetch_one(COUNT) == {"n": 0}

    async def test_is_begun_anew_on_a_connection_that_died_idle(
        self, solo: Database, user_id: str, admin: Admin
    ) -> None:
        for _ in range(3):
            session = Session(solo, user_id)
            async with session.transaction():
                [row] = await session.fetch_all(PROCESS)
                await session.fetch_one(ADD, task_id=uuid4())
            admin.execute("SELECT pg_terminate_backend(%s, 5000)", (row["id"],))

        assert await Session(solo, user_id).fetch_one(COUNT) == {"n": 3}

    async def test_keeps_nothing_when_its_connection_dies(self, solo: Database, user_id: str, admin: Admin) -> None:
        session = Session(solo, user_id)

        with pytest.raises(Unavailable):
            async with session.transaction():
                [row] = await session.fetch_all(PROCESS)
                await session.fetch_one(ADD, task_id=uuid4())
                admin.execute("SELECT pg_terminate_backend(%s, 5000)", (row["id"],))
                await session.fetch_one(ADD, task_id=uuid4())

        assert await Session(solo, user_id).fetch_one(COUNT) == {"n": 0}

    async def test_is_not_committed_after_its_time(self, solo: Database, user_id: str) -> None:
        session = Session(solo, user_id)

        with pytest.raises(Unavailable):
            async with session.transaction():
                await session.fetch_one(ADD, task_id=uuid4())
                session._deadline = asyncio.get_running_loop().time()

        assert await Session(solo, user_id).fetch_one(COUNT) == {"n": 0}


# Task: T-063
class TestBusyDatabase:
    @pytest.mark.parametrize(
        "sqlstate",
        [
            "53100",  # disk full
            "53200",  # out of memory
            "53300",  # too many connections
            "25006",  # read-only
            "57P03",  # starting up
            "57014",  # cancelled
            "55P03",  # lock not available
            "58030",  # I/O error
            "08006",
        ],
    )
    async def test_is_a_reason_to_try_later(self, solo: Database, user_id: str, sqlstate: str) -> None:
        with pytest.raises(Unavailable) as unavailable:
            await Session(solo, user_id).fetch_all(sql(f"DO $$ BEGIN RAISE SQLSTATE '{sqlstate}'; END $$"))

        assert unavailable.value.headers == {"Retry-After": "1"}
        assert await Session(solo, user_id).fetch_one(COUNT) == {"n": 0}

    async def test_that_is_read_only_reads_but_does_not_write(self, database_url: str) -> None:
        user_id = sign_up(database_url, "alice")
        database = Database(f"{database_url}&options=-c%20default_transaction_read_only%3Don")
        await database.open()

        with pytest.raises(Unavailable):
            await Session(database, user_id).fetch_one(ADD, task_id=uuid4())

        assert await Session(database, user_id).fetch_one(COUNT) == {"n": 0}
        await database.close()

    async def test_answers_within_two_seconds_by_default(self) -> None:
        options = DatabaseOptions()

        assert options.statement_timeout_milliseconds / 1000 < options.budget_seconds < 1.8

    @pytest.mark.parametrize("table", ["tasks", None])
    async def test_that_is_slow_stops_the_statement_too(
        self, database_url: str, user_id: str, admin: Admin, table: str | None
    ) -> None:
        """Asleep, or waiting for a lock. The server's own limit is longer here: it is we who stop it."""
        database = Database(database_url, replace(UNHURRIED, pool_size=1, statement_timeout_milliseconds=60_000))
        await database.open()
        await eventually(lambda: database._pool.get_stats()["pool_available"])
        session = Session(database, user_id)
        session._deadline = asyncio.get_running_loop().time() + 0.4
        with psycopg.connect(database_url) as holder:
            if table:
                holder.execute(f"LOCK {table}")
            with pytest.raises(Unavailable, match="did not answer in time"):
                await session.fetch_all(COUNT if table else sql("SELECT pg_sleep(60)::text"))

            await eventually(lambda: not _busy(admin))
        assert await Session(database, user_id).fetch_one(COUNT) == {"n": 0}
        await database.close()

    async def test_stops_a_slow_statement_by_itself(self, database_url: str, user_id: str) -> None:
        options = replace(UNHURRIED, pool_size=1, statement_timeout_milliseconds=500)
        database = Database(database_url, options)
        await database.open()
        session = Session(database, user_id)
        [before] = await session.fetch_all(PROCESS)

        with pytest.raises(Unavailable, match="busy"):
            await session.fetch_all(sql("SELECT pg_sleep(60)::text"))

        assert await session.fetch_all(PROCESS) == [before]
        await database.close()

    async def test_has_one_budget_for_all_trips_of_a_request(self, database_url: str, user_id: str) -> None:
        database = Database(database_url, DatabaseOptions(pool_size=1, budget_seconds=0.5))
        await database.open()
        await eventually(lambda: database._pool.get_stats()["pool_available"])
        session = Session(database, user_id)

        with pytest.raises(Unavailable):
            for _ in range(100):
                await session.fetch_all(sql("SELECT pg_sleep(0.1)::text"))

        await database.close()


# Task: T-383
class TestLong:
    """What may take long, beside what may not. Of eight connections two may be kept for it."""

    @pytest.fixture
    async def hurried(self, database_url: str) -> AsyncIterator[Database]:
        options = replace(UNHURRIED, pool_size=8, budget_seconds=0.4, statement_timeout_milliseconds=1_000)
        database = Database(database_url, options)
        await database.open()
        await eventually(lambda: database._pool.get_stats()["pool_available"])
        yield database
        await database.close()

    async def test_has_time_for_a_statement_where_others_have_not(self, hurried: Database, user_id: str) -> None:
        asleep = sql("SELECT pg_sleep(1.2)::text AS it")

        assert await Session(hurried, user_id, bulk=True).fetch_all(asleep) == [{"it": ""}]
        with pytest.raises(Unavailable):
            await Session(hurried, user_id).fetch_all(asleep)

    async def test_has_time_for_all_trips_of_a_transaction(
        self, hurried: Database, database: Database, user_id: str
    ) -> None:
        session = Session(hurried, user_id, bulk=True)
        async with session.transaction():
            await session.fetch_one(ADD, task_id=uuid4())
            await session.fetch_all(sql("SELECT pg_sleep(1.2)::text"))
            await session.fetch_one(ADD, task_id=uuid4())

        assert await Session(database, user_id).fetch_one(COUNT) == {"n": 2}

    async def test_waits_for_a_lock_no_longer_than_others(self, hurried: Database, user_id: str, admin: Admin) -> None:
        with psycopg.connect(admin.info.dsn) as holder:
            holder.execute("SELECT pg_advisory_xact_lock(4711)")
            with pytest.raises(Unavailable, match="busy"):
                await Session(hurried, user_id, bulk=True).fetch_all(sql("SELECT pg_advisory_xact_lock(4711)::text"))

        assert not hurried._extended_leases

    async def test_is_one_of_a_user_and_two_of_all(self, hurried: Database, database_url: str) -> None:
        alice, bob, charlie = (sign_up(database_url, name) for name in ("alice", "bob", "charlie"))

        with gate(database_url) as asleep:
            first = [asyncio.create_task(Session(hurried, alice, bulk=True).fetch_all(asleep)) for _ in range(4)]
            await eventually(lambda: hurried._extended_leases)
            others = [
                asyncio.create_task(Session(hurried, who, bulk=True).fetch_all(asleep)) for who in (bob, bob, charlie)
            ]
            await eventually(lambda: sum(task.done() for task in (*first, *others)) == 5)
        answers = await asyncio.gather(*first, *others, return_exceptions=True)

        done = [answer for answer in answers if not isinstance(answer, BaseException)]
        assert done == [[]] * 2
        assert {type(answer) for answer in answers[:4]} == {list, Unavailable}
        await eventually(lambda: not hurried._extended_leases)

    async def test_leaves_a_user_no_more_connections_than_others(self, hurried: Database, database_url: str) -> None:
        alice, bob = (sign_up(database_url, name) for name in ("alice", "bob"))
        seen = []
        with gate(database_url) as asleep:
            long = [asyncio.create_task(Session(hurried, alice, bulk=True).fetch_all(asleep)) for _ in range(20)]
            await eventually(lambda: hurried._extended_leases)

            for _ in range(20):
                session = Session(hurried, bob)
                # Bob is in no hurry: what counts is that he gets a connection at all.
                session._deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
                seen.append(await session.fetch_one(COUNT))

        await asyncio.gather(*long, return_exceptions=True)
        assert seen == [{"n": 0}] * 20

    async def test_is_not_done_twice_when_its_connection_dies(
        self, hurried: Database, user_id: str, admin: Admin
    ) -> None:
        asleep = sql("SELECT pg_sleep(60)::text", repeatable=True)
        long = asyncio.create_task(Session(hurried, user_id, bulk=True).fetch_all(asleep))
        await eventually(lambda: hurried._extended_leases)

        for (pid,) in admin.execute("SELECT pid FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(60)%'"):
            admin.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))

        with pytest.raises(Unavailable, match="lost"):
            await long
        assert not _busy(admin)

    async def test_ends_at_the_server_when_its_task_is_cancelled(
        self, hurried: Database, database: Database, user_id: str, admin: Admin
    ) -> None:
        """As when the server is told to stop: all or nothing, and nobody waits for what is left of it."""
        work = [(ADD, {"task_id": uuid4()}), (sql("SELECT pg_sleep(60)::text"), {})]
        long = asyncio.create_task(Session(hurried, user_id, bulk=True).execute_many(*work))
        await eventually(lambda: hurried._extended_leases)

        long.cancel()
        await asyncio.wait([long])

        await eventually(lambda: not (hurried._extended_leases or _busy(admin)))
        assert long.cancelled()
        assert await Session(database, user_id).fetch_one(COUNT) == {"n": 0}

    async def test_says_that_it_is_too_much(self, database_url: str, user_id: str) -> None:
        database = Database(database_url, DatabaseOptions(bulk_statement_timeout_milliseconds=50))
        await database.open()

        with pytest.raises(Conflict) as refused:
            await Session(database, user_id, bulk=True).fetch_all(sql("SELECT pg_sleep(60)::text"))

        await database.close()
        assert refused.value.code == "too_much_at_once"


def _busy(admin: Admin) -> list[Any]:
    return admin.execute(
        "SELECT query FROM pg_stat_activity WHERE application_name = 'todo' AND state = 'active'"
        " AND datname = current_database()"
    ).fetchall()


# Task: T-063
class TestRivals:
    """Transactions that gave way to others are repeated: nothing of them was kept."""

    @pytest.fixture
    async def patient(self, database_url: str, admin: Admin) -> AsyncIterator[Database]:
        """A database where deadlocks are found quickly, and a sequence that counts attempts."""
        admin.execute("CREATE SEQUENCE attempts; GRANT USAGE, SELECT ON attempts TO todo_app")
        options = replace(UNHURRIED, statement_timeout_milliseconds=19_000)
        database = Database(make_conninfo(database_url, options="-c deadlock_timeout=50ms"), options)
        await database.open()
        yield database
        await database.close()
        admin.execute("DROP SEQUENCE attempts")

    @pytest.mark.parametrize("sqlstate", ["40001", "40P01"])
    async def test_are_repeated_until_they_pass(self, patient: Database, user_id: str, sqlstate: str) -> None:
        fails_twice = sql(f"DO $$ BEGIN IF nextval('attempts') < 3 THEN RAISE SQLSTATE '{sqlstate}'; END IF; END $$")

        await Session(patient, user_id).execute_many((ADD, {"task_id": uuid4()}), (fails_twice, {}))

        assert await Session(patient, user_id).fetch_one(COUNT) == {"n": 1}

    async def test_are_not_repeated_for_ever(self, patient: Database, user_id: str) -> None:
        fails = sql("DO $$ BEGIN PERFORM nextval('attempts'); RAISE SQLSTATE '40001'; END $$")

        with pytest.raises(Unavailable):
            await Session(patient, user_id).fetch_all(fails)

        assert await Session(patient, user_id).fetch_all(sql("SELECT last_value FROM attempts")) == [{"last_value": 3}]

    async def test_in_a_deadlock_both_win(self, patient: Database, user_id: str, admin: Admin) -> None:
        # Of one user's writers the second waits before it holds anything: they need locks of another kind to be stuck.
        lock = sql("SELECT pg_advisory_xact_lock(816, :number)::text FROM nextval('attempts')")
        meet = sql("SELECT pg_advisory_xact_lock_shared(815)::text")
        admin.execute("SELECT pg_advisory_lock(815)")

        both = [
            asyncio.create_task(
                Session(patient, user_id).execute_many(
                    (lock, {"number": one}), (meet, {}), (lock, {"number": other}), (ADD, {"task_id": uuid4()})
                )
            )
            for one, other in ((1, 2), (2, 1))
        ]
        await eventually(lambda: len(waiting(admin)) == len(both))
        admin.execute("SELECT pg_advisory_unlock(815)")
        await asyncio.gather(*both)

        [attempts] = await Session(patient, user_id).fetch_all(sql("SELECT last_value::int AS n FROM attempts"))
        assert await Session(patient, user_id).fetch_one(COUNT) == {"n": 2}
        assert attempts["n"] > len(both) * 2

    async def test_of_one_user_do_not_lock_each_other_out(self, patient: Database, user_id: str, admin: Admin) -> None:
        """They write to the same rows in opposite order, and nothing has to be repeated."""
        first, second = uuid4(), uuid4()
        for task_id in (first, second):
            await Session(patient, user_id).fetch_one(ADD, task_id=task_id)
        mark = sql(
            "UPDATE tasks SET title = title || '!' FROM nextval('attempts')"
            " WHERE id = CAST(:task_id AS uuid) RETURNING title"
        )
        pause = sql("SELECT pg_sleep(0.01)::text")

        await asyncio.gather(
            *(
                Session(patient, user_id).execute_many(
                    (mark, {"task_id": one}), (pause, {}), (mark, {"task_id": other})
                )
                for one, other in [(first, second), (second, first)] * 5
            )
        )

        titles = await Session(patient, user_id).fetch_all(sql("SELECT title FROM tasks"))
        assert titles == [{"title": "A task" + "!" * 10}] * 2
        assert admin.execute("SELECT last_value FROM attempts").fetchall() == [(20,)]
