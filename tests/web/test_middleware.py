"""What every request passes: an id and a line in the log, a problem for every error, and the demand for a token."""

import logging
import re
from typing import Any

import pytest
from httpx import ASGITransport, AsyncClient
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from support.raw_http import request, serving
from todo.errors import Conflict
from todo.web.logs import AnswerBroken
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
    """Return the lines of requests, without how long they took."""
    names = ("request_id", "user_id", "method", "path", "status")
    return [{name: vars(r)[name] for name in names} for r in caplog.records if r.getMessage() == "request"]


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """What is logged from INFO on."""
    caplog.set_level(logging.INFO)
    return caplog


# Task: T-044
class TestTracing:
    async def test_answers_with_the_id_that_the_client_chose(self, anonymous: AsyncClient) -> None:
        response = await anonymous.get("/healthz", headers={"X-Request-ID": "my-id_1.2"})

        assert response.headers.get_list("x-request-id") == ["my-id_1.2"]

    @pytest.mark.parametrize("chosen", ["", " ", "a b", "a" * 65, 'a"b', "ä", "<b>"])
    async def test_chooses_an_id_where_the_clients_could_do_harm(self, anonymous: AsyncClient, chosen: str) -> None:
        response = await anonymous.get("/healthz", headers={b"X-Request-ID": chosen.encode()})

        assert re.fullmatch("[0-9a-f]{32}", response.headers["x-request-id"])

    async def test_chooses_another_id_each_time(self, anonymous: AsyncClient) -> None:
        ids = {(await anonymous.get("/healthz")).headers["x-request-id"] for _ in range(10)}

        assert len(ids) == 10

    async def test_tells_browsers_and_caches_to_be_careful(self, anonymous: AsyncClient) -> None:
        response = await anonymous.get("/healthz")

        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["cache-control"] == "private, no-cache"

    async def test_leaves_a_cache_control_that_was_chosen(self) -> None:
        async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": [(b"cache-control", b"public")]})
            await send({"type": "http.response.body"})

        async with client_of(Tracing(app)) as client:
            response = await client.get("/")

        assert response.headers.get_list("cache-control") == ["public"]

    async def test_writes_one_line_per_request_without_its_query(
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

    async def test_logs_a_path_as_it_was_sent_and_not_all_of_it(
        self, anonymous: AsyncClient, log: pytest.LogCaptureFixture
    ) -> None:
        await anonymous.get("http://todo.test/%0A%1b%C2%9B" + "a" * 1_000)

        [line] = request_lines(log)
        assert line["path"] == "/%0A%1b%C2%9B" + "a" * 187
        assert (line["user_id"], line["status"]) == (None, 404)

    @pytest.mark.parametrize(
        "sent",
        [
            "/api/v1/tags/geheim",
            "/api/v1/tags/a%2Fgeheim",
            "/api/v1/tags/a/geheim",
            "/api/v1/tags%2Fgeheim",
            "/api/v1/t%61gs/geheim",
            "/%61pi/v1/tags/geheim",
        ],
    )
    async def test_logs_no_word_that_a_user_wrote_into_a_path(
        self, anonymous: AsyncClient, log: pytest.LogCaptureFixture, sent: str
    ) -> None:
        await anonymous.delete(f"http://todo.test{sent}")

        [line] = request_lines(log)
        assert (line["path"], line["status"]) == ("/api/v1/tags/{name}", 401)

    async def test_logs_0_where_nobody_was_answered(self, log: pytest.LogCaptureFixture) -> None:
        async def app(_scope: Scope, _receive: Receive, _send: Send) -> None:
            return

        await Tracing(app)(scope_of("http"), receive_nothing, send_nothing)

        assert [line["status"] for line in request_lines(log)] == [0]

    async def test_names_a_websocket_and_writes_its_line_when_it_is_over(self, log: pytest.LogCaptureFixture) -> None:
        seen = []

        async def app(scope: Scope, _receive: Receive, send: Send) -> None:
            seen.append(scope["todo.trace"].request_id)
            assert request_lines(log) == []
            await send({"type": "websocket.close", "code": 4401})

        await Tracing(Problems(app))(scope_of("websocket"), receive_nothing, send_nothing)

        assert [len(request_id) for request_id in seen] == [32]
        [line] = request_lines(log)
        assert (line["request_id"], line["path"], line["status"]) == (seen[0], "/api/v1/ws", 4401)


def scope_of(kind: str) -> Scope:
    return {"type": kind, "method": "GET", "path": "/api/v1/ws", "raw_path": b"/api/v1/ws", "headers": []}


async def receive_nothing() -> Message:
    return {"type": "http.disconnect"}


async def send_nothing(_message: Message) -> None:
    pass


# Task: T-041
class TestProblems:
    async def test_turns_an_error_into_a_problem(self) -> None:
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
    async def test_turns_the_frameworks_errors_into_ours(self, status: int, code: str) -> None:
        async with client_of(raising(HTTPException(status, SECRET, {"Allow": "GET"}))) as client:
            response = await client.get("/")

        assert (response.status_code, response.json()["code"]) == (status, code)
        assert SECRET not in response.text

    async def test_shows_nothing_of_a_defect_but_the_id_of_its_line_in_the_log(
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
    async def test_breaks_an_answer_off_that_has_begun_and_logs_why_once(
        self, error: Exception, log: pytest.LogCaptureFixture
    ) -> None:
        async with client_of(breaking_off(error)) as client:
            with pytest.raises(AnswerBroken):
                await client.get("/")

        assert [record.getMessage() for record in log.records if record.name == "todo.request"] == [
            "unhandled",
            "request",
        ]

    async def test_lets_the_client_see_that_an_answer_broke_off(self) -> None:
        async with serving(breaking_off(RuntimeError()), HttpProtocol) as server, server.connect() as connection:
            await connection.send(request("GET", "/"))

            with pytest.raises(EOFError):
                await connection.answer()
