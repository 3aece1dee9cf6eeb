"""The log over HTTP: feed, snapshot, history, undo."""

from typing import Any
from uuid import uuid4

import psycopg
import pytest
from httpx import AsyncClient
from support.tasks import add_task


async def feed(client: AsyncClient, since: int = 0, limit: int = 500) -> dict[str, Any]:
    """A page of the feed."""
    response = await client.get("/changes", params={"since": since, "limit": limit})
    assert response.status_code == 200, response.text
    page: dict[str, Any] = response.json()
    return page


# Task: T-141
class TestFeed:
    async def test_tells_what_happened_in_order(self, alice: AsyncClient) -> None:
        task = await add_task(alice)
        changed = (await alice.patch(f"/tasks/{task['id']}", json={"title": "Buy bread"})).json()
        completed = (await alice.post(f"/tasks/{task['id']}/complete")).json()
        await alice.delete(f"/tasks/{task['id']}")

        page = await feed(alice)

        assert [(c["revision"], c["operation"], c["fields"], c["state"]) for c in page["changes"]] == [
            (1, "create", [], task),
            (2, "update", ["title"], changed),
            (3, "update", ["status", "completed_at"], completed),
            (4, "delete", [], None),
        ]
        assert {(c["type"], c["id"]) for c in page["changes"]} == {("task", task["id"])}
        assert (page["revision"], page["has_more"]) == (4, False)

    async def test_goes_on_from_where_a_page_ended(self, alice: AsyncClient) -> None:
        for _ in range(5):
            await add_task(alice)

        first = await feed(alice, limit=2)
        second = await feed(alice, since=first["revision"], limit=3)
        end = await feed(alice, since=second["revision"])

        assert [c["revision"] for c in first["changes"] + second["changes"]] == [1, 2, 3, 4, 5]
        assert (first["has_more"], second["has_more"]) == (True, False)
        assert end == {"changes": [], "revision": 5, "has_more": False}

    async def test_shows_nothing_of_a_stranger(self, alice: AsyncClient, bob: AsyncClient) -> None:
        await add_task(alice)

        assert await feed(bob) == {"changes": [], "revision": 0, "has_more": False}

    async def test_asks_to_start_again_from_the_future(self, alice: AsyncClient) -> None:
        await add_task(alice)

        response = await alice.get("/changes", params={"since": 2})

        assert (response.status_code, response.json()["code"]) == (410, "resync_required")

    async def test_asks_to_start_again_where_the_log_has_forgotten(
        self, alice: AsyncClient, database_url: str
    ) -> None:
        for _ in range(3):
            await add_task(alice)
        user_id = (await alice.get("/me")).json()["id"]
        with psycopg.connect(database_url, autocommit=True) as connection:
            connection.execute("DELETE FROM changes WHERE user_id = %s AND revision <= 2", (user_id,))

        too_old = await alice.get("/changes", params={"since": 1})
        just_right = await alice.get("/changes", params={"since": 2})

        assert (too_old.status_code, too_old.json()["code"]) == (410, "resync_required")
        assert [c["revision"] for c in just_right.json()["changes"]] == [3]


# Task: T-142
class TestSnapshot:
    async def test_pages_through_everything_once(self, alice: AsyncClient) -> None:
        made = {(await add_task(alice))["id"] for _ in range(5)}
        pages = []
        cursor = None

        while not pages or cursor:
            params = {"limit": 2, **({"cursor": cursor} if cursor else {})}
            pages.append((await alice.get("/changes/snapshot", params=params)).json())
            cursor = pages[-1]["next_cursor"]

        ids = [task["id"] for page in pages for task in page["tasks"]]
        assert (sorted(ids), len(pages)) == (sorted(made), 3)
        assert {page["revision"] for page in pages} == {5}

    async def test_loses_nothing_to_writes_in_between(self, alice: AsyncClient) -> None:
        tasks = [await add_task(alice) for _ in range(4)]
        first = (await alice.get("/changes/snapshot", params={"limit": 2})).json()
        await alice.delete(f"/tasks/{tasks[0]['id']}")
        await alice.patch(f"/tasks/{tasks[3]['id']}", json={"title": "Buy bread"})
        await add_task(alice, id="00000000-0000-7000-8000-000000000000")

        second = (await alice.get("/changes/snapshot", params={"cursor": first["next_cursor"]})).json()
        copy = {task["id"]: task for task in first["tasks"] + second["tasks"]}
        for change in (await feed(alice, since=first["revision"]))["changes"]:
            if change["state"] is None:
                copy.pop(change["id"], None)
            else:
                copy[change["id"]] = change["state"]

        assert copy == {task["id"]: task for task in (await alice.get("/tasks")).json()["tasks"]}

    @pytest.mark.parametrize("cursor", ["x", "MQ", "LTEuMDAw", "\u0000", "a" * 200])
    async def test_refuses_a_cursor_of_its_callers_making(self, alice: AsyncClient, cursor: str) -> None:
        response = await alice.get("/changes/snapshot", params={"cursor": cursor})

        assert response.status_code == 422
        assert response.json()["errors"][0]["pointer"] == "/query/cursor"


# Task: T-143
class TestHistory:
    async def test_tells_what_happened_to_a_task(self, alice: AsyncClient) -> None:
        task = await add_task(alice)
        await add_task(alice)
        await alice.patch(f"/tasks/{task['id']}", json={"title": "Buy bread", "due_date": "2026-03-10"})

        history = (await alice.get(f"/tasks/{task['id']}/history")).json()

        assert [(entry["revision"], entry["operation"]) for entry in history["history"]] == [
            (3, "update"),
            (1, "create"),
        ]
        assert history["history"][0]["changed"] == {
            "title": {"before": "Buy milk", "after": "Buy bread"},
            "due_date": {"before": None, "after": "2026-03-10"},
        }
        assert history["next_before"] is None

    async def test_remembers_a_deleted_task(self, alice: AsyncClient) -> None:
        task = await add_task(alice)
        await alice.delete(f"/tasks/{task['id']}")

        history = (await alice.get(f"/tasks/{task['id']}/history")).json()

        assert [entry["operation"] for entry in history["history"]] == ["delete", "create"]

    async def test_goes_back_page_by_page(self, alice: AsyncClient) -> None:
        task = await add_task(alice)
        await alice.post(f"/tasks/{task['id']}/complete")
        await alice.post(f"/tasks/{task['id']}/reopen")

        first = (await alice.get(f"/tasks/{task['id']}/history", params={"limit": 2})).json()
        rest = (await alice.get(f"/tasks/{task['id']}/history", params={"before": first["next_before"]})).json()

        assert [entry["revision"] for entry in first["history"] + rest["history"]] == [3, 2, 1]
        assert rest["next_before"] is None


# Task: T-144
class TestUndo:
    async def test_puts_back_what_a_change_did(self, alice: AsyncClient) -> None:
        task = await add_task(alice, due_date="2026-03-10")
        changed = (await alice.patch(f"/tasks/{task['id']}", json={"title": "Buy bread", "due_date": None})).json()
        await alice.patch(f"/tasks/{task['id']}", json={"priority": "high"})

        response = await alice.post(f"/changes/{changed['revision']}/undo")

        now = (await alice.get(f"/tasks/{task['id']}")).json()
        assert response.json() == {"undone": 2, "revision": 4, "type": "task", "id": task["id"], "state": now}
        assert (now["title"], now["due_date"], now["priority"]) == ("Buy milk", "2026-03-10", "high")

    async def test_brings_back_what_was_deleted(self, alice: AsyncClient) -> None:
        task = (await alice.post(f"/tasks/{(await add_task(alice))['id']}/complete")).json()
        await alice.delete(f"/tasks/{task['id']}")

        undone = (await alice.post("/changes/3/undo")).json()

        now = (await alice.get(f"/tasks/{task['id']}")).json()
        assert undone["state"] == now
        assert {**now, "revision": 2, "updated_at": task["updated_at"]} == task

    async def test_removes_what_was_made(self, alice: AsyncClient) -> None:
        task = await add_task(alice)

        undone = (await alice.post("/changes/1/undo")).json()

        assert (undone["revision"], undone["state"]) == (2, None)
        assert (await alice.get(f"/tasks/{task['id']}")).status_code == 404

    async def test_can_be_undone(self, alice: AsyncClient) -> None:
        task = await add_task(alice)
        await alice.post(f"/tasks/{task['id']}/complete")
        await alice.post("/changes/2/undo")

        await alice.post("/changes/3/undo")

        assert (await alice.get(f"/tasks/{task['id']}")).json()["status"] == "completed"

    async def test_refuses_what_was_touched_since(self, alice: AsyncClient) -> None:
        task = await add_task(alice)
        await alice.patch(f"/tasks/{task['id']}", json={"title": "Buy bread", "priority": "low"})
        latest = (await alice.patch(f"/tasks/{task['id']}", json={"title": "Buy butter"})).json()

        response = await alice.post("/changes/2/undo")

        assert (response.status_code, response.json()["code"]) == (409, "changed_since")
        assert response.json()["conflicts"] == [{"revision": 3, "operation": "update", "fields": ["title"]}]
        assert (await alice.get(f"/tasks/{task['id']}")).json() == latest

    async def test_has_one_effect_under_one_key(self, alice: AsyncClient) -> None:
        task = await add_task(alice)
        await alice.post(f"/tasks/{task['id']}/complete")
        first = await alice.post("/changes/2/undo", headers={"Idempotency-Key": "one"})

        again = await alice.post("/changes/2/undo", headers={"Idempotency-Key": "one"})

        assert (again.status_code, again.json()) == (200, first.json())
        assert again.headers["idempotency-replayed"] == "true"
        assert (await feed(alice))["revision"] == 3

    async def test_knows_only_ones_own_changes(self, alice: AsyncClient, bob: AsyncClient) -> None:
        await add_task(alice)

        assert (await bob.post("/changes/1/undo")).status_code == 404
        assert (await alice.get("/tasks")).json()["total"] == 1

    async def test_does_not_know_a_task_that_never_was(self, alice: AsyncClient) -> None:
        assert (await alice.get(f"/tasks/{uuid4()}/history")).status_code == 404
