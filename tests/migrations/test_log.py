"""Joining the log: one line in a table's migration."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from alembic.migration import MigrationContext
from alembic.operations import Operations

from support.people import sign_up
from todo.migrations.log import join_log, leave_log
from todo.migrations.tables import create_owned_table

LOGGED = "SELECT tgrelid FROM pg_trigger WHERE tgname = 'log_write'"


@pytest.fixture
def connection(database_url: str) -> Iterator[sa.Connection]:
    """The migrated database as a migration sees it, in a transaction that is rolled back."""
    engine = sa.create_engine(
        "postgresql+psycopg://", creator=lambda: psycopg.connect(database_url), poolclass=sa.NullPool
    )
    with engine.connect() as connection, Operations.context(MigrationContext.configure(connection)):
        yield connection
        connection.rollback()
    engine.dispose()


@pytest.fixture
def user_id(database_url: str) -> str:
    return sign_up(database_url, "alice")


def add_notes() -> None:
    """A new table, as its migration would make it."""
    create_owned_table(
        "notes",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("words", sa.ARRAY(sa.Text()), nullable=True),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        key=("id",),
    )


def log_of(connection: sa.Connection, user_id: str) -> list[tuple[Any, ...]]:
    rows = connection.execute(
        sa.text("SELECT revision, entity, operation, before FROM changes WHERE user_id = :user_id ORDER BY revision"),
        {"user_id": user_id},
    )
    return [tuple(row) for row in rows]


# Task: T-111
class TestJoin:
    def test_has_every_write_logged(self, connection: sa.Connection, user_id: str) -> None:
        add_notes()
        join_log("notes", "note")

        for statement in (
            "INSERT INTO notes VALUES (:user_id, '00000000-0000-0000-0000-000000000001', '{a,b}', '2026-03-01Z')",
            "UPDATE notes SET words = '{a}' WHERE user_id = :user_id",
            "UPDATE notes SET words = '{a}' WHERE user_id = :user_id",
            "DELETE FROM notes WHERE user_id = :user_id",
        ):
            connection.execute(sa.text(statement), {"user_id": user_id})

        row = {"id": "00000000-0000-0000-0000-000000000001", "words": ["a"], "updated_at": "2026-03-01T00:00:00+00:00"}
        assert log_of(connection, user_id) == [
            (1, "note", "create", None),
            (2, "note", "update", {"words": ["a", "b"]}),
            (3, "note", "delete", row),
        ]

    def test_can_be_taken_back(self, connection: sa.Connection, user_id: str) -> None:
        add_notes()
        functions = sa.text("SELECT proname FROM pg_proc WHERE pronamespace = 'app'::regnamespace ORDER BY 1")
        before = connection.execute(functions).all()
        join_log("notes", "note")

        leave_log("notes")

        connection.execute(
            sa.text("INSERT INTO notes VALUES (:user_id, gen_random_uuid(), '{}', now(), 0)"), {"user_id": user_id}
        )
        assert log_of(connection, user_id) == []
        assert connection.execute(functions).all() == before


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
        f"SELECT tgname FROM pg_trigger WHERE tgrelid IN ({LOGGED}) AND tgtype & 3 = 3 AND tgname > 'log_write'"
    )

    def test_are_excepted_only_where_it_is_needed(self, connection: sa.Connection) -> None:
        assert set(connection.execute(sa.text(self.UNIQUE)).scalars()) == set(self.NAMES)

    @pytest.mark.parametrize(
        ("query", "example", "offender"),
        [
            (UNIQUE_BESIDES_KEY, "CREATE UNIQUE INDEX ids ON tasks (user_id, id, title)", "ids"),
            (
                BEHIND_THE_LOG,
                "CREATE TRIGGER neat BEFORE UPDATE ON tasks FOR EACH ROW EXECUTE FUNCTION app.log_tasks()",
                "neat",
            ),
        ],
    )
    def test_have_nothing_that_it_could_not_see(
        self, connection: sa.Connection, query: str, example: str, offender: str
    ) -> None:
        assert connection.execute(sa.text(LOGGED)).all() != []
        assert connection.execute(sa.text(query)).scalars().all() == []

        connection.execute(sa.text(example))

        assert connection.execute(sa.text(query)).scalars().all() == [offender]
