"""A relay that renames prepared statements, as a pooler that tracks them does.

PgBouncer does so since version 1.21. An older version may be installed, but the tests of renaming must run everywhere.
"""

import asyncio
import contextlib
import struct

from support.failing_relay import Relay

PREFIX = b"RELAY_"
_BACKEND_KEY_DATA = b"K"
# The number of strings before the name of the statement: see "Message Formats" in the PostgreSQL documentation.
_STRINGS_BEFORE_NAME = {b"P": 0, b"B": 1}
_DESCRIBE_OR_CLOSE = b"DC"


class RenamingRelay(Relay):
    """Clients see another process id and their own names; the server sees names that begin with ``PREFIX``."""

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        is_from_server = sink in self._clients
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            if not is_from_server:
                # The startup message has no type.
                length = await source.readexactly(4)
                sink.write(length + await source.readexactly(int.from_bytes(length) - 4))
            while True:
                kind = await source.readexactly(1)
                length = await source.readexactly(4)
                body = await source.readexactly(int.from_bytes(length) - 4)
                body = _with_other_process(kind, body) if is_from_server else _with_other_name(kind, body)
                sink.write(kind + struct.pack("!i", len(body) + 4) + body)
                await sink.drain()
        sink.close()
        self._writers.discard(sink)
        self._clients.discard(sink)


def _with_other_process(kind: bytes, body: bytes) -> bytes:
    if kind != _BACKEND_KEY_DATA:
        return body
    [process] = struct.unpack_from("!i", body)
    return struct.pack("!i", process + 1) + body[4:]


def _with_other_name(kind: bytes, body: bytes) -> bytes:
    if kind in _STRINGS_BEFORE_NAME:
        *before, rest = body.split(b"\x00", _STRINGS_BEFORE_NAME[kind])
        name_first = b"".join(text + b"\x00" for text in before)
        return name_first + (PREFIX + rest if not rest.startswith(b"\x00") else rest)
    if kind in _DESCRIBE_OR_CLOSE and body[:1] == b"S" and len(body) > 2:
        return b"S" + PREFIX + body[1:]
    return body
