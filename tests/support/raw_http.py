"""HTTP as bytes on a socket, for requests that no client library sends, and a server in the test's event loop."""

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
from support.processes import TIMEOUT_SECONDS
from todo.database import cancelled
from todo.web.server.http_protocol import HttpProtocol


@dataclass(frozen=True)
class Answer:
    """A response as received."""

    status: int
    headers: dict[str, str]
    body: bytes

    def problem(self) -> dict[str, Any]:
        """Return the problem in the body, which must be one."""
        assert self.headers["content-type"] == "application/problem+json"
        problem: dict[str, Any] = orjson.loads(self.body)
        assert problem["status"] == self.status
        assert problem["request_id"] == self.headers["x-request-id"]
        return problem


class Connection:
    """A connection to the server. Each wait has a timeout, so that no test hangs."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, *parts: bytes) -> None:
        """Send bytes. A connection that the server has closed is not an error: the test reads its answer."""
        with suppress(ConnectionError):
            for part in parts:
                self._writer.write(part)
                # Not wait_for(): before Python 3.12 it loses a cancellation that arrives as it completes.
                async with asyncio.timeout(TIMEOUT_SECONDS):
                    await self._writer.drain()

    async def answer(self) -> Answer:
        """Read one response."""
        head = await self.head()
        async with asyncio.timeout(TIMEOUT_SECONDS):
            body = await self._reader.readexactly(int(head.headers.get("content-length", 0)))
        return replace(head, body=body)

    async def head(self) -> Answer:
        """Read the head of a response."""
        async with asyncio.timeout(TIMEOUT_SECONDS):
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        status_line, *lines = head.strip().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines)
        return Answer(int(status_line.split()[1]), headers, b"")

    async def read(self, size: int) -> bytes:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            return await self._reader.readexactly(size)

    async def is_closed(self) -> bool:
        """Wait until the server closes the connection. Return False if it sends anything before."""
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                return await self._reader.read() == b""
        except ConnectionResetError:
            # The server closed the connection before it had read everything.
            return True

    async def close(self) -> None:
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
        """Open a connection for the context."""
        connection = Connection(*await asyncio.open_connection("127.0.0.1", self.port))
        try:
            yield connection
        finally:
            await connection.close()

    async def ask(self, *parts: bytes) -> Answer:
        """Send bytes on a new connection, and return the first response."""
        async with self.connect() as connection:
            await connection.send(*parts)
            return await connection.answer()

    def connections(self) -> int:
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
    """Serve ``app`` in this event loop as uvicorn does, with ``protocol``."""
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
    """Return the bytes of a request with a Host header. A body gets a Content-Length."""
    lines = [f"{method} {path} HTTP/1.1", "Host: todo.test", *headers]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


JSON = "Content-Type: application/json"
CHUNKED = "Transfer-Encoding: chunked"
GET = request("GET", "/healthz")


class ShortTimeouts(HttpProtocol):
    """The protocol with small limits, and timeouts that a test can wait for."""

    header_seconds = 0.2
    drain_seconds = 0.2
    stall_seconds = 0.2
    max_framing_bytes = 4_096
    max_drained_bytes = 100_000


def assert_refused(answer: Answer, status: int, code: str) -> None:
    assert (answer.status, answer.problem()["code"], answer.headers["connection"]) == (status, code, "close")


@asynccontextmanager
async def sending_slowly(connection: Connection, first: bytes, then: bytes) -> AsyncIterator[None]:
    """Send ``first``, and then ``then`` every 20 ms until the context ends."""

    async def send_slowly() -> None:
        await connection.send(first)
        while True:
            await asyncio.sleep(0.02)
            await connection.send(then)

    task = asyncio.create_task(send_slowly())
    try:
        yield
    finally:
        await cancelled(task)


async def until_empty(server: Server) -> bool:
    """Wait until no connection is open."""
    await eventually(lambda: not server.connections())
    return True
