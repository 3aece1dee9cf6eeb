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

from todo.web.protocol import FAREWELL_SECONDS, FLUSH_SECONDS, tell_application

MOST_BYTES = 65_536

_log = logging.getLogger("todo.socket")


# Task: T-154
class SocketProtocol(WebSocketsSansIOProtocol):
    """One WebSocket. What a client does not read is bounded in size by the tail of ``Live``, and in time here."""

    flush_seconds = FLUSH_SECONDS
    most_fragments = 1_000

    def __init__(self, config: Config, server_state: ServerState, app_state: dict[str, Any], **others: Any) -> None:
        super().__init__(config, server_state, app_state, **others)
        # At the level of debugging it would write down messages, and so tokens.
        self.logger = self.conn.logger = _log
        self.conn.debug = False
        self._timer: TimerHandle | None = None
        self._ending = False

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
        if self._timer is None:
            self._timer = self.loop.call_later(self.flush_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if not self._ending:
            self._stop_timer()
        if not self.read_paused and not self.transport.is_closing():
            self.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    # Task: T-155
    def shutdown(self) -> None:
        tell_application(self.app_state)
        if self.close_sent or not self.handshake_complete:
            super().shutdown()
        else:
            # The application says goodbye, and closes. Not to those who have not said who they are, or do not read.
            self._stop_timer()
            self._ending = True
            self._timer = self.loop.call_later(FAREWELL_SECONDS, self._end)

    def _end(self) -> None:
        super().shutdown()
        if not self.writable.is_set():
            self.transport.abort()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
