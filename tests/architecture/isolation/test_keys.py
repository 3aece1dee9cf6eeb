"""Idempotency keys belong to one user: the same key of another user has no effect on a request."""

from uuid import uuid4

import pytest
from httpx import AsyncClient

from support.isolation_cases import ById, ByIdInBody, Creation, OnOwnChange, OnOwnProfile, Request, send, user_of
from support.isolation_layers import WalledApp
from support.matrix import ROWS, TASKS
from support.tasks import without_request_id


def _keyed() -> list[str]:
    return [operation for operation in ROWS if operation.startswith(("POST ", "PATCH "))]


# Task: T-131
class TestIdempotencyKeys:
    """Bob sends the same request with the same key as Alice."""

    @pytest.mark.parametrize("operation", _keyed())
    async def test_idempotency_keys_of_two_users_are_independent(
        self, walled: WalledApp, alice: AsyncClient, bob: AsyncClient, operation: str
    ) -> None:
        row = ROWS[operation]
        [first_id, *_] = await (row.of if isinstance(row, ById | Creation | ByIdInBody) else TASKS).add(alice)
        row_id = "1" if isinstance(row, OnOwnChange) else first_id
        unknown_id = "4711" if isinstance(row, OnOwnChange) else str(uuid4())
        request: Request = {"headers": {"Idempotency-Key": "one"}}
        if isinstance(row, Creation | OnOwnProfile):
            request = {**request, "json": row.body}
        elif isinstance(row, ById) and row.bodies:
            request = {**request, **row.bodies[0]}
        elif isinstance(row, ByIdInBody):
            request = {**request, "json": row.bodies[0](first_id)}
        alices = await send(alice, operation, row_id, request)
        before = walled.rows_of(await user_of(alice))

        bobs = await send(bob, operation, row_id, request)
        unknown = await send(bob, operation, unknown_id, request)
        again = await send(alice, operation, row_id, request)

        assert alices.is_success
        assert "idempotency-replayed" not in bobs.headers
        if isinstance(row, Creation):
            assert bobs.status_code == 201
            assert bobs.json()["id"] != alices.json()["id"]
            assert walled.rows_of(await user_of(bob))[row.of.table] != []
            assert unknown.json() == bobs.json()
        elif isinstance(row, OnOwnProfile):
            assert (bobs.status_code, bobs.json()["id"]) == (200, await user_of(bob))
            assert unknown.json() == bobs.json()
        else:
            assert bobs.status_code == 404
            assert without_request_id(bobs) == without_request_id(unknown)
            assert walled.rows_of(await user_of(bob))["idempotency_keys"] == []
        assert (again.content, again.headers["idempotency-replayed"]) == (alices.content, "true")
        assert walled.rows_of(await user_of(alice)) == before

    async def test_same_key_of_two_users_stands_for_two_requests(self, alice: AsyncClient, bob: AsyncClient) -> None:
        headers = {"Idempotency-Key": "one"}
        await alice.post("/tasks", json={"title": "Hers"}, headers=headers)

        bobs = await bob.post("/tasks", json={"title": "His"}, headers=headers)
        again = await bob.post("/tasks", json={"title": "His"}, headers=headers)

        assert (bobs.status_code, bobs.json()["title"]) == (201, "His")
        assert (again.content, again.headers["idempotency-replayed"]) == (bobs.content, "true")

    async def test_request_of_another_user_does_not_delete_expired_keys(
        self, walled: WalledApp, alice: AsyncClient, bob: AsyncClient
    ) -> None:
        headers = {"Idempotency-Key": "one"}
        await alice.post("/tasks", json={"title": "Hers"}, headers=headers)
        walled.age_keys_of(await user_of(alice))

        await bob.post("/tasks", json={"title": "His"}, headers=headers)

        assert len(walled.rows_of(await user_of(alice))["idempotency_keys"]) == 1

    async def test_request_does_not_wait_for_the_same_key_of_another_user(
        self, walled: WalledApp, alice: AsyncClient, bob: AsyncClient
    ) -> None:
        user_id = await user_of(alice)

        with walled.holding_key(user_id, "one"):
            bobs = await bob.post("/tasks", json={"title": "His"}, headers={"Idempotency-Key": "one"})
            alices = await alice.post("/tasks", json={"title": "Hers"}, headers={"Idempotency-Key": "one"})

        assert (bobs.status_code, alices.status_code) == (201, 409)
