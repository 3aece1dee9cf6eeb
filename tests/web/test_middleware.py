"""Middleware: a request id, a log line for each request, and a problem for each error."""

import logging
import re
from typing import Any

import pytest
from httpx import ASGITransport, AsyncClient
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from support.raw_http import request, serving
from todo.errors import Conflict
from todo.web.logs import ResponseAborted
from todo.web.middleware import Problems, Tracing
from todo.web.server.http_protocol import HttpProtocol

SECRET = "alice@example.com"


def client_of(app: ASGIApp) -> AsyncClient:
    return AsyncClient(transport=ASGITransport(app), base_url="http://todo.test")


def raising(error: Exception) -> ASGIApp:
    async def app(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise error

    return Tracing(Problems(app))


def breaking_off(error: Exception) -> ASGIApp:
    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"10")]})
        await send({"type": "http.response.body", "body": b"12345", "more_body": True})
        raise error

    return Tracing(Problems(app))


def request_lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    """Return the log lines of requests, without their durations."""
    names = ("request_id", "user_id", "method", "path", "status")
    return [{name: vars(r)[name] for name in names} for r in caplog.records if r.getMessage() == "request"]


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """Log records of level INFO and above."""
    caplog.set_level(logging.INFO)
    return caplog


# Task: T-044
class TestTracing:
    async def test_response_has_the_request_id_that_the_client_sent(self, anonymous: AsyncClient) -> None:
        response = await anonymous.get("/healthz", headers={"X-Request-ID": "my-id_1.2"})

        assert response.headers.get_list("x-request-id") == ["my-id_1.2"]

    @pytest.mark.parametrize("chosen", ["", " ", "a b", "a" * 65, 'a"b', "ä", "<b>"])
    async def test_unsafe_request_id_is_replaced_by_a_generated_one(self, anonymous: AsyncClient, chosen: str) -> None:
        response = await anonymous.get("/healthz", headers={b"X-Request-ID": chosen.encode()})

        assert re.fullmatch("[0-9a-f]{32}", response.headers["x-request-id"])

    async def test_generated_request_ids_differ(self, anonymous: AsyncClient) -> None:
        ids = {(await anonymous.get("/healthz")).headers["x-request-id"] for _ in range(10)}

        assert len(ids) == 10

    async def test_response_has_nosniff_and_is_not_cached(self, anonymous: AsyncClient) -> None:
        response = await anonymous.get("/healthz")

        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["cache-control"] == "private, no-cache"

    async def test_cache_control_of_the_application_is_kept(self) -> None:
        async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": [(b"cache-control", b"public")]})
            await send({"type": "http.response.body"})

        async with client_of(Tracing(app)) as client:
            response = await client.get("/")

        assert response.headers.get_list("cache-control") == ["public"]

    async def test_each_request_logs_one_line_without_its_query(
        self, alice: AsyncClient, log: pytest.LogCaptureFixture
    ) -> None:
        user_id = (await alice.get("/me")).json()["id"]
        log.clear()

        response = await alice.get(f"/tasks?nonsense={SECRET}")

        assert request_lines(log) == [
            {
                "request_id": response.headers["x-request-id"],
                "user_id": user_id,
                "method": "GET",
                "path": "/api/v1/tasks",
                "status": 422,
            }
        ]
        assert SECRET not in repr([vars(record) for record in log.records if record.name == "todo.request"])

    async def test_logged_path_is_percent_encoded_and_truncated(
        self, anonymous: AsyncClient, log: pytest.LogCaptureFixture
    ) -> None:
        await anonymous.get("http://todo.test/%0A%1b%C2%9B" + "a" * 1_000)

        [line] = request_lines(log)
        assert line["path"] == "/%0A%1b%C2%9B" + "a" * 187
        assert (line["user_id"], line["status"]) == (None, 404)

    @pytest.mark.parametrize("sent", ["/api/v1/tags/geheim", "/api/v1/t%61gs/a%2Fgeheim"])
    async def test_logged_path_contains_no_user_text(
        self, anonymous: AsyncClient, log: pytest.LogCaptureFixture, sent: str
    ) -> None:
        await anonymous.delete(f"http://todo.test{sent}")

        [line] = request_lines(log)
        assert (line["path"], line["status"]) == ("/api/v1/tags/{name}", 401)

    async def test_request_without_a_response_is_logged_with_status_0(self, log: pytest.LogCaptureFixture) -> None:
        async def app(_scope: Scope, _receive: Receive, _send: Send) -> None:
            return

        await Tracing(app)(scope_of("http"), receive_nothing, send_nothing)

        assert [line["status"] for line in request_lines(log)] == [0]

    async def test_websocket_has_a_request_id_and_logs_a_line_when_it_closes(
        self, log: pytest.LogCaptureFixture
    ) -> None:
        request_ids = []

        async def app(scope: Scope, _receive: Receive, send: Send) -> None:
            request_ids.append(scope["todo.trace"].request_id)
            assert request_lines(log) == []
            await send({"type": "websocket.close", "code": 4401})

        await Tracing(Problems(app))(scope_of("websocket"), receive_nothing, send_nothing)

        assert [len(request_id) for request_id in request_ids] == [32]
        [line] = request_lines(log)
        assert (line["request_id"], line["path"], line["status"]) == (request_ids[0], "/api/v1/ws", 4401)


def scope_of(kind: str) -> Scope:
    return {"type": kind, "method": "GET", "path": "/api/v1/ws", "raw_path": b"/api/v1/ws", "headers": []}


async def receive_nothing() -> Message:
    return {"type": "http.disconnect"}


async def send_nothing(_message: Message) -> None:
    pass


# Task: T-041
class TestProblems:
    async def test_application_error_becomes_a_problem(self) -> None:
        async with client_of(raising(Conflict("There is one.", code="id_taken"))) as client:
            response = await client.get("/")

        assert response.headers["content-type"] == "application/problem+json"
        assert (response.status_code, response.json()) == (
            409,
            {
                "type": "about:blank",
                "title": "Conflict",
                "status": 409,
                "detail": "There is one.",
                "code": "id_taken",
                "request_id": response.headers["x-request-id"],
            },
        )

    @pytest.mark.parametrize(
        ("status", "code"),
        [
            (400, "malformed_request"),
            (401, "unauthenticated"),
            (403, "forbidden"),
            (404, "not_found"),
            (405, "method_not_allowed"),
            (413, "content_too_large"),
            (415, "unsupported_media_type"),
        ],
    )
    async def test_http_exception_of_the_framework_becomes_our_problem(self, status: int, code: str) -> None:
        async with client_of(raising(HTTPException(status, SECRET, {"Allow": "GET"}))) as client:
            response = await client.get("/")

        assert (response.status_code, response.json()["code"]) == (status, code)
        assert SECRET not in response.text

    async def test_unexpected_error_shows_only_the_request_id_of_its_log_line(
        self, log: pytest.LogCaptureFixture
    ) -> None:
        async with client_of(raising(RuntimeError(SECRET))) as client:
            response = await client.get("/")

        request_id = response.headers["x-request-id"]
        assert (response.status_code, response.json()) == (
            500,
            {
                "type": "about:blank",
                "title": "Internal Server Error",
                "status": 500,
                "detail": "Something went wrong on our side. If it happens again, report the request_id.",
                "code": "internal_error",
                "request_id": request_id,
            },
        )
        [defect] = [record for record in log.records if record.levelname == "ERROR"]
        assert (defect.getMessage(), vars(defect)["request_id"]) == ("unhandled", request_id)
        assert defect.exc_info is not None
        assert isinstance(defect.exc_info[1], RuntimeError)

    @pytest.mark.parametrize("error", [RuntimeError(SECRET), Conflict()])
    async def test_error_after_the_headers_aborts_the_response_and_is_logged_once(
        self, error: Exception, log: pytest.LogCaptureFixture
    ) -> None:
        async with client_of(breaking_off(error)) as client:
            with pytest.raises(ResponseAborted):
                await client.get("/")

        assert [record.getMessage() for record in log.records if record.name == "todo.request"] == [
            "unhandled",
            "request",
        ]

    async def test_client_sees_an_aborted_response_as_incomplete(self) -> None:
        async with serving(breaking_off(RuntimeError()), HttpProtocol) as server, server.connect() as connection:
            await connection.send(request("GET", "/"))

            with pytest.raises(EOFError):
                await connection.answer()
