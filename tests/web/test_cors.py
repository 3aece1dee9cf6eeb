"""CORS: which origins may call the API, and which responses they may read, including errors."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from fastapi import FastAPI
from httpx import AsyncClient, Response

from support.raw_http import serving
from support.users import SECRET, sign_up, token_of
from todo.database import Database
from todo.errors import Unavailable
from todo.main import create_app
from todo.models.users import Identity
from todo.services.authentication import SecretVerifier, Verifier
from todo.settings import Settings
from todo.web.server.http_protocol import HttpProtocol

ORIGIN = "https://app.example.com"
SECOND_ORIGIN = "http://localhost:3000"
EXPOSED = "Location, ETag, X-Request-ID, Retry-After, Idempotency-Replayed"

OTHER_ORIGINS = [
    "https://evil.example",
    "http://app.example.com",
    "https://app.example.com:8443",
    "https://app.example.com.evil.example",
    "https://evil.app.example.com",
    "https://APP.example.com/",
    "null",
]


class Broken(SecretVerifier):
    """A verifier that raises ``error`` for every token."""

    def __init__(self, error: Exception) -> None:
        super().__init__(SECRET)
        self._error = error

    async def verify(self, token: bytes) -> Identity:  # noqa: ARG002 - the signature is the verifier's.
        raise self._error


def app_for(database: Database, *origins: str, verifier: Verifier | None = None) -> FastAPI:
    return create_app(Settings(cors_origins=origins), database, verifier or SecretVerifier(SECRET))


@asynccontextmanager
async def browser(app: FastAPI, origin: str | None = ORIGIN, token: str | None = None) -> AsyncIterator[AsyncClient]:
    """Serve ``app``, and yield a client of its port that sends ``origin``.

    Over a real socket: without one, a wrong Content-Length would not be noticed.
    """
    headers = {"Origin": origin} if origin else {}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    async with (
        serving(app, HttpProtocol) as server,
        AsyncClient(base_url=f"http://127.0.0.1:{server.port}", headers=headers, trust_env=False) as client,
    ):
        yield client


async def preflight(
    app: FastAPI, origin: str = ORIGIN, method: str = "PATCH", headers: str = "authorization, content-type"
) -> Response:
    request_headers = {"Access-Control-Request-Method": method, "Access-Control-Request-Headers": headers}
    async with browser(app, origin) as client:
        return await client.options("/api/v1/tasks", headers=request_headers)


def cors_headers(response: Response) -> dict[str, str]:
    return {name: value for name, value in response.headers.items() if name.startswith("access-control-")}


@pytest.fixture
def app(database: Database) -> FastAPI:
    """The application as shipped, for two origins."""
    return app_for(database, ORIGIN, SECOND_ORIGIN)


# Task: T-048
class TestPreflight:
    @pytest.mark.parametrize("origin", [ORIGIN, SECOND_ORIGIN])
    async def test_preflight_needs_no_token(self, app: FastAPI, origin: str) -> None:
        response = await preflight(app, origin)

        assert response.status_code == 200
        assert cors_headers(response) == {
            "access-control-allow-origin": origin,
            "access-control-allow-methods": "GET, HEAD, POST, PUT, PATCH, DELETE",
            "access-control-allow-headers": (
                "Accept, Accept-Language, Authorization, Baggage, Cache-Control, Content-Language, Content-Type,"
                " Idempotency-Key, If-Match, If-None-Match, Last-Event-ID, Pragma, Sentry-Trace, Traceparent,"
                " Tracestate, X-Request-ID, X-Requested-With"
            ),
            "access-control-max-age": "7200",
        }
        assert "Origin" in response.headers["vary"].split(", ")

    async def test_preflight_allows_every_method_of_the_api(self, app: FastAPI) -> None:
        methods = {method.upper() for operations in app.openapi()["paths"].values() for method in operations}

        allowed = {method for method in methods if (await preflight(app, method=method)).status_code == 200}

        assert allowed == methods == {"GET", "POST", "PUT", "PATCH", "DELETE"}

    @pytest.mark.parametrize("origin", OTHER_ORIGINS)
    async def test_preflight_from_another_origin_gets_403(self, app: FastAPI, origin: str) -> None:
        response = await preflight(app, origin)

        assert response.status_code == 403
        assert cors_headers(response) == {}
        assert "Origin" in response.headers["vary"].split(", ")

    # Task: T-511
    @pytest.mark.parametrize("headers", ["traceparent, tracestate, baggage", "sentry-trace", "cache-control, pragma"])
    async def test_preflight_allows_headers_of_tracing_and_reloading(self, app: FastAPI, headers: str) -> None:
        assert (await preflight(app, headers=f"authorization, {headers}")).status_code == 200

    # Task: T-511
    async def test_refused_preflight_leaves_the_connection_open_and_logs_no_error(
        self, app: FastAPI, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with browser(app, "https://evil.example") as client:
            for _ in range(2):
                response = await client.options("/api/v1/tasks", headers={"Access-Control-Request-Method": "GET"})
                assert (response.status_code, response.json()["code"]) == (403, "cors_refused")

        assert "ERROR" not in {record.levelname for record in caplog.records}

    @pytest.mark.parametrize(("method", "headers"), [("TRACE", "authorization"), ("GET", "authorization, x-secret")])
    async def test_preflight_with_another_method_or_header_gets_a_problem(
        self, app: FastAPI, method: str, headers: str
    ) -> None:
        response = await preflight(app, method=method, headers=headers)

        assert response.headers["content-type"] == "application/problem+json"
        assert response.json() == {
            "type": "about:blank",
            "title": "Forbidden",
            "status": 403,
            "detail": "CORS does not allow this request: its origin, its method or a header.",
            "code": "cors_refused",
            "request_id": response.headers["x-request-id"],
        }
        assert cors_headers(response) == {}

    async def test_preflight_needs_a_token_if_no_origin_is_allowed(self, database: Database) -> None:
        response = await preflight(app_for(database))

        assert response.status_code == 401
        assert cors_headers(response) == {}


# Task: T-048
class TestAnswers:
    async def test_response_is_readable_by_an_allowed_origin_without_cookies(
        self, app: FastAPI, database_url: str
    ) -> None:
        async with browser(app, token=token_of(sign_up(database_url, "alice"))) as client:
            response = await client.post("/api/v1/tasks", json={"title": "Buy milk"})

        assert response.status_code == 201
        assert cors_headers(response) == {
            "access-control-allow-origin": ORIGIN,
            "access-control-expose-headers": EXPOSED,
        }
        assert response.headers["vary"] == "Origin"

    @pytest.mark.parametrize("origin", OTHER_ORIGINS)
    async def test_response_is_not_readable_by_another_origin(self, app: FastAPI, origin: str) -> None:
        async with browser(app, origin) as client:
            response = await client.get("/healthz")

        assert "access-control-allow-origin" not in response.headers
        assert response.headers["vary"] == "Origin"

    async def test_response_varies_by_origin_even_without_an_origin_header(self, app: FastAPI) -> None:
        async with browser(app, origin=None) as client:
            response = await client.get("/healthz")

        assert cors_headers(response) == {}
        assert response.headers["vary"] == "Origin"

    async def test_response_has_no_cors_headers_if_no_origin_is_allowed(self, database: Database) -> None:
        async with browser(app_for(database)) as client:
            response = await client.get("/healthz")

        assert response.status_code == 200
        assert cors_headers(response) == {}
        assert "vary" not in response.headers


# Task: T-048
class TestErrors:
    @pytest.mark.parametrize(
        ("method", "path", "status"),
        [
            ("GET", "/api/v1/tasks/0197f0c2-a6b4-7e0b-8d3c-5a1e9f60b7d2", 404),
            ("GET", "/nowhere", 404),
            ("DELETE", "/api/v1/tasks", 405),
            ("GET", "/api/v1/tasks?limit=0", 422),
        ],
    )
    async def test_error_is_readable_by_an_allowed_origin(
        self, app: FastAPI, database_url: str, method: str, path: str, status: int
    ) -> None:
        async with browser(app, token=token_of(sign_up(database_url, "alice"))) as client:
            response = await client.request(method, path)

        self.assert_readable(response, status)

    async def test_error_401_is_readable_by_an_allowed_origin(self, app: FastAPI) -> None:
        async with browser(app) as client:
            response = await client.get("/api/v1/tasks")

        self.assert_readable(response, 401)

    @pytest.mark.parametrize(("error", "status"), [(RuntimeError("a defect"), 500), (Unavailable(), 503)])
    async def test_server_error_is_readable_by_an_allowed_origin(
        self, database: Database, error: Exception, status: int
    ) -> None:
        async with browser(app_for(database, ORIGIN, verifier=Broken(error)), token="any") as client:
            response = await client.get("/api/v1/tasks")

        self.assert_readable(response, status)

    @staticmethod
    def assert_readable(response: Response, status: int) -> None:
        assert response.status_code == status
        assert response.headers["content-type"] == "application/problem+json"
        assert cors_headers(response) == {
            "access-control-allow-origin": ORIGIN,
            "access-control-expose-headers": EXPOSED,
        }
        assert response.headers["vary"] == "Origin"
