"""A simulated network between a server and PostgreSQL that delays requests and counts round trips."""

import asyncio
import contextlib
from typing import Self
from urllib.parse import parse_qs, urlsplit

_CHUNK = 65_536
_READY_FOR_QUERY = ord("Z")
_HEADER = 5


# Task: T-204
class Network:
    """A TCP port on loopback that leads to PostgreSQL's socket. ``delay`` (seconds) applies to requests only."""

    def __init__(self, url: str, delay: float) -> None:
        parts = urlsplit(url)
        self._socket = f"{parse_qs(parts.query)['host'][0]}/.s.PGSQL.5432"
        self._parts = parts
        self._delay = delay
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        # Number of ReadyForQuery messages: one per round trip.
        self.trips = 0

    @property
    def url(self) -> str:
        """The URL of the database through this network."""
        plain = "sslmode=disable&gssencmode=disable"
        return f"postgresql://{self._parts.username}@127.0.0.1:{self._port}{self._parts.path}?{plain}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self._port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in self._writers:
            writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_unix_connection(self._socket)
        self._writers |= {writer, server_writer}
        for way in (self._there(reader, server_writer), self._back(server_reader, writer)):
            task = asyncio.create_task(way)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _there(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        with contextlib.suppress(ConnectionError):
            while data := await source.read(_CHUNK):
                # Messages are delayed independently, so later ones do not wait for earlier ones.
                loop.call_at(loop.time() + self._delay, sink.write, data)
        loop.call_later(self._delay, sink.close)

    async def _back(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                # Without encryption, every message consists of type, length and content.
                header = await source.readexactly(_HEADER)
                content = await source.readexactly(int.from_bytes(header[1:]) - 4)
                self.trips += header[0] == _READY_FOR_QUERY
                sink.write(header + content)
        sink.close()
