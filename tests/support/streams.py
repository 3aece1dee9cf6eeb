"""Finite event streams, for clients that wait for whole responses."""

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from support.processes import TIMEOUT_SECONDS


class LimitedStreams:
    """An application whose event streams end after ``events`` events, as if the client disconnected."""

    def __init__(self, app: ASGIApp, events: int = 1) -> None:
        self._app = app
        self._events = events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_stream = False
        left = self._events

        async def send_some(message: Message) -> None:
            nonlocal is_stream, left
            if message["type"] == "http.response.start":
                is_stream = (b"content-type", b"text/event-stream; charset=utf-8") in message["headers"]
            elif is_stream and left <= 0:
                return
            elif is_stream:
                left -= message["body"].count(b"event: ")
                message = {**message, "more_body": left > 0}
            await send(message)

        await self._app(scope, receive, send_some)


async def websocket_messages(app: ASGIApp, token: str, *, since: int, events: int) -> list[str]:
    """Return the first ``events`` messages of a WebSocket that is opened with ``token``."""
    received: list[str] = []
    enough = asyncio.Event()
    arriving: list[Message] = [{"type": "websocket.connect"}]

    async def receive() -> Message:
        if arriving:
            return arriving.pop()
        await enough.wait()
        return {"type": "websocket.disconnect", "code": 1000}

    async def send(message: Message) -> None:
        if message["type"] == "websocket.send" and len(received) < events:
            received.append(message["text"])
        if len(received) == events or message["type"] == "websocket.close":
            enough.set()

    scope = {
        "type": "websocket",
        "path": "/api/v1/ws",
        "raw_path": b"/api/v1/ws",
        "query_string": b"since=%d" % since,
        "headers": [],
        "subprotocols": ["todo.v1", f"bearer.{token}"],
    }
    async with asyncio.timeout(TIMEOUT_SECONDS):
        await app(scope, receive, send)
    return received
