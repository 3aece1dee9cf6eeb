"""The trash over HTTP: a task is trashed with its subtree, and no active task is below a trashed one."""

import asyncio
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from httpx import AsyncClient

from support.categories import add_category
from support.helpers import commit_when_awaited
from support.subtrees import (
    IN_TRASH,
    UNDER_TRASH,
    act,
    add_line,
    changes_of,
    faults_of,
    read,
    read_all,
    revision_of,
    trash,
)
from support.tasks import ACCOUNT_GONE, NOT_FOUND, add_task, instant, problem_of, tasks_of


async def user_of(client: AsyncClient) -> str:
    """Return the user's id."""
    user_id: str = (await client.get("/me")).json()["id"]
    return user_id


# Task: T-351
class TestTrashTask:
    async def test_delete_moves_the_task_to_the_trash(self, alice: AsyncClient) -> None:
        task, other = await add_task(alice), await add_task(alice)

        response = await alice.delete(f"/tasks/{task['id']}")

        now = await read(alice, task)
        assert (response.status_code, response.content) == (204, b"")
        assert now == {**task, "trashed_at": now["trashed_at"], "revision": 3, "updated_at": now["trashed_at"]}
        assert instant(now["trashed_at"]) > instant(task["updated_at"])
        assert await tasks_of(alice) == [other]
        assert (await alice.get("/tasks")).json()["total"] == 1

    async def test_delete_trashes_the_whole_subtree(self, alice: AsyncClient, database_url: str) -> None:
        line, other = await add_line(alice, 5), await add_task(alice)

        await trash(alice, line[1])

        top, *rest = await read_all(alice, *line)
        assert (top["trashed_at"], top["subtasks_total"]) == (None, 0)
        assert len({task["trashed_at"] for task in rest}) == 1
        assert None not in {task["trashed_at"] for task in rest}
        assert {task["id"] for task in await tasks_of(alice)} == {top["id"], other["id"]}
        assert await faults_of(alice, database_url) == []

    async def test_trashing_is_logged_for_each_task_of_the_subtree(self, alice: AsyncClient) -> None:
        line = await add_line(alice, 3)
        since = await revision_of(alice)

        await trash(alice, line[0])

        changes = await changes_of(alice, since)
        fields = {task["id"]: [change["fields"] for change in changes if change["id"] == task["id"]] for task in line}
        assert all(["trashed_at"] in told for told in fields.values())
        assert {name for told in fields.values() for names in told for name in names} == {
            "trashed_at",
            "subtasks_total",
        }

    async def test_deleting_a_trashed_task_changes_nothing(self, alice: AsyncClient) -> None:
        top, below = await add_line(alice, 2)
        first = [await trash(alice, top), await read(alice, below)]
        revision = await revision_of(alice)

        responses = [await alice.delete(f"/tasks/{task['id']}") for task in (top, below)]

        assert [response.status_code for response in responses] == [204, 204]
        assert await read_all(alice, top, below) == first
        assert await revision_of(alice) == revision

    async def test_ten_concurrent_deletes_are_one_change(self, alice: AsyncClient) -> None:
        task = await add_task(alice)

        responses = await asyncio.gather(*(alice.delete(f"/tasks/{task['id']}") for _ in range(10)))

        assert {response.status_code for response in responses} == {204}
        assert await revision_of(alice) == 2

    async def test_delete_with_a_stale_revision_is_rejected(self, alice: AsyncClient) -> None:
        top, below = await add_line(alice, 2)
        before = await read_all(alice, top, below)

        stale = await alice.delete(f"/tasks/{top['id']}", headers={"If-Match": '"1"'})
        untouched = await read_all(alice, top, below)
        current = await alice.delete(f"/tasks/{top['id']}", headers={"If-Match": f'"{before[0]["revision"]}"'})

        assert (stale.status_code, stale.json()["current"]) == (412, before[0])
        assert untouched == before
        assert current.status_code == 204
        assert all(task["trashed_at"] for task in await read_all(alice, top, below))

    @pytest.mark.parametrize("query", ["", "?permanent=true"])
    async def test_delete_compares_the_revision_after_waiting_for_another_writer(
        self, alice: AsyncClient, database_url: str, query: str
    ) -> None:
        """Another writer holds the lock first, and commits while this request waits."""
        top, below = await add_line(alice, 2)
        before = await read(alice, top)
        with psycopg.connect(database_url) as writer:
            set_identity(writer, await user_of(alice))
            writer.execute("UPDATE tasks SET title = 'Party' WHERE id = %s", (top["id"],))
            waiting = asyncio.create_task(
                alice.delete(f"/tasks/{top['id']}{query}", headers={"If-Match": f'"{before["revision"]}"'})
            )
            await asyncio.to_thread(commit_when_awaited, writer)

        response = await waiting

        assert (response.status_code, response.json()["current"]["title"]) == (412, "Party")
        assert [task["trashed_at"] for task in await read_all(alice, top, below)] == [None, None]

    async def test_deleting_another_users_task_returns_404_like_an_unknown_one(
        self, alice: AsyncClient, bob: AsyncClient
    ) -> None:
        hers = await add_task(alice)

        responses = [
            await bob.delete(f"/tasks/{task_id}", params=params)
            for task_id in (hers["id"], uuid4())
            for params in ({}, {"permanent": "true"})
        ]

        assert [(response.status_code, problem_of(response)) for response in responses] == [(404, NOT_FOUND)] * 4
        assert await read(alice, hers) == hers

    async def test_delete_and_restore_are_forbidden_after_the_account_was_deleted(self, charlie: AsyncClient) -> None:
        responses = [
            await charlie.delete(f"/tasks/{uuid4()}"),
            await charlie.delete(f"/tasks/{uuid4()}", params={"permanent": "true"}),
            await charlie.post(f"/tasks/{uuid4()}/restore"),
        ]

        assert [problem_of(response) for response in responses] == [ACCOUNT_GONE] * 3


# Task: T-351
class TestTrashedTasks:
    @pytest.mark.parametrize(
        ("method", "action", "body"),
        [
            ("PATCH", "", {"title": "Buy bread"}),
            ("PATCH", "", {"title": "Buy bread", "status": "completed"}),
            ("PATCH", "", {"due_date": "2026-03-11"}),
            ("PUT", "", {"title": "Buy bread"}),
            ("POST", "/complete", None),
            ("POST", "/complete", {"occurrence": "2026-03-10"}),
            ("POST", "/reopen", None),
            ("POST", "/skip", None),
            ("POST", "/move", {"parent_id": None}),
        ],
    )
    @pytest.mark.parametrize("repeats", [True, False])
    async def test_trashed_task_cannot_be_changed(
        self, alice: AsyncClient, method: str, action: str, body: Any, *, repeats: bool
    ) -> None:
        rule = {"rule": "FREQ=DAILY"} if repeats else None
        task = await trash(alice, await add_task(alice, due_date="2026-03-10", recurrence=rule))

        response = await alice.request(method, f"/tasks/{task['id']}{action}", json=body)

        assert (response.status_code, problem_of(response)) == (409, IN_TRASH)
        assert await read(alice, task) == task

    async def test_stale_revision_takes_precedence_over_the_trash_conflict(self, alice: AsyncClient) -> None:
        task = await trash(alice, await add_task(alice))

        response = await alice.patch(f"/tasks/{task['id']}", json={"title": "a"}, headers={"If-Match": '"1"'})

        assert (response.status_code, response.json()["current"]) == (412, task)

    @pytest.mark.parametrize("way", ["create", "PATCH", "PUT", "move"])
    async def test_task_below_a_trashed_one_is_rejected(self, alice: AsyncClient, database_url: str, way: str) -> None:
        _, below = await add_line(alice, 2)
        task = await add_task(alice)
        await trash(alice, below)
        body = {"title": "Cake", "parent_id": below["id"]}

        if way == "create":
            response = await alice.post("/tasks", json=body)
        elif way == "move":
            response = await alice.post(f"/tasks/{task['id']}/move", json={"parent_id": below["id"]})
        else:
            response = await alice.request(way, f"/tasks/{task['id']}", json=body)

        assert (response.status_code, problem_of(response)) == (409, UNDER_TRASH)
        assert await read(alice, task) == task
        assert await faults_of(alice, database_url) == []

    async def test_trashed_task_is_in_the_snapshot_but_in_no_count(self, alice: AsyncClient) -> None:
        category = await add_category(alice)
        task = await trash(alice, await add_task(alice, category_id=category["id"], tags=["errand"]))

        assert (await alice.get("/changes/snapshot")).json()["tasks"] == [task]
        assert (await alice.get("/tags")).json()["tags"] == []
        assert (await alice.get(f"/categories/{category['id']}")).json()["tasks_open"] == 0


# Task: T-351
class TestConcurrentWrites:
    async def test_no_active_task_is_left_below_a_subtree_that_is_trashed_concurrently(
        self, alice: AsyncClient, database_url: str
    ) -> None:
        outcomes = set()
        for _ in range(10):
            (top, below), stray = await add_line(alice, 2), await add_task(alice)

            responses = await asyncio.gather(
                alice.post("/tasks", json={"title": "New", "parent_id": below["id"]}),
                alice.delete(f"/tasks/{top['id']}"),
                alice.post(f"/tasks/{stray['id']}/move", json={"parent_id": below["id"]}),
                alice.post("/tasks", json={"title": "New", "parent_id": below["id"]}),
            )

            created, deleted, moved, too = (response.status_code for response in responses)
            assert deleted == 204
            assert {created, too} <= {201, 409}
            assert moved in (200, 409)
            outcomes |= {created, too, moved}
            assert await faults_of(alice, database_url) == []
        assert 409 in outcomes

    async def test_delete_includes_subtasks_added_while_it_waited(self, alice: AsyncClient, database_url: str) -> None:
        top, stray = await add_task(alice), await add_task(alice)
        with psycopg.connect(database_url) as writer:
            set_identity(writer, await user_of(alice))
            writer.execute("UPDATE tasks SET parent_id = %s WHERE id = %s", (top["id"], stray["id"]))
            waiting = asyncio.create_task(alice.delete(f"/tasks/{top['id']}"))
            await asyncio.to_thread(commit_when_awaited, writer)

        response = await waiting

        assert response.status_code == 204
        assert all(task["trashed_at"] for task in await read_all(alice, top, stray))
        assert await faults_of(alice, database_url) == []

    async def test_delete_excludes_subtasks_that_were_trashed_separately_while_it_waited(
        self, alice: AsyncClient, database_url: str
    ) -> None:
        top, below = await add_line(alice, 2)
        with psycopg.connect(database_url) as writer:
            set_identity(writer, await user_of(alice))
            writer.execute("UPDATE tasks SET trashed_at = now(), trash_id = id WHERE id = %s", (below["id"],))
            waiting = asyncio.create_task(alice.delete(f"/tasks/{top['id']}"))
            await asyncio.to_thread(commit_when_awaited, writer)
        await waiting

        await act(alice, top, "restore")

        assert (await read(alice, below))["trashed_at"] is not None
        assert await faults_of(alice, database_url) == []

    async def test_creation_below_a_parent_that_is_trashed_meanwhile_is_rejected(
        self, alice: AsyncClient, database_url: str
    ) -> None:
        top = await add_task(alice)
        with psycopg.connect(database_url) as writer:
            set_identity(writer, await user_of(alice))
            writer.execute("UPDATE tasks SET trashed_at = now(), trash_id = id WHERE id = %s", (top["id"],))
            waiting = asyncio.create_task(alice.post("/tasks", json={"title": "New", "parent_id": top["id"]}))
            await asyncio.to_thread(commit_when_awaited, writer)

        response = await waiting

        assert (response.status_code, problem_of(response)) == (409, UNDER_TRASH)
        assert await faults_of(alice, database_url) == []

    async def test_concurrent_deletes_and_restores_of_one_subtree_keep_it_consistent(
        self, alice: AsyncClient, database_url: str
    ) -> None:
        top, middle, below = await add_line(alice, 3)

        responses = await asyncio.gather(
            *(alice.delete(f"/tasks/{task['id']}") for task in (below, top, middle) * 3),
            *(alice.post(f"/tasks/{task['id']}/restore") for task in (middle, top, below) * 3),
        )

        assert {response.status_code for response in responses} <= {200, 204, 409}
        assert await faults_of(alice, database_url) == []
        for task in (top, middle, below):
            await act(alice, task, "restore")
        assert [task["trashed_at"] for task in await read_all(alice, top, middle, below)] == [None] * 3
        assert await faults_of(alice, database_url) == []


def set_identity(connection: psycopg.Connection, user_id: str) -> None:
    """Set the identity of a user for the transaction."""
    connection.execute("SELECT set_config('app.user', extract(epoch FROM now()) || ' ' || %s, true)", (user_id,))
