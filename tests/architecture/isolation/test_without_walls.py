"""That the matrix can fail: without the walls, strangers meet each other."""

import pytest

from support.isolation_cases import ById, send
from support.isolation_layers import NO_WALLS, app_behind
from support.matrix import ROWS, rows_of_kind
from support.tasks import add_task


# Task: T-060
class TestWithoutWalls:
    """That the matrix can fail: with both walls taken out, Bob does see what is Alice's."""

    async def test_lets_a_stranger_see_everything(self, database_url: str) -> None:
        async with app_behind(NO_WALLS, url=database_url, direct_url=database_url) as walled:
            alice, bob = (walled.client(walled.sign_up(name)) for name in ("alice", "bob"))
            async with alice, bob:
                task = await add_task(alice)

                read = await bob.get(f"/tasks/{task['id']}")
                listed = await bob.get("/tasks", params={"limit": 100})
                history = await bob.get(f"/tasks/{task['id']}/history")
                snapshot = await bob.get("/changes/snapshot", params={"limit": 500})
                deleted = await bob.delete(f"/tasks/{task['id']}")

        assert read.json() == task
        assert task in listed.json()["tasks"]
        assert len(history.json()["history"]) == 1
        # Bob has none.
        assert snapshot.json()["tasks"] != []
        assert deleted.status_code == 204

    @pytest.mark.parametrize("operation", rows_of_kind(ById))
    async def test_lets_a_stranger_meet_a_row(self, database_url: str, operation: str) -> None:
        row = ROWS[operation]
        assert isinstance(row, ById)
        async with app_behind(NO_WALLS, url=database_url, direct_url=database_url) as walled:
            alice, bob = (walled.client(walled.sign_up(name)) for name in ("alice", "bob"))
            async with alice, bob:
                [foreign_id, *_] = await row.of.add(alice)

                met = await send(bob, operation, foreign_id, next(row.requests))

        assert met.is_success

    async def test_lets_a_stranger_read_a_profile(self, database_url: str) -> None:
        async with app_behind(NO_WALLS, url=database_url, direct_url=database_url) as walled:
            alice, bob = (walled.client(walled.sign_up(name)) for name in ("alice", "bob"))
            async with alice, bob:
                await alice.patch("/me", json={"time_zone": "Asia/Tokyo"})

                met = (await bob.get("/me")).json()

        assert met["revision"] > 0

    async def test_lets_a_stranger_end_a_key(self, database_url: str) -> None:
        async with app_behind(NO_WALLS, url=database_url, direct_url=database_url) as walled:
            ids = [walled.sign_up(name) for name in ("alice", "bob")]
            async with walled.client(ids[0]) as alice, walled.client(ids[1]) as bob:
                await alice.post("/tasks", json={"title": "Hers"}, headers={"Idempotency-Key": "one"})
                walled.age_keys_of(ids[0])

                await bob.post("/tasks", json={"title": "His"}, headers={"Idempotency-Key": "one"})
            left = walled.rows_of(ids[0])

        assert left["idempotency_keys"] == []
