"""WebSockets on the wire: uvicorn's protocol, with limits.

uvicorn logs the address of each with its query. The handshake came through ``Protocol``, and has passed its limits.
"""

import logging
from asyncio import TimerHandle
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState
from websockets.frames import CloseCode, Frame

from todo.web.protocol import FAREWELL_SECONDS, Protocol, tell_application
from todo.web.unsent import PATIENCE_SECONDS, Patience

# The longest message that is read: a token is all that anybody has to say.
MOST_BYTES = 65_536

_log = logging.getLogger("todo.socket")
_log.setLevel(logging.WARNING)


# Task: T-154
class SocketProtocol(WebSocketsSansIOProtocol):
    """One WebSocket. What a client does not read is bounded as in ``Protocol``."""

    flush_seconds = PATIENCE_SECONDS
    most_fragments = 1_000

    def __init__(self, config: Config, server_state: ServerState, app_state: dict[str, Any], **others: Any) -> None:
        super().__init__(config, server_state, app_state, **others)
        # At the level of debugging it would write down messages, and so tokens.
        self.logger = self.conn.logger = _log
        self.conn.debug = False
        self._farewell: TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._patience = Patience(self.loop, transport, self.flush_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        self._patience.end()
        Protocol.unsent.forget(self.transport)
        if self._farewell is not None:
            self._farewell.cancel()
        super().connection_lost(exc)

    async def send(self, message: Any) -> None:
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and not message.get("more_body"):
            # A refusal is an answer to the handshake, too: uvicorn would log an error for each.
            self.handshake_complete = True

    def handle_cont(self, event: Frame) -> None:
        # Empty ones weigh nothing in the limit of bytes.
        if len(self.frames) >= self.most_fragments:
            self.conn.fail(CloseCode.MESSAGE_TOO_BIG)
            self.handle_parser_exception()
            return
        super().handle_cont(event)

    def pause_writing(self) -> None:
        super().pause_writing()
        # Pings are answered whether or not the answers are read.
        self.transport.pause_reading()
        self._patience.begin()
        Protocol.unsent.add(self.transport, self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        super().resume_writing()
        self._patience.end()
        Protocol.unsent.forget(self.transport)
        if not self.read_paused and not self.transport.is_closing():
            self.transport.resume_reading()

    # Task: T-155
    def shutdown(self) -> None:
        tell_application(self.app_state)
        if self.close_sent or not self.handshake_complete:
            super().shutdown()
        elif self._farewell is None:
            # The application says goodbye, and closes. Not to those who have not said who they are, or do not read.
            self._farewell = self.loop.call_later(FAREWELL_SECONDS, self._end)

    def _end(self) -> None:
        super().shutdown()
        if not self.writable.is_set():
            self.transport.abort()
