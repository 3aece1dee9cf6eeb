"""Prepared statements behind poolers: the right statement is executed, whatever happened to the server connection."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg.pq.abc import PGresult

from support.databases import open_database
from support.helpers import ADD, COUNT, sql
from support.isolation_layers import BYPASS_ROLE, make_bypass_role
from support.pgbouncer import pgbouncer
from support.renaming_relay import RenamingRelay
from support.users import add_user
from todo.database import Database, DatabaseError, DatabaseOptions, Session
from todo.database.connection import Connection
from todo.database.prepared import PROBE, OwnNames, SharedNames, TrackedNames
from todo.database.statements import Dialect, raw

Admin = psycopg.Connection[Any]
DEALLOCATING = ["DEALLOCATE ALL", "DISCARD ALL"]
ECHO = sql("SELECT CAST(:word AS text) AS word", repeatable=True)
ONE_CONNECTION = DatabaseOptions(pool_size=1, budget_seconds=10)


@pytest.fixture
def passing_url(database_url: str) -> Iterator[str]:
    """The shared database behind a pooler that passes names through. All clients share one server connection."""
    with pgbouncer(database_url, pool_size=1) as url:
        yield url


@pytest.fixture
def tracking_url(database_url: str) -> Iterator[str]:
    """The shared database behind a pooler that tracks statements. All clients share one server connection."""
    with pgbouncer(database_url, pool_size=1, tracks_statements=True) as url:
        yield url


@pytest.fixture
async def renaming_url(database_url: str) -> AsyncIterator[str]:
    """The shared database behind a relay that renames statements. Each client has its own server connection."""
    async with RenamingRelay(database_url) as relay:
        yield relay.url


WAYS = ["database_url", "passing_url", "tracking_url", "renaming_url"]
POOLERS = ["passing_url", "tracking_url"]


def opened(url: str, options: DatabaseOptions = ONE_CONNECTION) -> AbstractAsyncContextManager[Database]:
    return open_database(url, options)


@pytest.fixture(params=WAYS)
async def database(request: pytest.FixtureRequest) -> AsyncIterator[Database]:
    """A pool of one connection, in each of the ways."""
    # getfixturevalue() cannot request an asynchronous fixture.
    if request.param == "renaming_url":
        async with RenamingRelay(request.getfixturevalue("database_url")) as relay, opened(relay.url) as database:
            yield database
    else:
        async with opened(request.getfixturevalue(request.param)) as database:
            yield database


@pytest.fixture
async def passing(passing_url: str) -> AsyncIterator[Database]:
    """A pool of one connection through the pooler that passes names through."""
    async with opened(passing_url) as database:
        yield database


def another_client(url: str) -> Admin:
    return psycopg.connect(url, autocommit=True, prepare_threshold=None)


def prepared_on(url: str, words: str) -> list[tuple[str, int, int, object]]:
    """Return the prepared statements that contain ``words`` on the only server connection, read by another client."""
    with another_client(url) as other:
        return other.execute(
            "SELECT name, generic_plans::int, custom_plans::int, prepare_time FROM pg_prepared_statements"
            " WHERE strpos(statement, %s) > 0",
            (words,),
        ).fetchall()


async def lent(database: Database) -> Connection:
    return await database.acquire(deadline=asyncio.get_running_loop().time() + 5)


def _count_trips(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that grows with each round trip, including repeated ones."""
    trips: list[int] = []
    collect = Connection._collect

    async def counted(self: Connection, expected: int, deadline: float) -> list[PGresult]:
        trips.append(expected)
        return await collect(self, expected, deadline)

    monkeypatch.setattr(Connection, "_collect", counted)
    return trips


# Task: T-412
class TestProbe:
    @pytest.mark.parametrize(
        ("way", "names", "is_pooled"),
        [
            ("database_url", OwnNames, False),
            ("passing_url", SharedNames, True),
            ("tracking_url", TrackedNames, True),
        ],
    )
    async def test_probe_detects_how_the_pooler_treats_names(
        self, request: pytest.FixtureRequest, way: str, names: type[OwnNames], *, is_pooled: bool
    ) -> None:
        async with opened(request.getfixturevalue(way)) as database:
            connection = await lent(database)
            await database.release(connection)

        assert (type(connection.names), connection.is_pooled) == (names, is_pooled)

    async def test_probe_detects_renamed_statements(self, renaming_url: str) -> None:
        async with opened(renaming_url) as database:
            connection = await lent(database)
            await database.release(connection)

        assert (type(connection.names), connection.is_pooled) == (TrackedNames, True)

    async def test_probe_leaves_no_statement_on_a_shared_server_connection(
        self, passing: Database, passing_url: str
    ) -> None:
        await passing.ping()

        assert prepared_on(passing_url, PROBE.sql.decode()) == []

    async def test_nothing_is_prepared_if_the_probe_finds_no_statement(self, passing: Database) -> None:
        names = passing._names_for({"passes": None, "tracks": None}, is_pooled=True)

        assert not names.may_prepare(b"todo_1")


# Task: T-412
class TestEveryWay:
    """Behaviour that is the same for a direct connection and behind every pooler."""

    async def test_statement_is_executed_repeatedly(self, database: Database, user_id: str) -> None:
        echoed = [await Session(database, user_id).fetch_one(ECHO, word=word) for word in ("a", "b", "c")]

        assert echoed == [{"word": "a"}, {"word": "b"}, {"word": "c"}]

    async def test_statement_is_executed_twice_in_one_round_trip(self, database: Database, user_id: str) -> None:
        first, second = await Session(database, user_id).execute_many((ECHO, {"word": "a"}), (ECHO, {"word": "b"}))

        assert (first, second) == ([{"word": "a"}], [{"word": "b"}])

    async def test_statement_after_a_failed_one_is_executed_the_next_time(
        self, database: Database, user_id: str
    ) -> None:
        session = Session(database, user_id)
        following = sql("SELECT 'following' AS word", repeatable=True)

        for _ in range(2):
            with pytest.raises(DatabaseError) as error:
                await session.execute_many((sql("SELECT 1 / CAST(:zero AS int)"), {"zero": 0}), (following, {}))
            assert error.value.sqlstate == "22012"

        assert await session.fetch_one(following) == {"word": "following"}

    async def test_statement_is_prepared_again_after_a_schema_change(
        self, database: Database, user_id: str, admin: Admin, shape: str
    ) -> None:
        read = sql(f"SELECT side FROM {shape}", repeatable=True)
        before = [await Session(database, user_id).fetch_all(read) for _ in range(2)]
        admin.execute(f"ALTER TABLE {shape} ALTER side TYPE text USING 'long'")

        after = [await Session(database, user_id).fetch_all(read) for _ in range(3)]

        assert (before, after) == ([[{"side": 1}]] * 2, [[{"side": "long"}]] * 3)

    async def test_transaction_that_begins_with_a_stale_statement_is_restarted(
        self, database: Database, user_id: str, admin: Admin, shape: str
    ) -> None:
        read = sql(f"SELECT side FROM {shape}", repeatable=True)
        await Session(database, user_id).fetch_all(read)
        admin.execute(f"ALTER TABLE {shape} ALTER side TYPE text USING 'long'")
        session = Session(database, user_id)

        async with session.transaction((ADD, {"task_id": uuid4()}), (read, {})) as (_, [_, rows]):
            await session.fetch_one(ADD, task_id=uuid4())

        assert rows == [{"side": "long"}]
        assert await session.fetch_one(COUNT) == {"n": 2}

    async def test_statement_that_raises_feature_not_supported_itself_is_an_error(
        self, database: Database, user_id: str
    ) -> None:
        refused = sql("DO $$ BEGIN RAISE SQLSTATE '0A000'; END $$")

        for _ in range(3):
            with pytest.raises(DatabaseError) as error:
                await Session(database, user_id).fetch_all(refused)
            assert error.value.sqlstate == "0A000"

    async def test_later_trip_of_a_transaction_executes_what_an_earlier_one_prepared(
        self, database: Database, user_id: str
    ) -> None:
        session = Session(database, user_id)

        async with session.transaction((ECHO, {"word": "a"})):
            words = [await session.fetch_one(ECHO, word=word) for word in ("b", "c")]
            counts = [await session.fetch_one(COUNT) for _ in range(2)]

        assert (words, counts) == ([{"word": "b"}, {"word": "c"}], [{"n": 0}, {"n": 0}])


# Task: T-412
class TestForgetting:
    """Another client of the pooler deallocates the prepared statements of the server connection."""

    @pytest.fixture(params=POOLERS)
    def url(self, request: pytest.FixtureRequest) -> str:
        return str(request.getfixturevalue(request.param))

    @pytest.mark.parametrize("command", DEALLOCATING)
    async def test_request_succeeds_after_another_client_deallocated_statements(
        self, url: str, user_id: str, command: str
    ) -> None:
        async with opened(url) as database:
            session = Session(database, user_id)
            for _ in range(3):
                await session.fetch_one(ADD, task_id=uuid4())
                with another_client(url) as other:
                    other.execute(command)

            assert await session.fetch_one(COUNT) == {"n": 3}

    @pytest.mark.parametrize("command", DEALLOCATING)
    async def test_transaction_succeeds_after_another_client_deallocated_statements(
        self, url: str, user_id: str, command: str
    ) -> None:
        async with opened(url) as database:
            session = Session(database, user_id)
            await session.fetch_one(COUNT)
            for _ in range(3):
                with another_client(url) as other:
                    other.execute(command)

                async with session.transaction((ADD, {"task_id": uuid4()})):
                    await session.fetch_one(COUNT)
                    await session.fetch_one(ADD, task_id=uuid4())

            assert await session.fetch_one(COUNT) == {"n": 6}


# Task: T-412
class TestSharedNames:
    """Behind a pooler that passes names through."""

    async def test_second_trip_is_needed_only_if_the_server_connection_lacks_a_statement(
        self, passing: Database, passing_url: str, user_id: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await passing.ping()
        trips = _count_trips(monkeypatch)
        needed = []
        for forgets in (False, False, True, False):
            if forgets:
                with another_client(passing_url) as other:
                    other.execute("DEALLOCATE ALL")
            trips.clear()
            await Session(passing, user_id).fetch_one(ECHO, word="a")
            needed.append(len(trips))

        assert needed == [1, 1, 2, 1]

    async def test_statements_of_a_failed_commit_are_not_assumed_to_be_prepared(
        self, passing: Database, passing_url: str, user_id: str, admin: Admin
    ) -> None:
        table = f"late_{uuid4().hex}"
        admin.execute(f"CREATE TABLE {table} (n int UNIQUE DEFERRABLE INITIALLY DEFERRED)")
        admin.execute(f"GRANT SELECT, INSERT ON {table} TO todo_app")
        session = Session(passing, user_id)
        with pytest.raises(DatabaseError) as error:
            async with session.transaction((sql(f"INSERT INTO {table} VALUES (1), (1)"), {})):
                await session.fetch_one(COUNT)
        with another_client(passing_url) as other:
            other.execute(f"DEALLOCATE {COUNT.text(Dialect()).name.decode()}")

        async with session.transaction((ADD, {"task_id": uuid4()})):
            counted = await session.fetch_one(COUNT)

        admin.execute(f"DROP TABLE {table}")
        assert error.value.sqlstate == "23505"
        assert counted == {"n": 1}

    async def test_shared_statement_is_executed_by_a_connection_that_did_not_prepare_it(
        self, passing_url: str, user_id: str
    ) -> None:
        async with opened(passing_url, DatabaseOptions(pool_size=2, budget_seconds=10)) as database:
            await Session(database, user_id).fetch_one(ECHO, word="a")
            prepared = prepared_on(passing_url, "AS word")
            one = await lent(database)
            for word in ("b", "c"):
                await Session(database, user_id).fetch_one(ECHO, word=word)
            await database.release(one)

        [(name, generic, custom, prepared_at)] = prepared_on(passing_url, "AS word")
        assert (generic, custom) == (3, 0)
        assert [(name, prepared_at)] == [(name, at) for name, *_, at in prepared]

    async def test_several_processes_can_prepare_the_same_statement(self, passing_url: str, user_id: str) -> None:
        async with opened(passing_url) as one, opened(passing_url) as other:
            echoed = [
                await Session(database, user_id).fetch_one(ECHO, word="a") for database in (one, other, one, other, one)
            ]

        assert echoed == [{"word": "a"}] * 5

    async def test_shared_name_is_derived_from_the_text(
        self, passing: Database, passing_url: str, user_id: str
    ) -> None:
        await Session(passing, user_id).fetch_one(ECHO, word="a")

        [(name, *_)] = prepared_on(passing_url, "AS word")
        assert name == ECHO.text(Dialect()).name.decode()

    async def test_shared_statement_is_planned_anew_for_another_role(
        self, passing_url: str, database_url: str, users: Admin, user_id: str
    ) -> None:
        """A plan of the role with BYPASSRLS would return the rows of all users."""
        make_bypass_role(database_url)
        stranger = add_user(users, "bob")
        bypass = replace(ONE_CONNECTION, role=BYPASS_ROLE)
        async with opened(passing_url) as behind_policies, opened(passing_url, bypass) as past_policies:
            for who in (user_id, add_user(users, "charlie")):
                await Session(behind_policies, who).fetch_one(ADD, task_id=uuid4())

            counts = [
                await Session(database, who).fetch_one(COUNT)
                for database, who in 3
                * [(past_policies, stranger), (behind_policies, stranger), (behind_policies, user_id)]
            ]

        everybody = counts[0]["n"]
        assert everybody > 1
        assert [row["n"] for row in counts] == 3 * [everybody, 0, 1]
        assert len(prepared_on(passing_url, COUNT.text(Dialect()).sql.decode())) == 1

    async def test_only_statements_after_the_identity_are_prepared(self, passing: Database, passing_url: str) -> None:
        """Without the identity, names would be looked up in the search path that another client left."""
        connection = await lent(passing)
        for _ in range(2):
            await connection.execute_pipeline(
                [(raw("SELECT 'alone' AS word"), ())], deadline=asyncio.get_running_loop().time() + 5
            )
        await passing.release(connection)

        assert prepared_on(passing_url, "'alone'") == []

    async def test_number_of_shared_statements_is_bounded(
        self, passing: Database, passing_url: str, user_id: str
    ) -> None:
        for number in range(250):
            await Session(passing, user_id).fetch_all(sql(f"SELECT {number} AS bounded", repeatable=True))

        assert 150 < len(prepared_on(passing_url, "AS bounded")) <= 200

    async def test_statements_are_no_longer_prepared_if_the_pooler_drops_them_each_time(
        self,
        database_url: str,
        user_id: str,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        monkeypatch.setattr(SharedNames, "_WINDOW", 5)
        with pgbouncer(database_url, pool_size=1, settings="server_reset_query_always = 1") as url:
            async with opened(url) as database:
                echoed = [await Session(database, user_id).fetch_one(ECHO, word="a") for _ in range(10)]
                names = database._shared_names

        assert echoed == [{"word": "a"}] * 10
        assert not names.may_prepare(ECHO.text(Dialect()).name)
        assert ["lose prepared statements" in record.message for record in caplog.records] == [True]

    async def test_statements_are_still_prepared_if_the_pooler_drops_them_occasionally(
        self, passing: Database, passing_url: str, user_id: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(SharedNames, "_WINDOW", 5)
        for _ in range(4):
            with another_client(passing_url) as other:
                other.execute("DEALLOCATE ALL")
            for _ in range(5):
                await Session(passing, user_id).fetch_one(ECHO, word="a")

        assert ECHO.text(Dialect()).name in passing._shared_names.known


# Task: T-412
class TestTrackedNames:
    async def test_tracked_statement_is_executed_by_name(self, renaming_url: str, user_id: str) -> None:
        own = sql("SELECT name, generic_plans::int AS n FROM pg_prepared_statements WHERE strpos(name, :name) > 0")
        async with opened(renaming_url) as database:
            session = Session(database, user_id)
            for _ in range(3):
                await session.fetch_one(ECHO, word="a")

            [row] = await session.fetch_all(own, name=ECHO.text(Dialect()).name.decode())

        assert row["n"] == 3

    def test_name_of_a_rejected_statement_is_not_reused(self) -> None:
        """The pooler would map the name to the rejected statement."""
        names, text = TrackedNames(), raw("SELECT 1")
        names.add(text.name)

        names.note_refused(text)
        names.add(text.name)

        assert text.name not in names.known
        assert not names.may_prepare(text.name)
