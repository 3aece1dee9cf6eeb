"""The change log over HTTP: feed, snapshot, history and undo."""

import asyncio
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from httpx import AsyncClient
from psycopg.rows import dict_row

from support.round_trips import watched
from support.tasks import add_task
from support.users import SECRET, client_of, sign_up
from todo.main import create_app
from todo.services.authentication import SecretVerifier
from todo.settings import Settings


def row_of(database_url: str, task_id: str) -> dict[str, Any]:
    """Return all columns of a task."""
    with psycopg.connect(database_url, row_factory=dict_row) as connection:
        [row] = connection.execute("SELECT * FROM tasks WHERE id = %s", (task_id,)).fetchall()
        return row


async def feed(client: AsyncClient, since: int = 0, limit: int = 500) -> dict[str, Any]:
    """Return a page of the feed."""
    response = await client.get("/changes", params={"since": since, "limit": limit})
    assert response.status_code == 200, response.text
    page: dict[str, Any] = response.json()
    return page


# Task: T-141
class TestFeed:
    async def test_feed_lists_changes_in_order(self, alice: AsyncClient) -> None:
        task = await add_task(alice)
        changed = (await alice.patch(f"/tasks/{task['id']}", json={"title": "Buy bread"})).json()
        completed = (await alice.post(f"/tasks/{task['id']}/complete")).json()
        await alice.delete(f"/tasks/{task['id']}?permanent=true")

        page = await feed(alice)

        assert [(c["revision"], c["operation"], c["fields"], c["state"]) for c in page["changes"]] == [
            (1, "create", [], task),
            (2, "update", ["title"], changed),
            (3, "update", ["status", "completed_at"], completed),
            (4, "delete", [], None),
        ]
        assert {(c["type"], c["id"]) for c in page["changes"]} == {("task", task["id"])}
        assert (page["revision"], page["has_more"]) == (4, False)

    async def test_feed_continues_after_the_last_page(self, alice: AsyncClient) -> None:
        for _ in range(5):
            await add_task(alice)

        first = await feed(alice, limit=2)
        second = await feed(alice, since=first["revision"], limit=3)
        end = await feed(alice, since=second["revision"])

        assert [c["revision"] for c in first["changes"] + second["changes"]] == [1, 2, 3, 4, 5]
        assert (first["has_more"], second["has_more"]) == (True, False)
        assert end == {"changes": [], "revision": 5, "has_more": False}

    async def test_feed_contains_only_the_users_own_changes(self, alice: AsyncClient, bob: AsyncClient) -> None:
        await add_task(alice)

        assert await feed(bob) == {"changes": [], "revision": 0, "has_more": False}

    async def test_feed_requires_a_resync_for_a_revision_in_the_future(self, alice: AsyncClient) -> None:
        await add_task(alice)

        response = await alice.get("/changes", params={"since": 2})

        assert (response.status_code, response.json()["code"]) == (410, "resync_required")

    async def test_feed_requires_a_resync_for_a_revision_that_is_pruned(
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

    async def test_feed_returns_304_if_nothing_has_changed(self, alice: AsyncClient) -> None:
        await add_task(alice)
        first = await alice.get("/changes")

        again = await alice.get("/changes", headers={"If-None-Match": first.headers["etag"]})
        await add_task(alice)
        changed = await alice.get("/changes", headers={"If-None-Match": first.headers["etag"]})

        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", first.headers["etag"])
        assert (changed.status_code, changed.json()["revision"]) == (200, 2)

    async def test_feed_returns_instants_in_utc_whatever_the_time_zone_of_the_writer(
        self, alice: AsyncClient, database_url: str
    ) -> None:
        task = await add_task(alice)
        with psycopg.connect(database_url, autocommit=True) as connection:
            connection.execute("SET timezone = 'Asia/Kathmandu'")
            connection.execute("UPDATE tasks SET title = 'Buy bread' WHERE id = %s", (task["id"],))

        [_, change] = (await feed(alice))["changes"]

        assert change["state"] == (await alice.get(f"/tasks/{task['id']}")).json()
        assert change["state"]["created_at"] == task["created_at"]


# Task: T-142
class TestSnapshot:
    async def test_snapshot_contains_every_task_once_across_pages(self, alice: AsyncClient) -> None:
        made = {(await add_task(alice))["id"] for _ in range(5)}
        pages: list[dict[str, Any]] = []
        cursor = None

        while not pages or cursor:
            params = {"limit": 2, **({"cursor": cursor} if cursor else {})}
            pages.append((await alice.get("/changes/snapshot", params=params)).json())
            cursor = pages[-1]["next_cursor"]

        ids = [task["id"] for page in pages for task in page["tasks"]]
        assert (sorted(ids), [len(page["tasks"]) for page in pages[:3]]) == (sorted(made), [2, 2, 1])
        assert {page["revision"] for page in pages} == {5}

    async def test_snapshot_and_feed_are_consistent_if_tasks_change_between_pages(self, alice: AsyncClient) -> None:
        tasks = [await add_task(alice) for _ in range(4)]
        first = (await alice.get("/changes/snapshot", params={"limit": 2})).json()
        await alice.delete(f"/tasks/{tasks[0]['id']}?permanent=true")
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
    async def test_snapshot_rejects_an_invalid_cursor(self, alice: AsyncClient, cursor: str) -> None:
        response = await alice.get("/changes/snapshot", params={"cursor": cursor})

        assert response.status_code == 422
        assert response.json()["errors"][0]["pointer"] == "/query/cursor"


# Task: T-143
class TestHistory:
    async def test_history_lists_the_changes_of_a_task_newest_first(self, alice: AsyncClient) -> None:
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

    async def test_history_of_a_deleted_task_is_kept(self, alice: AsyncClient) -> None:
        task = await add_task(alice)
        await alice.delete(f"/tasks/{task['id']}?permanent=true")

        history = (await alice.get(f"/tasks/{task['id']}/history")).json()

        assert [entry["operation"] for entry in history["history"]] == ["delete", "create"]

    async def test_history_contains_all_fields_of_a_creation_and_of_a_deletion(self, alice: AsyncClient) -> None:
        task = await add_task(alice, priority="high")
        await alice.delete(f"/tasks/{task['id']}?permanent=true")

        deletion, creation = (await alice.get(f"/tasks/{task['id']}/history")).json()["history"]

        told = {name: value for name, value in task.items() if name not in ("revision", "updated_at")}
        assert creation["changed"] == {name: {"before": None, "after": value} for name, value in told.items()}
        assert deletion["changed"] == {name: {"before": value, "after": None} for name, value in told.items()}

    async def test_history_is_paginated_backwards(self, alice: AsyncClient) -> None:
        task = await add_task(alice)
        await alice.post(f"/tasks/{task['id']}/complete")
        await alice.post(f"/tasks/{task['id']}/reopen")

        first = (await alice.get(f"/tasks/{task['id']}/history", params={"limit": 2})).json()
        rest = (await alice.get(f"/tasks/{task['id']}/history", params={"before": first["next_before"]})).json()

        assert [entry["revision"] for entry in first["history"] + rest["history"]] == [3, 2, 1]
        assert rest["next_before"] is None


# Task: T-144
class TestUndo:
    async def test_undo_restores_the_fields_of_a_change_and_keeps_later_changes(self, alice: AsyncClient) -> None:
        task = await add_task(alice, due_date="2026-03-10")
        changed = (await alice.patch(f"/tasks/{task['id']}", json={"title": "Buy bread", "due_date": None})).json()
        await alice.patch(f"/tasks/{task['id']}", json={"priority": "high"})

        response = await alice.post(f"/changes/{changed['revision']}/undo")

        now = (await alice.get(f"/tasks/{task['id']}")).json()
        assert response.json() == {"undone": 2, "revision": 4, "type": "task", "id": task["id"], "state": now}
        assert (now["title"], now["due_date"], now["priority"]) == ("Buy milk", "2026-03-10", "high")

    async def test_undoing_a_deletion_restores_the_task(self, alice: AsyncClient) -> None:
        task = (await alice.post(f"/tasks/{(await add_task(alice))['id']}/complete")).json()
        await alice.delete(f"/tasks/{task['id']}?permanent=true")

        undone = (await alice.post("/changes/3/undo")).json()

        now = (await alice.get(f"/tasks/{task['id']}")).json()
        assert undone["state"] == now
        assert {**now, "revision": 2, "updated_at": task["updated_at"]} == task

    async def test_undoing_a_creation_deletes_the_task(self, alice: AsyncClient) -> None:
        task = await add_task(alice)

        undone = (await alice.post("/changes/1/undo")).json()

        assert (undone["revision"], undone["state"]) == (2, None)
        assert (await alice.get(f"/tasks/{task['id']}")).status_code == 404

    async def test_undo_can_be_undone(self, alice: AsyncClient) -> None:
        task = await add_task(alice)
        await alice.post(f"/tasks/{task['id']}/complete")
        await alice.post("/changes/2/undo")

        await alice.post("/changes/3/undo")

        assert (await alice.get(f"/tasks/{task['id']}")).json()["status"] == "completed"

    async def test_undo_is_rejected_if_the_same_field_was_changed_later(self, alice: AsyncClient) -> None:
        task = await add_task(alice)
        await alice.patch(f"/tasks/{task['id']}", json={"title": "Buy bread", "priority": "low"})
        latest = (await alice.patch(f"/tasks/{task['id']}", json={"title": "Buy butter"})).json()

        response = await alice.post("/changes/2/undo")

        assert (response.status_code, response.json()["code"]) == (409, "changed_since")
        assert response.json()["conflicts"] == [{"revision": 3, "operation": "update", "fields": ["title"]}]
        assert (await alice.get(f"/tasks/{task['id']}")).json() == latest

    async def test_rejected_undo_lists_the_first_100_conflicts(self, alice: AsyncClient) -> None:
        task = await add_task(alice)
        for n in range(102):
            await alice.patch(f"/tasks/{task['id']}", json={"title": f"Buy {n} breads"})
            await alice.patch(f"/tasks/{task['id']}", json={"priority": ("low", "high")[n % 2]})

        response = await alice.post("/changes/2/undo")

        assert response.status_code == 409
        assert response.json()["conflicts"] == [
            {"revision": 2 + 2 * n, "operation": "update", "fields": ["title"]} for n in range(1, 101)
        ]

    async def test_rejected_undo_finds_one_conflict_after_many_unrelated_changes(self, alice: AsyncClient) -> None:
        task = await add_task(alice)
        await alice.patch(f"/tasks/{task['id']}", json={"title": "Buy bread"})
        for n in range(120):
            await alice.patch(f"/tasks/{task['id']}", json={"priority": ("low", "high")[n % 2]})
        await alice.patch(f"/tasks/{task['id']}", json={"title": "Buy butter"})

        response = await alice.post("/changes/2/undo")

        assert (response.status_code, response.json()["conflicts"]) == (
            409,
            [{"revision": 123, "operation": "update", "fields": ["title"]}],
        )

    async def test_undoing_a_deletion_restores_internal_columns_too(
        self, alice: AsyncClient, database_url: str
    ) -> None:
        """The creation digest is restored, so a repeated creation request finds its own task."""
        body = {"id": str(uuid4()), "title": "Buy milk", "description": 'two\\n"bottles" 𝄞', "status": "completed"}
        task = (await alice.post("/tasks", json=body)).json()
        lost = row_of(database_url, task["id"])
        await alice.delete(f"/tasks/{task['id']}?permanent=true")

        await alice.post("/changes/2/undo")

        found = row_of(database_url, task["id"])
        assert {**found, "revision": 1, "updated_at": lost["updated_at"]} == lost
        assert found["updated_at"] > lost["updated_at"]
        assert (await alice.post("/tasks", json=body)).status_code == 200

    async def test_undoing_a_deletion_is_rejected_if_the_id_is_in_use_again(self, alice: AsyncClient) -> None:
        task = await add_task(alice, id=str(uuid4()))
        await alice.delete(f"/tasks/{task['id']}?permanent=true")
        other = await add_task(alice, id=task["id"], title="Buy bread")

        response = await alice.post("/changes/2/undo")

        assert (response.status_code, response.json()["conflicts"]) == (
            409,
            [{"revision": 3, "operation": "create", "fields": []}],
        )
        assert (await alice.get(f"/tasks/{task['id']}")).json() == other

    async def test_undoing_changes_of_a_deleted_task_is_rejected(self, alice: AsyncClient) -> None:
        task = await add_task(alice)
        await alice.post(f"/tasks/{task['id']}/complete")
        await alice.delete(f"/tasks/{task['id']}?permanent=true")

        undoing = [await alice.post(f"/changes/{revision}/undo") for revision in (1, 2)]

        gone = {"revision": 3, "operation": "delete", "fields": []}
        completed = {"revision": 2, "operation": "update", "fields": ["completed_at", "status"]}
        assert [response.status_code for response in undoing] == [409, 409]
        assert [response.json()["conflicts"] for response in undoing] == [[completed, gone], [gone]]

    async def test_undoing_a_creation_is_rejected_if_the_task_was_changed_later(self, alice: AsyncClient) -> None:
        task = await add_task(alice)
        await alice.patch(f"/tasks/{task['id']}", json={"title": "Buy bread"})

        response = await alice.post("/changes/1/undo")

        assert (response.status_code, response.json()["conflicts"]) == (
            409,
            [{"revision": 2, "operation": "update", "fields": ["title"]}],
        )

    async def test_undos_can_be_undone_repeatedly(self, alice: AsyncClient) -> None:
        task = await add_task(alice)
        await alice.patch(f"/tasks/{task['id']}", json={"title": "Buy bread"})
        await alice.delete(f"/tasks/{task['id']}?permanent=true")

        undone = [(await alice.post(f"/changes/{revision}/undo")).status_code for revision in (3, 4, 5)]

        # Undo the deletion, then that undo, then that one.
        assert undone == [200, 200, 200]
        assert (await alice.get(f"/tasks/{task['id']}")).json()["title"] == "Buy bread"
        assert [change["operation"] for change in (await feed(alice))["changes"]] == [
            *("create", "update", "delete"),
            *("create", "delete", "create"),
        ]

    async def test_one_of_twenty_concurrent_undos_succeeds(self, alice: AsyncClient) -> None:
        task = await add_task(alice)
        await alice.patch(f"/tasks/{task['id']}", json={"title": "Buy bread"})

        responses = await asyncio.gather(*(alice.post("/changes/2/undo") for _ in range(20)))

        assert sorted(response.status_code for response in responses) == [200, *[409] * 19]
        assert (await feed(alice))["revision"] == 3

    async def test_all_of_twenty_concurrent_undos_with_one_idempotency_key_succeed(self, alice: AsyncClient) -> None:
        task = await add_task(alice)
        await alice.delete(f"/tasks/{task['id']}?permanent=true")

        responses = await asyncio.gather(
            *(alice.post("/changes/2/undo", headers={"Idempotency-Key": "one"}) for _ in range(20))
        )

        assert [response.status_code for response in responses] == [200] * 20
        assert all(response.json() == responses[0].json() for response in responses)
        assert sum("idempotency-replayed" in response.headers for response in responses) == 19
        assert (await feed(alice))["revision"] == 3

    async def test_rejected_undo_does_not_use_up_its_idempotency_key(self, alice: AsyncClient) -> None:
        task = await add_task(alice)
        for title in ("Buy bread", "Buy butter"):
            await alice.patch(f"/tasks/{task['id']}", json={"title": title})
        key = {"Idempotency-Key": "one"}

        refused = await alice.post("/changes/2/undo", headers=key)
        undone = await alice.post("/changes/3/undo", headers=key)

        assert (refused.status_code, undone.status_code) == (409, 200)

    async def test_undo_never_decreases_updated_at(self, alice: AsyncClient, database_url: str) -> None:
        task = await add_task(alice)
        await alice.patch(f"/tasks/{task['id']}", json={"title": "Buy bread"})
        with psycopg.connect(database_url, autocommit=True) as connection:
            connection.execute("ALTER TABLE tasks DISABLE TRIGGER t40_log_write")
            connection.execute("UPDATE tasks SET updated_at = '2999-01-01Z' WHERE id = %s", (task["id"],))
            connection.execute("ALTER TABLE tasks ENABLE TRIGGER t40_log_write")

        undone = (await alice.post("/changes/2/undo")).json()

        assert undone["state"]["updated_at"] == "2999-01-01T00:00:00Z"

    @pytest.mark.parametrize("key", [{}, {"Idempotency-Key": "one"}])
    async def test_undo_takes_three_round_trips(self, database_url: str, key: dict[str, str]) -> None:
        database, trips = watched(database_url)
        app = create_app(Settings(), database, SecretVerifier(SECRET))
        await database.open()
        async with client_of(app, sign_up(database_url, "alice")) as client:
            task = await add_task(client)
            await client.delete(f"/tasks/{task['id']}?permanent=true")
            trips.count = 0

            response = await client.post("/changes/2/undo", headers=key)

        await database.close()
        assert (response.status_code, trips.count) == (200, 3)

    async def test_undo_with_a_known_idempotency_key_has_no_second_effect(self, alice: AsyncClient) -> None:
        task = await add_task(alice)
        await alice.post(f"/tasks/{task['id']}/complete")
        first = await alice.post("/changes/2/undo", headers={"Idempotency-Key": "one"})

        again = await alice.post("/changes/2/undo", headers={"Idempotency-Key": "one"})

        assert (again.status_code, again.json()) == (200, first.json())
        assert again.headers["idempotency-replayed"] == "true"
        assert (await feed(alice))["revision"] == 3

    async def test_undoing_another_users_change_returns_404(self, alice: AsyncClient, bob: AsyncClient) -> None:
        await add_task(alice)

        assert (await bob.post("/changes/1/undo")).status_code == 404
        assert (await alice.get("/tasks")).json()["total"] == 1

    async def test_history_of_an_unknown_task_returns_404(self, alice: AsyncClient) -> None:
        assert (await alice.get(f"/tasks/{uuid4()}/history")).status_code == 404
