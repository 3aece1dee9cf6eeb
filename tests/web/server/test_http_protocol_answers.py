"""After the headers of a request: unread bodies, response writing, and closed connections."""

import asyncio
import socket

import pytest
from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from support.helpers import eventually, grace_period
from support.processes import TIMEOUT_SECONDS
from support.raw_http import (
    CHUNKED,
    GET,
    JSON,
    Server,
    ShortTimeouts,
    assert_refused,
    request,
    sending_slowly,
    serving,
    until_empty,
)
from todo.web.server.http_protocol import HttpProtocol
from todo.web.server.write_backpressure import UnsentBytes


# Task: T-018
class TestUnwantedBodies:
    async def test_response_401_does_not_wait_for_the_body(self, strict_server: Server) -> None:
        async with strict_server.connect() as connection:
            await connection.send(request("POST", "/api/v1/tasks", JSON, "Content-Length: 1000000"))

            answer = await connection.answer()

            assert_refused(answer, 401, "unauthenticated")
            assert await connection.is_closed()

    async def test_connection_stays_open_if_an_unread_body_has_already_arrived(self, server: Server) -> None:
        async with server.connect() as connection:
            await connection.send(request("POST", "/api/v1/tasks", JSON, body=b"{}"))
            refused = await connection.answer()
            await connection.send(GET)

            answer = await connection.answer()

        assert (refused.status, answer.status) == (401, 200)

    async def test_get_is_answered_without_waiting_for_its_body(self, strict_server: Server) -> None:
        async with strict_server.connect() as connection:
            await connection.send(request("GET", "/healthz", "Content-Length: 10"), b"123")

            answer = await connection.answer()

            assert (answer.status, answer.headers["connection"]) == (200, "close")
            assert await connection.is_closed()

    async def test_no_100_continue_is_sent_for_a_body_that_will_be_rejected(
        self, server: Server, authorization: str
    ) -> None:
        expect = "Expect: 100-continue"

        refused = await server.ask(request("POST", "/api/v1/tasks", JSON, expect, "Content-Length: 20"))
        too_large = await server.ask(
            request("POST", "/api/v1/tasks", authorization, JSON, expect, "Content-Length: 2000000")
        )
        not_json = await server.ask(request("POST", "/api/v1/tasks", authorization, expect, "Content-Length: 20"))

        assert [answer.status for answer in (refused, too_large, not_json)] == [401, 413, 415]

    async def test_response_100_continue_is_sent_for_a_body_that_will_be_read(
        self, server: Server, authorization: str
    ) -> None:
        body = b'{"title": "milk"}'
        async with server.connect() as connection:
            await connection.send(
                request(
                    "POST", "/api/v1/tasks", authorization, JSON, "Expect: 100-continue", f"Content-Length: {len(body)}"
                )
            )
            interim = await connection.answer()
            await connection.send(body)

            answer = await connection.answer()

        assert (interim.status, answer.status) == (100, 201)

    @pytest.mark.parametrize("framing", ["Content-Length: 10000000", CHUNKED])
    async def test_client_that_sends_the_whole_body_first_still_gets_the_413(
        self, server: Server, authorization: str, framing: str
    ) -> None:
        chunk = b"a" * 100_000 if framing != CHUNKED else b"186a0\r\n" + b"a" * 100_000 + b"\r\n"

        answer = await server.ask(
            request("POST", "/api/v1/tasks", authorization, JSON, framing), *([chunk] * 100), b"0\r\n\r\n"
        )

        assert_refused(answer, 413, "content_too_large")

    async def test_discarding_an_unread_body_stops_at_a_maximum_size(self, app: FastAPI, authorization: str) -> None:
        class Lingering(HttpProtocol):
            drain_seconds = 3_600.0
            max_drained_bytes = 100_000

        async with serving(app, Lingering) as server, server.connect() as connection:
            await connection.send(request("POST", "/api/v1/tasks", authorization, JSON, "Content-Length: 10000000000"))
            answer = await connection.answer()
            await connection.send(*([b"a" * 65_536] * 100))

            assert_refused(answer, 413, "content_too_large")
            assert await until_empty(server)

    @pytest.mark.parametrize(
        "endless",
        [b"1\r\na\r\n" * 100, b"1;" + b"a" * 600, b"0\r\n" + b"X: 1\r\n" * 100, b"0\r\nX: " + b"a" * 600],
        ids=["tiny chunks", "a chunk extension", "trailers", "a trailer"],
    )
    async def test_chunk_framing_and_trailers_are_bounded(
        self, strict_server: Server, authorization: str, endless: bytes
    ) -> None:
        async with strict_server.connect() as connection:
            await connection.send(request("POST", "/api/v1/tasks", authorization, JSON, CHUNKED))
            async with sending_slowly(connection, endless, endless.removeprefix(b"0\r\n")):
                answer = await connection.answer()
        assert answer.status == 400
        assert answer.headers["connection"] == "close"

    async def test_client_that_disconnects_mid_request_leaves_no_connection_and_no_error(
        self, strict_server: Server, authorization: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with strict_server.connect() as connection:
            await connection.send(request("POST", "/api/v1/tasks", authorization, JSON, "Content-Length: 100"), b"{")
            await strict_server.until_begun()

        assert await until_empty(strict_server)
        assert [record for record in caplog.records if record.levelname in {"WARNING", "ERROR"}] == []


def answering(body: bytes) -> ASGIApp:
    """Return an application that answers every request with ``body``."""

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        headers = [(b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return app


async def disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


# Task: T-018
# Task: T-461
class TestAnswers:
    async def test_response_is_dropped_if_the_client_never_reads(self) -> None:
        class Hurried(HttpProtocol):
            flush_seconds = 0.2

        async with serving(answering(bytes(50_000_000)), Hurried) as server, server.connect() as connection:
            await eventually(lambda: server.connections() == 1)

            await connection.send(GET)

            assert await until_empty(server)

    async def test_response_reaches_a_client_that_reads_slowly(self) -> None:
        """Reading takes several times the timeout of a client that reads nothing."""
        body = bytes(range(256)) * 40_000

        class Hurried(HttpProtocol):
            flush_seconds = 1.0

        async with serving(answering(body), Hurried) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=4_096)
            # A small buffer: otherwise the kernel would receive the whole response for the client.
            writer.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
            writer.write(GET)
            await reader.readuntil(b"\r\n\r\n")
            received = bytearray()
            while len(received) < len(body):
                read = reader.readexactly(min(400_000, len(body) - len(received)))
                received += await asyncio.wait_for(read, TIMEOUT_SECONDS)
                await asyncio.sleep(0.15)
            writer.close()

        assert received == body

    async def test_pipelined_response_starts_only_when_the_previous_one_is_read(self) -> None:
        begun = 0

        async def counting(scope: Scope, receive: Receive, send: Send) -> None:
            nonlocal begun
            begun += 1
            await answering(bytes(50_000_000))(scope, receive, send)

        async with serving(counting, HttpProtocol) as server, server.connect() as connection:
            await connection.send(GET * 5)
            await eventually(lambda: begun)
            await grace_period()
            await connection.send(GET * 5)
            await grace_period()

            assert begun == 1

    async def test_full_buffer_drops_the_client_that_has_been_stalled_longest(self) -> None:
        class Small(HttpProtocol):
            unsent = UnsentBytes(max_bytes=45_000_000)

        async with (
            serving(answering(bytes(20_000_000)), Small) as server,
            server.connect() as first,
            server.connect() as second,
        ):
            await first.send(GET)
            await eventually(lambda: len(Small.unsent._stalled) == 1)
            await second.send(GET)
            await eventually(lambda: len(Small.unsent._stalled) == 2)
            before = server.connections()

            answer = await server.ask(GET)

            assert (before, len(answer.body)) == (2, 20_000_000)
            assert len((await second.answer()).body) == 20_000_000
            with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
                await first.answer()

    @pytest.mark.parametrize("ahead", [1, 3])
    async def test_response_ends_without_a_log_line_if_the_client_disconnects(
        self, caplog: pytest.LogCaptureFixture, ahead: int
    ) -> None:
        begun, ended = asyncio.Event(), asyncio.Event()

        async def endless(_scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            leaving = asyncio.create_task(disconnected(receive))
            while not leaving.done():
                await send({"type": "http.response.body", "body": bytes(1_000), "more_body": True})
                begun.set()
                await asyncio.sleep(0)
            ended.set()

        async with serving(endless, HttpProtocol) as server:
            async with server.connect() as connection:
                await connection.send(GET * ahead)
                await begun.wait()
            await asyncio.wait_for(ended.wait(), TIMEOUT_SECONDS)
            assert await until_empty(server)

        assert [record for record in caplog.records if record.levelname in {"WARNING", "ERROR"}] == []


# Task: T-018
class TestWebSockets:
    async def test_websocket_outlives_the_header_timeout(self) -> None:
        may_send = asyncio.Event()

        async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
            await send({"type": "websocket.accept"})
            await may_send.wait()
            await send({"type": "websocket.send", "text": "hello"})
            await send({"type": "websocket.close"})

        async with serving(app, ShortTimeouts, ws="websockets-sansio") as server, server.connect() as connection:
            await connection.send(
                request(
                    "GET",
                    "/ws",
                    "Connection: Upgrade",
                    "Upgrade: websocket",
                    "Sec-WebSocket-Version: 13",
                    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
                )
            )
            handshake = await connection.answer()
            await grace_period(ShortTimeouts.header_seconds * 2)
            may_send.set()

            frame = await connection.read(7)

        assert (handshake.status, frame) == (101, b"\x81\x05hello")
