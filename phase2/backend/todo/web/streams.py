"""Server-sent events (WHATWG HTML, section 9.2): an answer that goes on until one of the two has enough."""

import asyncio
from collections.abc import AsyncGenerator

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from todo.database import cancelled

HEARTBEAT = b": heartbeat\n\n"


def sse(name: str, revision: int, data: bytes) -> bytes:
    """Write one event. Its id is the revision, which a client sends back as ``Last-Event-ID``."""
    return b"id: %d\nevent: %b\ndata: %b\n\n" % (revision, name.encode(), data)


# Task: T-153
class EventStream(Response):
    """Send ``chunks`` as they come, and close them at the end: theirs, or the client's.

    A chunk is taken only when the one before is on its way. Who reads nothing at all is cut off by ``HttpProtocol``.
    """

    media_type = "text/event-stream"

    def __init__(self, chunks: AsyncGenerator[bytes, None]) -> None:
        self._chunks = chunks
        # nginx would hold it back.
        super().__init__(None, 200, {"X-Accel-Buffering": "no"})
        del self.headers["content-length"]

    async def __call__(self, _: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        sending = asyncio.create_task(self._send(send))
        leaving = asyncio.create_task(_until_left(receive))
        try:
            await asyncio.wait((sending, leaving), return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                sending.result()
        finally:
            await cancelled(sending, leaving)
            await self._chunks.aclose()

    async def close(self) -> None:
        """End what was never sent."""
        # A generator that has not begun does not end what it was given.
        await anext(self._chunks, None)
        await self._chunks.aclose()

    async def _send(self, send: Send) -> None:
        async for chunk in self._chunks:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _until_left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
