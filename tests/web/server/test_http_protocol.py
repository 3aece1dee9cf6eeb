"""HTTP on the wire: limits, framing, and a problem for whatever cannot be read."""

import asyncio

import pytest
from fastapi import FastAPI

from support.raw_http import (
    CHUNKED,
    GET,
    JSON,
    Server,
    assert_refused,
    drip,
    request,
    serving,
)
from todo.database import cancelled
from todo.web.server.http_protocol import HttpProtocol

UNREADABLE = {
    "no HTTP at all": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "a method that is none": b"FROB / HTTP/1.1\r\nHost: x\r\n\r\n",
    "a method in lower case": b"get / HTTP/1.1\r\nHost: x\r\n\r\n",
    "no version": b"GET /healthz\r\n\r\n",
    "a version of the future": b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a space in the path": b"GET /a b HTTP/1.1\r\nHost: x\r\n\r\n",
    "a path with raw bytes": b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
    "a path without a slash": b"GET healthz HTTP/1.1\r\nHost: x\r\n\r\n",
    "a tunnel": b"CONNECT example.com:443 HTTP/1.1\r\nHost: x\r\n\r\n",
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
    "a length in words": request("POST", "/", "Content-Length: abc"),
    "an empty length": request("POST", "/", "Content-Length: "),
    "a length beyond all numbers": request("POST", "/", f"Content-Length: {10**30}"),
    "two lengths": request("POST", "/", "Content-Length: 2", "Content-Length: 3"),
    "the same length twice": request("POST", "/", "Content-Length: 2", "Content-Length: 2"),
    "a length and chunks": request("POST", "/", "Content-Length: 2", CHUNKED),
    "chunks and a length": request("POST", "/", CHUNKED, "Content-Length: 2"),
    "chunks that are not last": request("POST", "/", "Transfer-Encoding: chunked, gzip"),
    "compressed chunks": request("POST", "/", "Transfer-Encoding: gzip, chunked"),
    "chunks twice": request("POST", "/", CHUNKED, CHUNKED),
    "chunks in HTTP/1.0": b"POST / HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a body and another protocol": request("POST", "/", "Connection: Upgrade", "Upgrade: h2c", body=b"{}"),
}


# Task: T-018
class TestFraming:
    @pytest.mark.parametrize("sent", UNREADABLE.values(), ids=UNREADABLE.keys())
    async def test_answers_what_it_cannot_read_with_a_problem_and_hangs_up(self, server: Server, sent: bytes) -> None:
        async with server.connect() as connection:
            await connection.send(sent)

            answer = await connection.answer()

            assert_refused(answer, 400, "malformed_request")
            assert await connection.is_closed()

    async def test_says_in_a_problem_what_every_answer_says(self, server: Server) -> None:
        answer = await server.ask(UNREADABLE["no HTTP at all"])

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

    async def test_answers_before_it_hangs_up_on_what_follows(self, server: Server) -> None:
        async with server.connect() as connection:
            await connection.send(GET + b"{}")

            answer = await connection.answer()

            assert (answer.status, answer.headers["connection"]) == (200, "close")
            assert await connection.is_closed()

    async def test_answers_a_chunk_that_is_none_although_the_body_was_awaited(
        self, server: Server, authorization: str
    ) -> None:
        async with server.connect() as connection:
            await connection.send(request("POST", "/api/v1/tasks", authorization, JSON, CHUNKED) + b"2\r\n{}\r\n")
            await asyncio.sleep(0.05)
            await connection.send(b"zz\r\n")

            answer = await connection.answer()

            assert_refused(answer, 400, "malformed_request")
            assert await connection.is_closed()

    async def test_does_not_take_a_trailer_for_a_header(self, server: Server, authorization: str) -> None:
        body = b'10\r\n{"title":"milk"}\r\n0\r\n' + authorization.encode() + b"\r\n\r\n"

        answer = await server.ask(request("POST", "/api/v1/tasks", JSON, CHUNKED) + body)

        assert (answer.status, answer.problem()["code"]) == (401, "unauthenticated")

    async def test_does_not_take_a_trailer_for_a_header_of_the_next_request(
        self, server: Server, authorization: str
    ) -> None:
        async with server.connect() as connection:
            await connection.send(request("GET", "/healthz", CHUNKED) + b"0\r\n" + authorization.encode() + b"\r\n\r\n")
            await connection.answer()
            await connection.send(request("GET", "/api/v1/me"))

            answer = await connection.answer()

        assert answer.status == 401

    async def test_takes_chunks(self, server: Server, authorization: str) -> None:
        answer = await server.ask(
            request("POST", "/api/v1/tasks", authorization, JSON, CHUNKED),
            b'8\r\n{"title"\r\n',
            b'8;extension=1\r\n:"milk"}\r\n0\r\n\r\n',
        )

        assert answer.status == 201
        assert "connection" not in answer.headers

    async def test_takes_http_1_0_without_a_host(self, server: Server) -> None:
        answer = await server.ask(b"GET /healthz HTTP/1.0\r\n\r\n")

        assert (answer.status, answer.headers["connection"]) == (200, "close")

    async def test_stays_with_http_1_1_when_another_protocol_is_offered(self, server: Server) -> None:
        answer = await server.ask(request("GET", "/healthz", "Connection: Upgrade", "Upgrade: h2c"))

        assert (answer.status, answer.headers["connection"]) == (200, "close")

    async def test_answers_requests_that_were_sent_ahead_in_their_order(self, server: Server) -> None:
        async with server.connect() as connection:
            await connection.send(GET + request("GET", "/nowhere") + GET)

            answers = [await connection.answer() for _ in range(3)]

        assert [answer.status for answer in answers] == [200, 404, 200]

    async def test_does_not_let_requests_pile_up(self, server: Server) -> None:
        async with server.connect() as connection:
            await connection.send(GET * 5_000)

            answers = [await connection.answer() for _ in range(HttpProtocol.max_pipelined + 1)]

            assert {answer.status for answer in answers} == {200}
            assert answers[-1].headers["connection"] == "close"
            assert await connection.is_closed()

    async def test_answers_head_without_a_body(self, server: Server, authorization: str) -> None:
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
    async def test_refuses_more_than_the_limit(self, server: Server, sent: bytes) -> None:
        answer = await server.ask(sent)

        assert_refused(answer, 431, "headers_too_large")

    async def test_takes_as_much_as_the_limit(self, server: Server) -> None:
        answer = await server.ask(request("GET", "/healthz", *(f"X-{number}: {'a' * 300}" for number in range(99))))

        assert answer.status == 200

    async def test_counts_headers_and_not_the_body_that_comes_with_them(
        self, server: Server, authorization: str
    ) -> None:
        body = b'{"title": "milk", "description": "%s"}' % (b"\\u0061" * 10_000)

        answer = await server.ask(request("POST", "/api/v1/tasks", authorization, JSON, body=body))

        assert answer.status == 201

    async def test_answers_headers_that_never_end_when_their_time_is_over(self, impatient: Server) -> None:
        async with impatient.connect() as connection:
            await connection.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n")

            answer = await connection.answer()

            assert_refused(answer, 408, "request_timeout")
            assert await connection.is_closed()

    async def test_answers_headers_that_never_end_on_a_connection_that_was_used_before(self, impatient: Server) -> None:
        async with impatient.connect() as connection:
            await connection.send(GET)
            await connection.answer()
            await connection.send(GET[:10])

            answer = await connection.answer()

        assert_refused(answer, 408, "request_timeout")

    async def test_is_not_kept_waiting_by_a_trickle(self, impatient: Server) -> None:
        async with impatient.connect() as connection:
            trickle = asyncio.create_task(drip(connection.send, b"GET /healthz HTTP/1.1\r\n", b"X: 1\r\n"))

            answer = await connection.answer()

            await cancelled(trickle)
        assert_refused(answer, 408, "request_timeout")

    async def test_hangs_up_without_a_word_on_a_connection_that_is_never_used(self, impatient: Server) -> None:
        async with impatient.connect() as connection:
            assert await connection.is_closed()

    async def test_is_not_kept_open_by_empty_lines_between_requests(self, impatient: Server) -> None:
        async with impatient.connect() as connection:
            await connection.send(GET)
            await connection.answer()
            trickle = asyncio.create_task(drip(connection.send, b"\r\n", b"\r\n"))

            assert await connection.is_closed()

            await cancelled(trickle)

    async def test_gives_every_request_of_a_connection_its_time(self, app: FastAPI) -> None:
        class Patient(HttpProtocol):
            header_seconds = 1.5

        async with serving(app, Patient) as server, server.connect() as connection:
            statuses = []
            for _ in range(3):
                await asyncio.sleep(0.6)
                await connection.send(GET[:10])
                await asyncio.sleep(0.02)
                await connection.send(GET[10:])
                statuses.append((await connection.answer()).status)

        assert statuses == [200, 200, 200]
