"""Reading HTTP requests: framing, limits and timeouts. Malformed requests are answered with a problem."""

import pytest
from fastapi import FastAPI

from support.helpers import eventually
from support.raw_http import (
    CHUNKED,
    GET,
    JSON,
    Server,
    assert_refused,
    request,
    sending_slowly,
    serving,
)
from todo.web.server.http_protocol import HttpProtocol

UNREADABLE = {
    "not HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "an unknown method": b"FROB / HTTP/1.1\r\nHost: x\r\n\r\n",
    "a method in lower case": b"get / HTTP/1.1\r\nHost: x\r\n\r\n",
    "no version": b"GET /healthz\r\n\r\n",
    "an unknown version": b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a space in the path": b"GET /a b HTTP/1.1\r\nHost: x\r\n\r\n",
    "a path with raw bytes": b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
    "a path without a slash": b"GET healthz HTTP/1.1\r\nHost: x\r\n\r\n",
    "CONNECT": b"CONNECT example.com:443 HTTP/1.1\r\nHost: x\r\n\r\n",
    "no host": b"GET /healthz HTTP/1.1\r\n\r\n",
    "two hosts": b"GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "a space before the colon": b"GET / HTTP/1.1\r\nHost : x\r\n\r\n",
    "a header without a name": b"GET / HTTP/1.1\r\n: x\r\n\r\n",
    "a folded header": b"GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n",
    "bare line feeds": b"GET / HTTP/1.1\nHost: x\n\n",
    "a bare carriage return": b"GET / HTTP/1.1\r\nHost: x\rA: b\r\n\r\n",
    "NUL in a header": b"GET / HTTP/1.1\r\nHost: x\x00y\r\n\r\n",
    "a negative length": request("POST", "/", "Content-Length: -1"),
    "a signed length": request("POST", "/", "Content-Length: +1"),
    "a length that is not a number": request("POST", "/", "Content-Length: abc"),
    "an empty length": request("POST", "/", "Content-Length: "),
    "a huge length": request("POST", "/", f"Content-Length: {10**30}"),
    "two lengths": request("POST", "/", "Content-Length: 2", "Content-Length: 3"),
    "the same length twice": request("POST", "/", "Content-Length: 2", "Content-Length: 2"),
    "a length and chunks": request("POST", "/", "Content-Length: 2", CHUNKED),
    "chunks and a length": request("POST", "/", CHUNKED, "Content-Length: 2"),
    "chunked is not the last coding": request("POST", "/", "Transfer-Encoding: chunked, gzip"),
    "gzip before chunked": request("POST", "/", "Transfer-Encoding: gzip, chunked"),
    "chunked twice": request("POST", "/", CHUNKED, CHUNKED),
    "chunks in HTTP/1.0": b"POST / HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a body and another protocol": request("POST", "/", "Connection: Upgrade", "Upgrade: h2c", body=b"{}"),
}


# Task: T-018
class TestFraming:
    @pytest.mark.parametrize("sent", UNREADABLE.values(), ids=UNREADABLE.keys())
    async def test_malformed_request_gets_a_problem_and_closes_the_connection(
        self, server: Server, sent: bytes
    ) -> None:
        async with server.connect() as connection:
            await connection.send(sent)

            answer = await connection.answer()

            assert_refused(answer, 400, "malformed_request")
            assert await connection.is_closed()

    async def test_problem_of_a_malformed_request_has_all_members_and_headers(self, server: Server) -> None:
        answer = await server.ask(UNREADABLE["not HTTP"])

        request_id = answer.headers["x-request-id"]
        assert answer.problem() == {
            "type": "about:blank",
            "title": "Bad Request",
            "status": 400,
            "detail": "The request could not be read.",
            "code": "malformed_request",
            "request_id": request_id,
        }
        assert {name: value for name, value in answer.headers.items() if name not in {"date", "server"}} == {
            "x-request-id": request_id,
            "x-content-type-options": "nosniff",
            "content-type": "application/problem+json",
            "content-length": str(len(answer.body)),
            "cache-control": "private, no-cache",
            "connection": "close",
        }

    async def test_valid_request_is_answered_before_trailing_garbage_closes_the_connection(
        self, server: Server
    ) -> None:
        async with server.connect() as connection:
            await connection.send(GET + b"{}")

            answer = await connection.answer()

            assert (answer.status, answer.headers["connection"]) == (200, "close")
            assert await connection.is_closed()

    async def test_malformed_chunk_gets_a_problem_while_the_body_is_awaited(
        self, server: Server, authorization: str
    ) -> None:
        async with server.connect() as connection:
            await connection.send(request("POST", "/api/v1/tasks", authorization, JSON, CHUNKED) + b"2\r\n{}\r\n")
            await server.until_begun()
            await connection.send(b"zz\r\n")

            answer = await connection.answer()

            assert_refused(answer, 400, "malformed_request")
            assert await connection.is_closed()

    async def test_trailer_is_not_used_as_a_header(self, server: Server, authorization: str) -> None:
        body = b'10\r\n{"title":"milk"}\r\n0\r\n' + authorization.encode() + b"\r\n\r\n"

        answer = await server.ask(request("POST", "/api/v1/tasks", JSON, CHUNKED) + body)

        assert (answer.status, answer.problem()["code"]) == (401, "unauthenticated")

    async def test_trailer_is_not_used_as_a_header_of_the_next_request(
        self, server: Server, authorization: str
    ) -> None:
        async with server.connect() as connection:
            await connection.send(request("GET", "/healthz", CHUNKED) + b"0\r\n" + authorization.encode() + b"\r\n\r\n")
            await connection.answer()
            await connection.send(request("GET", "/api/v1/me"))

            answer = await connection.answer()

        assert answer.status == 401

    async def test_chunked_body_is_accepted(self, server: Server, authorization: str) -> None:
        answer = await server.ask(
            request("POST", "/api/v1/tasks", authorization, JSON, CHUNKED),
            b'8\r\n{"title"\r\n',
            b'8;extension=1\r\n:"milk"}\r\n0\r\n\r\n',
        )

        assert answer.status == 201
        assert "connection" not in answer.headers

    async def test_http_1_0_request_without_a_host_is_accepted(self, server: Server) -> None:
        answer = await server.ask(b"GET /healthz HTTP/1.0\r\n\r\n")

        assert (answer.status, answer.headers["connection"]) == (200, "close")

    async def test_upgrade_to_another_protocol_is_ignored(self, server: Server) -> None:
        answer = await server.ask(request("GET", "/healthz", "Connection: Upgrade", "Upgrade: h2c"))

        assert (answer.status, answer.headers["connection"]) == (200, "close")

    async def test_pipelined_requests_are_answered_in_order(self, server: Server) -> None:
        async with server.connect() as connection:
            await connection.send(GET + request("GET", "/nowhere") + GET)

            answers = [await connection.answer() for _ in range(3)]

        assert [answer.status for answer in answers] == [200, 404, 200]

    async def test_connection_closes_after_the_maximum_number_of_pipelined_requests(self, server: Server) -> None:
        async with server.connect() as connection:
            await connection.send(GET * 5_000)

            answers = [await connection.answer() for _ in range(HttpProtocol.max_pipelined + 1)]

            assert {answer.status for answer in answers} == {200}
            assert answers[-1].headers["connection"] == "close"
            assert await connection.is_closed()

    async def test_head_is_answered_without_a_body(self, server: Server, authorization: str) -> None:
        async with server.connect() as connection:
            await connection.send(
                request("HEAD", "/healthz")
                + request("HEAD", "/api/v1/events", authorization)
                + request("HEAD", "/a")
                + GET
            )
            heads = [await connection.head() for _ in range(3)]

            answer = await connection.answer()

        assert [(head.status, head.headers.get("content-length")) for head in heads[:2]] == [(200, "15"), (200, None)]
        assert heads[1].headers["content-type"] == "text/event-stream; charset=utf-8"
        assert heads[2].status == 404
        assert (answer.status, answer.body) == (200, b'{"status":"ok"}')


# Task: T-018
class TestHeaders:
    @pytest.mark.parametrize(
        "sent",
        [
            request("GET", "/" + "a" * 40_000),
            request("GET", "/healthz?" + "a" * 40_000),
            request("GET", "/healthz", "X: " + "a" * 40_000),
            request("GET", "/healthz", "X: " + "a" * 4_000_000),
            b"GET /healthz HTTP/1.1\r\nX: " + b"a" * 100_000,
            request("GET", "/healthz", *(f"X-{number}: 1" for number in range(100))),
            request("GET", "/healthz", *(f"{number}:" for number in range(60_000))),
        ],
        ids=["path", "query", "value", "huge value", "value without an end", "101 headers", "60,000 headers"],
    )
    async def test_headers_over_the_limit_get_431(self, server: Server, sent: bytes) -> None:
        answer = await server.ask(sent)

        assert_refused(answer, 431, "headers_too_large")

    async def test_headers_at_the_limit_are_accepted(self, server: Server) -> None:
        answer = await server.ask(request("GET", "/healthz", *(f"X-{number}: {'a' * 300}" for number in range(99))))

        assert answer.status == 200

    async def test_body_does_not_count_towards_the_header_limit(self, server: Server, authorization: str) -> None:
        body = b'{"title": "milk", "description": "%s"}' % (b"\\u0061" * 10_000)

        answer = await server.ask(request("POST", "/api/v1/tasks", authorization, JSON, body=body))

        assert answer.status == 201

    async def test_incomplete_headers_get_408_after_the_timeout(self, strict_server: Server) -> None:
        async with strict_server.connect() as connection:
            await connection.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n")

            answer = await connection.answer()

            assert_refused(answer, 408, "request_timeout")
            assert await connection.is_closed()

    async def test_incomplete_headers_of_a_second_request_get_408_after_the_timeout(
        self, strict_server: Server
    ) -> None:
        async with strict_server.connect() as connection:
            await connection.send(GET)
            await connection.answer()
            await connection.send(GET[:10])

            answer = await connection.answer()

        assert_refused(answer, 408, "request_timeout")

    async def test_headers_that_arrive_slowly_get_408_after_the_timeout(self, strict_server: Server) -> None:
        async with (
            strict_server.connect() as connection,
            sending_slowly(connection, b"GET /healthz HTTP/1.1\r\n", b"X: 1\r\n"),
        ):
            answer = await connection.answer()

        assert_refused(answer, 408, "request_timeout")

    async def test_server_closes_an_unused_connection_without_an_answer(self, strict_server: Server) -> None:
        async with strict_server.connect() as connection:
            assert await connection.is_closed()

    async def test_empty_lines_do_not_keep_an_idle_connection_open(self, strict_server: Server) -> None:
        async with strict_server.connect() as connection:
            await connection.send(GET)
            await connection.answer()
            async with sending_slowly(connection, b"\r\n", b"\r\n"):
                assert await connection.is_closed()

    async def test_header_timeout_starts_anew_for_each_request(self, app: FastAPI) -> None:
        statuses, deadlines = [], []
        async with serving(app, HttpProtocol) as server, server.connect() as connection:
            for _ in range(3):
                await connection.send(GET[:10])
                await eventually(lambda: server.connections() and server.protocol()._timer)
                timer = server.protocol()._timer
                assert timer is not None
                deadlines.append(timer.when())
                await connection.send(GET[10:])
                statuses.append((await connection.answer()).status)
                assert server.protocol()._timer is None

        assert statuses == [200, 200, 200]
        assert deadlines[0] < deadlines[1] < deadlines[2]
