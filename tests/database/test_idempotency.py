"""Requests that come again: one effect, one answer, whatever happens in between."""

import asyncio
from dataclasses import replace
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from sqlalchemy import DateTime, Text, Uuid, bindparam, column, func, insert, table, update

from support.helpers import COUNT, eventually, sql
from support.keys import age_keys, holding_key
from support.trips import Trips, watched
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
    """A session such as a request with a key gets."""
    session = Session(database, user_id)
    session.idempotency_key = key
    return session


async def add(session: Session, title: str = 'T\u00efme: "09:00:00+00:00"') -> Row:
    """Make a task, which has another id each time."""
    return await session.fetch_one(NEW, task_id=uuid4(), title=title)


def keys_of(admin: Admin, user_id: str) -> list[tuple[str, bytes]]:
    """The keys that are kept for the user, and the digests of their requests."""
    return admin.execute(
        "SELECT key, request_digest FROM idempotency_keys WHERE user_id = %s ORDER BY key", (user_id,)
    ).fetchall()


# Task: T-131
class TestStatement:
    async def test_has_its_effect_once_and_is_answered_the_same(self, database: Database, user_id: str) -> None:
        first, second = keyed(database, user_id), keyed(database, user_id)

        answer = await add(first)
        again = await add(second)

        assert list(again.items()) == list(answer.items())
        assert (first.replayed, second.replayed) == (False, True)
        assert await Session(database, user_id).fetch_one(COUNT) == {"n": 1}

    async def test_takes_one_trip_the_first_time_and_again(self, database_url: str, user_id: str) -> None:
        database, trips = await opened(database_url)

        counts = []
        for _ in range(2):
            trips.count = 0
            await add(keyed(database, user_id))
            counts.append(trips.count)

        assert counts == [1, 1]
        await database.close()

    async def test_is_sent_again_when_its_answer_was_lost(self, database_url: str, user_id: str) -> None:
        database, trips = await opened(database_url)

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
        await database.close()

    async def test_comes_again_after_the_server_was_lost_with_the_answer(self, database_url: str, user_id: str) -> None:
        """It committed, and nobody heard of it: the client is told to look, and sends it again."""
        database, trips = await opened(database_url)

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
        await database.close()

    async def test_keeps_nothing_without_an_effect(self, database: Database, user_id: str, admin: Admin) -> None:
        session = keyed(database, user_id)

        missed = await session.fetch_first(MARK, old="nothing")
        before = keys_of(admin, user_id)
        made = await add(session)

        assert (missed, before, session.replayed) == (None, [], False)
        assert keys_of(admin, user_id) == [("one", b"digest")]
        assert await Session(database, user_id).fetch_first(MARK, old=made["title"]) is not None

    async def test_is_refused_under_the_key_of_another_request(self, database: Database, user_id: str) -> None:
        await add(keyed(database, user_id))

        with pytest.raises(Invalid) as refused:
            await add(keyed(database, user_id, replace(KEY, digest=b"another")))

        assert refused.value.code == "idempotency_key_reused"
        assert [error.pointer for error in refused.value.errors] == ["/idempotency-key"]
        assert await Session(database, user_id).fetch_one(COUNT) == {"n": 1}

    async def test_is_refused_even_where_it_would_do_nothing(self, database: Database, user_id: str) -> None:
        await add(keyed(database, user_id))

        with pytest.raises(Invalid):
            await keyed(database, user_id, replace(KEY, digest=b"another")).fetch_first(MARK, old="nothing")

    async def test_is_new_under_a_key_of_more_than_a_day(
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

    async def test_has_one_effect_of_twenty_at_once(self, database: Database, user_id: str) -> None:
        sessions = [keyed(database, user_id) for _ in range(20)]

        answers = await asyncio.gather(*(add(session) for session in sessions))

        assert answers == [answers[0]] * 20
        assert [session.replayed for session in sessions].count(False) == 1
        assert await Session(database, user_id).fetch_one(COUNT) == {"n": 1}

    async def test_waits_for_an_equal_one_that_is_still_running_and_then_says_so(
        self, database: Database, database_url: str, user_id: str
    ) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()

        with holding_key(database_url, user_id, "one"), pytest.raises(Conflict) as refused:
            await add(keyed(database, user_id))

        assert refused.value.code == "idempotency_key_in_use"
        assert loop.time() - began > 1
        # Nothing of it is left: neither the lock nor an effect.
        await add(keyed(database, user_id))
        assert await Session(database, user_id).fetch_one(COUNT) == {"n": 1}

    async def test_does_not_wait_for_another_key(self, database: Database, database_url: str, user_id: str) -> None:
        with holding_key(database_url, user_id, "one"):
            await add(keyed(database, user_id, replace(KEY, key="two")))

        assert await Session(database, user_id).fetch_one(COUNT) == {"n": 1}

    async def test_is_forbidden_and_keeps_nothing_when_the_account_is_gone(
        self, database: Database, admin: Admin
    ) -> None:
        with pytest.raises(Forbidden):
            await add(keyed(database, "nobody"))

        assert keys_of(admin, "nobody") == []

    async def test_goes_with_its_user(self, database: Database, user_id: str, admin: Admin) -> None:
        await add(keyed(database, user_id))

        admin.execute('DELETE FROM "user" WHERE id = %s', (user_id,))

        assert keys_of(admin, user_id) == []


# Task: T-131
class TestTransaction:
    @staticmethod
    async def add_two(session: Session) -> list[Row]:
        async with session.transaction() as (kept, _):
            if kept is not None:
                return kept
            answer = [await add(session), await add(session)]
            session.store_response(answer)
        return answer

    async def test_has_its_effect_once_and_is_answered_the_same(self, database: Database, user_id: str) -> None:
        first, second = keyed(database, user_id), keyed(database, user_id)

        answer = await self.add_two(first)
        again = await self.add_two(second)

        assert again == answer
        assert (first.replayed, second.replayed) == (False, True)
        assert await Session(database, user_id).fetch_one(COUNT) == {"n": 2}

    async def test_has_one_effect_of_twenty_at_once(self, database: Database, user_id: str) -> None:
        answers = await asyncio.gather(*(self.add_two(keyed(database, user_id)) for _ in range(20)))

        assert answers == [answers[0]] * 20
        assert await Session(database, user_id).fetch_one(COUNT) == {"n": 2}

    async def test_is_refused_under_the_key_of_another_request(self, solo: Database, user_id: str) -> None:
        await self.add_two(keyed(solo, user_id))

        with pytest.raises(Invalid):
            await self.add_two(keyed(solo, user_id, replace(KEY, digest=b"another")))

        assert await Session(solo, user_id).fetch_one(COUNT) == {"n": 2}

    async def test_keeps_no_answer_when_it_fails(self, solo: Database, user_id: str, admin: Admin) -> None:
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

    async def test_says_that_an_equal_one_is_still_running(
        self, database: Database, database_url: str, user_id: str
    ) -> None:
        with holding_key(database_url, user_id, "one"), pytest.raises(Conflict) as refused:
            await self.add_two(keyed(database, user_id))

        assert refused.value.code == "idempotency_key_in_use"
        assert await Session(database, user_id).fetch_one(COUNT) == {"n": 0}

    async def test_comes_again_after_its_commit_was_not_heard_of(self, database_url: str, user_id: str) -> None:
        database, trips = await opened(database_url)

        def lose(trip: int) -> None:
            # Begin, two statements, commit.
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
        await database.close()


async def opened(url: str) -> tuple[Database, Trips]:
    """A database whose connection stands, so that the next trip is the first."""
    database, trips = watched(url)
    await database.open()
    await database.ping()
    return database, trips


# Task: T-131
@pytest.mark.slow
class TestKilledConnection:
    async def test_has_one_effect_whenever_it_dies(self, database_url: str, user_id: str, admin: Admin) -> None:
        """The backend is killed again and again while requests come and come again until they are answered."""
        database = Database(database_url)
        await database.open()
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
                    return await add(keyed(database, user_id, IdempotencyKey(f"key {number}", b"")), f"task {number}")
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
        await database.close()
