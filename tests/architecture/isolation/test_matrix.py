"""No operation shows, changes or reveals data of another user, with both protections and with each alone.

A new operation fails ``test_matrix_has_a_row_for_every_operation`` until it has a row in ``support.matrix``.
"""

import json
import re
from typing import Any
from uuid import uuid4

import pytest
from fastapi import FastAPI
from httpx import AsyncClient

from support.isolation_cases import (
    CONDITIONS,
    Aggregate,
    ById,
    ByIdInBody,
    Creation,
    EventStream,
    Listing,
    OnOwnChange,
    OnOwnProfile,
    Request,
    WithoutUserData,
    operations_of,
    send,
    user_of,
)
from support.isolation_layers import WalledApp
from support.matrix import PAGED, ROWS, add_objects, add_tasks, rows_of_kind
from support.streams import websocket_messages
from support.tasks import add_task, without_request_id
from support.users import token_of
from todo.models.entities import EntityModels


# Task: T-060
class TestMatrix:
    async def test_matrix_has_a_row_for_every_operation(self, app: FastAPI) -> None:
        operations = operations_of(app.openapi())

        missing, left_over = sorted(operations - set(ROWS)), sorted(set(ROWS) - operations)
        assert not missing, f"add a row to ROWS in tests/support/matrix.py for each of these operations: {missing}"
        assert not left_over, (
            f"remove these rows from ROWS in tests/support/matrix.py, they have no operation: {left_over}"
        )

    def test_matrix_rows_have_the_resource_of_the_id_in_their_path(self) -> None:
        found = {operation: row.of.key for operation, row in ROWS.items() if isinstance(row, ById)}

        wrong = [operation for operation, key in found.items() if f"{{{key}}}" not in operation]
        assert not wrong, f"these paths do not contain the key of the Resource in their rows: {wrong}"

    @pytest.mark.parametrize("operation", rows_of_kind(ById))
    async def test_row_of_another_user_is_answered_like_an_unknown_row(
        self, walled: WalledApp, alice: AsyncClient, bob: AsyncClient, operation: str
    ) -> None:
        row = ROWS[operation]
        assert isinstance(row, ById)
        foreign_ids = await row.of.add(alice)
        before = walled.rows_of(await user_of(alice))
        valid_count = len(row.bodies) or 1

        for number, request in enumerate(row.requests):
            unknown = await send(bob, operation, str(uuid4()), request)
            for foreign_id in foreign_ids:
                foreign = await send(bob, operation, foreign_id, request)
                assert without_request_id(foreign) == without_request_id(unknown), request
            upper = await send(bob, operation, foreign_ids[0].upper(), request)
            assert without_request_id(upper) == without_request_id(unknown), request
            assert 400 <= unknown.status_code < 500, request
            assert number >= valid_count or unknown.status_code == 404, request

        assert len(before[row.of.table]) == len(foreign_ids)
        assert walled.rows_of(await user_of(alice)) == before
        # The owner does find these rows by this operation.
        own = [await send(alice, operation, foreign_id, next(row.requests)) for foreign_id in foreign_ids]
        assert [answer.status_code for answer in own if answer.status_code == 404] == []

    @pytest.mark.parametrize("operation", rows_of_kind(Listing))
    async def test_list_contains_only_rows_of_the_caller(
        self, walled: WalledApp, alice: AsyncClient, bob: AsyncClient, operation: str
    ) -> None:
        row = ROWS[operation]
        assert isinstance(row, Listing)
        foreign_ids = await row.of.add(alice)
        own = await row.of.add(bob)
        before = walled.rows_of(await user_of(alice))

        answers = [await send(bob, operation, "", {"params": query}) for query in row.queries]

        assert [answer.status_code for answer in answers] == [200] * len(row.queries)
        assert not [answer.text for answer in answers if any(foreign_id in answer.text for foreign_id in foreign_ids)]
        first = answers[0].json()
        assert (first.get("total", len(own)), sorted(row.ids(first))) == (len(own), sorted(own))
        assert len(before[row.of.table]) == len(foreign_ids)
        assert walled.rows_of(await user_of(alice)) == before

    @pytest.mark.parametrize("operation", rows_of_kind(Listing))
    async def test_list_of_a_user_without_rows_does_not_depend_on_other_users(
        self, alice: AsyncClient, bob: AsyncClient, operation: str
    ) -> None:
        row = ROWS[operation]
        assert isinstance(row, Listing)
        before = [without_request_id(await send(bob, operation, "", {"params": query})) for query in row.queries]

        await row.of.add(alice)

        after = [without_request_id(await send(bob, operation, "", {"params": query})) for query in row.queries]
        assert after == before

    @pytest.mark.parametrize("operation", rows_of_kind(Listing))
    async def test_etag_of_another_user_is_answered_like_an_unknown_one(
        self, alice: AsyncClient, bob: AsyncClient, operation: str
    ) -> None:
        await add_tasks(alice)
        conditions: list[Request] = [{"headers": {"If-None-Match": tag}} for tag in ('"4"', '"4711"')]

        answers = [without_request_id(await send(bob, operation, "", condition)) for condition in conditions]

        assert answers[0] == answers[1]
        assert answers[0][0] == 200

    @pytest.mark.parametrize("entity", PAGED, ids=lambda entity: entity.name)
    async def test_cursor_of_another_user_pages_through_the_callers_rows(
        self, alice: AsyncClient, bob: AsyncClient, entity: EntityModels
    ) -> None:
        foreign_ids = await add_objects([entity, entity], alice)
        page: dict[str, Any] = {"next_cursor": None}
        while not page.get(entity.snapshot_field):
            params = {"limit": 1} | ({"cursor": page["next_cursor"]} if page["next_cursor"] else {})
            page = (await alice.get("/changes/snapshot", params=params)).json()
        await add_objects([entity], bob)
        own = [
            change["id"] for change in (await bob.get("/changes")).json()["changes"] if change["type"] == entity.name
        ]

        answer = await bob.get("/changes/snapshot", params={"cursor": page["next_cursor"]})

        # Alice's objects are older than Bob's, and ids are ordered by time.
        assert [thing["id"] for thing in answer.json()[entity.snapshot_field]] == own
        assert not [foreign_id for foreign_id in foreign_ids if foreign_id in answer.text]

    @pytest.mark.parametrize("operation", rows_of_kind(OnOwnChange))
    async def test_revision_of_another_user_means_the_callers_own_change(
        self, walled: WalledApp, alice: AsyncClient, bob: AsyncClient, operation: str
    ) -> None:
        foreign_ids = await add_tasks(alice)
        before = walled.rows_of(await user_of(alice))

        for request in [{}, *CONDITIONS, {"headers": {"Idempotency-Key": "one"}}]:
            unknown = await send(bob, operation, "4711", request)
            assert without_request_id(await send(bob, operation, "1", request)) == without_request_id(unknown)
            assert 400 <= unknown.status_code < 500
        own = await add_task(bob)
        undone = await send(bob, operation, "1", {})

        assert (undone.status_code, undone.json()["id"]) == (200, own["id"])
        assert own["id"] not in foreign_ids
        assert walled.rows_of(await user_of(bob))["tasks"] == []
        assert walled.rows_of(await user_of(alice)) == before

    @pytest.mark.parametrize("operation", rows_of_kind(EventStream))
    async def test_stream_contains_only_changes_of_the_caller(
        self, walled: WalledApp, alice: AsyncClient, bob: AsyncClient, operation: str
    ) -> None:
        foreign_ids = await add_tasks(alice)
        own = await add_tasks(bob)
        user_id = await user_of(bob)

        async with walled.client(user_id, events=5) as client:
            stream = (await send(client, operation, "", {"params": {"since": 0}})).text
        sent = await websocket_messages(walled.app, token_of(user_id), since=0, events=5)

        data = [json.loads(line.removeprefix("data: ")) for line in stream.splitlines() if line.startswith("data: ")]
        assert data[0] == {"revision": 0}
        assert [(change["revision"], change["id"]) for change in data[1:]] == list(enumerate(own, 1))
        assert [json.loads(message)["data"] for message in sent] == data
        assert not [foreign_id for foreign_id in foreign_ids if foreign_id in stream]

    @pytest.mark.parametrize("operation", rows_of_kind(EventStream))
    async def test_stream_of_a_user_without_rows_does_not_depend_on_other_users(
        self, alice: AsyncClient, bob: AsyncClient, operation: str
    ) -> None:
        requests: list[Request] = [{}, {"params": {"since": 4}}, {"headers": {"Last-Event-ID": "4"}}]

        async def answers() -> list[tuple[int, list[tuple[str, str]], bytes]]:
            found = [without_request_id(await send(bob, operation, "", request)) for request in requests]
            # The delay before a reconnect is random.
            return [(status, headers, re.sub(rb"^retry: \d+", b"", body)) for status, headers, body in found]

        before = await answers()

        await add_tasks(alice)

        assert await answers() == before
        assert [status for status, _, _ in before] == [200, 410, 410]

    @pytest.mark.parametrize("operation", rows_of_kind(Creation))
    async def test_row_can_be_created_under_an_id_of_another_user(
        self, walled: WalledApp, alice: AsyncClient, bob: AsyncClient, operation: str
    ) -> None:
        row = ROWS[operation]
        assert isinstance(row, Creation)
        foreign_ids = await row.of.add(alice)
        before = walled.rows_of(await user_of(alice))

        for foreign_id in foreign_ids:
            body = {**row.body, "id": foreign_id}
            created = await send(bob, operation, "", {"json": body})
            assert (created.status_code, created.json()["id"]) == (201, foreign_id)
            again = await send(bob, operation, "", {"json": body})
            assert (again.status_code, again.json()) == (200, created.json())
            other = await send(bob, operation, "", {"json": {**body, **row.other}})
            assert other.status_code == 409

        assert walled.rows_of(await user_of(alice)) == before
        assert len(before[row.of.table]) == len(foreign_ids)
        assert len(walled.rows_of(await user_of(bob))[row.of.table]) == len(foreign_ids)

    @pytest.mark.parametrize("operation", rows_of_kind(Creation))
    async def test_row_cannot_be_created_for_another_user(
        self, walled: WalledApp, alice: AsyncClient, bob: AsyncClient, operation: str
    ) -> None:
        row = ROWS[operation]
        assert isinstance(row, Creation)
        other_id = await user_of(alice)

        answer = await send(bob, operation, "", {"json": {**row.body, "user_id": other_id}})

        assert answer.status_code == 422
        assert walled.rows_of(other_id)[row.of.table] == []

    @pytest.mark.parametrize("operation", rows_of_kind(ByIdInBody))
    async def test_id_of_another_user_in_a_body_is_answered_like_an_unknown_id(
        self, walled: WalledApp, alice: AsyncClient, bob: AsyncClient, operation: str
    ) -> None:
        row = ROWS[operation]
        assert isinstance(row, ByIdInBody)
        foreign_ids = await row.of.add(alice)
        [own, *_] = await row.of.add(bob)
        before = {user: walled.rows_of(user) for user in (await user_of(alice), await user_of(bob))}

        for number, body in enumerate(row.bodies):
            unknown = await send(bob, operation, "", {"json": body(str(uuid4()))})
            assert unknown.status_code in (404, 422), number
            for foreign_id in foreign_ids:
                foreign = await send(bob, operation, "", {"json": body(foreign_id)})
                assert without_request_id(foreign) == without_request_id(unknown), number

        assert {user: walled.rows_of(user) for user in before} == before
        assert (await send(bob, operation, "", {"json": row.bodies[0](own)})).status_code == 200

    @pytest.mark.usefixtures("walled")
    @pytest.mark.parametrize("operation", rows_of_kind(Aggregate))
    async def test_counts_include_only_rows_of_the_caller(
        self, alice: AsyncClient, bob: AsyncClient, operation: str
    ) -> None:
        row = ROWS[operation]
        assert isinstance(row, Aggregate)
        await row.of.add(bob)
        bobs = (await send(bob, operation, "", {})).json()
        nothing = (await send(alice, operation, "", {})).json()

        await row.of.add(alice)

        assert (await send(bob, operation, "", {})).json() == bobs
        assert (await send(alice, operation, "", {})).json() == bobs != nothing

    @pytest.mark.parametrize("operation", rows_of_kind(OnOwnProfile))
    async def test_profile_operations_use_only_the_callers_profile(
        self, walled: WalledApp, alice: AsyncClient, bob: AsyncClient, operation: str
    ) -> None:
        row = ROWS[operation]
        assert isinstance(row, OnOwnProfile)
        request: Request = {"json": row.body} if row.body else {}
        unset = (await send(bob, "GET /api/v1/me", "", {})).json()
        await alice.patch("/me", json={"time_zone": "Asia/Tokyo", "day_start": "03:00", "week_start": "sunday"})
        before = walled.rows_of(await user_of(alice))

        for condition in [{}, *CONDITIONS, {"headers": {"Idempotency-Key": "one"}}]:
            answer = await send(bob, operation, "", {**condition, **request})
            assert "Asia/Tokyo" not in answer.text, condition

        own = (await send(bob, "GET /api/v1/me", "", {})).json()
        assert own == {**unset, **(row.body or {}), "revision": 1 if row.body else 0}
        assert len(before["profiles"]) == 1
        assert walled.rows_of(await user_of(alice)) == before

    @pytest.mark.parametrize("operation", rows_of_kind(WithoutUserData))
    async def test_operation_without_user_data_does_not_depend_on_users(
        self, alice: AsyncClient, bob: AsyncClient, operation: str
    ) -> None:
        row = ROWS[operation]
        assert isinstance(row, WithoutUserData)
        before = without_request_id(await send(bob, operation, "", {}))

        await add_tasks(alice)

        after = await send(bob, operation, "", {})
        assert after.status_code == row.status
        assert without_request_id(after) == before
        assert await user_of(alice) not in after.text
