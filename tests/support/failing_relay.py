"""A relay in front of PostgreSQL's socket that simulates network failures."""

import asyncio
import contextlib
import tempfile
from pathlib import Path
from typing import Self

from psycopg.conninfo import conninfo_to_dict, make_conninfo

_PORT = 5432
_CHUNK = 65_536


class Relay:
    """Connect a client to ``url``; then cut, mute or freeze the connections.

    ``muted`` drops what the server sends, ``muted_after_start`` all but its first message, and ``refusing`` closes new
    connections at once. ``connections`` counts the attempts to connect.
    """

    def __init__(self, url: str) -> None:
        self._target = f"{conninfo_to_dict(url)['host']}/.s.PGSQL.{_PORT}"
        self._directory = tempfile.TemporaryDirectory(prefix="todo-relay-")
        self.url = make_conninfo(url, host=self._directory.name, port=_PORT)
        self._writers: set[asyncio.StreamWriter] = set()
        self._clients: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self.muted = False
        self.muted_after_start = False
        self.refusing = False
        self.connections = 0

    async def __aenter__(self) -> Self:
        path = Path(self._directory.name) / f".s.PGSQL.{_PORT}"
        self._server = await asyncio.start_unix_server(self._accept, path)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._directory.cleanup()

    def cut(self) -> None:
        """Abort every connection."""
        for writer in self._writers:
            writer.transport.abort()

    def freeze(self) -> None:
        """Hold back all data, and close nothing."""
        self._flowing.clear()

    def thaw(self) -> None:
        """Forward data again."""
        self._flowing.set()

    def send_to_clients(self, message: bytes) -> None:
        """Send a message to every client as if the server sent it."""
        for client in self._clients:
            client.write(message)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        if self.refusing:
            writer.close()
            return
        server_reader, server_writer = await asyncio.open_unix_connection(self._target)
        self._clients.add(writer)
        for source, sink in ((reader, server_writer), (server_reader, writer)):
            self._writers.add(sink)
            task = asyncio.create_task(self._pump(source, sink))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await source.read(_CHUNK):
                await self._flowing.wait()
                if sink in self._clients and (self.muted or (self.muted_after_start and data[:1] != b"R")):
                    continue
                sink.write(data)
                await sink.drain()
        sink.close()
        self._writers.discard(sink)
        self._clients.discard(sink)
