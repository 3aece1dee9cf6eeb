"""HTTP by hand: bytes on a socket, for what no client library would send, and a server in the test's own loop."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

import orjson
from starlette.types import ASGIApp
from uvicorn.config import Config
from uvicorn.server import ServerState

from support.helpers import eventually
from support.processes import PATIENCE_SECONDS
from todo.database import cancelled
from todo.web.server.http_protocol import HttpProtocol


@dataclass(frozen=True)
class Answer:
    """One response, as it came."""

    status: int
    headers: dict[str, str]
    body: bytes

    def problem(self) -> dict[str, Any]:
        """Return the problem in the body, which has to be one."""
        assert self.headers["content-type"] == "application/problem+json"
        problem: dict[str, Any] = orjson.loads(self.body)
        assert problem["status"] == self.status
        assert problem["request_id"] == self.headers["x-request-id"]
        return problem


class Connection:
    """A connection to the server. Every wait ends with an error after some seconds, so that no test hangs."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, *parts: bytes) -> None:
        """Send bytes. A server that has hung up is not an error: its answer is what counts."""
        with suppress(ConnectionError):
            for part in parts:
                self._writer.write(part)
                # Not wait_for(): before Python 3.12 it loses a cancellation that comes when it is done.
                async with asyncio.timeout(PATIENCE_SECONDS):
                    await self._writer.drain()

    async def answer(self) -> Answer:
        """Read one response."""
        head = await self.head()
        async with asyncio.timeout(PATIENCE_SECONDS):
            body = await self._reader.readexactly(int(head.headers.get("content-length", 0)))
        return replace(head, body=body)

    async def head(self) -> Answer:
        """Read one response to HEAD, or one up to its body."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        status_line, *lines = head.strip().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines)
        return Answer(int(status_line.split()[1]), headers, b"")

    async def read(self, size: int) -> bytes:
        """Read so many bytes."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await self._reader.readexactly(size)

    async def is_closed(self) -> bool:
        """Wait until the server says that it sends no more; anything that it still sends is a failure."""
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                return await self._reader.read() == b""
        except ConnectionResetError:
            # It closed before it had read all that was sent.
            return True

    async def close(self) -> None:
        """Hang up."""
        self._writer.close()
        with suppress(ConnectionError):
            await self._writer.wait_closed()


class Server:
    """A server on a port of the loopback interface."""

    def __init__(self, port: int, protocols: set[Any]) -> None:
        self.port = port
        self._protocols = protocols

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Connection]:
        """Open a connection, and close it at the end."""
        connection = Connection(*await asyncio.open_connection("127.0.0.1", self.port))
        try:
            yield connection
        finally:
            await connection.close()

    async def ask(self, *parts: bytes) -> Answer:
        """Send bytes on a connection of their own, and return the first response."""
        async with self.connect() as connection:
            await connection.send(*parts)
            return await connection.answer()

    def connections(self) -> int:
        """Count the open connections."""
        return len(self._protocols)

    def protocol(self) -> HttpProtocol:
        """Return the server's side of the only connection."""
        [protocol] = self._protocols
        assert isinstance(protocol, HttpProtocol)
        return protocol

    async def until_begun(self) -> None:
        """Wait until the only connection has read the headers of a request."""
        await eventually(lambda: self.connections() and self.protocol().cycle is not None)


@asynccontextmanager
async def serving(app: ASGIApp, protocol: type[HttpProtocol], **options: Any) -> AsyncIterator[Server]:
    """Serve ``app`` in this event loop, as uvicorn does, by ``protocol``."""
    config = Config(app, access_log=False, log_config=None, lifespan="off", **options)
    config.load()
    state = ServerState()
    listener = await asyncio.get_running_loop().create_server(
        lambda: protocol(config=config, server_state=state, app_state={}), "127.0.0.1", 0
    )
    try:
        yield Server(listener.sockets[0].getsockname()[1], state.connections)
    finally:
        listener.close()
        for connection in list(state.connections):
            connection.transport.abort()
        await listener.wait_closed()


def request(method: str, path: str, *headers: str, body: bytes = b"") -> bytes:
    """Write a request with a Host header; a body gets its Content-Length."""
    lines = [f"{method} {path} HTTP/1.1", "Host: todo.test", *headers]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


JSON = "Content-Type: application/json"
CHUNKED = "Transfer-Encoding: chunked"
GET = request("GET", "/healthz")


class Impatient(HttpProtocol):
    """The protocol with limits that a test can wait for."""

    header_seconds = 0.2
    drain_seconds = 0.2
    stall_seconds = 0.2
    max_framing_bytes = 4_096
    max_drained_bytes = 100_000


def assert_refused(answer: Answer, status: int, code: str) -> None:
    assert (answer.status, answer.problem()["code"], answer.headers["connection"]) == (status, code, "close")


@asynccontextmanager
async def dripping(connection: Connection, first: bytes, then: bytes) -> AsyncIterator[None]:
    """Send something, and then a little now and then for as long as the context lasts."""

    async def drip() -> None:
        await connection.send(first)
        while True:
            await asyncio.sleep(0.02)
            await connection.send(then)

    task = asyncio.create_task(drip())
    try:
        yield
    finally:
        await cancelled(task)


async def until_empty(server: Server) -> bool:
    """Wait until no connection is open."""
    await eventually(lambda: not server.connections())
    return True
