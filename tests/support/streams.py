"""Streams, for clients that wait for whole answers."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Impatient:
    """An application whose event streams end after their first ``events``: the client leaves then."""

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
