"""Sessions: statements with the identity of one user, transactions, timeouts, bulk leases and retries."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from support.databases import open_database
from support.helpers import ADD, COUNT, LONG_TIMEOUTS, PROCESS, eventually, gate, sql, waiting
from support.processes import TIMEOUT_SECONDS
from support.users import sign_up
from todo.database import Database, DatabaseError, DatabaseOptions, Session
from todo.database.statements import raw
from todo.errors import Conflict, Forbidden, NotFound, Unavailable

Admin = psycopg.Connection[Any]

WHO = sql("SELECT app.uid() AS id, current_user::text AS role", repeatable=True)
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
    async def test_identity_is_the_exact_user_id(self, database: Database, admin: Admin, user_id: str) -> None:
        admin.execute(
            'INSERT INTO "user" (id, name, email, "emailVerified") VALUES (%s, %s, %s, true)', (user_id, "odd", uuid4())
        )
        session = Session(database, user_id)

        await session.fetch_one(ADD, task_id=uuid4())

        assert await session.fetch_one(WHO) == {"id": user_id, "role": "todo_app"}
        assert await session.fetch_one(COUNT) == {"n": 1}
        assert await Session(database, f"{user_id} ").fetch_one(COUNT) == {"n": 0}
        admin.execute('DELETE FROM "user" WHERE id = %s', (user_id,))

    async def test_identity_with_nul_is_rejected(self, database: Database, user_id: str) -> None:
        with pytest.raises(ValueError, match="NUL"):
            await Session(database, f"{user_id}\x00").fetch_one(COUNT)

    async def test_identity_cannot_be_set_by_a_parameter(self, database: Database, user_id: str) -> None:
        row = await Session(database, user_id).fetch_one(sql("SELECT CAST(:user_id AS text) AS id"), user_id="another")

        assert row == {"id": user_id}

    async def test_identity_ends_with_its_transaction(self, solo: Database, user_id: str) -> None:
        await Session(solo, user_id).fetch_one(ADD, task_id=uuid4())

        after = await _without_identity(solo, "SELECT app.uid() AS id, current_user::text AS role")

        assert after == [{"id": None, "role": "postgres"}]

    async def test_identity_that_leaks_into_the_session_shows_no_rows(self, solo: Database, user_id: str) -> None:
        await Session(solo, user_id).fetch_one(ADD, task_id=uuid4())
        await _without_identity(
            solo, f"SELECT set_config('app.user', extract(epoch FROM now()) || ' {user_id}', false)::text AS leaked"
        )

        visible = await _without_identity(
            solo,
            "SELECT set_config('role', 'todo_app', true) AS role",
            "SELECT app.uid() AS id, count(*)::int FROM tasks",
        )
        count_of_bob = await Session(solo, "bob").fetch_one(COUNT)
        count_of_alice = await Session(solo, user_id).fetch_one(COUNT)

        assert visible == [{"id": None, "count": 0}]
        assert (count_of_bob, count_of_alice) == ({"n": 0}, {"n": 1})

    async def test_identity_applies_to_every_statement_of_a_round_trip(self, solo: Database, user_id: str) -> None:
        rows = await Session(solo, user_id).execute_many((WHO, {}), (ADD, {"task_id": uuid4()}), (WHO, {}), (COUNT, {}))

        who = [{"id": user_id, "role": "todo_app"}]
        assert rows == [who, [{"title": "A task"}], who, [{"n": 1}]]

    async def test_statement_after_the_end_of_a_transaction_is_refused(self, solo: Database, user_id: str) -> None:
        """It would run on the same connection, but no longer with the identity of the transaction."""
        session = Session(solo, user_id)

        async with session.transaction((WHO, {})):
            await session.finish((WHO, {}))
            with pytest.raises(RuntimeError, match="finished"):
                await session.fetch_one(WHO)

        assert (await session.fetch_one(WHO))["id"] == user_id

    async def test_rows_of_another_user_cannot_be_written(self, database: Database, database_url: str) -> None:
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
    """Run statements in one transaction without the identity, and return the rows of the last one."""
    texts = [raw(statement) for statement in statements]
    deadline = asyncio.get_running_loop().time() + 5
    connection = await database.acquire(deadline=deadline)
    try:
        results = await connection.execute_pipeline([(text, ()) for text in texts], deadline=deadline)
        return connection.rows(results[-1], texts[-1])
    finally:
        await database.release(connection)


# Task: T-023
class TestFetchOne:
    async def test_fetch_one_returns_the_row(self, database: Database, user_id: str) -> None:
        assert await Session(database, user_id).fetch_one(COUNT) == {"n": 0}

    async def test_fetch_one_raises_not_found_without_a_row(self, database: Database, user_id: str) -> None:
        with pytest.raises(NotFound):
            await Session(database, user_id).fetch_one(sql("SELECT title FROM tasks", repeatable=True))

    async def test_write_of_a_deleted_account_is_forbidden(self, database: Database) -> None:
        with pytest.raises(Forbidden) as forbidden:
            await Session(database, "nobody").fetch_one(sql("DELETE FROM tasks RETURNING title"))

        assert forbidden.value.code == "account_gone"

    async def test_insert_of_a_deleted_account_is_forbidden(self, database: Database) -> None:
        with pytest.raises(Forbidden) as forbidden:
            await Session(database, "nobody").fetch_one(ADD, task_id=uuid4())

        assert forbidden.value.code == "account_gone"


# Task: T-023
class TestTransaction:
    async def test_transaction_commits_all_statements(self, solo: Database, user_id: str) -> None:
        session = Session(solo, user_id)

        async with session.transaction():
            await session.fetch_one(ADD, task_id=uuid4())
            await session.fetch_one(ADD, task_id=uuid4())
            assert await session.fetch_one(WHO) == {"id": user_id, "role": "todo_app"}

        assert await Session(solo, user_id).fetch_one(COUNT) == {"n": 2}

    async def test_transaction_is_invisible_to_others_until_it_commits(self, database: Database, user_id: str) -> None:
        session = Session(database, user_id)

        async with session.transaction():
            await session.fetch_one(ADD, task_id=uuid4())
            before = await Session(database, user_id).fetch_one(COUNT)

        assert (before, await Session(database, user_id).fetch_one(COUNT)) == ({"n": 0}, {"n": 1})

    async def test_transaction_with_a_failing_body_rolls_back_and_keeps_its_connection(
        self, solo: Database, user_id: str
    ) -> None:
        session = Session(solo, user_id)
        before = await session.fetch_all(PROCESS)

        with pytest.raises(KeyError):
            async with session.transaction():
                await session.fetch_one(ADD, task_id=uuid4())
                raise KeyError

        assert await Session(solo, user_id).fetch_one(COUNT) == {"n": 0}
        assert await Session(solo, user_id).fetch_all(PROCESS) == before

    async def test_transaction_with_a_failing_statement_rolls_back(self, solo: Database, user_id: str) -> None:
        session = Session(solo, user_id)

        with pytest.raises(DatabaseError, match="22012"):
            async with session.transaction():
                await session.fetch_one(ADD, task_id=uuid4())
                await session.fetch_all(FAIL)

        assert await Session(solo, user_id).fetch_one(COUNT) == {"n": 0}

    async def test_transaction_whose_body_suppresses_an_error_raises_at_commit(
        self, solo: Database, user_id: str
    ) -> None:
        session = Session(solo, user_id)

        with pytest.raises(DatabaseError, match="25P02"):
            async with session.transaction():
                await session.fetch_one(ADD, task_id=uuid4())
                with pytest.raises(DatabaseError):
                    await session.fetch_all(FAIL)

        assert await Session(solo, user_id).fetch_one(COUNT) == {"n": 0}

    async def test_transaction_cannot_be_nested(self, solo: Database, user_id: str) -> None:
        session = Session(solo, user_id)

        with pytest.raises(RuntimeError, match="cannot be nested"):
            async with session.transaction(), session.transaction():
                pass

        assert await Session(solo, user_id).fetch_one(COUNT) == {"n": 0}

    async def test_cancelled_transaction_rolls_back(self, solo: Database, user_id: str) -> None:
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

    async def test_transaction_starts_on_a_new_connection_if_the_idle_one_was_lost(
        self, solo: Database, user_id: str, admin: Admin
    ) -> None:
        for _ in range(3):
            session = Session(solo, user_id)
            async with session.transaction():
                [row] = await session.fetch_all(PROCESS)
                await session.fetch_one(ADD, task_id=uuid4())
            admin.execute("SELECT pg_terminate_backend(%s, 5000)", (row["id"],))

        assert await Session(solo, user_id).fetch_one(COUNT) == {"n": 3}

    async def test_transaction_on_a_lost_connection_rolls_back(
        self, solo: Database, user_id: str, admin: Admin
    ) -> None:
        session = Session(solo, user_id)

        with pytest.raises(Unavailable):
            async with session.transaction():
                [row] = await session.fetch_all(PROCESS)
                await session.fetch_one(ADD, task_id=uuid4())
                admin.execute("SELECT pg_terminate_backend(%s, 5000)", (row["id"],))
                await session.fetch_one(ADD, task_id=uuid4())

        assert await Session(solo, user_id).fetch_one(COUNT) == {"n": 0}

    async def test_transaction_past_its_deadline_is_not_committed(self, solo: Database, user_id: str) -> None:
        session = Session(solo, user_id)

        with pytest.raises(Unavailable):
            async with session.transaction():
                await session.fetch_one(ADD, task_id=uuid4())
                session._deadline = asyncio.get_running_loop().time()

        assert await Session(solo, user_id).fetch_one(COUNT) == {"n": 0}


# Task: T-063
class TestBusyDatabase:
    async def test_temporary_failure_raises_unavailable(self, solo: Database, user_id: str) -> None:
        with pytest.raises(Unavailable) as unavailable:
            await Session(solo, user_id).fetch_all(sql("DO $$ BEGIN RAISE SQLSTATE '53100'; END $$"))

        assert unavailable.value.headers == {"Retry-After": "1"}
        assert await Session(solo, user_id).fetch_one(COUNT) == {"n": 0}

    async def test_read_only_database_serves_reads_and_rejects_writes(self, database_url: str) -> None:
        user_id = sign_up(database_url, "alice")
        async with open_database(f"{database_url}&options=-c%20default_transaction_read_only%3Don") as database:
            with pytest.raises(Unavailable):
                await Session(database, user_id).fetch_one(ADD, task_id=uuid4())

            assert await Session(database, user_id).fetch_one(COUNT) == {"n": 0}

    async def test_default_timeouts_are_below_two_seconds(self) -> None:
        options = DatabaseOptions()

        assert options.statement_timeout_milliseconds / 1000 < options.budget_seconds < 1.8

    @pytest.mark.parametrize("table", ["tasks", None])
    async def test_deadline_cancels_the_statement_on_the_server(
        self, database_url: str, user_id: str, admin: Admin, table: str | None
    ) -> None:
        """The statement sleeps or waits for a lock. The server's timeout is longer, so the session must cancel it."""
        async with open_database(
            database_url, replace(LONG_TIMEOUTS, pool_size=1, statement_timeout_milliseconds=60_000)
        ) as database:
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

    async def test_statement_timeout_of_the_server_keeps_the_connection(self, database_url: str, user_id: str) -> None:
        options = replace(LONG_TIMEOUTS, pool_size=1, statement_timeout_milliseconds=500)
        async with open_database(database_url, options) as database:
            session = Session(database, user_id)
            [before] = await session.fetch_all(PROCESS)

            with pytest.raises(Unavailable, match="busy"):
                await session.fetch_all(sql("SELECT pg_sleep(60)::text"))

            assert await session.fetch_all(PROCESS) == [before]

    async def test_all_round_trips_of_a_request_share_one_deadline(self, database_url: str, user_id: str) -> None:
        async with open_database(database_url, DatabaseOptions(pool_size=1, budget_seconds=0.5)) as database:
            await eventually(lambda: database._pool.get_stats()["pool_available"])
            session = Session(database, user_id)

            with pytest.raises(Unavailable):
                for _ in range(100):
                    await session.fetch_all(sql("SELECT pg_sleep(0.1)::text"))


# Task: T-383
class TestBulk:
    """Bulk sessions with an extended lease. Two of eight connections may be used for them."""

    @pytest.fixture
    async def short_timeouts(self, database_url: str) -> AsyncIterator[Database]:
        options = replace(LONG_TIMEOUTS, pool_size=8, budget_seconds=0.4, statement_timeout_milliseconds=1_000)
        async with open_database(database_url, options) as database:
            await eventually(lambda: database._pool.get_stats()["pool_available"])
            yield database

    async def test_bulk_statement_may_exceed_the_usual_timeout(self, short_timeouts: Database, user_id: str) -> None:
        asleep = sql("SELECT pg_sleep(1.2)::text AS it")

        assert await Session(short_timeouts, user_id, bulk=True).fetch_all(asleep) == [{"it": ""}]
        with pytest.raises(Unavailable):
            await Session(short_timeouts, user_id).fetch_all(asleep)

    async def test_bulk_transaction_may_exceed_the_usual_timeout(
        self, short_timeouts: Database, database: Database, user_id: str
    ) -> None:
        session = Session(short_timeouts, user_id, bulk=True)
        async with session.transaction():
            await session.fetch_one(ADD, task_id=uuid4())
            await session.fetch_all(sql("SELECT pg_sleep(1.2)::text"))
            await session.fetch_one(ADD, task_id=uuid4())

        assert await Session(database, user_id).fetch_one(COUNT) == {"n": 2}

    async def test_bulk_session_has_the_usual_lock_timeout(
        self, short_timeouts: Database, user_id: str, admin: Admin
    ) -> None:
        with psycopg.connect(admin.info.dsn) as holder:
            holder.execute("SELECT pg_advisory_xact_lock(4711)")
            with pytest.raises(Unavailable, match="busy"):
                await Session(short_timeouts, user_id, bulk=True).fetch_all(
                    sql("SELECT pg_advisory_xact_lock(4711)::text")
                )

        assert not short_timeouts._extended_leases

    async def test_one_bulk_lease_per_user_and_two_in_all_are_granted(
        self, short_timeouts: Database, database_url: str
    ) -> None:
        alice, bob, charlie = (sign_up(database_url, name) for name in ("alice", "bob", "charlie"))

        with gate(database_url) as asleep:
            first = [asyncio.create_task(Session(short_timeouts, alice, bulk=True).fetch_all(asleep)) for _ in range(4)]
            await eventually(lambda: short_timeouts._extended_leases)
            others = [
                asyncio.create_task(Session(short_timeouts, who, bulk=True).fetch_all(asleep))
                for who in (bob, bob, charlie)
            ]
            await eventually(lambda: sum(task.done() for task in (*first, *others)) == 5)
        answers = await asyncio.gather(*first, *others, return_exceptions=True)

        done = [answer for answer in answers if not isinstance(answer, BaseException)]
        assert done == [[]] * 2
        assert {type(answer) for answer in answers[:4]} == {list, Unavailable}
        await eventually(lambda: not short_timeouts._extended_leases)

    async def test_bulk_sessions_leave_connections_for_other_users(
        self, short_timeouts: Database, database_url: str
    ) -> None:
        alice, bob = (sign_up(database_url, name) for name in ("alice", "bob"))
        counts = []
        with gate(database_url) as asleep:
            long = [asyncio.create_task(Session(short_timeouts, alice, bulk=True).fetch_all(asleep)) for _ in range(20)]
            await eventually(lambda: short_timeouts._extended_leases)

            for _ in range(20):
                session = Session(short_timeouts, bob)
                # A long deadline: the test only checks that Bob gets a connection.
                session._deadline = asyncio.get_running_loop().time() + TIMEOUT_SECONDS
                counts.append(await session.fetch_one(COUNT))

        await asyncio.gather(*long, return_exceptions=True)
        assert counts == [{"n": 0}] * 20

    async def test_bulk_statement_is_not_repeated_if_its_connection_is_lost(
        self, short_timeouts: Database, user_id: str, admin: Admin
    ) -> None:
        asleep = sql("SELECT pg_sleep(60)::text", repeatable=True)
        long = asyncio.create_task(Session(short_timeouts, user_id, bulk=True).fetch_all(asleep))
        await eventually(lambda: short_timeouts._extended_leases)

        for (pid,) in admin.execute("SELECT pid FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(60)%'"):
            admin.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))

        with pytest.raises(Unavailable, match="lost"):
            await long
        assert not _busy(admin)

    async def test_cancelled_bulk_statement_ends_on_the_server(
        self, short_timeouts: Database, database: Database, user_id: str, admin: Admin
    ) -> None:
        """A shutdown cancels it, too: everything is rolled back, and no request waits for it."""
        work = [(ADD, {"task_id": uuid4()}), (sql("SELECT pg_sleep(60)::text"), {})]
        long = asyncio.create_task(Session(short_timeouts, user_id, bulk=True).execute_many(*work))
        await eventually(lambda: short_timeouts._extended_leases)

        long.cancel()
        await asyncio.wait([long])

        await eventually(lambda: not (short_timeouts._extended_leases or _busy(admin)))
        assert long.cancelled()
        assert await Session(database, user_id).fetch_one(COUNT) == {"n": 0}

    async def test_bulk_statement_past_its_timeout_raises_conflict(self, database_url: str, user_id: str) -> None:
        async with open_database(database_url, DatabaseOptions(bulk_statement_timeout_milliseconds=50)) as database:
            with pytest.raises(Conflict) as refused:
                await Session(database, user_id, bulk=True).fetch_all(sql("SELECT pg_sleep(60)::text"))

        assert refused.value.code == "too_much_at_once"


def _busy(admin: Admin) -> list[Any]:
    return admin.execute(
        "SELECT query FROM pg_stat_activity WHERE application_name = 'todo' AND state = 'active'"
        " AND datname = current_database()"
    ).fetchall()


# Task: T-063
class TestRetries:
    """Transactions that were rolled back in favour of others are repeated."""

    @pytest.fixture
    async def retrying(self, database_url: str, admin: Admin) -> AsyncIterator[Database]:
        """A database that detects deadlocks after 50 ms, with a sequence that counts attempts."""
        admin.execute("CREATE SEQUENCE attempts; GRANT USAGE, SELECT ON attempts TO todo_app")
        options = replace(LONG_TIMEOUTS, statement_timeout_milliseconds=19_000)
        async with open_database(make_conninfo(database_url, options="-c deadlock_timeout=50ms"), options) as database:
            yield database

        admin.execute("DROP SEQUENCE attempts")

    @pytest.mark.parametrize("sqlstate", ["40001", "40P01"])
    async def test_serialization_failure_is_retried_until_it_succeeds(
        self, retrying: Database, user_id: str, sqlstate: str
    ) -> None:
        fails_twice = sql(f"DO $$ BEGIN IF nextval('attempts') < 3 THEN RAISE SQLSTATE '{sqlstate}'; END IF; END $$")

        await Session(retrying, user_id).execute_many((ADD, {"task_id": uuid4()}), (fails_twice, {}))

        assert await Session(retrying, user_id).fetch_one(COUNT) == {"n": 1}

    async def test_retries_are_limited(self, retrying: Database, user_id: str) -> None:
        fails = sql("DO $$ BEGIN PERFORM nextval('attempts'); RAISE SQLSTATE '40001'; END $$")

        with pytest.raises(Unavailable):
            await Session(retrying, user_id).fetch_all(fails)

        assert await Session(retrying, user_id).fetch_all(sql("SELECT last_value FROM attempts")) == [{"last_value": 3}]

    async def test_both_transactions_of_a_deadlock_succeed(
        self, retrying: Database, user_id: str, admin: Admin
    ) -> None:
        # Writers of one user queue before they lock rows, so the deadlock needs other locks.
        lock = sql("SELECT pg_advisory_xact_lock(816, :number)::text FROM nextval('attempts')")
        meet = sql("SELECT pg_advisory_xact_lock_shared(815)::text")
        admin.execute("SELECT pg_advisory_lock(815)")

        both = [
            asyncio.create_task(
                Session(retrying, user_id).execute_many(
                    (lock, {"number": one}), (meet, {}), (lock, {"number": other}), (ADD, {"task_id": uuid4()})
                )
            )
            for one, other in ((1, 2), (2, 1))
        ]
        await eventually(lambda: len(waiting(admin)) == len(both))
        admin.execute("SELECT pg_advisory_unlock(815)")
        await asyncio.gather(*both)

        [attempts] = await Session(retrying, user_id).fetch_all(sql("SELECT last_value::int AS n FROM attempts"))
        assert await Session(retrying, user_id).fetch_one(COUNT) == {"n": 2}
        assert attempts["n"] > len(both) * 2

    async def test_writers_of_one_user_do_not_deadlock(self, retrying: Database, user_id: str, admin: Admin) -> None:
        """They write the same rows in opposite order, and no transaction is repeated."""
        first, second = uuid4(), uuid4()
        for task_id in (first, second):
            await Session(retrying, user_id).fetch_one(ADD, task_id=task_id)
        mark = sql(
            "UPDATE tasks SET title = title || '!' FROM nextval('attempts')"
            " WHERE id = CAST(:task_id AS uuid) RETURNING title"
        )
        pause = sql("SELECT pg_sleep(0.01)::text")

        await asyncio.gather(
            *(
                Session(retrying, user_id).execute_many(
                    (mark, {"task_id": one}), (pause, {}), (mark, {"task_id": other})
                )
                for one, other in [(first, second), (second, first)] * 5
            )
        )

        titles = await Session(retrying, user_id).fetch_all(sql("SELECT title FROM tasks"))
        assert titles == [{"title": "A task" + "!" * 10}] * 2
        assert admin.execute("SELECT last_value FROM attempts").fetchall() == [(20,)]
