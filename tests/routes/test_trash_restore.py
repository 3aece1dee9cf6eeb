"""Leaving the trash over HTTP: restore as the same subtree, delete permanently, and undo."""

import asyncio
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from fastapi import FastAPI
from httpx import AsyncClient, Response

from support.categories import add_category
from support.subtrees import (
    UNDER_TRASH,
    Task,
    act,
    add_line,
    changes_of,
    faults_of,
    progress,
    read,
    read_all,
    revision_of,
    trash,
    undo,
    without_stamps,
)
from support.tasks import NOT_FOUND, add_task, problem_of
from support.users import client_of, sign_up

LIVE_UNDER_TRASH = "A task outside the trash would have a parent in the trash. Restore the parent first, or trash both."


async def delete_permanently(client: AsyncClient, task: Task, **options: Any) -> Response:
    """Send a permanent delete of a task."""
    return await client.delete(f"/tasks/{task['id']}", params={"permanent": "true"}, **options)


# Task: T-351
class TestRestoreTask:
    async def test_restore_restores_the_whole_subtree_unchanged(self, alice: AsyncClient, database_url: str) -> None:
        category = await add_category(alice)
        first = await add_task(alice, title="First")
        tree = await add_line(alice, 4)
        tree.append(
            await add_task(
                alice,
                title="Pay",
                description="By card.",
                parent_id=tree[1]["id"],
                category_id=category["id"],
                tags=["Home", "money"],
                priority="high",
                status="in_progress",
                due_date="2027-01-31",
                due_time_zone="Europe/Berlin",
                start_date="2027-01-29",
                recurrence={"rule": "FREQ=MONTHLY"},
            )
        )
        await act(alice, tree[-1], "move", json={"after_id": first["id"]})
        await act(alice, tree[3], "complete")
        before = await read_all(alice, *tree)
        counts = (await alice.get(f"/categories/{category['id']}")).json(), (await alice.get("/tags")).json()
        await trash(alice, tree[0])

        answer = await act(alice, tree[0], "restore")

        after = await read_all(alice, *tree)
        assert answer == after[0]
        assert without_stamps(*after) == without_stamps(*before)
        assert ((await alice.get(f"/categories/{category['id']}")).json(), (await alice.get("/tags")).json()) == counts
        assert await faults_of(alice, database_url) == []

    async def test_restore_excludes_subtasks_that_were_trashed_earlier(
        self, alice: AsyncClient, database_url: str
    ) -> None:
        top, middle, below = await add_line(alice, 3)
        earlier = await add_task(alice, title="Earlier", parent_id=middle["id"])
        under_it = await add_task(alice, title="Under it", parent_id=earlier["id"])
        trashed = [await trash(alice, earlier), await read(alice, under_it)]
        await trash(alice, top)

        await act(alice, top, "restore")

        assert [task["trashed_at"] for task in await read_all(alice, top, middle, below)] == [None] * 3
        assert await read_all(alice, earlier, under_it) == trashed
        assert await progress(alice, middle) == (1, 0)
        assert without_stamps(await act(alice, earlier, "restore"))[0]["parent_id"] == middle["id"]
        assert await progress(alice, middle) == (2, 0)
        assert await faults_of(alice, database_url) == []

    async def test_restoring_a_subtask_of_a_trashed_parent_is_rejected(
        self, alice: AsyncClient, database_url: str
    ) -> None:
        top, middle, below = await add_line(alice, 3)
        alone = await trash(alice, await add_task(alice, parent_id=top["id"]))
        await trash(alice, top)
        before = await read_all(alice, middle, below)

        responses = [await alice.post(f"/tasks/{task['id']}/restore") for task in (middle, below, alone)]

        assert [(response.status_code, problem_of(response)) for response in responses] == [(409, UNDER_TRASH)] * 3
        assert await read_all(alice, middle, below, alone) == [*before, alone]
        assert await faults_of(alice, database_url) == []

    async def test_restoring_a_task_outside_the_trash_changes_nothing(self, alice: AsyncClient) -> None:
        top, below = await add_line(alice, 2)
        await trash(alice, below)
        before = await read_all(alice, top, below)

        answer = await act(alice, top, "restore")

        assert answer == before[0]
        assert await read_all(alice, top, below) == before

    async def test_restored_task_has_no_category_if_it_was_deleted(self, alice: AsyncClient) -> None:
        category = await add_category(alice)
        task = await trash(alice, await add_task(alice, category_id=category["id"]))
        await alice.delete(f"/categories/{category['id']}")

        answer = await act(alice, task, "restore")

        assert (answer["category_id"], answer["trashed_at"]) == (None, None)

    async def test_restored_due_date_uses_the_users_current_time_zone(
        self, alice: AsyncClient, database_url: str
    ) -> None:
        task = await trash(alice, await add_task(alice, due_date="2026-03-10T09:00:00"))
        await alice.patch("/me", json={"time_zone": "Asia/Tokyo"})

        await act(alice, task, "restore")

        with psycopg.connect(database_url) as connection:
            [due_at] = connection.execute(
                "SELECT due_at AT TIME ZONE 'Asia/Tokyo' FROM tasks WHERE id = %s", (task["id"],)
            ).fetchone() or (None,)
        assert f"{due_at}" == "2026-03-10 09:00:00"

    async def test_restoring_another_users_task_returns_404_like_an_unknown_one(
        self, alice: AsyncClient, bob: AsyncClient
    ) -> None:
        hers = await trash(alice, await add_task(alice))

        responses = [await bob.post(f"/tasks/{task_id}/restore") for task_id in (hers["id"], uuid4())]

        assert [(response.status_code, problem_of(response)) for response in responses] == [(404, NOT_FOUND)] * 2
        assert await read(alice, hers) == hers

    async def test_restore_with_a_stale_revision_is_rejected(self, alice: AsyncClient) -> None:
        task = await trash(alice, await add_task(alice))
        path = f"/tasks/{task['id']}/restore"

        stale = await alice.post(path, headers={"If-Match": '"1"'})
        current = await alice.post(path, headers={"If-Match": '"2"'})

        assert (stale.status_code, stale.json()["current"]) == (412, task)
        assert (current.status_code, current.headers["etag"]) == (200, '"3"')

    async def test_restore_with_a_known_idempotency_key_has_no_second_effect(self, alice: AsyncClient) -> None:
        task, headers = await trash(alice, await add_task(alice)), {"Idempotency-Key": "one"}
        first = await act(alice, task, "restore", headers=headers)
        trashed = await trash(alice, task)

        again = await act(alice, task, "restore", headers=headers)

        assert again == first
        assert await read(alice, task) == trashed


# Task: T-351
class TestPermanentDelete:
    @pytest.mark.parametrize("is_in_the_trash", [True, False])
    async def test_permanent_delete_removes_the_whole_subtree(
        self, alice: AsyncClient, database_url: str, *, is_in_the_trash: bool
    ) -> None:
        top, middle, below = await add_line(alice, 3)
        if is_in_the_trash:
            await trash(alice, middle)
        since = await revision_of(alice)

        response = await delete_permanently(alice, middle)

        assert (response.status_code, response.content) == (204, b"")
        assert [(await alice.get(f"/tasks/{task['id']}")).status_code for task in (middle, below)] == [404, 404]
        assert await progress(alice, top) == (0, 0)
        deleted = [change["id"] for change in await changes_of(alice, since) if change["operation"] == "delete"]
        assert sorted(deleted) == sorted([middle["id"], below["id"]])
        assert await faults_of(alice, database_url) == []

    async def test_repeated_permanent_delete_returns_404(self, alice: AsyncClient) -> None:
        task = await add_task(alice)

        responses = [await delete_permanently(alice, task) for _ in range(2)]
        responses.append(await alice.delete(f"/tasks/{task['id']}"))
        responses.append(await alice.post(f"/tasks/{task['id']}/restore"))

        assert [response.status_code for response in responses] == [204, 404, 404, 404]

    async def test_one_of_ten_concurrent_permanent_deletes_succeeds(self, alice: AsyncClient) -> None:
        task = await add_task(alice)

        responses = await asyncio.gather(*(delete_permanently(alice, task) for _ in range(10)))

        assert sorted(response.status_code for response in responses) == [204, *[404] * 9]

    async def test_permanent_delete_with_a_stale_revision_is_rejected(self, alice: AsyncClient) -> None:
        task = await add_task(alice)
        changed = (await alice.patch(f"/tasks/{task['id']}", json={"title": "Buy bread"})).json()

        stale = await delete_permanently(alice, task, headers={"If-Match": '"1"'})
        current = await delete_permanently(alice, task, headers={"If-Match": '"2"'})

        assert (stale.status_code, stale.json()["current"]) == (412, changed)
        assert current.status_code == 204

    @pytest.mark.parametrize("permanent", ["1", "yes", "True", ""])
    async def test_permanent_parameter_accepts_only_true_and_false(self, alice: AsyncClient, permanent: str) -> None:
        task = await add_task(alice)

        response = await alice.delete(f"/tasks/{task['id']}", params={"permanent": permanent})

        assert response.status_code == 422
        assert [error["pointer"] for error in response.json()["errors"]] == ["/query/permanent"]
        assert await read(alice, task) == task

    async def test_deleting_the_account_deletes_all_rows_of_the_user(self, app: FastAPI, database_url: str) -> None:
        user_id = sign_up(database_url, "alice")
        async with client_of(app, user_id) as client:
            line = await add_line(client, 5)
            await trash(client, line[2])
            await act(client, line[0], "complete")

        with psycopg.connect(database_url) as connection:
            connection.execute('DELETE FROM "user" WHERE id = %s', (user_id,))
            connection.commit()
            left = [
                connection.execute(f"SELECT count(*) FROM {table} WHERE user_id = %s", (user_id,)).fetchone()
                for table in ("tasks", "changes", "revisions", "task_counts", "task_words")
            ]
        assert left == [(0,)] * 5


# Task: T-351
# Task: T-144
class TestUndoTrashChanges:
    async def test_undoing_a_delete_restores_the_subtree(self, alice: AsyncClient, database_url: str) -> None:
        line = await add_line(alice, 3)
        before = await read_all(alice, *line)
        trashing = (await trash(alice, line[0]))["revision"]
        [own] = [change for change in await changes_of_task(alice, line[0]) if change["fields"] == ["trashed_at"]]

        response = await undo(alice, own["revision"])

        after = await read_all(alice, *line)
        assert trashing >= own["revision"]
        assert (response.status_code, response.json()["state"]) == (200, after[0])
        assert without_stamps(*after) == without_stamps(*before)
        assert await faults_of(alice, database_url) == []

    async def test_undoing_a_restore_trashes_the_subtree(self, alice: AsyncClient, database_url: str) -> None:
        line = await add_line(alice, 3)
        await trash(alice, line[0])
        await act(alice, line[0], "restore")
        [_, own] = [change for change in await changes_of_task(alice, line[0]) if change["fields"] == ["trashed_at"]]

        response = await undo(alice, own["revision"])

        after = await read_all(alice, *line)
        assert (response.status_code, response.json()["state"]) == (200, after[0])
        assert all(task["trashed_at"] for task in after)
        assert await faults_of(alice, database_url) == []

    async def test_undoing_the_delete_of_a_subtask_is_rejected_while_its_parent_is_trashed(
        self, alice: AsyncClient, database_url: str
    ) -> None:
        top, below = await add_line(alice, 2)
        await trash(alice, top)
        [own] = [change for change in await changes_of_task(alice, below) if change["fields"] == ["trashed_at"]]

        response = await undo(alice, own["revision"])

        assert (response.status_code, problem_of(response)["code"]) == (409, "under_trash")
        assert problem_of(response)["detail"] == LIVE_UNDER_TRASH
        assert await faults_of(alice, database_url) == []

    async def test_undoing_the_creation_of_a_trashed_task_is_rejected(self, alice: AsyncClient) -> None:
        task = await trash(alice, await add_task(alice))

        response = await undo(alice, 1)

        assert (response.status_code, response.json()["code"]) == (409, "changed_since")
        assert await read(alice, task) == task

    async def test_undoing_a_permanent_delete_is_rejected_while_the_parent_is_trashed(
        self, alice: AsyncClient, database_url: str
    ) -> None:
        top, below = await add_line(alice, 2)
        await delete_permanently(alice, below)
        await trash(alice, top)
        [deleted] = [change for change in await changes_of_task(alice, below) if change["operation"] == "delete"]

        response = await undo(alice, deleted["revision"])

        assert (response.status_code, problem_of(response)["code"]) == (409, "under_trash")
        assert await faults_of(alice, database_url) == []

    async def test_subtree_trashed_with_its_parent_can_be_restored_after_undoing_its_permanent_delete(
        self, alice: AsyncClient, database_url: str
    ) -> None:
        """The subtree was trashed with its parent, and the parent was restored without it."""
        top, middle, below = await add_line(alice, 3)
        await trash(alice, top)
        await delete_permanently(alice, middle)
        await act(alice, top, "restore")
        for task in (middle, below):
            [deleted] = [change for change in await changes_of_task(alice, task) if change["operation"] == "delete"]
            assert (await undo(alice, deleted["revision"])).status_code == 200

        answer = await act(alice, middle, "restore")

        assert answer["trashed_at"] is None
        assert (await read(alice, below))["trashed_at"] is None
        assert await progress(alice, top) == (1, 0)
        assert await faults_of(alice, database_url) == []

    async def test_undoing_the_due_date_of_a_series_is_rejected(self, alice: AsyncClient) -> None:
        task = await add_task(alice)
        dated = (await alice.patch(f"/tasks/{task['id']}", json={"due_date": "2026-03-10"})).json()
        now = (await alice.patch(f"/tasks/{task['id']}", json={"recurrence": {"rule": "FREQ=DAILY"}})).json()

        response = await undo(alice, dated["revision"])

        assert (response.status_code, problem_of(response)["code"]) == (409, "changed_since")
        assert await read(alice, task) == now


async def changes_of_task(client: AsyncClient, task: Task) -> list[dict[str, Any]]:
    """Return the changes of a task in the feed."""
    return [change for change in await changes_of(client, 0) if change["id"] == task["id"]]
