"""The caller over HTTP."""

from typing import Any

import pytest
from fastapi import FastAPI
from httpx import AsyncClient

from support.people import client_of
from support.tasks import invalid, problem_of


# Task: T-037
class TestReadMe:
    @pytest.mark.parametrize(
        ("claims", "said"),
        [
            ({}, {"name": None, "email": None}),
            ({"name": "Alice"}, {"name": "Alice", "email": None}),
            (
                {"name": "Ålice 🦊", "email": "alice@example.com", "emailVerified": True, "id": "bob", "role": "admin"},
                {"name": "Ålice 🦊", "email": "alice@example.com"},
            ),
        ],
    )
    async def test_says_what_the_token_says(
        self, app: FastAPI, claims: dict[str, Any], said: dict[str, str | None]
    ) -> None:
        async with client_of(app, "alice", **claims) as alice:
            response = await alice.get("/me")

        assert (response.status_code, response.json()) == (200, {"id": "alice", **said})

    async def test_takes_no_parameters(self, alice: AsyncClient) -> None:
        response = await alice.get("/me?user_id=bob")

        assert problem_of(response) == invalid(("/query/user_id", "There is no such parameter here."))
