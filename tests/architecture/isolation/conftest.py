"""Fixtures: the application with one or both protections, and clients of Alice, Bob and Charlie (a deleted account)."""

from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import pytest
from httpx import AsyncClient

from support.isolation_layers import WALLS, WalledApp, app_behind
from support.pgbouncer import pgbouncer


@pytest.fixture(scope="session")
def pooled_url(database_url: str) -> Iterator[str]:
    """The shared database through a pooler in transaction mode."""
    with pgbouncer(database_url) as url:
        yield url


@pytest.fixture(scope="module", params=[(name, way) for way in ("direct", "pooled") for name in WALLS], ids="-".join)
async def walled(request: pytest.FixtureRequest, database_url: str) -> AsyncIterator[WalledApp]:
    """The application with both protections and with each alone, directly and through the pooler."""
    name, way = request.param
    url = request.getfixturevalue("pooled_url") if way == "pooled" else database_url
    async with app_behind(WALLS[name], url=url, direct_url=database_url) as walled:
        yield walled


@pytest.fixture
async def alice(walled: WalledApp) -> AsyncIterator[AsyncClient]:
    async with walled.client(walled.sign_up("alice")) as client:
        yield client


@pytest.fixture
async def bob(walled: WalledApp) -> AsyncIterator[AsyncClient]:
    async with walled.client(walled.sign_up("bob")) as client:
        yield client


@pytest.fixture
async def charlie(walled: WalledApp) -> AsyncIterator[AsyncClient]:
    async with walled.client(f"charlie-{uuid4().hex}") as client:
        yield client
