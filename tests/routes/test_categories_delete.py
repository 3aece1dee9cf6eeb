"""Categories and their tasks over HTTP: counts, deletion, change log and undo."""

import asyncio
from typing import Any

import pytest
from httpx import AsyncClient

from support.categories import add_category, categories_of, names_of
from support.tasks import (
    NOT_FOUND,
    add_task,
    conflict,
    instant,
    invalid,
    problem_of,
    tasks_of,
)


# Task: T-332
class TestTaskCounts:
    async def test_task_counts_follow_the_tasks_of_the_category(self, alice: AsyncClient) -> None:
        category, other = await add_category(alice), await add_category(alice, name="Other")
        path = f"/categories/{category['id']}"
        counts = []

        async def count() -> None:
            read = (await alice.get(path)).json()
            assert read in await categories_of(alice)
            assert (await alice.patch(path, json={})).json() == read
            counts.append((read["tasks_open"], read["tasks_completed"]))

        tasks = [
            await add_task(alice, category_id=category["id"], status=status)
            for status in ("pending", "in_progress", "completed", "cancelled", "pending")
        ]
        await count()
        await alice.post(f"/tasks/{tasks[0]['id']}/complete")
        await count()
        await alice.patch(f"/tasks/{tasks[1]['id']}", json={"category_id": other["id"]})
        await count()
        await alice.delete(f"/tasks/{tasks[2]['id']}")
        await count()
        await alice.patch(f"/tasks/{tasks[0]['id']}", json={"category_id": None})
        await count()

        assert counts == [(3, 1), (2, 2), (1, 2), (1, 1), (1, 0)]
        assert (await alice.get(f"/categories/{other['id']}")).json()["tasks_open"] == 1

    async def test_etag_of_a_category_changes_with_its_task_counts(self, alice: AsyncClient) -> None:
        category = await add_category(alice)
        path = f"/categories/{category['id']}"
        changed = await alice.patch(path, json={"name": "Food"})
        tag = {"If-None-Match": changed.headers["etag"]}

        before = [await alice.get(where, headers=tag) for where in (path, "/categories")]
        await add_task(alice, category_id=category["id"])
        after = [await alice.get(where, headers=tag) for where in (path, "/categories")]

        assert [response.status_code for response in before] == [304, 304]
        assert [response.status_code for response in after] == [200, 200]
        assert after[0].json() == {**changed.json(), "tasks_open": 1}

    async def test_task_counts_and_etag_of_a_response_are_consistent(self, alice: AsyncClient) -> None:
        """The ETag of a response includes every earlier write, so its task counts must include them as well."""
        category = await add_category(alice)
        path = f"/categories/{category['id']}"

        async def rename(number: int) -> tuple[int, int]:
            response = await alice.patch(path, json={"name": str(number)})
            return int(response.headers["etag"].strip('"')), response.json()["tasks_open"]

        renamed, _ = await asyncio.gather(
            asyncio.gather(*(rename(number) for number in range(10))),
            asyncio.gather(*(add_task(alice, category_id=category["id"]) for _ in range(10))),
        )

        changes = (await alice.get("/changes")).json()["changes"]
        added = [change["revision"] for change in changes if change["type"] == "task"]
        assert sorted(renamed) == sorted((tag, len([n for n in added if n < tag])) for tag, _ in renamed)


# Task: T-334
class TestDeleteCategory:
    async def test_delete_removes_the_category(self, alice: AsyncClient) -> None:
        category = await add_category(alice)

        response = await alice.delete(f"/categories/{category['id']}")
        again = await alice.delete(f"/categories/{category['id']}")

        assert (response.status_code, response.content) == (204, b"")
        assert problem_of(again) == NOT_FOUND
        assert await categories_of(alice) == []

    @pytest.mark.parametrize("params", [{}, {"tasks": "keep"}])
    async def test_delete_keeps_the_tasks_without_a_category_by_default(
        self, alice: AsyncClient, params: dict[str, str]
    ) -> None:
        category, other = await add_category(alice), await add_category(alice, name="Other")
        task = await add_task(alice, category_id=category["id"])
        elsewhere = await add_task(alice, category_id=other["id"])
        trashed = await add_task(alice, category_id=category["id"])
        await alice.delete(f"/tasks/{trashed['id']}")

        response = await alice.delete(f"/categories/{category['id']}", params=params)

        left = (await alice.get(f"/tasks/{task['id']}")).json()
        assert response.status_code == 204
        assert left == {
            **task,
            "category_id": None,
            "updated_at": left["updated_at"],
            "revision": left["revision"],
        }
        assert instant(left["updated_at"]) > instant(task["updated_at"])
        assert (await alice.get(f"/tasks/{trashed['id']}")).json()["category_id"] is None
        assert (await alice.get(f"/tasks/{elsewhere['id']}")).json() == elsewhere
        # First the two tasks, each with its own revision, then the category.
        changes = (await alice.get("/changes", params={"since": 6})).json()["changes"]
        assert [(c["type"], c["operation"], c["fields"]) for c in changes] == [
            ("task", "update", ["category_id"]),
            ("task", "update", ["category_id"]),
            ("category", "delete", []),
        ]

    async def test_delete_with_tasks_trash_moves_the_tasks_and_their_subtrees_to_the_trash(
        self, alice: AsyncClient
    ) -> None:
        """Each task is trashed with the topmost task of the category above it; restoring that restores the subtree."""
        category, other = await add_category(alice), await add_category(alice, name="Other")
        outside = await add_task(alice, title="outside")
        top = await add_task(alice, title="top", category_id=category["id"], parent_id=outside["id"])
        middle = await add_task(alice, title="middle", category_id=other["id"], parent_id=top["id"])
        await add_task(alice, title="bottom", category_id=category["id"], parent_id=middle["id"])
        single = await add_task(alice, title="single", category_id=category["id"])
        earlier = await add_task(alice, title="earlier", category_id=category["id"])
        await alice.delete(f"/tasks/{earlier['id']}")
        earlier = (await alice.get(f"/tasks/{earlier['id']}")).json()

        response = await alice.delete(f"/categories/{category['id']}", params={"tasks": "trash"})

        assert response.status_code == 204
        assert [task["title"] for task in await tasks_of(alice)] == ["outside"]
        assert (await alice.get(f"/tasks/{earlier['id']}")).json()["trashed_at"] == earlier["trashed_at"]
        await alice.post(f"/tasks/{top['id']}/restore")
        assert {task["title"]: task["category_id"] for task in await tasks_of(alice)} == {
            "outside": None,
            "top": None,
            "middle": other["id"],
            "bottom": None,
        }
        await alice.post(f"/tasks/{single['id']}/restore")
        assert len(await tasks_of(alice)) == 5
        assert await categories_of(alice) == [{**other, "tasks_open": 1}]

    @pytest.mark.parametrize("leftover", ["keep", "trash"])
    async def test_rejected_delete_leaves_the_tasks_unchanged(
        self, alice: AsyncClient, bob: AsyncClient, leftover: str
    ) -> None:
        category = await add_category(alice)
        task = await add_task(alice, category_id=category["id"])
        path, params = f"/categories/{category['id']}", {"tasks": leftover}

        stale = await alice.delete(path, params=params, headers={"If-Match": '"4711"'})
        foreign = await bob.delete(path, params=params)

        assert (stale.status_code, foreign.status_code) == (412, 404)
        assert await tasks_of(alice) == [task]

    @pytest.mark.parametrize("leftover", ["keep", "trash"])
    async def test_delete_includes_tasks_that_are_moved_into_the_category_concurrently(
        self, alice: AsyncClient, leftover: str
    ) -> None:
        category = await add_category(alice)
        tasks = [await add_task(alice) for _ in range(10)]

        async def put_in(task: dict[str, Any]) -> int:
            response = await alice.patch(f"/tasks/{task['id']}", json={"category_id": category["id"]})
            return response.status_code

        statuses, deleted = await asyncio.gather(
            asyncio.gather(*(put_in(task) for task in tasks)),
            alice.delete(f"/categories/{category['id']}", params={"tasks": leftover}),
        )

        assert deleted.status_code == 204
        assert set(statuses) <= {200, 422}
        left = await tasks_of(alice)
        assert {task["category_id"] for task in left} <= {None}
        # A task that came too late was rejected; one that came in time was included.
        assert len(left) == (10 if leftover == "keep" else statuses.count(422))

    async def test_tasks_parameter_accepts_only_keep_and_trash(self, alice: AsyncClient) -> None:
        category = await add_category(alice)

        response = await alice.delete(f"/categories/{category['id']}", params={"tasks": "delete"})

        assert problem_of(response) == invalid(("/query/tasks", "Expected 'keep' or 'trash'."))
        assert await categories_of(alice) == [category]


# Task: T-331
class TestCategoryChanges:
    async def test_category_changes_are_logged(self, alice: AsyncClient) -> None:
        category = await add_category(alice)
        renamed = (await alice.patch(f"/categories/{category['id']}", json={"name": "Food"})).json()
        other = await add_category(alice, name="Other")
        moved = (await alice.post(f"/categories/{category['id']}/move", json={"after_id": other["id"]})).json()
        await alice.delete(f"/categories/{category['id']}")

        changes = (await alice.get("/changes")).json()["changes"]

        assert [(c["revision"], c["type"], c["operation"], c["fields"], c["state"]) for c in changes] == [
            (1, "category", "create", [], logged(category)),
            (2, "category", "update", ["name"], logged(renamed)),
            (3, "category", "create", [], logged(other)),
            (4, "category", "update", ["position"], logged(moved)),
            (5, "category", "delete", [], None),
        ]

    async def test_snapshot_contains_each_category_once(self, alice: AsyncClient) -> None:
        categories = [await add_category(alice, name=name) for name in "AB"]
        for _ in range(3):
            await alice.post("/tasks", json={"title": "Buy milk"})

        first = (await alice.get("/changes/snapshot", params={"limit": 2})).json()
        second = (await alice.get("/changes/snapshot", params={"cursor": first["next_cursor"]})).json()

        assert (first["categories"], second["categories"]) == ([logged(one) for one in categories], [])
        assert (first["revision"], len(first["tasks"]), len(second["tasks"])) == (5, 2, 1)


def logged(category: dict[str, Any]) -> dict[str, Any]:
    """Return a category as in the change log, without the task counts."""
    return {name: value for name, value in category.items() if not name.startswith("tasks_")}


# Task: T-331
class TestUndoCategoryChanges:
    async def test_undo_restores_the_changed_fields(self, alice: AsyncClient) -> None:
        category = await add_category(alice, color="#1e90ff")
        other = await add_category(alice, name="Other")
        path = f"/categories/{category['id']}"
        await alice.patch(path, json={"name": "Food", "color": None})
        await alice.post(f"{path}/move", json={"after_id": other["id"]})

        undone = [(await alice.post(f"/changes/{revision}/undo")).json() for revision in (3, 4, 2)]

        now = (await alice.get(path)).json()
        assert [undo["state"] for undo in undone[1:]] == [logged(now), None]
        assert now == {**category, "updated_at": now["updated_at"], "revision": 6}
        assert await categories_of(alice) == [now]

    async def test_undoing_a_deletion_restores_the_category(self, alice: AsyncClient) -> None:
        category = await add_category(alice, color="#1e90ff", archived=True)
        await add_category(alice, name="Other")
        await alice.delete(f"/categories/{category['id']}")

        undone = (await alice.post("/changes/3/undo")).json()

        [back, _] = await categories_of(alice)
        assert back == {**category, "updated_at": back["updated_at"], "revision": 4}
        assert undone["state"] == logged(back)

    async def test_undoing_a_deletion_is_rejected_while_its_name_is_in_use(self, alice: AsyncClient) -> None:
        category = await add_category(alice)
        await alice.delete(f"/categories/{category['id']}")
        await add_category(alice, name="GROCERIES")

        response = await alice.post("/changes/2/undo")

        detail = "Another category of yours has this name by now. Rename that one first."
        assert problem_of(response) == conflict("name_taken", detail)
        assert await names_of(alice) == ["GROCERIES"]

    async def test_undoing_a_deletion_chooses_a_near_position_if_the_previous_one_is_taken(
        self, alice: AsyncClient
    ) -> None:
        a, b, c = [await add_category(alice, name=name) for name in "ABC"]
        moved = (await alice.post(f"/categories/{b['id']}/move", json={"before_id": None})).json()
        taken = (await alice.post(f"/categories/{moved['id']}/move", json={"after_id": a["id"]})).json()
        await alice.delete(f"/categories/{b['id']}")
        other = await add_category(alice, name="Other")
        between = (await alice.post(f"/categories/{other['id']}/move", json={"after_id": a["id"]})).json()
        assert between["position"] == taken["position"]

        back = (await alice.post("/changes/6/undo")).json()["state"]

        assert await names_of(alice) == ["A", "Other", "B", "C"]
        assert between["position"] < back["position"] < c["position"]
