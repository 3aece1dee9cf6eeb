"""The orders of a list over HTTP that have something of their own: titles and starts."""

from typing import Any

from httpx import AsyncClient

from support.tasks import add_task, walked

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
