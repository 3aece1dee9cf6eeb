"""Limits for open connections, over real sockets: idle connections give way, requests do not."""

import asyncio
import resource
import sys
from contextlib import AsyncExitStack
from typing import ClassVar

import pytest
from fastapi import FastAPI
from starlette.types import Receive, Scope, Send

from support.helpers import eventually
from support.raw_http import GET, Connection, assert_refused, request, serving
from todo.web.server.connection_limits import ConnectionLimits
from todo.web.server.http_protocol import HttpProtocol
from todo.web.server.websocket_protocol import WebSocketProtocol

SLOW = request("GET", "/slow")
OTHER = request("GET", "/other")
UPGRADE = request(
    "GET",
    "/socket",
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)


class Held:
    """An application whose responses to ``/slow`` wait until ``release`` is set."""

    def __init__(self) -> None:
        self.release = asyncio.Event()
        self.begun = 0

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        if scope["path"] == "/slow":
            self.begun += 1
            await self.release.wait()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})


class EchoSocket(Held):
    """An application that accepts WebSockets, and waits for their end."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket":
            await super().__call__(scope, receive, send)
            return
        await receive()
        await send({"type": "websocket.accept"})
        await receive()


class TwoPerAddress(HttpProtocol):
    limits: ClassVar[ConnectionLimits] = ConnectionLimits(max_per_address=2)


async def responds(connection: Connection) -> bool:
    await connection.send(GET)
    return (await connection.answer()).status == 200


# Task: T-503
class TestFullServer:
    async def test_new_connection_closes_the_one_that_was_idle_for_the_longest_time(self) -> None:
        async with (
            serving(Held(), HttpProtocol, limit_concurrency=3) as server,
            server.connect() as first,
            server.connect() as second,
            server.connect() as third,
        ):
            await eventually(lambda: server.connections() == 3)
            # Now the second one is the oldest.
            assert await responds(first)

            assert (await server.ask(GET)).status == 200

            assert await second.is_closed()
            assert await responds(first)
            assert await responds(third)

    async def test_requests_are_never_closed_and_one_too_many_is_refused(self) -> None:
        held = Held()
        async with (
            serving(held, HttpProtocol, limit_concurrency=2) as server,
            server.connect() as first,
            server.connect() as second,
        ):
            for connection in (first, second):
                await connection.send(SLOW)
            await eventually(lambda: held.begun == 2)

            refused = await server.ask(OTHER)
            held.release.set()

            assert_refused(refused, 503, "overloaded")
            assert refused.headers["retry-after"] == "1"
            assert [(await each.answer()).status for each in (first, second)] == [200, 200]

    @pytest.mark.parametrize("path", ["/healthz", "/readyz"])
    async def test_health_checks_are_answered_even_if_all_connections_have_requests(self, path: str) -> None:
        held = Held()
        async with serving(held, HttpProtocol, limit_concurrency=1) as server, server.connect() as connection:
            await connection.send(SLOW)
            await eventually(lambda: held.begun)

            answer = await server.ask(request("GET", path))

            held.release.set()
            assert answer.status == 200


# Task: T-503
class TestOneAddress:
    async def test_connection_beyond_the_limit_closes_the_oldest_idle_one_of_its_address(self) -> None:
        async with (
            serving(Held(), TwoPerAddress) as server,
            server.connect() as first,
            server.connect() as second,
        ):
            await eventually(lambda: server.connections() == 2)

            assert (await server.ask(GET)).status == 200

            assert await first.is_closed()
            assert await responds(second)

    async def test_connection_beyond_the_limit_is_refused_if_all_others_have_requests(self) -> None:
        held = Held()
        async with serving(held, TwoPerAddress) as server, server.connect() as first, server.connect() as second:
            for connection in (first, second):
                await connection.send(SLOW)
            await eventually(lambda: held.begun == 2)

            assert_refused(await server.ask(OTHER), 429, "too_many_connections")
            assert (await server.ask(GET)).status == 200

            held.release.set()
            assert [(await each.answer()).status for each in (first, second)] == [200, 200]
            assert (await server.ask(GET)).status == 200

    async def test_websockets_count_as_connections_of_their_address_until_they_are_closed(self) -> None:
        limits = ConnectionLimits(max_per_address=2)

        class Limited(HttpProtocol):
            pass

        Limited.limits = limits
        async with serving(EchoSocket(), Limited, ws=WebSocketProtocol) as server, AsyncExitStack() as opened:
            sockets = [await opened.enter_async_context(server.connect()) for _ in range(2)]
            for connection in sockets:
                await connection.send(UPGRADE)
                assert (await connection.head()).status == 101

            assert_refused(await server.ask(OTHER), 429, "too_many_connections")

            await sockets[0].close()
            await eventually(lambda: server.connections() == 1)
            assert (await server.ask(OTHER)).status == 200


# Task: T-503
async def test_upgrade_behind_a_request_that_is_not_answered_yet_is_refused() -> None:
    """Otherwise the bytes of both protocols would be mixed."""
    held = Held()
    async with serving(held, HttpProtocol, ws=WebSocketProtocol) as server, server.connect() as connection:
        await connection.send(SLOW + UPGRADE)
        await eventually(lambda: held.begun)
        held.release.set()

        answer = await connection.answer()
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert await connection.is_closed()


# Task: T-503
@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="uses 127.0.0.2")
async def test_2100_idle_connections_of_one_address_keep_nobody_from_being_answered(app: FastAPI) -> None:
    """They made the server refuse everybody for 75 seconds, health checks too."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 5_000:
        pytest.skip("needs 5,000 file descriptors")
    resource.setrlimit(resource.RLIMIT_NOFILE, (5_000, hard))
    async with serving(app, HttpProtocol, limit_concurrency=2_000) as server, AsyncExitStack() as idle:
        for number in range(2_100):
            connection = await idle.enter_async_context(server.connect())
            if number % 2:
                assert await responds(connection)

        reader, writer = await asyncio.open_connection("127.0.0.1", server.port, local_addr=("127.0.0.2", 0))
        other = Connection(reader, writer)
        idle.push_async_callback(other.close)

        assert await responds(other)
        assert (await server.ask(GET)).status == 200
        assert server.connections() <= 1_002
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
