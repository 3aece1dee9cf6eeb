"""Adding a table to the change log, with a function from the template and triggers as in the file of views."""

from typing import Any

import psycopg
import pytest

from todo.migrations import sql_files
from todo.migrations.change_log import CHANGE_LOG, LoggedTable
from todo.models import metadata

NOTES = LoggedTable("notes", "note", computed_columns=("length",))
NOTE_ID = "00000000-0000-0000-0000-000000000001"
LOGGED = "SELECT tgrelid FROM pg_trigger WHERE tgname = 't40_log_write'"

Connection = psycopg.Connection[Any]


def add_notes(connection: Connection) -> None:
    """Create a table and add it to the change log."""
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
class TestNewTable:
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

    def test_computed_column_is_written_and_not_logged(self, connection: Connection, user_id: str) -> None:
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
    def test_declared_columns_of_a_logged_table_exist(self, table: LoggedTable) -> None:
        columns = set(metadata.tables[table.name].columns.keys())

        assert columns >= {*table.excluded_columns, "id", "updated_at"}
        assert ("position" in columns) == table.is_ordered


# Task: T-111
class TestLoggedTables:
    """Conditions that the triggers of the log depend on."""

    # Allowed unique indexes: inserts into these tables name the primary key in ON CONFLICT, so a duplicate name raises
    # an error, which also rolls back the log.
    NAMES = ("uq_categories_user_id_name_key", "uq_views_user_id_name_key")
    UNIQUE = (
        f"SELECT indexrelid::regclass::text FROM pg_index WHERE indrelid IN ({LOGGED})"
        " AND indisunique AND NOT indisprimary"
    )
    UNIQUE_BESIDES_KEY = f"{UNIQUE} AND indexrelid::regclass::text <> ALL (ARRAY{list(NAMES)})"
    # Triggers of a kind fire in the order of their names. One after the log's could still change or reject the row.
    BEHIND_THE_LOG = (
        f"SELECT tgname FROM pg_trigger WHERE tgrelid IN ({LOGGED}) AND tgtype & 3 = 3 AND tgname > 't40_log_write'"
    )

    def test_unique_index_exceptions_are_needed(self, connection: Connection) -> None:
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
    def test_logged_tables_have_no_unique_index_or_trigger_that_the_log_would_miss(
        self, connection: Connection, query: str, example: str, offender: str
    ) -> None:
        assert connection.execute(LOGGED.encode()).fetchall() != []
        assert connection.execute(query.encode()).fetchall() == []

        connection.execute(example.encode())

        assert connection.execute(query.encode()).fetchall() == [(offender,)]
