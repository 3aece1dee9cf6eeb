"""Callers whose account is deleted find nothing and change nothing, although their token still verifies."""

from uuid import uuid4

import pytest
from httpx import AsyncClient

from support.isolation_cases import ById, Creation, Listing, OnOwnChange, OnOwnProfile, send, user_of
from support.isolation_layers import WalledApp
from support.matrix import ROWS, add_tasks, rows_of_kind
from support.tasks import without_request_id


# Task: T-060
class TestDeletedAccount:
    """Charlie's token still verifies, but the account is deleted."""

    @pytest.mark.parametrize("operation", rows_of_kind(ById))
    async def test_deleted_account_finds_and_changes_no_row(
        self, walled: WalledApp, alice: AsyncClient, charlie: AsyncClient, operation: str
    ) -> None:
        row = ROWS[operation]
        assert isinstance(row, ById)
        foreign_ids = await row.of.add(alice)
        before = walled.rows_of(await user_of(alice))
        expected = (404, "not_found") if row.reads else (403, "account_gone")
        valid_count = len(row.bodies) or 1

        for number, request in enumerate(row.requests):
            unknown = await send(charlie, operation, str(uuid4()), request)
            assert number >= valid_count or (unknown.status_code, unknown.json()["code"]) == expected
            for foreign_id in foreign_ids:
                foreign = await send(charlie, operation, foreign_id, request)
                assert without_request_id(foreign) == without_request_id(unknown), request
            assert 400 <= unknown.status_code < 500, request

        assert walled.rows_of(await user_of(alice)) == before

    @pytest.mark.parametrize("operation", rows_of_kind(OnOwnChange))
    async def test_deleted_account_undoes_nothing(
        self, walled: WalledApp, alice: AsyncClient, charlie: AsyncClient, operation: str
    ) -> None:
        await add_tasks(alice)
        before = walled.rows_of(await user_of(alice))

        answers = [await send(charlie, operation, number, {}) for number in ("1", "4711")]

        assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [(403, "account_gone")] * 2
        assert walled.rows_of(await user_of(alice)) == before

    @pytest.mark.parametrize("operation", rows_of_kind(OnOwnProfile))
    async def test_deleted_account_reads_and_sets_no_profile(
        self, walled: WalledApp, alice: AsyncClient, charlie: AsyncClient, operation: str
    ) -> None:
        row = ROWS[operation]
        assert isinstance(row, OnOwnProfile)
        await alice.patch("/me", json={"time_zone": "Asia/Tokyo"})

        answer = await send(charlie, operation, "", {"json": row.body} if row.body else {})

        assert answer.status_code == (403 if row.body else 200)
        assert "Asia/Tokyo" not in answer.text
        assert set(map(len, walled.rows_of(await user_of(charlie)).values())) == {0}

    @pytest.mark.parametrize("operation", rows_of_kind(Creation))
    async def test_deleted_account_creates_nothing(
        self, walled: WalledApp, alice: AsyncClient, charlie: AsyncClient, operation: str
    ) -> None:
        row = ROWS[operation]
        assert isinstance(row, Creation)
        [foreign_id, *_] = await row.of.add(alice)

        answers = [
            await send(charlie, operation, "", {"json": body, **options})
            for body in (row.body, {**row.body, "id": foreign_id})
            for options in ({}, {"headers": {"Idempotency-Key": "one"}})
        ]

        assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [(403, "account_gone")] * 4
        assert set(map(len, walled.rows_of(await user_of(charlie)).values())) == {0}

    @pytest.mark.parametrize("operation", rows_of_kind(Listing))
    async def test_deleted_account_lists_nothing(
        self, alice: AsyncClient, charlie: AsyncClient, operation: str
    ) -> None:
        row = ROWS[operation]
        assert isinstance(row, Listing)
        await row.of.add(alice)

        answer = await send(charlie, operation, "", {})

        assert answer.status_code == 200
        assert (answer.json().get("total", 0), row.ids(answer.json())) == (0, [])
