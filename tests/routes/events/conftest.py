"""Alice and Bob, connected to a server that pushes live events."""

import time
from collections.abc import AsyncIterator

import pytest

from support.clocks import Clock
from support.followers import Person
from support.live import LiveServer, live_server
from support.users import sign_up
from todo.settings import Settings


@pytest.fixture
async def server(database_url: str) -> AsyncIterator[LiveServer]:
    """Yield a server of the application."""
    async with live_server(database_url) as server:
        yield server


@pytest.fixture
async def strict(database_url: str) -> AsyncIterator[LiveServer]:
    """Yield a server with a heartbeat of one second that allows two connections per user."""
    settings = Settings(live_connections_per_user=2, live_heartbeat_seconds=1)
    async with live_server(database_url, settings) as server:
        yield server


@pytest.fixture
def clock() -> Clock:
    """The time by which tokens expire at the server ``timed``."""
    return Clock(time.time())


@pytest.fixture
async def timed(database_url: str, clock: Clock) -> AsyncIterator[LiveServer]:
    """A server that goes by the test's clock, and looks at it every second."""
    async with live_server(database_url, Settings(live_heartbeat_seconds=1), clock=clock) as server:
        yield server


@pytest.fixture
def alice_(server: LiveServer, database_url: str) -> Person:
    """Return Alice, with a client of the server."""
    user_id = sign_up(database_url, "alice")
    return Person(user_id, server.client(user_id))


@pytest.fixture
def bob_(server: LiveServer, database_url: str) -> Person:
    """Return Bob, with a client of the server."""
    user_id = sign_up(database_url, "bob")
    return Person(user_id, server.client(user_id))
