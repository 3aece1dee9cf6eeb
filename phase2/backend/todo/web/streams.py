"""Server-sent events (WHATWG HTML, section 9.2): a response that lasts until the server or the client ends it."""

import asyncio
from collections.abc import AsyncGenerator

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from todo.database import cancelled

HEARTBEAT = b": heartbeat\n\n"


def sse(name: str, revision: int, data: bytes) -> bytes:
    """Return the bytes of an event. Its id is the revision, which a client sends back as ``Last-Event-ID``."""
    return b"id: %d\nevent: %b\ndata: %b\n\n" % (revision, name.encode(), data)


# Task: T-153
class EventStream(Response):
    """Sends ``chunks`` as they come, and closes the generator when it ends or the client disconnects.

    Takes the next chunk only after the previous one was written. ``HttpProtocol`` aborts a client that reads nothing.
    """

    media_type = "text/event-stream"

    def __init__(self, chunks: AsyncGenerator[bytes, None]) -> None:
        self._chunks = chunks
        # Without this header, nginx would buffer the response.
        super().__init__(None, 200, {"X-Accel-Buffering": "no"})
        del self.headers["content-length"]

    async def __call__(self, _: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        sending = asyncio.create_task(self._send(send))
        disconnecting = asyncio.create_task(_wait_for_disconnect(receive))
        try:
            await asyncio.wait((sending, disconnecting), return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                sending.result()
        finally:
            await cancelled(sending, disconnecting)
            await self._chunks.aclose()

    async def close(self) -> None:
        """Close a stream that was never sent."""
        # ``aclose`` alone runs no code of a generator that has not started, so nothing inside of it would be closed.
        await anext(self._chunks, None)
        await self._chunks.aclose()

    async def _send(self, send: Send) -> None:
        async for chunk in self._chunks:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _wait_for_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
