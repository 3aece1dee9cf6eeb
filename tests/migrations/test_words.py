"""The search index ``task_words``: normalisation of text in SQL, and words that follow their task."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.types.json import Jsonb

from support.users import sign_up
from todo.kit.queries import LONGEST, normalize_for_search

TASK = "00000000-0000-0000-0000-000000000001"
OTHER = "00000000-0000-0000-0000-000000000002"
ADD = (
    "INSERT INTO tasks (user_id, id, title, description, tags, status, priority, created_at, updated_at,"
    " creation_digest, revision) VALUES (%s, %s, %s, %s, %s, 'pending', 'low', '2026-03-01Z', '2026-03-01Z', '', 0)"
)
# Characters that this Python knows, except those that PostgreSQL cannot hold.
texts = st.text(st.characters(exclude_categories=("Cs", "Cn"), exclude_characters="\x00"), max_size=40)


@pytest.fixture(scope="module")
def shared(database_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


def add(
    connection: psycopg.Connection,
    user_id: str,
    title: str,
    description: str | None = None,
    *tags: str,
    task_id: str = TASK,
) -> None:
    connection.execute(ADD, (user_id, task_id, title, description, Jsonb(tags)))


def words_of(connection: psycopg.Connection, user_id: str) -> dict[str, Any]:
    """Return the weight of each indexed word of the user."""
    return dict(connection.execute("SELECT word, weight FROM task_words WHERE user_id = %s", (user_id,)).fetchall())


def places_of(connection: psycopg.Connection, user_id: str) -> dict[str, str]:
    """Return the physical location (ctid) of the row of each word. It changes when the row is rewritten."""
    rows = connection.execute("SELECT word, ctid::text FROM task_words WHERE user_id = %s", (user_id,))
    return dict(rows.fetchall())


# Task: T-361
class TestNormalizeForSearch:
    @settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
    @given(texts)
    def test_sql_and_python_normalize_text_alike(self, shared: psycopg.Connection, text: str) -> None:
        [[found]] = shared.execute("SELECT app.normalize_for_search(%s::text)", (text,))

        assert found.split() == normalize_for_search(text).split()

    def test_entries_of_an_array_are_separated(self, shared: psycopg.Connection) -> None:
        [[found]] = shared.execute("SELECT app.normalize_array_for_search(%s::jsonb)", (Jsonb(["Home", "Milk run"]),))

        assert found == " home | milk run "

    def test_all_alphabets_are_lowered_in_the_c_locale(self, shared: psycopg.Connection) -> None:
        [[found]] = shared.execute('SELECT app.normalize_for_search(%s::text COLLATE "C")', ("ÄRGER ΟΔΟΣ ЁЖ",))

        assert found.split() == ["arger", "οδοσ", "еж"]


# Task: T-361
class TestWords:
    def test_words_have_the_best_weight_of_title_tags_and_description(
        self, connection: psycopg.Connection, user_id: str
    ) -> None:
        add(connection, user_id, "Buy milk, milk!", "Buy two litres at home", "Home", "shop-ping")

        assert words_of(connection, user_id) == {
            "buy": 1,
            "milk": 1,
            "home": 2,
            "shop": 2,
            "ping": 2,
            "two": 3,
            "litres": 3,
            "at": 3,
        }

    def test_long_words_are_truncated(self, connection: psycopg.Connection, user_id: str) -> None:
        add(connection, user_id, "a" * 200, "é" * 10_000)

        assert words_of(connection, user_id) == {"a" * LONGEST: 1, "e" * LONGEST: 3}

    @pytest.mark.parametrize(
        ("change", "after", "touched"),
        [
            ("title = 'Buy bread'", {"buy": 1, "bread": 1, "two": 3, "home": 2}, {"bread"}),
            ("title = 'two'", {"two": 1, "home": 2}, {"two"}),
            ("description = NULL", {"buy": 1, "milk": 1, "home": 2}, set()),
            ("tags = '[]'", {"buy": 1, "milk": 1, "two": 3}, set()),
            ('tags = \'["buy", "two"]\'', {"buy": 1, "milk": 1, "two": 2}, {"two"}),
            ("priority = 'high'", {"buy": 1, "milk": 1, "two": 3, "home": 2}, set()),
        ],
    )
    def test_update_rewrites_only_the_changed_words(
        self,
        connection: psycopg.Connection,
        user_id: str,
        change: str,
        after: dict[str, int],
        touched: set[str],
    ) -> None:
        add(connection, user_id, "Buy milk", "two", "home")
        before = places_of(connection, user_id)

        connection.execute(f"UPDATE tasks SET {change} WHERE user_id = %s".encode(), (user_id,))

        assert words_of(connection, user_id) == after
        now = places_of(connection, user_id)
        assert {word for word in now if now[word] != before.get(word)} == touched

    def test_words_follow_a_task_whose_key_changes(
        self, connection: psycopg.Connection, user_id: str, database_url: str
    ) -> None:
        other = sign_up(database_url, "bob")
        add(connection, user_id, "Buy milk")

        connection.execute(
            "UPDATE tasks SET user_id = %s, id = %s, created_at = '2026-03-02Z' WHERE user_id = %s",
            (other, OTHER, user_id),
        )

        rows = connection.execute(
            "SELECT user_id, task_id::text, word, created_at::date::text FROM task_words"
            " WHERE user_id = ANY (%s) ORDER BY word",
            ([user_id, other],),
        ).fetchall()
        assert rows == [(other, OTHER, "buy", "2026-03-02"), (other, OTHER, "milk", "2026-03-02")]

    def test_words_are_deleted_with_their_task(self, connection: psycopg.Connection, user_id: str) -> None:
        add(connection, user_id, "Buy milk")
        add(connection, user_id, "Buy bread", task_id=OTHER)

        connection.execute("DELETE FROM tasks WHERE user_id = %s AND id = %s", (user_id, TASK))

        assert words_of(connection, user_id) == {"buy": 1, "bread": 1}

    def test_words_are_deleted_with_their_user(self, connection: psycopg.Connection, user_id: str) -> None:
        add(connection, user_id, "Buy milk")

        connection.execute('DELETE FROM "user" WHERE id = %s', (user_id,))

        assert words_of(connection, user_id) == {}

    def test_words_stay_if_only_the_revision_counter_is_deleted(
        self, connection: psycopg.Connection, user_id: str
    ) -> None:
        add(connection, user_id, "Buy milk")

        connection.execute("DELETE FROM revisions WHERE user_id = %s", (user_id,))

        assert words_of(connection, user_id) == {"buy": 1, "milk": 1}


# Task: T-361
class TestOperators:
    def test_operators_of_the_search_are_leakproof(self, shared: psycopg.Connection) -> None:
        leaking = shared.execute(
            "SELECT o.oid::regoperator::text FROM pg_operator o JOIN pg_proc p ON p.oid = o.oprcode"
            " WHERE o.oid IN ('=(text,text)'::regoperator, '>=(text,text)'::regoperator, '<(text,text)'::regoperator,"
            " '=(uuid,uuid)'::regoperator) AND NOT p.proleakproof"
        ).fetchall()

        assert leaking == []
