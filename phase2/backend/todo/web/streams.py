"""Server-sent events (WHATWG HTML, section 9.2): an answer that goes on until one of the two has enough."""

import asyncio
from collections.abc import AsyncIterator

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

# A client that takes nothing for so long is gone, whatever its socket says.
_SEND_SECONDS = 30.0


# Task: T-153
class EventStream(Response):
    """Send ``chunks`` as they come. Ends when they end, when the client leaves, or when it stops reading."""

    media_type = "text/event-stream"

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self._chunks = chunks
        super().__init__(None, 200, {"X-Accel-Buffering": "no"})
        del self.headers["content-length"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        sending = asyncio.create_task(self._send(send))
        leaving = asyncio.create_task(_until_left(receive))
        try:
            await asyncio.wait((sending, leaving), return_when=asyncio.FIRST_COMPLETED)
        finally:
            leaving.cancel()
            if not sending.done():
                sending.cancel()
            await asyncio.gather(sending, leaving, return_exceptions=True)

    async def _send(self, send: Send) -> None:
        async for chunk in self._chunks:
            async with asyncio.timeout(_SEND_SECONDS):
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _until_left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def sse(name: str, revision: int, data: bytes) -> bytes:
    """Write one event. Its id is the revision, which a client sends back as ``Last-Event-ID``."""
    return b"id: %d\nevent: %b\ndata: %b\n\n" % (revision, name.encode(), data)


HEARTBEAT = b": heartbeat\n\n"
