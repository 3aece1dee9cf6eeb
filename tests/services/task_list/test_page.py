"""Task lists below HTTP: the number of round trips, and the query plans of PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from support.filters import NOW, applied_filters, combined_examples, query_of
from support.query_plans import nodes_of
from support.round_trips import Trips, watched
from support.users import sign_up
from todo.database import Session, Statement, cancelled, pool
from todo.database.statements import CompiledText, Dialect
from todo.kit.etags import Condition
from todo.kit.queries import parse
from todo.models.views import ViewCreate, ViewQuery
from todo.services import views
from todo.services.task_list import filters
from todo.services.task_list import page as task_list
from todo.services.task_list.filter_types import AppliedFilter
from todo.services.tasks.statements import PUBLIC_NAMES

QUERIES = [
    "",
    *(applied.variant.example for applied in applied_filters()),
    *combined_examples(),
    "q=milk",
    'q=milk oat* "oat milk" -soy&sort=-priority,due_date',
    "sort=-priority,due_date,title&skip=3",
]


def shape_of(text: str, *, is_behind: bool = False) -> task_list.QueryShape:
    """Return the shape of a query string; if ``is_behind``, of a page after a cursor in the first part of the list."""
    query = query_of(text)
    asked, _ = filters.read(query, now=NOW)
    shape = task_list.shape_of(query, asked, None if query.q is None else parse(query.q))
    if not is_behind:
        return shape
    return shape._replace(after=(0, (False,) * len(task_list._source_of(shape).segments[0].order)))


@asynccontextmanager
async def session_of(url: str) -> AsyncIterator[tuple[Session, Trips]]:
    """Yield a session whose connection is open already, so that the next round trip is the first."""
    database, trips = watched(url)
    await database.open()
    await database.ping()
    trips.count = 0
    yield Session(database, sign_up(url, "alice")), trips
    await database.close()


# Task: T-371
class TestRoundTrips:
    @pytest.mark.parametrize("text", QUERIES)
    async def test_page_takes_one_round_trip_with_any_filter(self, database_url: str, text: str) -> None:
        async with session_of(database_url) as (session, trips):
            page = await task_list.page(session, query_of(text), now=NOW, if_none_match=Condition(frozenset({7})))

        assert (page.tasks, page.total, page.total_is_exact, trips.count) == ([], 0, True, 1)

    async def test_page_with_a_view_takes_two_round_trips(self, database_url: str) -> None:
        async with session_of(database_url) as (session, trips):
            view, _ = await views.create(session, ViewCreate(name="a", query=ViewQuery(tag=["a"])), now=NOW)
            trips.count = 0
            await task_list.page(session, query_of(f"view={view['id']}"), now=NOW)

        assert trips.count == 2


INSERT_3000_TASKS = """
INSERT INTO tasks (user_id, id, title, tags, tag_keys, status, priority, due_date, start_date, created_at, updated_at,
                   completed_at, creation_digest, revision)
SELECT %(user)s, gen_random_uuid(), 'milk ' || n, tags, tags, CASE n %% 3 WHEN 0 THEN 'completed' ELSE 'pending' END,
    CASE n %% 3 WHEN 1 THEN 'low' ELSE 'high' END, CASE WHEN n %% 4 > 0 THEN (date '2026-01-01' + n %% 365)::text END,
    CASE n %% 7 WHEN 0 THEN (date '2026-01-01' + n %% 365)::text END, now() - make_interval(mins => n), now(),
    CASE n %% 3 WHEN 0 THEN now() END, '', 0
FROM generate_series(1, 3000) AS n, LATERAL (SELECT CASE n %% 5 WHEN 0 THEN '["a"]' ELSE '[]' END::jsonb) AS t (tags)
"""


@pytest.fixture(scope="module")
def crowded_connection(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    """Yield a connection with the planner settings of the application, and a user with 3,000 tasks.

    The planner may sort only if no index has the order: with 100,000 tasks it would choose the index by itself.
    """
    user_id = sign_up(database_url, "alice")
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(INSERT_3000_TASKS, {"user": user_id})
        connection.execute("ANALYZE tasks, task_tags, task_words")
        connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(pool.APP_ROLE)))
        connection.execute(pool.APPLY_PLANNER_SETTINGS.sql)
        yield connection
        connection.execute("RESET role")
        connection.execute('DELETE FROM "user" WHERE id = %s', (user_id,))


@contextmanager
def may_sort(connection: psycopg.Connection[Any]) -> Iterator[None]:
    """Let the planner sort, until the end of the block."""
    with connection.transaction():
        connection.execute("SET LOCAL enable_sort = on")
        yield


def plan_of(connection: psycopg.Connection[Any], text: CompiledText) -> str:
    """Return the generic plan of a statement, made without knowing its values."""
    return "\n".join(row[0] for row in explained(connection, text, "COSTS OFF"))


def list_statement(applied: AppliedFilter, name: str) -> Statement:
    """Return the statement for the rows of a filter's example. With counters, the first page has one of its own."""
    if name == "newest first":
        return task_list._page_statements((applied,))[1]
    return task_list._statements(shape_of(applied.variant.example, is_behind=name == "after a cursor"))[1]


def explained(connection: psycopg.Connection[Any], text: CompiledText, options: str) -> list[tuple[Any, ...]]:
    """Return the rows of an EXPLAIN of the generic plan of a statement."""
    name = f"p{uuid4().hex}"
    nulls = f"({', '.join(['NULL'] * len(text.names))})" if text.names else ""
    connection.execute(f"PREPARE {name} AS ".encode() + text.sql)
    rows = connection.execute(f"EXPLAIN ({options}) EXECUTE {name}{nulls}".encode()).fetchall()
    connection.execute(f"DEALLOCATE {name}".encode())
    return rows


# Task: T-371
# Task: T-372
class TestQueryPlans:
    @pytest.mark.parametrize("is_behind", [False, True])
    @pytest.mark.parametrize(
        ("text", "index"),
        [
            ("", "ix_tasks_user_id_created_at"),
            ("sort=due_date", "ix_tasks_user_id_due_at"),
            ("sort=-due_date", "ix_tasks_user_id_due_at"),
            ("sort=priority", "ix_tasks_user_id_priority_created_at"),
            ("sort=-status", "ix_tasks_user_id_status_created_at"),
            ("sort=start_date", "ix_tasks_user_id_start_at"),
            ("sort=-start_date", "ix_tasks_user_id_start_at"),
            ("sort=title", "ix_tasks_user_id_title_key"),
            ("sort=-title", "ix_tasks_user_id_title_key"),
            ("sort=position", "ix_tasks_user_id_position"),
            ("q=milk", "ix_task_words_user_id_word"),
        ],
    )
    def test_lists_in_any_order_scan_an_index_without_sorting(
        self, crowded_connection: psycopg.Connection[Any], *, text: str, index: str, is_behind: bool
    ) -> None:
        shape = shape_of(text, is_behind=is_behind)

        plan = plan_of(crowded_connection, task_list._statements(shape)[1].text(Dialect()))

        assert index in plan
        assert "Sort" not in plan, plan
        if is_behind:
            # The cursor is an index condition, not a filter on every earlier row.
            assert any("ROW(" in line for line in plan.splitlines() if "Index Cond" in line), plan

    # Task: T-451
    @pytest.mark.parametrize(
        ("applied", "name"),
        [
            pytest.param(applied, name, id=f"{applied}, {name}")
            for applied in applied_filters()
            for name in ("first page", "after a cursor", *(["newest first"] if applied.filter.counter else []))
        ],
    )
    def test_list_with_a_filter_scans_the_declared_index_without_sorting(
        self, crowded_connection: psycopg.Connection[Any], applied: AppliedFilter, name: str
    ) -> None:
        variant = applied.variant
        statement = list_statement(applied, name)

        [(plan,)] = explained(crowded_connection, statement.text(Dialect()), "FORMAT JSON")

        nodes = [node for node in nodes_of(plan[0]["Plan"]) if node.get("Subplan Name") != "CTE ranked"]
        scans = [
            node for node in nodes if node.get("Relation Name") == "tasks" or node.get("Index Name") == variant.index
        ]
        filtered = {node["Filter"] for node in scans if "Filter" in node} - {"(trashed_at IS NULL)"}
        where = f"correct ``index`` or ``scans`` of {applied} in services/task_list/filters.py, or add an index"
        assert {node["Index Name"] for node in scans} - {"pk_tasks"} == {variant.index}, where
        assert (variant.scans is not None) == bool(filtered), (where, filtered)
        assert [node for node in nodes if "Sort" in node["Node Type"]] == [], where
        if name == "after a cursor":
            assert any("ROW(" in node.get("Index Cond", "") for node in scans), where

    @pytest.mark.parametrize("is_behind", [False, True])
    @pytest.mark.parametrize(
        ("text", "index"),
        [
            ("tag=a&tag=b", "ix_task_tags_user_id_tag_key_created_at"),
            ("tag=a&tag=b&not_tag=c&status=pending&due=none", "ix_task_tags_user_id_tag_key_created_at"),
            ("q=milk oat", "ix_task_words_user_id_word"),
            ("q=milk oat -soy&tag=a&priority=high", "ix_task_words_user_id_word"),
        ],
    )
    def test_queries_with_several_tags_or_words_scan_the_rarest_and_hash_the_next_rarest_once(
        self, crowded_connection: psycopg.Connection[Any], *, text: str, index: str, is_behind: bool
    ) -> None:
        shape = shape_of(text, is_behind=is_behind)

        with may_sort(crowded_connection):
            plan = plan_of(crowded_connection, task_list._statements(shape)[1].text(Dialect()))

        assert index in plan
        assert "hashed SubPlan" in plan, plan
        # No plan scans all tasks to join them.
        assert "Materialize" not in plan, plan
        tasks = [line for line in plan.splitlines() if line.strip().endswith(" on tasks")]
        assert {line.split(" on tasks")[0].split()[-1] for line in tasks} == {"pk_tasks"}, plan

    @pytest.mark.parametrize("text", ['q="oat milk"', 'q=milk -"oat milk"', 'q=mil* -"oat milk"'])
    def test_phrase_search_reads_the_text_only_of_tasks_that_contain_the_words(
        self, crowded_connection: psycopg.Connection[Any], text: str
    ) -> None:
        shape = shape_of(text)

        with may_sort(crowded_connection):
            plan = plan_of(crowded_connection, task_list._statements(shape)[1].text(Dialect()))

        # A filter on ``tasks`` alone could be evaluated for every task before the join.
        reading = [line for line in plan.splitlines() if "_for_search" in line]
        assert reading
        assert all("task_id = id" in line for line in reading), plan


# Task: T-371
def test_lists_filtered_by_time_are_sorted_by_the_same_time_by_default() -> None:
    def default(text: str) -> tuple[str, ...]:
        return shape_of(text).sort

    assert default("") == default("due=none") == default("tag=a") == default("created_after=2026-03-10") == ()
    assert default("due=week") == default("due_before=2026-03-10&completed_after=2026-03-10") == ("due_date",)
    assert default("completed_after=2026-03-10&updated_after=2026-03-10") == ("-completed_at",)
    assert default("updated_before=2026-03-10") == ("-updated_at",)
    assert default("trashed=true&due=week") == ("-trashed_at",)


# Task: T-501
async def test_other_requests_run_while_the_excerpts_of_long_texts_are_made() -> None:
    """A page of 100 notes in which nothing but the title matches is the slowest: each note is searched to its end."""
    rows: list[dict[str, Any]] = [
        {**dict.fromkeys(PUBLIC_NAMES), "title": "milk", "tags": [], "description": "\ufdfa" * 10_000}
        for _ in range(100)
    ]
    turns = 0

    async def take_turns() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    others = asyncio.create_task(take_turns())
    found = await task_list._to_public(rows, parse("milk soy"))
    await cancelled(others)

    assert turns > 2
    assert {each["excerpt"] for each in found} == {"<mark>milk</mark>"}
