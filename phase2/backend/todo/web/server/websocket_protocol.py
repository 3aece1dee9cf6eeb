"""WebSockets: uvicorn's protocol with limits, and without its logs.

uvicorn logs the URL of each connection with its query, and messages at debug level. The limits of ``HttpProtocol``
apply to the handshake.
"""

import logging
from asyncio import TimerHandle
from collections.abc import Callable
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState
from websockets.frames import CloseCode, Frame

from todo.web.server import notify_application
from todo.web.server.http_protocol import HttpProtocol
from todo.web.server.write_backpressure import SHUTDOWN_GRACE_SECONDS, STALL_SECONDS, WriteStallTimer

# The longest message that is accepted: clients send only tokens.
MAX_MESSAGE_BYTES = 65_536

_log = logging.getLogger("todo.socket")
_log.setLevel(logging.WARNING)


# Task: T-154
class WebSocketProtocol(WebSocketsSansIOProtocol):
    """One WebSocket. Bytes that a client does not read are limited as in ``HttpProtocol``."""

    stall_seconds = STALL_SECONDS
    max_fragments = 1_000
    # Called once the connection is closed. ``HttpProtocol`` sets it.
    release: Callable[[], None] = staticmethod(lambda: None)

    def __init__(self, config: Config, server_state: ServerState, app_state: dict[str, Any], **others: Any) -> None:
        super().__init__(config, server_state, app_state, **others)
        # At debug level, uvicorn's logger would log messages, which contain tokens.
        self.logger = self.conn.logger = _log
        self.conn.debug = False
        self._close_timer: TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._stall_timer = WriteStallTimer(self.loop, transport, self.stall_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        self.release()
        self._stall_timer.stop()
        HttpProtocol.unsent.remove(self.transport)
        if self._close_timer is not None:
            self._close_timer.cancel()
        super().connection_lost(exc)

    async def send(self, message: Any) -> None:
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and not message.get("more_body"):
            # A refusal completes the handshake too. Without this, uvicorn would log an error for each.
            self.handshake_complete = True

    def handle_cont(self, event: Frame) -> None:
        # The size limit of a message does not count empty fragments.
        if len(self.frames) >= self.max_fragments:
            self.conn.fail(CloseCode.MESSAGE_TOO_BIG)
            self.handle_parser_exception()
            return
        super().handle_cont(event)

    def pause_writing(self) -> None:
        super().pause_writing()
        # Every ping that is read adds a pong to the bytes that the client does not read.
        self.transport.pause_reading()
        self._stall_timer.start()
        HttpProtocol.unsent.add(self.transport, self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stall_timer.stop()
        HttpProtocol.unsent.remove(self.transport)
        if not self.read_paused and not self.transport.is_closing():
            self.transport.resume_reading()

    # Task: T-155
    def shutdown(self) -> None:
        notify_application(self.app_state)
        if self.close_sent or not self.handshake_complete:
            super().shutdown()
        elif self._close_timer is None:
            # The application sends a last message and closes, unless the client is not authenticated or does not read.
            self._close_timer = self.loop.call_later(SHUTDOWN_GRACE_SECONDS, self._close)

    def _close(self) -> None:
        super().shutdown()
        if not self.writable.is_set():
            self.transport.abort()
