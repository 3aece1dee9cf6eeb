"""Live events: a server in the test's event loop, and clients of its event streams and WebSockets."""

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Self

import psycopg
import uvicorn
from fastapi import FastAPI
from httpx import AsyncClient
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from support.helpers import LONG_TIMEOUTS, eventually
from support.processes import TIMEOUT_SECONDS
from support.users import SECRET, token_of
from todo.database import Database, LocalSignals, Signals
from todo.main import create_app
from todo.services.authentication import SecretVerifier
from todo.services.live import Live
from todo.settings import Settings
from todo.web.server.http_protocol import HttpProtocol
from todo.web.server.websocket_protocol import MAX_MESSAGE_BYTES, WebSocketProtocol


@dataclass(frozen=True)
class LiveEvent:
    """A live event as a client receives it."""

    name: str
    revision: int
    data: Any


class Stream:
    """A client of ``GET /events``. Use it as a context manager."""

    def __init__(self, port: int, token: str | None, query: str = "", *headers: str) -> None:
        self._port = port
        lines = [f"GET /api/v1/events{query} HTTP/1.1", "Host: todo.test", *headers]
        if token is not None:
            lines.append(f"Authorization: Bearer {token}")
        self._request = "\r\n".join([*lines, "", ""]).encode()
        self._rest = b""
        self.status = 0
        self.headers: dict[str, str] = {}
        self.heartbeats = 0
        self.retry: int | None = None

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_connection(sock=_connected(self._port), limit=65_536)
        self._writer.write(self._request)
        async with asyncio.timeout(TIMEOUT_SECONDS):
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        status_line, *lines = head.strip().split("\r\n")
        self.status = int(status_line.split()[1])
        self.headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.leave()

    async def leave(self) -> None:
        self._writer.close()
        with suppress(ConnectionError):
            await self._writer.wait_closed()

    async def problem(self) -> Any:
        """Return the problem that was sent instead of a stream."""
        async with asyncio.timeout(TIMEOUT_SECONDS):
            return json.loads(await self._reader.readexactly(int(self.headers["content-length"])))

    async def next(self) -> LiveEvent | None:
        """Return the next event; ``None`` at the end of the stream."""
        async with asyncio.timeout(TIMEOUT_SECONDS):
            return await self._next()

    async def _next(self) -> LiveEvent | None:
        while True:
            block, found, rest = self._rest.partition(b"\n\n")
            if not found:
                size = int(await self._reader.readuntil(b"\r\n"), 16)
                self._rest += (await self._reader.readexactly(size + 2))[:-2]
                if size == 0:
                    return None
                continue
            self._rest = rest
            event = self._read(block.decode())
            if event is not None:
                return event

    def _read(self, block: str) -> LiveEvent | None:
        fields = dict(line.split(": ", 1) for line in block.split("\n") if not line.startswith(":"))
        if not fields:
            self.heartbeats += 1
            return None
        if "retry" in fields:
            self.retry = int(fields["retry"])
        return LiveEvent(fields["event"], int(fields["id"]), json.loads(fields["data"]))

    async def changes(self, count: int) -> list[LiveEvent]:
        """Return the next ``count`` events, which must all be changes."""
        return await _changes(self.next, count)


class Socket:
    """A client of the WebSocket."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.heartbeats = 0

    async def authenticate(self, token: str, **others: Any) -> None:
        """Send the message with the token."""
        await self.connection.send(json.dumps({"type": "authenticate", "token": token, **others}))

    async def next(self) -> LiveEvent:
        while True:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                message = json.loads(await self.connection.recv())
            if message["event"] != "heartbeat":
                return LiveEvent(message["event"], message["revision"], message["data"])
            self.heartbeats += 1

    async def changes(self, count: int) -> list[LiveEvent]:
        """Return the next ``count`` events, which must all be changes."""
        return await _changes(self.next, count)

    async def closed(self) -> tuple[int | None, str | None]:
        """Ignore messages until the connection closes, and return the close code and reason."""
        async with asyncio.timeout(TIMEOUT_SECONDS):
            with suppress(ConnectionClosed):
                while True:
                    await self.connection.recv()
        return self.connection.close_code, self.connection.close_reason


def _connected(port: int) -> socket.socket:
    """Connect with a small receive buffer, so that unread data stays in the server."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
    connection.connect(("127.0.0.1", port))
    connection.settimeout(0)
    return connection


async def _changes(following: Callable[[], Any], count: int) -> list[LiveEvent]:
    events = [await following() for _ in range(count)]
    assert {event.name for event in events} <= {"change"}, events
    return events


@asynccontextmanager
async def websocket(port: int, token: str | None = None, query: str = "") -> AsyncIterator[Socket]:
    """Open a WebSocket. A token is sent as a subprotocol."""
    protocols = [Subprotocol("todo.v1"), *([Subprotocol(f"bearer.{token}")] if token else [])]
    async with connect(
        f"ws://127.0.0.1:{port}/api/v1/ws{query}",
        subprotocols=protocols,
        compression=None,
        ping_interval=None,
        open_timeout=TIMEOUT_SECONDS,
        close_timeout=TIMEOUT_SECONDS,
        sock=_connected(port),
    ) as connection:
        yield Socket(connection)


class _Server(uvicorn.Server):
    """uvicorn's server without its signal handlers."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@dataclass
class LiveServer:
    """The application, served in this event loop."""

    app: FastAPI
    database: Database
    server: uvicorn.Server
    port: int = 0
    ended: "asyncio.Task[None] | None" = None
    clients: list[AsyncClient] = field(default_factory=list)

    @property
    def live(self) -> Live:
        live: Live = self.app.state.live
        return live

    def channels(self) -> int:
        """Return the number of users with live connections."""
        return len(self.live._channels)

    def connections(self) -> int:
        return len(self.server.server_state.connections)

    def client(self, user_id: str) -> AsyncClient:
        """Return a client that sends the user's token. Paths are relative to ``/api/v1``."""
        client = AsyncClient(
            base_url=f"http://127.0.0.1:{self.port}/api/v1",
            headers={"Authorization": f"Bearer {token_of(user_id)}"},
            timeout=TIMEOUT_SECONDS,
            trust_env=False,
        )
        self.clients.append(client)
        return client

    def stream(self, user_id: str, query: str = "", *headers: str, **claims: Any) -> Stream:
        """Return an event stream of a user, not yet open."""
        return Stream(self.port, token_of(user_id, **claims), query, *headers)

    async def stop(self) -> None:
        """Stop the server as Ctrl-C does, and wait until it has stopped."""
        self.server.should_exit = True
        assert self.ended is not None
        await asyncio.wait_for(self.ended, TIMEOUT_SECONDS)


@asynccontextmanager
async def live_server(
    database_url: str,
    settings: Settings | None = None,
    signals: Signals | None = None,
    clock: Callable[[], float] = time.time,
) -> AsyncIterator[LiveServer]:
    """Serve the application on a free port, with its own pool. ``clock`` (Unix seconds) decides when tokens expire."""
    database = Database(database_url, LONG_TIMEOUTS)
    app = create_app(settings or Settings(), database, SecretVerifier(SECRET, clock=clock), signals or LocalSignals())
    app.state.live._clock = clock
    config = uvicorn.Config(
        app,
        host="127.0.0.1",
        port=0,
        http=HttpProtocol,
        ws=WebSocketProtocol,
        ws_max_size=MAX_MESSAGE_BYTES,
        ws_per_message_deflate=False,
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        timeout_graceful_shutdown=10,
    )
    serving = LiveServer(app, database, _Server(config))
    serving.ended = ended = asyncio.create_task(serving.server.serve())
    await eventually(lambda: serving.server.started or ended.done())
    serving.port = serving.server.servers[0].sockets[0].getsockname()[1]
    try:
        yield serving
    finally:
        for client in serving.clients:
            await client.aclose()
        await serving.stop()


def write_tasks(url: str, user_id: str, count: int, *, length: int = 0) -> None:
    """Add tasks in one SQL statement, without a signal to any process. ``length`` is that of the description."""
    # This blocks the event loop: without a timeout, waiting for a lock that the loop holds would never end.
    with psycopg.connect(url, autocommit=True, options="-c lock_timeout=20s") as connection:
        connection.execute(
            "INSERT INTO tasks (id, user_id, title, description, status, priority, created_at, updated_at,"
            " creation_digest) SELECT gen_random_uuid(), %s, 'Plain ' || n, repeat('x', %s), 'pending', 'low', now(),"
            " now(), '' FROM generate_series(1, %s) AS n",
            (user_id, length, count),
        )
