"""Requests that change thousands of tasks: done completely and in time, or rejected with a clear reason."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import pytest
from fastapi import FastAPI
from httpx import AsyncClient

from support.bulk_data import fill
from support.helpers import eventually, gate
from support.invariants import violations
from support.subtrees import read, trash
from support.tasks import add_task, problem_of
from support.users import SECRET, client_of, sign_up
from todo.database import Database, DatabaseOptions, Session
from todo.main import create_app
from todo.services.authentication import SecretVerifier
from todo.services.revisions import LOCK_USER_WRITES
from todo.settings import Settings

pytestmark = pytest.mark.slow

TOO_MUCH = {
    "type": "about:blank",
    "title": "Conflict",
    "status": 409,
    "detail": (
        "This changes more tasks than one request can, and nothing was changed. Change some of them first, up to 100 at"
        " a time with POST /api/v1/tasks/batch; if this is a batch, send fewer operations. Then try again."
    ),
    "code": "too_much_at_once",
}

# Statements that take longer than this must ask for an extended lease, whose limits suffice on a busy machine.
SHORT: dict[str, Any] = {
    "budget_seconds": 0.4,
    "statement_timeout_milliseconds": 200,
    "bulk_budget_seconds": 300.0,
    "bulk_statement_timeout_milliseconds": 280_000,
}


async def id_of(client: AsyncClient) -> str:
    """Return the user id of the caller."""
    answer: str = (await client.get("/me")).json()["id"]
    return answer


async def total_of(client: AsyncClient, **filters: Any) -> int:
    """Return the total number of tasks."""
    answer = await client.get("/tasks", params={"limit": 1, **filters})
    assert answer.status_code == 200, answer.text
    total: int = answer.json()["total"]
    return total


def changes_since(database_url: str, user_id: str, revision: int) -> list[tuple[str, str, int]]:
    """Return the number of changes of each kind that were logged after ``revision``."""
    with psycopg.connect(database_url) as connection:
        return connection.execute(
            "SELECT entity, operation, count(*)::int FROM changes WHERE user_id = %s AND revision > %s"
            " GROUP BY 1, 2 ORDER BY 1, 2",
            (user_id, revision),
        ).fetchall()


def is_right(database_url: str, user_id: str) -> bool:
    with psycopg.connect(database_url) as connection:
        return violations(connection, user_id) == {}


@asynccontextmanager
async def served(database_url: str, **options: Any) -> AsyncIterator[tuple[FastAPI, Database]]:
    """Serve the application on its own pool, with other limits."""
    database = Database(database_url, DatabaseOptions(**options))
    await database.open()
    await eventually(lambda: database._pool.get_stats()["pool_available"])
    try:
        yield create_app(Settings(), database, SecretVerifier(SECRET)), database
    finally:
        await database.close()


# Task: T-383
class TestRenameTag:
    async def test_renaming_a_tag_of_5000_tasks_succeeds(self, alice: AsyncClient, database_url: str) -> None:
        user_id = await id_of(alice)
        fill(database_url, user_id, 5_000, tags='["Home", "Work"]')

        async with served(database_url, **SHORT) as (app, _), client_of(app, user_id) as me:
            renamed = await me.patch("/tags/work", json={"name": "Office"})

        assert (renamed.status_code, renamed.json()) == (200, {"name": "Office", "tasks": 5_000})
        assert changes_since(database_url, user_id, 5_000) == [("task", "update", 5_000)]
        assert is_right(database_url, user_id)


# Task: T-383
class TestSubtree:
    async def test_subtree_of_3000_tasks_can_be_trashed_restored_and_completed(
        self, alice: AsyncClient, database_url: str
    ) -> None:
        user_id = await id_of(alice)
        parent = await add_task(alice, title="Move house")
        fill(database_url, user_id, 3_000, parent_id=parent["id"])

        async with served(database_url, **SHORT) as (app, _), client_of(app, user_id) as me:
            trashed = await me.delete(f"/tasks/{parent['id']}")
            left = await total_of(alice)
            restored = await me.post(f"/tasks/{parent['id']}/restore")
            back = await total_of(alice)
            completed = await me.post(f"/tasks/{parent['id']}/complete")

        assert (trashed.status_code, left) == (204, 0)
        assert (restored.status_code, back, restored.json()["subtasks_total"]) == (200, 3_001, 3_000)
        assert (completed.status_code, completed.json()["subtasks_completed"]) == (200, 3_000)
        assert await total_of(alice, status="completed") == 3_001
        assert is_right(database_url, user_id)


# Task: T-383
class TestTimeZone:
    async def test_changing_the_time_zone_updates_12000_due_dates(self, alice: AsyncClient, database_url: str) -> None:
        user_id = await id_of(alice)
        fill(database_url, user_id, 12_000, due_date="2026-03-10")

        moved = await alice.patch("/me", json={"time_zone": "Asia/Tokyo"})

        assert (moved.status_code, moved.json()["time_zone"]) == (200, "Asia/Tokyo")
        assert changes_since(database_url, user_id, 12_000) == [("profile", "create", 1)]
        assert is_right(database_url, user_id)


# Task: T-383
class TestDeleteCategory:
    @pytest.mark.parametrize(("leftover", "not_trashed"), [("keep", 12_000), ("trash", 0)])
    async def test_category_of_12000_tasks_can_be_deleted(
        self, alice: AsyncClient, database_url: str, leftover: str, not_trashed: int
    ) -> None:
        user_id = await id_of(alice)
        category = (await alice.post("/categories", json={"name": "House"})).json()
        fill(database_url, user_id, 12_000, category_id=category["id"])

        gone = await alice.delete(f"/categories/{category['id']}", params={"tasks": leftover})

        assert gone.status_code == 204, gone.text
        assert await total_of(alice) == not_trashed
        assert changes_since(database_url, user_id, 12_001) == [("category", "delete", 1), ("task", "update", 12_000)]
        assert is_right(database_url, user_id)


# Task: T-384
class TestTooManyChanges:
    async def test_bulk_write_that_exceeds_the_time_limit_is_rejected_and_changes_nothing(
        self, alice: AsyncClient, database_url: str
    ) -> None:
        user_id = await id_of(alice)
        category = (await alice.post("/categories", json={"name": "House"})).json()
        parent = await add_task(alice, title="Move house")
        fill(
            database_url, user_id, 2_000,
            due_date="2026-03-10", category_id=category["id"], tags='["Work"]', parent_id=parent["id"],
        )  # fmt: skip
        task = f"/tasks/{parent['id']}"
        doors: list[tuple[str, str, Any]] = [
            ("PATCH", "/tags/work", {"name": "Office"}),
            ("DELETE", "/tags/work", None),
            ("DELETE", task, None),
            ("DELETE", f"{task}?permanent=true", None),
            ("POST", f"{task}/complete", None),
            ("PATCH", task, {"status": "completed"}),
            ("PUT", task, {"title": "Move house", "status": "completed"}),
            ("POST", "/tasks/batch", {"operations": [{"op": "delete", "id": parent["id"]}]}),
            ("PATCH", "/me", {"time_zone": "Asia/Tokyo"}),
            ("DELETE", f"/categories/{category['id']}?tasks=keep", None),
            ("DELETE", f"/categories/{category['id']}?tasks=trash", None),
        ]

        hurried = served(database_url, bulk_statement_timeout_milliseconds=25)
        async with hurried as (app, _), client_of(app, user_id) as me:
            answers = [await me.request(method, path, json=body) for method, path, body in doors]
            added = await me.post("/tasks", json={"title": "Buy milk"})

        assert [(answer.status_code, problem_of(answer)) for answer in answers] == [(409, TOO_MUCH)] * len(doors)
        assert added.status_code == 201
        assert changes_since(database_url, user_id, 0) == [("task", "create", 1)]
        assert is_right(database_url, user_id)

    async def test_restore_or_undo_that_exceeds_the_time_limit_is_rejected_and_changes_nothing(
        self, alice: AsyncClient, database_url: str
    ) -> None:
        user_id = await id_of(alice)
        parent = await add_task(alice, title="Move house")
        fill(database_url, user_id, 2_000, parent_id=parent["id"])
        task = await trash(alice, parent)
        history = (await alice.get(f"/tasks/{parent['id']}/history")).json()["history"]
        [own] = [entry for entry in history if set(entry["changed"]) == {"trashed_at"}]
        doors = [f"/tasks/{parent['id']}/restore", f"/changes/{own['revision']}/undo"]

        hurried = served(database_url, bulk_statement_timeout_milliseconds=25)
        async with hurried as (app, _), client_of(app, user_id) as me:
            answers = [await me.post(door) for door in doors]

        assert [(answer.status_code, problem_of(answer)) for answer in answers] == [(409, TOO_MUCH)] * len(doors)
        assert await read(alice, parent) == task
        assert await total_of(alice) == 0
        assert is_right(database_url, user_id)

    async def test_rejected_bulk_write_can_be_repeated_with_the_same_idempotency_key(
        self, alice: AsyncClient, database_url: str
    ) -> None:
        user_id = await id_of(alice)
        fill(database_url, user_id, 1_000, tags='["Work"]')
        request: dict[str, Any] = {
            "url": "/tags/work",
            "json": {"name": "Office"},
            "headers": {"Idempotency-Key": "rename"},
        }

        hurried = served(database_url, bulk_statement_timeout_milliseconds=25)
        async with hurried as (app, _), client_of(app, user_id) as me:
            refused = await me.patch(**request)
        done, again = [await alice.patch(**request) for _ in range(2)]

        assert problem_of(refused) == TOO_MUCH
        assert [done.json(), again.json()] == [{"name": "Office", "tasks": 1_000}] * 2
        assert "idempotency-replayed" not in done.headers
        assert again.headers["idempotency-replayed"] == "true"
        assert changes_since(database_url, user_id, 0) == [("task", "update", 1_000)]


# Task: T-383
class TestConcurrentRequests:
    async def test_bulk_write_blocks_only_the_users_own_writes(self, database_url: str) -> None:
        alice, bob = (sign_up(database_url, name) for name in ("alice", "bob"))
        # Short, but long enough for a single task on a busy machine.
        limits = {**SHORT, "budget_seconds": 2.0, "statement_timeout_milliseconds": 1_800}
        async with (
            served(database_url, pool_size=4, **limits) as (app, database),
            client_of(app, alice) as own,
            client_of(app, bob) as other,
        ):
            with gate(database_url) as asleep:
                session = Session(database, alice, bulk=True)
                long = asyncio.create_task(session.execute_many((LOCK_USER_WRITES, {}), (asleep, {})))
                await eventually(lambda: database._extended_leases)

                own_write = await own.post("/tasks", json={"title": "Buy milk"})
                own_read = await own.get("/tasks")
                others = [await other.post("/tasks", json={"title": "Buy milk"}) for _ in range(5)]
                was_busy = not long.done()
            await long
            later = await own.post("/tasks", json={"title": "Buy milk"})

        assert was_busy
        assert (own_write.status_code, own_write.headers["retry-after"]) == (503, "1")
        assert "Try again in a moment." in own_write.json()["detail"]
        assert [own_read.status_code, later.status_code] == [200, 201]
        assert [answer.status_code for answer in others] == [201] * 5
