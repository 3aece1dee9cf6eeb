"""The application behind the protocol, and its specification."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from fastapi import FastAPI

from support.people import sign_up, token_of
from support.raw_http import Impatient, Server, serving
from todo.web.server.http_protocol import HttpProtocol


@pytest.fixture
async def server(app: FastAPI) -> AsyncIterator[Server]:
    """The application behind the protocol as shipped."""
    async with serving(app, HttpProtocol) as server:
        yield server


@pytest.fixture
async def impatient(app: FastAPI) -> AsyncIterator[Server]:
    """The application behind small limits."""
    async with serving(app, Impatient) as server:
        yield server


@pytest.fixture
def authorization(database_url: str) -> str:
    """The header of a new user."""
    return f"Authorization: Bearer {token_of(sign_up(database_url, 'alice'))}"


@pytest.fixture(scope="module")
def document(app: FastAPI) -> dict[str, Any]:
    """The specification of the application as shipped."""
    return app.openapi()
