"""A table in the change log: its function comes from a template, and its triggers from a file like those of views."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from support.people import sign_up
from todo.migrations import sql_files
from todo.migrations.change_log import CHANGE_LOG, LoggedTable
from todo.models import metadata

NOTES = LoggedTable("notes", "note", computed_columns=("length",))
NOTE_ID = "00000000-0000-0000-0000-000000000001"
LOGGED = "SELECT tgrelid FROM pg_trigger WHERE tgname = 't40_log_write'"

Connection = psycopg.Connection[Any]


@pytest.fixture
def connection(database_url: str) -> Iterator[Connection]:
    """The migrated database, in a transaction that is rolled back."""
    with psycopg.connect(database_url) as connection:
        yield connection
        connection.rollback()


@pytest.fixture
def user_id(database_url: str) -> str:
    return sign_up(database_url, "alice")


def add_notes(connection: Connection) -> None:
    """A new table in the change log."""
    connection.execute(
        'CREATE TABLE notes (user_id text REFERENCES "user" (id) ON DELETE CASCADE, id uuid, words text[],'
        " length integer, updated_at timestamptz NOT NULL, revision bigint NOT NULL, PRIMARY KEY (user_id, id))"
    )
    template = (sql_files.DIRECTORY / "functions_per_table/log_change_of_{table}.sql").read_text()
    connection.execute(sql_files.fill(template, NOTES).encode())
    triggers = (sql_files.DIRECTORY / "triggers/views.sql").read_text().replace("views", "notes").split(";\n")
    for trigger in triggers:
        if "log_change_of" in trigger or "lock_user_writes" in trigger:
            connection.execute(trigger.encode())


def log_of(connection: Connection, user_id: str) -> list[tuple[Any, ...]]:
    return connection.execute(
        "SELECT revision, entity, operation, before FROM changes WHERE user_id = %s ORDER BY revision", (user_id,)
    ).fetchall()


# Task: T-111
# Task: T-434
class TestJoin:
    def test_every_write_to_a_logged_table_is_logged(self, connection: Connection, user_id: str) -> None:
        add_notes(connection)

        for statement in (
            f"INSERT INTO notes VALUES (%(user)s, '{NOTE_ID}', '{{a,b}}', NULL, '2026-03-01Z')",
            "UPDATE notes SET words = '{a}' WHERE user_id = %(user)s",
            "UPDATE notes SET words = '{a}' WHERE user_id = %(user)s",
            "DELETE FROM notes WHERE user_id = %(user)s",
        ):
            connection.execute(statement.encode(), {"user": user_id})

        row = {"id": NOTE_ID, "words": ["a"], "updated_at": "2026-03-01T00:00:00+00:00"}
        assert log_of(connection, user_id) == [
            (1, "note", "create", None),
            (2, "note", "update", {"words": ["a", "b"]}),
            (3, "note", "delete", row),
        ]

    def test_a_computed_column_is_written_and_not_logged(self, connection: Connection, user_id: str) -> None:
        add_notes(connection)
        connection.execute(
            "INSERT INTO notes (user_id, id, updated_at) VALUES (%s, %s, '2026-03-01Z')", (user_id, NOTE_ID)
        )

        connection.execute("UPDATE notes SET length = 2, updated_at = now() WHERE user_id = %s", (user_id,))

        assert log_of(connection, user_id) == [(1, "note", "create", None)]
        [row] = connection.execute(
            "SELECT length, updated_at = '2026-03-01Z', revision FROM notes WHERE user_id = %s", (user_id,)
        ).fetchall()
        assert row == (2, True, 1)

    @pytest.mark.parametrize("table", CHANGE_LOG, ids=[table.name for table in CHANGE_LOG])
    def test_every_declared_column_exists(self, table: LoggedTable) -> None:
        columns = set(metadata.tables[table.name].columns.keys())

        assert columns >= {*table.excluded_columns, "id", "updated_at"}
        assert ("position" in columns) == table.is_ordered


# Task: T-111
class TestJoinedTables:
    """What the log's triggers count on."""

    # Unique all the same: whoever inserts there names the key that may be met, so that a name that is taken raises, and
    # what was logged goes with it.
    NAMES = ("uq_categories_user_id_name_key", "uq_views_user_id_name_key")
    UNIQUE = (
        f"SELECT indexrelid::regclass::text FROM pg_index WHERE indrelid IN ({LOGGED})"
        " AND indisunique AND NOT indisprimary"
    )
    UNIQUE_BESIDES_KEY = f"{UNIQUE} AND indexrelid::regclass::text <> ALL (ARRAY{list(NAMES)})"
    # Triggers of a kind fire by name: what comes behind the log's could still change the row, or refuse it.
    BEHIND_THE_LOG = (
        f"SELECT tgname FROM pg_trigger WHERE tgrelid IN ({LOGGED}) AND tgtype & 3 = 3 AND tgname > 't40_log_write'"
    )

    def test_are_excepted_only_where_it_is_needed(self, connection: Connection) -> None:
        assert {name for (name,) in connection.execute(self.UNIQUE.encode())} == set(self.NAMES)

    @pytest.mark.parametrize(
        ("query", "example", "offender"),
        [
            (UNIQUE_BESIDES_KEY, "CREATE UNIQUE INDEX ids ON tasks (user_id, id, title)", "ids"),
            (
                BEHIND_THE_LOG,
                "CREATE TRIGGER u1 BEFORE UPDATE ON tasks FOR EACH ROW EXECUTE FUNCTION app.log_change_of_tasks()",
                "u1",
            ),
        ],
    )
    def test_have_nothing_that_it_could_not_see(
        self, connection: Connection, query: str, example: str, offender: str
    ) -> None:
        assert connection.execute(LOGGED.encode()).fetchall() != []
        assert connection.execute(query.encode()).fetchall() == []

        connection.execute(example.encode())

        assert connection.execute(query.encode()).fetchall() == [(offender,)]
