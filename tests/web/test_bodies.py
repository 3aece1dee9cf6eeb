"""Reading request bodies that arrive slowly, in pieces, or never."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from fastapi import FastAPI
from httpx import AsyncClient

from support import raw_http
from support.raw_http import request, serving
from todo.web import bodies
from todo.web.server.http_protocol import HttpProtocol

JSON = {"Content-Type": "application/json"}


@pytest.fixture
def short_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    """A time limit that a test can wait for."""
    monkeypatch.setattr(bodies, "MAX_SECONDS", 0.3)


# Task: T-043
@pytest.mark.usefixtures("short_timeout")
class TestReadBody:
    async def test_body_that_arrives_slowly_gets_408_after_the_timeout(self, alice: AsyncClient) -> None:
        async def trickle() -> AsyncIterator[bytes]:
            yield b'{"title": "'
            while True:
                await asyncio.sleep(0.05)
                yield b"a"

        response = await alice.post("/tasks", content=trickle(), headers=JSON)

        assert (response.status_code, response.json()["code"]) == (408, "request_timeout")

    async def test_connection_without_the_announced_body_is_closed_after_the_timeout(
        self, app: FastAPI, authorization: str
    ) -> None:
        async with serving(app, HttpProtocol) as server, server.connect() as connection:
            await connection.send(request("POST", "/api/v1/tasks", authorization, raw_http.JSON, "Content-Length: 10"))

            answer = await connection.answer()

            assert (answer.status, answer.headers["connection"]) == (408, "close")
            assert await connection.is_closed()

    async def test_body_that_arrives_in_pieces_is_accepted(self, alice: AsyncClient) -> None:
        async def pieces() -> AsyncIterator[bytes]:
            for piece in (b'{"tit', b'le": ', b"", b'"milk"}'):
                await asyncio.sleep(0)
                yield piece

        response = await alice.post("/tasks", content=pieces(), headers=JSON)

        assert (response.status_code, response.json()["title"]) == (201, "milk")
