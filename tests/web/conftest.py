"""Fixtures: the application behind the HTTP protocol, and its OpenAPI document."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from fastapi import FastAPI

from support.raw_http import Server, ShortTimeouts, serving
from support.users import sign_up, token_of
from todo.web.server.http_protocol import HttpProtocol


@pytest.fixture
async def server(app: FastAPI) -> AsyncIterator[Server]:
    """The application behind the protocol as shipped."""
    async with serving(app, HttpProtocol) as server:
        yield server


@pytest.fixture
async def strict_server(app: FastAPI) -> AsyncIterator[Server]:
    """The application behind a protocol with short timeouts and small limits."""
    async with serving(app, ShortTimeouts) as server:
        yield server


@pytest.fixture
def authorization(database_url: str) -> str:
    """The Authorization header of a new user."""
    return f"Authorization: Bearer {token_of(sign_up(database_url, 'alice'))}"


@pytest.fixture(scope="module")
def document(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document of the application as shipped."""
    return app.openapi()
