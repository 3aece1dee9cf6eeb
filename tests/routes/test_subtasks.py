"""Subtasks over HTTP: depth limit, counters of the parent, and completion of the whole subtree."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest
from fastapi import FastAPI
from httpx import AsyncClient, Response

from support.subtrees import (
    CIRCLE,
    NO_SUCH_TASK,
    TOO_DEEP,
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
from support.tasks import ACCOUNT_GONE, add_task, invalid, problem_of
from todo.kit.ids import uuid7

# The three ways to change the parent of a task.
WAYS = ("PATCH", "PUT", "move")


async def move_below(client: AsyncClient, task: Task, parent_id: str | None, *, way: str = "move") -> Response:
    """Move a task below another one."""
    path = f"/tasks/{task['id']}"
    if way == "move":
        return await client.post(f"{path}/move", json={"parent_id": parent_id})
    return await client.request(way, path, json={"title": task["title"], "parent_id": parent_id})


# Task: T-342
class TestParent:
    async def test_parent_can_be_set_on_creation(self, alice: AsyncClient) -> None:
        parent = await add_task(alice, title="Party")

        child = await add_task(alice, title="Cake", parent_id=parent["id"])

        assert (child["parent_id"], child["subtasks_total"], child["subtasks_completed"]) == (parent["id"], 0, 0)
        assert await read(alice, child) == child

    @pytest.mark.parametrize("way", WAYS)
    async def test_parent_can_be_changed_and_cleared(self, alice: AsyncClient, way: str) -> None:
        parent, other, child = [await add_task(alice, title=title) for title in ("Party", "Picnic", "Cake")]

        seen = [
            (await move_below(alice, child, parent_id, way=way)).json()["parent_id"]
            for parent_id in (parent["id"], other["id"], None)
        ]

        assert seen == [parent["id"], other["id"], None]
        assert (await read(alice, child))["parent_id"] is None

    async def test_task_below_the_fifth_level_is_rejected(self, alice: AsyncClient, database_url: str) -> None:
        line = await add_line(alice, 5)

        response = await alice.post("/tasks", json={"title": "Level 6", "parent_id": line[-1]["id"]})

        assert (response.status_code, problem_of(response)) == (422, invalid(("/body/parent_id", TOO_DEEP)))
        assert (await alice.get("/tasks")).json()["total"] == 5
        assert await faults_of(alice, database_url) == []

    @pytest.mark.parametrize("way", WAYS)
    @pytest.mark.parametrize(("height", "fits_under"), [(1, 4), (2, 3), (3, 2), (4, 1)])
    async def test_subtree_that_would_exceed_five_levels_is_rejected(
        self, alice: AsyncClient, way: str, height: int, fits_under: int
    ) -> None:
        line, [top, *rest] = await add_line(alice, 5), await add_line(alice, height)

        refused = await move_below(alice, top, line[fits_under]["id"], way=way)
        done = await move_below(alice, top, line[fits_under - 1]["id"], way=way)

        assert (refused.status_code, problem_of(refused)) == (422, invalid(("/body/parent_id", TOO_DEEP)))
        assert (done.status_code, done.json()["parent_id"]) == (200, line[fits_under - 1]["id"])
        assert [task["parent_id"] for task in await read_all(alice, *rest)] == [task["parent_id"] for task in rest]

    async def test_trashed_subtasks_count_towards_the_depth_limit(self, alice: AsyncClient) -> None:
        line, [top, below] = await add_line(alice, 4), await add_line(alice, 2)
        await trash(alice, below)

        response = await move_below(alice, top, line[-1]["id"])

        assert problem_of(response) == invalid(("/body/parent_id", TOO_DEEP))

    @pytest.mark.parametrize("way", WAYS)
    @pytest.mark.parametrize("levels_down", range(5))
    async def test_task_below_itself_or_its_own_subtree_is_rejected(
        self, alice: AsyncClient, database_url: str, way: str, levels_down: int
    ) -> None:
        line = await add_line(alice, 5)
        before = await read_all(alice, *line)

        response = await move_below(alice, line[0], line[levels_down]["id"], way=way)

        assert (response.status_code, problem_of(response)) == (409, CIRCLE)
        assert await read_all(alice, *line) == before
        assert await faults_of(alice, database_url) == []

    async def test_new_task_below_itself_is_rejected(self, alice: AsyncClient) -> None:
        task_id = str(uuid7())

        response = await alice.post("/tasks", json={"id": task_id, "title": "Ouroboros", "parent_id": task_id})

        assert (response.status_code, problem_of(response)) == (409, CIRCLE)
        assert (await alice.get(f"/tasks/{task_id}")).status_code == 404

    @pytest.mark.parametrize("levels", [1, 2])
    async def test_concurrent_moves_below_each_other_create_no_cycle(
        self, alice: AsyncClient, database_url: str, levels: int
    ) -> None:
        for _ in range(5):
            one, other = await add_line(alice, levels), await add_line(alice, levels)

            responses = await asyncio.gather(
                move_below(alice, one[0], other[-1]["id"]), move_below(alice, other[0], one[-1]["id"])
            )

            assert sorted(response.status_code for response in responses) == [200, 409]
            refused = next(response for response in responses if response.status_code == 409)
            assert problem_of(refused) == CIRCLE
        assert await faults_of(alice, database_url) == []

    async def test_concurrent_moves_do_not_exceed_the_depth_limit(self, alice: AsyncClient) -> None:
        top, middle, below = await add_line(alice, 2), await add_line(alice, 2), await add_line(alice, 2)

        responses = await asyncio.gather(
            move_below(alice, middle[0], top[-1]["id"]), move_below(alice, below[0], middle[-1]["id"])
        )

        assert sorted(response.status_code for response in responses) == [200, 422]

    @pytest.mark.parametrize("way", ["create", *WAYS])
    async def test_parent_of_another_user_is_rejected_like_an_unknown_one(
        self, alice: AsyncClient, bob: AsyncClient, way: str
    ) -> None:
        hers, his = await add_task(alice), await add_task(bob)

        answers = []
        for parent_id in (hers["id"], str(uuid4())):
            if way == "create":
                response = await bob.post("/tasks", json={"title": "Cake", "parent_id": parent_id})
            else:
                response = await move_below(bob, his, parent_id, way=way)
            answers.append((response.status_code, problem_of(response)))

        assert answers == [(422, invalid(("/body/parent_id", NO_SUCH_TASK)))] * 2
        assert await read(alice, hers) == hers
        assert await read(bob, his) == his

    async def test_repeated_creation_succeeds_after_the_parent_has_changed(self, alice: AsyncClient) -> None:
        """The repeated request returns the task as it is now, wherever its former parent is."""
        parent = await add_task(alice, title="Party")
        body = {"id": str(uuid7()), "title": "Cake", "parent_id": parent["id"]}
        child = (await alice.post("/tasks", json=body)).json()
        await move_below(alice, child, None)
        await move_below(alice, parent, child["id"])

        again = await alice.post("/tasks", json=body)

        assert (again.status_code, again.json()) == (200, await read(alice, child))

    async def test_creating_a_subtask_is_forbidden_after_the_account_was_deleted(self, charlie: AsyncClient) -> None:
        response = await charlie.post("/tasks", json={"title": "Cake", "parent_id": str(uuid4())})

        assert problem_of(response) == ACCOUNT_GONE


# Task: T-342
class TestSubtaskCounters:
    async def test_counters_follow_every_change_of_a_subtask(self, alice: AsyncClient, database_url: str) -> None:
        parent, other = await add_task(alice, title="Party"), await add_task(alice, title="Picnic")
        child = await add_task(alice, title="Cake", parent_id=parent["id"])
        path = f"/tasks/{child['id']}"
        steps: list[tuple[str, str, Any, tuple[int, int]]] = [
            ("PATCH", path, {"title": "A cake"}, (1, 0)),
            ("PATCH", path, {"status": "in_progress"}, (1, 0)),
            ("POST", f"{path}/complete", None, (1, 1)),
            ("POST", f"{path}/reopen", None, (1, 0)),
            ("PATCH", path, {"status": "cancelled"}, (1, 0)),
            ("PATCH", path, {"status": "pending"}, (1, 0)),
            ("PATCH", path, {"status": "completed"}, (1, 1)),
            ("DELETE", path, None, (0, 0)),
            ("POST", f"{path}/restore", None, (1, 1)),
            ("POST", f"{path}/move", {"parent_id": other["id"]}, (0, 0)),
            ("POST", f"{path}/move", {"parent_id": parent["id"]}, (1, 1)),
            ("PATCH", path, {"parent_id": None}, (0, 0)),
            ("PATCH", path, {"parent_id": parent["id"], "status": "pending"}, (1, 0)),
            ("PUT", path, {"title": "Cake", "parent_id": parent["id"], "status": "completed"}, (1, 1)),
            ("DELETE", f"{path}?permanent=true", None, (0, 0)),
        ]

        seen = []
        for method, address, body, _ in steps:
            response = await alice.request(method, address, json=body)
            assert response.status_code in (200, 204), (method, address, response.text)
            seen.append((method, address, body, await progress(alice, parent)))

        assert seen == steps
        assert await progress(alice, other) == (0, 0)
        assert await faults_of(alice, database_url) == []

    async def test_counters_include_only_direct_subtasks(self, alice: AsyncClient) -> None:
        top, middle, below = await add_line(alice, 3)

        await act(alice, below, "complete")

        assert [await progress(alice, task) for task in (top, middle, below)] == [(1, 0), (1, 1), (0, 0)]

    async def test_counter_update_is_logged_as_a_change_of_the_parent(self, alice: AsyncClient) -> None:
        parent, child = await add_line(alice, 2)
        since, old = await revision_of(alice), await read(alice, parent)

        completed = await act(alice, child, "complete")

        now = await read(alice, parent)
        assert await changes_of(alice, since) == [
            {
                "revision": since + 1,
                "type": "task",
                "id": child["id"],
                "operation": "update",
                "fields": ["status", "completed_at"],
                "state": completed,
            },
            {
                "revision": since + 2,
                "type": "task",
                "id": parent["id"],
                "operation": "update",
                "fields": ["subtasks_completed"],
                "state": now,
            },
        ]
        assert now == {**old, "subtasks_completed": 1, "revision": since + 2, "updated_at": completed["updated_at"]}

    @pytest.mark.parametrize("how", ["", "?permanent=true"])
    async def test_deleting_a_subtask_updates_the_parents_updated_at_and_revision(
        self, alice: AsyncClient, how: str
    ) -> None:
        parent, child = await add_line(alice, 2)
        before = await read(alice, parent)

        await alice.delete(f"/tasks/{child['id']}{how}")

        after = await read(alice, parent)
        assert after["updated_at"] > before["updated_at"]
        assert after["revision"] > before["revision"]

    async def test_parent_is_unchanged_if_its_counters_stay_the_same(self, alice: AsyncClient) -> None:
        parent, child = await add_line(alice, 2)
        before = await read(alice, parent)

        await alice.patch(f"/tasks/{child['id']}", json={"status": "in_progress", "title": "Cake"})

        assert await read(alice, parent) == before

    async def test_update_based_on_the_revision_before_a_counter_update_is_rejected(self, alice: AsyncClient) -> None:
        parent, child = await add_line(alice, 2)
        old = await read(alice, parent)
        await act(alice, child, "complete")

        response = await alice.patch(
            f"/tasks/{parent['id']}", json={"title": "Party"}, headers={"If-Match": f'"{old["revision"]}"'}
        )

        assert response.status_code == 412
        assert response.json()["current"] == await read(alice, parent)

    async def test_counters_are_correct_after_fifty_concurrent_changes(
        self, alice: AsyncClient, database_url: str
    ) -> None:
        parent = await add_task(alice)
        children = await asyncio.gather(*(add_task(alice, parent_id=parent["id"]) for _ in range(50)))

        await asyncio.gather(
            *(act(alice, child, "complete") for child in children[:20]),
            *(trash(alice, child) for child in children[20:30]),
            *(move_below(alice, child, None) for child in children[30:40]),
        )

        assert await progress(alice, parent) == (30, 20)
        assert await faults_of(alice, database_url) == []

    async def test_counters_cannot_be_written(self, alice: AsyncClient) -> None:
        response = await alice.post("/tasks", json={"title": "Party", "subtasks_total": 1, "subtasks_completed": 1})

        assert response.status_code == 422
        assert [error["pointer"] for error in response.json()["errors"]] == [
            "/body/subtasks_total",
            "/body/subtasks_completed",
        ]


# Task: T-342
class TestCompleteSubtree:
    async def test_completion_completes_every_open_task_of_the_subtree(
        self, alice: AsyncClient, database_url: str
    ) -> None:
        top, middle, below = await add_line(alice, 3)
        begun = await add_task(alice, title="Begun", parent_id=top["id"], status="in_progress")
        cancelled = await add_task(alice, title="Cancelled", parent_id=top["id"], status="cancelled")
        done = await add_task(alice, title="Done", parent_id=middle["id"], status="completed")
        trashed = await trash(alice, await add_task(alice, title="Trashed", parent_id=middle["id"]))

        answer = await act(alice, top, "complete")

        assert answer == await read(alice, top)
        assert (answer["subtasks_total"], answer["subtasks_completed"]) == (3, 2)
        assert [
            (task["status"], task["completed_at"]) for task in await read_all(alice, top, middle, below, begun)
        ] == [("completed", answer["completed_at"])] * 4
        assert await read_all(alice, cancelled, done, trashed) == [cancelled, done, trashed]
        assert await progress(alice, middle) == (2, 2)
        assert await faults_of(alice, database_url) == []

    @pytest.mark.parametrize("method", ["PATCH", "PUT"])
    async def test_setting_the_status_to_completed_completes_the_subtree(self, alice: AsyncClient, method: str) -> None:
        top, middle, below = await add_line(alice, 3)

        response = await alice.request(
            method, f"/tasks/{top['id']}", json={"title": "Party", "status": "completed", "priority": "high"}
        )

        assert (response.status_code, response.json()) == (200, await read(alice, top))
        assert (response.json()["title"], response.json()["priority"]) == ("Party", "high")
        assert {task["status"] for task in await read_all(alice, top, middle, below)} == {"completed"}

    async def test_completion_sets_the_reported_time_on_the_whole_subtree(self, alice: AsyncClient) -> None:
        top, below = await add_line(alice, 2)

        await act(alice, top, "complete", json={"completed_at": "2026-03-01T07:30:00Z"})

        assert [task["completed_at"] for task in await read_all(alice, top, below)] == ["2026-03-01T07:30:00Z"] * 2

    async def test_completion_of_a_subtree_is_atomic(self, alice: AsyncClient) -> None:
        """The changes of one subtree are consecutive in the feed; no other writer's change is between them."""
        lines = [await add_line(alice, 5) for _ in range(3)]
        since = await revision_of(alice)

        await asyncio.gather(*(act(alice, line[0], "complete") for line in lines))

        changes = await changes_of(alice, since)
        of_line = {task["id"]: number for number, line in enumerate(lines) for task in line}
        runs = [of_line[change["id"]] for change in changes]
        assert runs == sorted(runs, key=runs.index)
        assert {task["status"] for line in lines for task in await read_all(alice, *line)} == {"completed"}

    async def test_repeated_completion_changes_nothing(self, alice: AsyncClient) -> None:
        top, below = await add_line(alice, 2)
        first = await act(alice, top, "complete")
        await act(alice, below, "reopen")
        before = await read_all(alice, top, below)

        again = await act(alice, top, "complete")

        assert again == before[0]
        assert again["completed_at"] == first["completed_at"]
        assert await read_all(alice, top, below) == before

    async def test_completion_with_a_known_idempotency_key_returns_the_first_response(self, alice: AsyncClient) -> None:
        top, _ = await add_line(alice, 2)
        headers = {"Idempotency-Key": "one"}
        first = await act(alice, top, "complete", headers=headers)
        await act(alice, top, "reopen")

        again = await act(alice, top, "complete", headers=headers)

        assert again == first
        assert (await read(alice, top))["status"] == "pending"

    async def test_completion_with_a_stale_revision_is_rejected(self, alice: AsyncClient) -> None:
        line = await add_line(alice, 2)
        before = await read_all(alice, *line)
        path = f"/tasks/{line[0]['id']}/complete"

        stale = await alice.post(path, headers={"If-Match": f'"{line[0]["revision"]}"'})
        untouched = await read_all(alice, *line)
        current = await alice.post(path, headers={"If-Match": f'"{before[0]["revision"]}"'})

        assert (stale.status_code, stale.json()["current"]) == (412, before[0])
        assert untouched == before
        assert (current.status_code, current.json()) == (200, await read(alice, line[0]))

    async def test_completing_a_cancelled_parent_is_rejected_and_changes_nothing(self, alice: AsyncClient) -> None:
        top, below = await add_line(alice, 2)
        await alice.patch(f"/tasks/{top['id']}", json={"status": "cancelled"})
        before = await read_all(alice, top, below)

        response = await alice.post(f"/tasks/{top['id']}/complete")

        assert (response.status_code, response.json()["code"]) == (422, "invalid_status_transition")
        assert await read_all(alice, top, below) == before

    async def test_reopening_a_parent_leaves_its_subtasks_completed(self, alice: AsyncClient) -> None:
        top, below = await add_line(alice, 2)
        await act(alice, top, "complete")

        answer = await act(alice, top, "reopen")

        assert (answer["status"], answer["subtasks_completed"]) == ("pending", 1)
        assert (await read(alice, below))["status"] == "completed"

    def test_documentation_describes_the_effect_on_subtasks(self, app: FastAPI) -> None:
        paths = app.openapi()["paths"]
        complete, reopen, trashing, restore = (
            " ".join(paths[f"/api/v1/tasks/{{task_id}}{action}"][method][part] for part in ("summary", "description"))
            for action, method in (("/complete", "post"), ("/reopen", "post"), ("", "delete"), ("/restore", "post"))
        )

        assert "All open tasks in its subtree are completed with it." in complete
        assert "subtasks do not change." in reopen
        assert "The task and its whole subtree move to the trash" in trashing
        assert "Everything that moved to the trash together with the task is restored" in restore


# Task: T-342
# Task: T-144
class TestUndoSubtaskChanges:
    async def test_undoing_a_subtasks_completion_restores_the_counters(
        self, alice: AsyncClient, database_url: str
    ) -> None:
        parent, child = await add_line(alice, 2)
        completed = await act(alice, child, "complete")

        response = await undo(alice, completed["revision"])

        assert (response.status_code, response.json()["state"]) == (200, await read(alice, child))
        assert without_stamps(response.json()["state"]) == without_stamps(child)
        assert await progress(alice, parent) == (1, 0)
        assert await faults_of(alice, database_url) == []

    async def test_undoing_a_subtasks_creation_restores_the_counters(
        self, alice: AsyncClient, database_url: str
    ) -> None:
        parent, child = await add_line(alice, 2)

        response = await undo(alice, child["revision"])

        assert (response.status_code, response.json()["state"]) == (200, None)
        assert await progress(alice, parent) == (0, 0)
        assert await faults_of(alice, database_url) == []

    async def test_undoing_a_subtasks_deletion_restores_the_counters(
        self, alice: AsyncClient, database_url: str
    ) -> None:
        parent, child = await add_line(alice, 2)
        child = await act(alice, child, "complete")
        since = await revision_of(alice)
        await alice.delete(f"/tasks/{child['id']}?permanent=true")
        [deleted] = [change["revision"] for change in await changes_of(alice, since) if change["id"] == child["id"]]

        response = await undo(alice, deleted)

        assert (response.status_code, without_stamps(response.json()["state"])) == (200, without_stamps(child))
        assert await progress(alice, parent) == (1, 1)
        assert await faults_of(alice, database_url) == []

    async def test_undoing_a_move_restores_the_previous_parent(self, alice: AsyncClient, database_url: str) -> None:
        parent, child = await add_line(alice, 2)
        moved = (await move_below(alice, child, None)).json()

        response = await undo(alice, moved["revision"])

        assert (response.status_code, without_stamps(response.json()["state"])) == (200, without_stamps(child))
        assert await progress(alice, parent) == (1, 0)
        assert await faults_of(alice, database_url) == []

    async def test_undoing_a_counter_update_is_rejected(self, alice: AsyncClient) -> None:
        parent, _ = await add_line(alice, 2)
        followed = (await read(alice, parent))["revision"]

        response = await undo(alice, followed)

        assert (response.status_code, response.json()["code"]) == (409, "not_undoable")

    async def test_undoing_the_creation_of_a_parent_does_not_delete_its_subtasks(self, alice: AsyncClient) -> None:
        parent, child = await add_line(alice, 2)

        response = await undo(alice, parent["revision"])

        assert (response.status_code, response.json()["code"]) == (409, "changed_since")
        assert await read(alice, child) == child

    async def test_undoing_a_subtasks_deletion_is_rejected_while_its_parent_is_deleted(
        self, alice: AsyncClient, database_url: str
    ) -> None:
        top, middle, below = await add_line(alice, 3)
        since = await revision_of(alice)
        before = await read_all(alice, top, middle, below)
        await alice.delete(f"/tasks/{top['id']}?permanent=true")
        gone = {change["id"]: change["revision"] for change in await changes_of(alice, since)}

        refused = await undo(alice, gone[middle["id"]])
        done = [await undo(alice, gone[task["id"]]) for task in (top, middle, below)]

        assert (refused.status_code, problem_of(refused)["code"]) == (409, "parent_deleted")
        assert problem_of(refused)["detail"] == "The category or the parent task was deleted. Undo that deletion first."
        assert [response.status_code for response in done] == [200] * 3
        assert without_stamps(*await read_all(alice, top, middle, below)) == without_stamps(*before)
        assert await faults_of(alice, database_url) == []

    async def test_undoing_a_move_is_rejected_while_the_previous_parent_is_deleted(self, alice: AsyncClient) -> None:
        parent, child = await add_line(alice, 2)
        moved = (await move_below(alice, child, None)).json()
        await alice.delete(f"/tasks/{parent['id']}?permanent=true")

        response = await undo(alice, moved["revision"])

        assert (response.status_code, problem_of(response)["code"]) == (409, "parent_deleted")
        assert await read(alice, child) == moved

    async def test_undo_that_would_create_a_cycle_is_rejected(self, alice: AsyncClient) -> None:
        parent, child = await add_line(alice, 2)
        moved = (await move_below(alice, child, None)).json()
        await move_below(alice, parent, child["id"])

        response = await undo(alice, moved["revision"])

        assert (response.status_code, problem_of(response)) == (409, CIRCLE)

    async def test_undo_that_would_exceed_the_depth_limit_is_rejected(self, alice: AsyncClient) -> None:
        line = await add_line(alice, 5)
        moved = (await move_below(alice, line[-1], None)).json()
        await add_task(alice, parent_id=line[-1]["id"])

        response = await undo(alice, moved["revision"])

        assert (response.status_code, problem_of(response)["code"]) == (409, "too_deep")
        assert problem_of(response)["detail"] == TOO_DEEP

    async def test_undo_that_would_move_a_task_below_a_trashed_one_is_rejected(
        self, alice: AsyncClient, database_url: str
    ) -> None:
        parent, child = await add_line(alice, 2)
        moved = (await move_below(alice, child, None)).json()
        await trash(alice, parent)

        response = await undo(alice, moved["revision"])

        assert (response.status_code, problem_of(response)["code"]) == (409, "under_trash")
        assert await faults_of(alice, database_url) == []
