"""Health checks over HTTP, as a load balancer requests them: without a token."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from httpx import ASGITransport, AsyncClient

from support.helpers import LONG_TIMEOUTS, eventually
from support.processes import TIMEOUT_SECONDS
from support.tasks import problem_of
from support.users import SECRET, client_of, sign_up
from todo.database import Database, DatabaseOptions
from todo.main import create_app
from todo.services.authentication import SecretVerifier
from todo.settings import Settings


@pytest.fixture
async def without_database() -> AsyncIterator[AsyncClient]:
    """Yield a client of an application whose database is unreachable."""
    database = Database("postgresql://127.0.0.1:1/todo", DatabaseOptions(budget_seconds=0.2))
    await database.open()
    app = create_app(Settings(), database, SecretVerifier(SECRET))
    async with AsyncClient(transport=ASGITransport(app), base_url="http://todo.test") as client:
        yield client
    await database.close()


# Task: T-038
class TestReadHealth:
    async def test_health_check_returns_ok(self, anonymous: AsyncClient) -> None:
        response = await anonymous.get("/healthz")

        assert (response.status_code, response.json()) == (200, {"status": "ok"})

    async def test_health_check_does_not_need_the_database(self, without_database: AsyncClient) -> None:
        response = await without_database.get("/healthz")

        assert (response.status_code, response.json()) == (200, {"status": "ok"})


# Task: T-038
class TestReadReadiness:
    async def test_readiness_check_returns_ready(self, anonymous: AsyncClient) -> None:
        response = await anonymous.get("/readyz")

        assert (response.status_code, response.json()) == (200, {"status": "ready"})

    async def test_readiness_check_returns_503_while_the_database_is_unreachable(
        self, without_database: AsyncClient
    ) -> None:
        response = await without_database.get("/readyz")

        assert response.status_code == 503
        assert int(response.headers["retry-after"]) >= 1
        assert problem_of(response) == {
            "type": "about:blank",
            "title": "Service Unavailable",
            "status": 503,
            "detail": "The database cannot be reached right now. Try again in a moment.",
            "code": "database_unavailable",
        }

    async def test_readiness_checks_do_not_take_connections_from_users(self, database_url: str) -> None:
        """Anybody may request it without a token. The pool has one connection, and 20 requests may wait for it."""
        database = Database(database_url, replace(LONG_TIMEOUTS, pool_size=1))
        await database.open()
        app = create_app(Settings(), database, SecretVerifier(SECRET))
        stranger = AsyncClient(transport=ASGITransport(app), base_url="http://todo.test")
        async with stranger, client_of(app, sign_up(database_url, "alice")) as alice:
            held = await database.acquire(deadline=asyncio.get_running_loop().time() + TIMEOUT_SECONDS)
            asked = [asyncio.create_task(stranger.get("/readyz")) for _ in range(260)]
            await eventually(lambda: database._pool.get_stats()["requests_waiting"] == 1)
            listing = asyncio.create_task(alice.get("/tasks"))
            await eventually(lambda: database._pool.get_stats()["requests_waiting"] == 2)

            await database.release(held)

            answers = {response.status_code for response in await asyncio.gather(*asked)}
            status = (await listing).status_code
        await database.close()
        assert (answers, status) == ({200}, 200)

    async def test_health_checks_ignore_an_invalid_token(self, anonymous: AsyncClient) -> None:
        for path in ("/healthz", "/readyz"):
            assert (await anonymous.get(path, headers={"Authorization": "Bearer nonsense"})).status_code == 200
