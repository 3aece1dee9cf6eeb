"""Requests that are repeated with an idempotency key: one effect and the same response, whatever happens in between."""

import asyncio
from dataclasses import replace
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from sqlalchemy import DateTime, Text, Uuid, bindparam, column, func, insert, table, update

from support.databases import open_database
from support.helpers import COUNT, eventually, sql
from support.idempotency_keys import age_keys, holding_key
from support.round_trips import open_watched
from todo.database import Database, IdempotencyKey, OwnedByCaller, Row, Session, Statement
from todo.database.errors import ConnectionLost
from todo.errors import Conflict, Forbidden, Invalid, Unavailable

Admin = psycopg.Connection[Any]

KEY = IdempotencyKey("one", b"digest")

_tasks = table(
    "tasks",
    column("user_id", Text),
    column("id", Uuid),
    column("title", Text),
    column("status", Text),
    column("priority", Text),
    column("created_at", DateTime(timezone=True)),
    column("updated_at", DateTime(timezone=True)),
    column("creation_digest"),
)
NEW = Statement(
    insert(_tasks)
    .values(
        user_id=bindparam("user_id"),
        id=bindparam("task_id"),
        title=bindparam("title"),
        status="pending",
        priority="low",
        created_at=func.now(),
        updated_at=func.now(),
        creation_digest="",
    )
    .returning(_tasks.c.id, _tasks.c.title, _tasks.c.created_at)
)
MARK = Statement(
    update(_tasks)
    .where(OwnedByCaller(_tasks), _tasks.c.title == bindparam("old"))
    .values(title=_tasks.c.title + "!")
    .returning(_tasks.c.title)
)


def keyed(database: Database, user_id: str, key: IdempotencyKey = KEY) -> Session:
    """Return a session as a request with a key gets it."""
    session = Session(database, user_id)
    session.idempotency_key = key
    return session


async def add(session: Session, title: str = 'T\u00efme: "09:00:00+00:00"') -> Row:
    """Add a task with a new id."""
    return await session.fetch_one(NEW, task_id=uuid4(), title=title)


def keys_of(admin: Admin, user_id: str) -> list[tuple[str, bytes]]:
    """Return the stored keys of the user with the digests of their requests."""
    return admin.execute(
        "SELECT key, request_digest FROM idempotency_keys WHERE user_id = %s ORDER BY key", (user_id,)
    ).fetchall()


# Task: T-131
class TestStatement:
    async def test_repeated_statement_has_one_effect_and_the_same_response(
        self, database: Database, user_id: str
    ) -> None:
        first, second = keyed(database, user_id), keyed(database, user_id)

        answer = await add(first)
        again = await add(second)

        assert list(again.items()) == list(answer.items())
        assert (first.replayed, second.replayed) == (False, True)
        assert await Session(database, user_id).fetch_one(COUNT) == {"n": 1}

    async def test_statement_with_a_key_takes_one_round_trip_each_time(self, database_url: str, user_id: str) -> None:
        async with open_watched(database_url) as (database, trips):
            counts = []
            for _ in range(2):
                trips.count = 0
                await add(keyed(database, user_id))
                counts.append(trips.count)

            assert counts == [1, 1]

    async def test_statement_is_sent_again_if_its_response_was_lost(self, database_url: str, user_id: str) -> None:
        async with open_watched(database_url) as (database, trips):

            def lose(trip: int) -> None:
                if trip == 1:
                    raise ConnectionLost(untouched=False)

            trips.count = 0
            trips.after = lose
            session = keyed(database, user_id)

            answer = await add(session)

            assert (trips.count, session.replayed) == (2, True)
            assert await Session(database, user_id).fetch_all(sql("SELECT title FROM tasks")) == [
                {"title": answer["title"]}
            ]

    async def test_client_can_repeat_a_statement_whose_outcome_was_unknown(
        self, database_url: str, user_id: str
    ) -> None:
        """The statement committed but its response was lost, so the client gets a 503 and repeats the request."""
        async with open_watched(database_url) as (database, trips):

            def lose(_: int) -> None:
                raise ConnectionLost(untouched=False)

            trips.count = 0
            trips.after = lose
            trips.before = lambda trip: lose(trip) if trip > 1 else None
            with pytest.raises(Unavailable):
                await add(keyed(database, user_id))
            trips.before = trips.after = lambda _: None
            session = keyed(database, user_id)

            await add(session)

            assert session.replayed
            assert await Session(database, user_id).fetch_one(COUNT) == {"n": 1}

    async def test_statement_without_an_effect_stores_no_key(
        self, database: Database, user_id: str, admin: Admin
    ) -> None:
        session = keyed(database, user_id)

        missed = await session.fetch_first(MARK, old="nothing")
        before = keys_of(admin, user_id)
        made = await add(session)

        assert (missed, before, session.replayed) == (None, [], False)
        assert keys_of(admin, user_id) == [("one", b"digest")]
        assert await Session(database, user_id).fetch_first(MARK, old=made["title"]) is not None

    async def test_statement_with_the_key_of_another_request_is_rejected(
        self, database: Database, user_id: str
    ) -> None:
        await add(keyed(database, user_id))

        with pytest.raises(Invalid) as refused:
            await add(keyed(database, user_id, replace(KEY, digest=b"another")))

        assert refused.value.code == "idempotency_key_reused"
        assert [error.pointer for error in refused.value.errors] == ["/idempotency-key"]
        assert await Session(database, user_id).fetch_one(COUNT) == {"n": 1}

    async def test_statement_without_an_effect_is_rejected_with_the_key_of_another_request(
        self, database: Database, user_id: str
    ) -> None:
        await add(keyed(database, user_id))

        with pytest.raises(Invalid):
            await keyed(database, user_id, replace(KEY, digest=b"another")).fetch_first(MARK, old="nothing")

    async def test_key_expires_after_a_day(
        self, database: Database, database_url: str, user_id: str, admin: Admin
    ) -> None:
        await add(keyed(database, user_id))
        age_keys(database_url, user_id, "23 hours 59 minutes")
        young = keyed(database, user_id)
        await add(young)
        age_keys(database_url, user_id, "24 hours 1 second")
        old = keyed(database, user_id, replace(KEY, digest=b"another"))

        await add(old)

        assert (young.replayed, old.replayed) == (True, False)
        assert keys_of(admin, user_id) == [("one", b"another")]
        assert await Session(database, user_id).fetch_one(COUNT) == {"n": 2}

    async def test_twenty_concurrent_statements_with_one_key_have_one_effect(
        self, database: Database, user_id: str
    ) -> None:
        sessions = [keyed(database, user_id) for _ in range(20)]

        answers = await asyncio.gather(*(add(session) for session in sessions))

        assert answers == [answers[0]] * 20
        assert [session.replayed for session in sessions].count(False) == 1
        assert await Session(database, user_id).fetch_one(COUNT) == {"n": 1}

    async def test_statement_waits_for_a_running_request_with_its_key_and_then_raises_conflict(
        self, database: Database, database_url: str, user_id: str
    ) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()

        with holding_key(database_url, user_id, "one"), pytest.raises(Conflict) as refused:
            await add(keyed(database, user_id))

        assert refused.value.code == "idempotency_key_in_use"
        assert loop.time() - began > 1
        # Neither the lock nor an effect is left.
        await add(keyed(database, user_id))
        assert await Session(database, user_id).fetch_one(COUNT) == {"n": 1}

    async def test_statement_does_not_wait_for_another_key(
        self, database: Database, database_url: str, user_id: str
    ) -> None:
        with holding_key(database_url, user_id, "one"):
            await add(keyed(database, user_id, replace(KEY, key="two")))

        assert await Session(database, user_id).fetch_one(COUNT) == {"n": 1}

    async def test_statement_of_a_deleted_account_is_forbidden_and_stores_no_key(
        self, database: Database, admin: Admin
    ) -> None:
        with pytest.raises(Forbidden):
            await add(keyed(database, "nobody"))

        assert keys_of(admin, "nobody") == []

    async def test_keys_are_deleted_with_their_user(self, database: Database, user_id: str, admin: Admin) -> None:
        await add(keyed(database, user_id))

        admin.execute('DELETE FROM "user" WHERE id = %s', (user_id,))

        assert keys_of(admin, user_id) == []


# Task: T-131
class TestTransaction:
    @staticmethod
    async def add_two(session: Session) -> list[Row]:
        async with session.transaction() as (stored, _):
            if stored is not None:
                return stored
            answer = [await add(session), await add(session)]
            session.store_response(answer)
        return answer

    async def test_repeated_transaction_has_one_effect_and_the_same_response(
        self, database: Database, user_id: str
    ) -> None:
        first, second = keyed(database, user_id), keyed(database, user_id)

        answer = await self.add_two(first)
        again = await self.add_two(second)

        assert again == answer
        assert (first.replayed, second.replayed) == (False, True)
        assert await Session(database, user_id).fetch_one(COUNT) == {"n": 2}

    async def test_twenty_concurrent_transactions_with_one_key_have_one_effect(
        self, database: Database, user_id: str
    ) -> None:
        answers = await asyncio.gather(*(self.add_two(keyed(database, user_id)) for _ in range(20)))

        assert answers == [answers[0]] * 20
        assert await Session(database, user_id).fetch_one(COUNT) == {"n": 2}

    async def test_transaction_with_the_key_of_another_request_is_rejected(self, solo: Database, user_id: str) -> None:
        await self.add_two(keyed(solo, user_id))

        with pytest.raises(Invalid):
            await self.add_two(keyed(solo, user_id, replace(KEY, digest=b"another")))

        assert await Session(solo, user_id).fetch_one(COUNT) == {"n": 2}

    async def test_failed_transaction_stores_no_key(self, solo: Database, user_id: str, admin: Admin) -> None:
        session = keyed(solo, user_id)

        async def fail() -> None:
            async with session.transaction():
                session.store_response([await add(session)])
                raise KeyError

        with pytest.raises(KeyError):
            await fail()

        assert (keys_of(admin, user_id), await Session(solo, user_id).fetch_one(COUNT)) == ([], {"n": 0})
        assert len(await self.add_two(session)) == 2
        assert await Session(solo, user_id).fetch_one(COUNT) == {"n": 2}

    async def test_transaction_with_the_key_of_a_running_request_raises_conflict(
        self, database: Database, database_url: str, user_id: str
    ) -> None:
        with holding_key(database_url, user_id, "one"), pytest.raises(Conflict) as refused:
            await self.add_two(keyed(database, user_id))

        assert refused.value.code == "idempotency_key_in_use"
        assert await Session(database, user_id).fetch_one(COUNT) == {"n": 0}

    async def test_client_can_repeat_a_transaction_whose_commit_was_unknown(
        self, database_url: str, user_id: str
    ) -> None:
        async with open_watched(database_url) as (database, trips):

            def lose(trip: int) -> None:
                # The trips are: begin, two statements, commit.
                if trip == 4:
                    raise ConnectionLost(untouched=False)

            trips.count = 0
            trips.after = lose
            with pytest.raises(Unavailable):
                await self.add_two(keyed(database, user_id))
            session = keyed(database, user_id)

            answer = await self.add_two(session)

            assert (len(answer), session.replayed) == (2, True)
            assert await Session(database, user_id).fetch_one(COUNT) == {"n": 2}


# Task: T-131
@pytest.mark.slow
class TestKilledConnection:
    async def test_requests_have_one_effect_although_connections_are_killed(
        self, database_url: str, user_id: str, admin: Admin
    ) -> None:
        """Server processes are killed again and again, while requests are repeated until they succeed."""
        async with open_database(database_url) as database:
            done = asyncio.Event()

            async def kill() -> None:
                while not done.is_set():
                    admin.execute(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                        " WHERE pid <> pg_backend_pid() AND datname = current_database()"
                        " AND query LIKE '%idempotency_keys%'"
                    )
                    await asyncio.sleep(0.002)

            async def insist(number: int) -> Row:
                while True:
                    try:
                        return await add(
                            keyed(database, user_id, IdempotencyKey(f"key {number}", b"")), f"task {number}"
                        )
                    except (Unavailable, Conflict):
                        await asyncio.sleep(0.01)

            killing = asyncio.create_task(kill())
            answers = await asyncio.gather(*(insist(number) for number in range(50)))
            done.set()
            await killing
            await eventually(lambda: database._pool.get_stats()["pool_available"])

            rows = await Session(database, user_id).fetch_all(sql("SELECT title FROM tasks", repeatable=True))
            assert sorted(row["title"] for row in rows) == sorted(answer["title"] for answer in answers)
            assert len(rows) == 50
