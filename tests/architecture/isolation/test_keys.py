"""Idempotency keys belong to their user: a stranger's are neither seen nor met."""

from uuid import uuid4

import pytest
from httpx import AsyncClient

from support.isolation_cases import ById, Creating, Naming, OfOwnLog, OfOwnProfile, Request, send, user_of
from support.isolation_layers import Walled
from support.matrix import ROWS, TASKS
from support.tasks import without_request_id


def _keyed() -> list[str]:
    return [operation for operation in ROWS if operation.startswith(("POST ", "PATCH "))]


# Task: T-131
class TestIdempotencyKeys:
    """Alice's key and Alice's exact request are worth nothing in another's hands."""

    @pytest.mark.parametrize("operation", _keyed())
    async def test_never_meet(self, walled: Walled, alice: AsyncClient, bob: AsyncClient, operation: str) -> None:
        row = ROWS[operation]
        [first_id, *_] = await (row.of if isinstance(row, ById | Creating | Naming) else TASKS).add(alice)
        row_id = "1" if isinstance(row, OfOwnLog) else first_id
        unknown_id = "4711" if isinstance(row, OfOwnLog) else str(uuid4())
        request: Request = {"headers": {"Idempotency-Key": "one"}}
        if isinstance(row, Creating | OfOwnProfile):
            request = {**request, "json": row.body}
        elif isinstance(row, ById) and row.bodies:
            request = {**request, **row.bodies[0]}
        elif isinstance(row, Naming):
            request = {**request, "json": row.bodies[0](first_id)}
        hers = await send(alice, operation, row_id, request)
        before = walled.rows_of(await user_of(alice))

        his = await send(bob, operation, row_id, request)
        unknown = await send(bob, operation, unknown_id, request)
        again = await send(alice, operation, row_id, request)

        assert hers.is_success
        assert "idempotency-replayed" not in his.headers
        if isinstance(row, Creating):
            assert his.status_code == 201
            assert his.json()["id"] != hers.json()["id"]
            assert walled.rows_of(await user_of(bob))[row.of.table] != []
            assert unknown.json() == his.json()
        elif isinstance(row, OfOwnProfile):
            assert (his.status_code, his.json()["id"]) == (200, await user_of(bob))
            assert unknown.json() == his.json()
        else:
            assert his.status_code == 404
            assert without_request_id(his) == without_request_id(unknown)
            assert walled.rows_of(await user_of(bob))["idempotency_keys"] == []
        assert (again.content, again.headers["idempotency-replayed"]) == (hers.content, "true")
        assert walled.rows_of(await user_of(alice)) == before

    async def test_stand_for_another_request_of_everybody(self, alice: AsyncClient, bob: AsyncClient) -> None:
        headers = {"Idempotency-Key": "one"}
        await alice.post("/tasks", json={"title": "Hers"}, headers=headers)

        his = await bob.post("/tasks", json={"title": "His"}, headers=headers)
        again = await bob.post("/tasks", json={"title": "His"}, headers=headers)

        assert (his.status_code, his.json()["title"]) == (201, "His")
        assert (again.content, again.headers["idempotency-replayed"]) == (his.content, "true")

    async def test_do_not_end_with_a_strangers_request(
        self, walled: Walled, alice: AsyncClient, bob: AsyncClient
    ) -> None:
        headers = {"Idempotency-Key": "one"}
        await alice.post("/tasks", json={"title": "Hers"}, headers=headers)
        walled.age_keys_of(await user_of(alice))

        await bob.post("/tasks", json={"title": "His"}, headers=headers)

        assert len(walled.rows_of(await user_of(alice))["idempotency_keys"]) == 1

    async def test_do_not_wait_for_a_stranger(self, walled: Walled, alice: AsyncClient, bob: AsyncClient) -> None:
        user_id = await user_of(alice)

        with walled.holding_key(user_id, "one"):
            his = await bob.post("/tasks", json={"title": "His"}, headers={"Idempotency-Key": "one"})
            hers = await alice.post("/tasks", json={"title": "Hers"}, headers={"Idempotency-Key": "one"})

        assert (his.status_code, hers.status_code) == (201, 409)
