"""One request and its response, between uvicorn's request cycle and the application."""

from collections.abc import Awaitable, Coroutine
from dataclasses import dataclass
from typing import Any

from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from todo.web.server.write_backpressure import UnsentBytes

# The most bytes that a transport gets at once: as many as it buffers before it pauses writing.
CHUNK_BYTES = 65_536


@dataclass(slots=True)
class ConnectionEnd:
    """How a connection will end.

    ``broken`` is the last request, if the rest of it could not be read. ``must_drain`` is true if the last response
    started before its request was complete: the rest is discarded before the connection is closed.
    """

    broken: RequestResponseCycle | None = None
    must_drain: bool = False


# Task: T-461
class Exchange:
    """Wraps an application for one request.

    Writes large bodies in chunks, as fast as the client reads: a transport keeps everything that it was given until the
    last byte is sent. Meanwhile the waiting bytes are counted, and the next response does not start.
    """

    __slots__ = ("_app", "_cycle", "_end", "_unsent")

    def __init__(self, app: ASGIApp, cycle: RequestResponseCycle, unsent: UnsentBytes, end: ConnectionEnd) -> None:
        self._app = app
        self._cycle = cycle
        self._unsent = unsent
        self._end = end

    def __call__(self, scope: Any, _receive: object, _send: object) -> Awaitable[None]:
        return self._app(scope, self.receive, self.send)

    async def receive(self) -> Any:
        """Return the next part of the body; ``http.disconnect`` if the rest could not be read."""
        if self._end.broken is not self._cycle:
            message = await self._cycle.receive()
        return {"type": "http.disconnect"} if self._end.broken is self._cycle else message

    def send(self, message: Any) -> Coroutine[Any, Any, None]:
        """Send a part of the response. Returns the cycle's own coroutine for small parts, which most are."""
        cycle = self._cycle
        if cycle.response_started:
            if cycle.flow.write_paused or len(message.get("body", b"")) > CHUNK_BYTES:
                return self._send_in_chunks(message)
        elif cycle.more_body or self._end.broken is cycle:
            return self._send_last_start(message)
        return cycle.send(message)

    async def _send_in_chunks(self, message: Any) -> None:
        cycle = self._cycle
        body = message.get("body", b"")
        for start in range(0, len(body) or 1, CHUNK_BYTES):
            end = start + CHUNK_BYTES
            chunk = message
            if len(body) > CHUNK_BYTES:
                # A copy: a memoryview would keep the whole body in memory.
                is_last = end >= len(body)
                chunk = {**message, "body": body[start:end], "more_body": not is_last or message.get("more_body")}
            if cycle.flow.write_paused and not cycle.disconnected:
                self._unsent.add(cycle.transport, len(body))
            await cycle.send(chunk)

    async def _send_last_start(self, message: Any) -> None:
        """Start a response with ``Connection: close``, after which the connection is drained and closed."""
        self._cycle.keep_alive = False
        await self._cycle.send(message)
        # uvicorn would close the connection before the rest of the request was discarded.
        self._cycle.keep_alive = self._end.must_drain = True
