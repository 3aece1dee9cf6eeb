"""The isolation matrix can fail: without both protections, users see and change data of others."""

from collections.abc import AsyncIterator

import pytest
from httpx import AsyncClient

from support.isolation_cases import ById, send, user_of
from support.isolation_layers import NO_WALLS, WalledApp, app_behind
from support.matrix import ROWS, rows_of_kind
from support.tasks import add_task


@pytest.fixture(scope="module")
async def walled(database_url: str) -> AsyncIterator[WalledApp]:
    """The application without both protections, for the clients of ``conftest.py``."""
    async with app_behind(NO_WALLS, url=database_url, direct_url=database_url) as walled:
        yield walled


# Task: T-060
class TestWithoutWalls:
    async def test_user_reads_and_deletes_tasks_of_another_without_the_walls(
        self, alice: AsyncClient, bob: AsyncClient
    ) -> None:
        task = await add_task(alice)

        read = await bob.get(f"/tasks/{task['id']}")
        listed = await bob.get("/tasks", params={"limit": 100})
        history = await bob.get(f"/tasks/{task['id']}/history")
        snapshot = await bob.get("/changes/snapshot", params={"limit": 500})
        deleted = await bob.delete(f"/tasks/{task['id']}")

        assert read.json() == task
        assert task in listed.json()["tasks"]
        assert len(history.json()["history"]) == 1
        # Bob has no tasks.
        assert snapshot.json()["tasks"] != []
        assert deleted.status_code == 204

    @pytest.mark.parametrize("operation", rows_of_kind(ById))
    async def test_operation_finds_a_row_of_another_user_without_the_walls(
        self, alice: AsyncClient, bob: AsyncClient, operation: str
    ) -> None:
        row = ROWS[operation]
        assert isinstance(row, ById)
        [foreign_id, *_] = await row.of.add(alice)

        response = await send(bob, operation, foreign_id, next(row.requests))

        assert response.is_success

    async def test_user_reads_a_profile_of_another_without_the_walls(
        self, alice: AsyncClient, bob: AsyncClient
    ) -> None:
        await alice.patch("/me", json={"time_zone": "Asia/Tokyo"})

        profile = (await bob.get("/me")).json()

        assert profile["revision"] > 0

    async def test_request_deletes_expired_keys_of_another_user_without_the_walls(
        self, walled: WalledApp, alice: AsyncClient, bob: AsyncClient
    ) -> None:
        user_id = await user_of(alice)
        await alice.post("/tasks", json={"title": "Hers"}, headers={"Idempotency-Key": "one"})
        walled.age_keys_of(user_id)

        await bob.post("/tasks", json={"title": "His"}, headers={"Idempotency-Key": "one"})

        assert walled.rows_of(user_id)["idempotency_keys"] == []
