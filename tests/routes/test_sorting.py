"""Sort orders over HTTP: titles and start dates."""

from typing import Any

from httpx import AsyncClient

from support.tasks import add_task, read_all_pages

# In sort order.
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
class TestSortByTitle:
    async def test_titles_are_sorted_by_words_ignoring_case_accents_and_punctuation(self, alice: AsyncClient) -> None:
        in_order = [title.strip() for title in TITLES]
        for title in sorted(TITLES, key=lambda title: title[::-1]):
            await add_task(alice, title=title)

        assert titles_of(await read_all_pages(alice, "sort=title", limit=3)) == in_order
        assert titles_of(await read_all_pages(alice, "sort=-title", limit=3)) == in_order[::-1]
        assert titles_of(await read_all_pages(alice, "sort=title&status=pending", limit=100)) == in_order

    async def test_equal_titles_are_sorted_by_id(self, alice: AsyncClient) -> None:
        ids = sorted([(await add_task(alice, title=title))["id"] for title in ("milk", "Milk", "MILK!", "(milk)")])
        nameless = sorted([(await add_task(alice, title=title))["id"] for title in ("🥛", "?", "…")])

        assert [task["id"] for task in await read_all_pages(alice, "sort=title", limit=1)] == [*nameless, *ids]
        assert [task["id"] for task in await read_all_pages(alice, "sort=-title", limit=1)] == [
            *ids[::-1],
            *nameless[::-1],
        ]

    async def test_long_titles_are_sorted_by_the_part_that_fits_into_the_index(self, alice: AsyncClient) -> None:
        # Each character of the first title folds to 18 letters; those of the others take four bytes.
        long = ["\ufdfa" * 200, "\U0001e900" * 199 + "b", "\U0001e900" * 199 + "a"]
        for title in long:
            await add_task(alice, title=title)

        assert titles_of(await read_all_pages(alice, "sort=title", limit=1)) == [long[0], long[2], long[1]]

    async def test_title_order_follows_every_change(self, alice: AsyncClient) -> None:
        first, _ = [await add_task(alice, title=title) for title in ("Apples", "Milk")]
        patched = await alice.patch(f"/tasks/{first['id']}", json={"title": "ZEBRA"})
        after = titles_of(await read_all_pages(alice, "sort=title", limit=1))
        undone = await alice.post(f"/changes/{patched.json()['revision']}/undo")
        again = titles_of(await read_all_pages(alice, "sort=title", limit=1))
        await alice.delete(f"/tasks/{first['id']}?permanent=true")
        revision = (await alice.get("/changes")).json()["revision"]
        returned = await alice.post(f"/changes/{revision}/undo")

        assert after == ["Milk", "ZEBRA"]
        assert again == ["Apples", "Milk"]
        assert (undone.status_code, returned.status_code) == (200, 200)
        assert titles_of(await read_all_pages(alice, "sort=title", limit=1)) == ["Apples", "Milk"]

    async def test_trashed_tasks_are_sorted_by_title_separately(self, alice: AsyncClient) -> None:
        tasks = [await add_task(alice, title=title) for title in ("c", "B", "a", "D")]
        for task in tasks[:2]:
            await alice.delete(f"/tasks/{task['id']}")

        not_trashed, trashed = [
            titles_of(await read_all_pages(alice, f"sort=title&trashed={trashed}", limit=1))
            for trashed in ("false", "true")
        ]
        await alice.post(f"/tasks/{tasks[1]['id']}/restore")

        assert (not_trashed, trashed) == (["a", "D"], ["B", "c"])
        assert titles_of(await read_all_pages(alice, "sort=title", limit=1)) == ["a", "B", "D"]

    async def test_change_log_contains_titles_as_typed_without_the_sort_key(self, alice: AsyncClient) -> None:
        task = await add_task(alice, title="Äpfel")
        await alice.patch(f"/tasks/{task['id']}", json={"title": "Birnen"})
        same = await alice.patch(f"/tasks/{task['id']}", json={"title": "Birnen"})

        changes = (await alice.get("/changes", params={"since": 0})).json()["changes"]

        assert [change["fields"] for change in changes] == [[], ["title"]]
        assert [set(change["state"]) for change in changes] == [set(task)] * 2
        assert same.json()["revision"] == 2


# Task: T-374
class TestSortByStartDate:
    async def test_start_dates_are_sorted_in_both_directions_with_undated_tasks_last(self, alice: AsyncClient) -> None:
        days = [None if number % 4 == 0 else f"2026-03-{number * 7 % 5 + 1:02}" for number in range(24)]
        tasks = [await add_task(alice, title=str(number), start_date=day) for number, day in enumerate(days)]
        trashed = tasks.pop(5)
        await alice.delete(f"/tasks/{trashed['id']}")
        started = sorted((task for task in tasks if task["start_date"]), key=lambda t: (t["start_date"], t["id"]))
        others = sorted((task for task in tasks if not task["start_date"]), key=lambda t: t["created_at"], reverse=True)

        forwards = await read_all_pages(alice, "sort=start_date", limit=5)
        backwards = await read_all_pages(alice, "sort=-start_date", limit=5)

        assert forwards == [*started, *others]
        assert backwards == [*started[::-1], *others]
        assert await read_all_pages(alice, "sort=start_date&trashed=true", limit=5) == [
            (await alice.get(f"/tasks/{trashed['id']}")).json()
        ]
