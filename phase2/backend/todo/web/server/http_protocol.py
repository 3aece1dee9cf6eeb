"""HTTP/1.1: uvicorn's protocol with limits, and with problems as error responses.

uvicorn waits for headers without a time limit, accepts them at any size, and answers an unreadable request in plain
text. Its parser, llhttp, refuses ambiguous requests: conflicting lengths, folded lines, bare line feeds. It does not
refuse other transfer codings than ``chunked``, chunks in HTTP/1.0, or a body together with an upgrade, and it does not
limit trailers and chunk extensions. This module does.

If a request was refused, or answered before its body was complete, the connection is drained before it is closed:
unread bytes would make the kernel send a reset, and because of the reset the client could lose the response.
"""

import socket
from asyncio import TimerHandle
from functools import partial
from typing import Any, ClassVar

from httptools import HttpParserError, HttpParserUpgrade
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from todo.errors import BadRequest, HeadersTooLarge, Timeout, TodoError, TooManyRequests, Unavailable
from todo.web.server import notify_application
from todo.web.server.connection_limits import ConnectionLimits
from todo.web.server.exchange import CHUNK_BYTES, ConnectionEnd, Exchange
from todo.web.server.refusals import refusal
from todo.web.server.write_backpressure import SHUTDOWN_GRACE_SECONDS, STALL_SECONDS, UnsentBytes, WriteStallTimer

# Served even if there are too many connections, so that an orchestrator does not end a busy process.
_ALWAYS_SERVED = (b"/healthz", b"/readyz")


# Task: T-018
class HttpProtocol(HttpToolsProtocol):
    """One connection. A subclass may change the limits, as tests do.

    ``header_seconds`` runs from the start of the connection, later from the first byte of a request. Between requests,
    uvicorn's ``timeout_keep_alive`` applies. ``web/bodies.py`` limits the time and size of a body; this class limits
    only its framing.
    """

    header_seconds = 10.0
    max_header_bytes = 32_768
    max_headers = 100
    # The bytes of a body that are not its content: chunk headers, chunk extensions and trailers.
    max_framing_bytes = 1_048_576
    max_pipelined = 16
    drain_seconds = 2.0
    max_drained_bytes = 16_777_216
    stall_seconds = STALL_SECONDS
    # Shared by all connections of the process.
    unsent: ClassVar[UnsentBytes] = UnsentBytes()
    limits: ClassVar[ConnectionLimits] = ConnectionLimits()

    def __init__(self, config: Config, server_state: ServerState, app_state: dict[str, Any], **others: Any) -> None:
        super().__init__(config, server_state, app_state, **others)
        # uvicorn would answer in plain text, so its own limit is off.
        self._max_connections, self.limit_concurrency = self.limit_concurrency, None
        # The last request whose headers are complete.
        self._latest: RequestResponseCycle | None = None
        # The request that is being answered. Pipelined requests wait for it.
        self._answering: RequestResponseCycle | None = None
        self._end = ConnectionEnd()
        # The time limit for headers, or for draining.
        self._timer: TimerHandle | None = None
        self._header_bytes = 0
        self._framing_bytes = 0
        self._is_counted = self._is_excess = False
        self._address: str | None = None
        # None until draining begins.
        self._drained_bytes: int | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        connection = transport.get_extra_info("socket")
        if connection is not None and connection.family != socket.AF_UNIX:
            # Without this, the kernel buffers megabytes for a client that reads nothing, and hides that a slow client
            # reads.
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, CHUNK_BYTES)
        self._stall_timer = WriteStallTimer(self.loop, transport, self.stall_seconds)
        self._start_header_timer()
        self._is_counted = True
        self._address = None if self.client is None else self.client[0]
        self._is_excess = not self.limits.add(self, self._address, is_full=self._is_full())

    def _is_full(self) -> bool:
        return self._max_connections is not None and len(self.connections) > self._max_connections

    def _refusal(self) -> TodoError:
        if self._is_excess:
            return TooManyRequests("Too many connections from your address. Close some.", code="too_many_connections")
        return Unavailable("The server is busy. Try again in a moment.", code="overloaded")

    def close_idle(self) -> None:
        """Close the connection in favour of a new one. It has no request."""
        self._close()

    def _stop_counting(self) -> None:
        if self._is_counted:
            self._is_counted = False
            self.limits.remove(self, self._address)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_counting()
        self._stop_timer()
        self._stall_timer.stop()
        self.unsent.remove(self.transport)
        if self._answering is not None:
            # uvicorn notifies only the latest of the pipelined requests.
            self._answering.disconnected = True
            self._answering.message_event.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._drained_bytes is not None:
            self._drain(len(data))
            return
        self._unset_keepalive_if_required()
        latest = self._latest
        body_bytes = 0 if latest is None else len(latest.body)
        if latest is not None and self.scope is latest.scope:
            self._header_bytes = 0
        self._header_bytes += len(data)
        try:
            self.parser.feed_data(data)
        except HttpParserError as error:
            cause = error.__context__
            self._refuse(cause if isinstance(cause, TodoError) else BadRequest())
        except HttpParserUpgrade:
            self._upgrade()
        else:
            if self._latest is not latest:
                self._framing_bytes = 0
            elif latest is not None:
                self._framing_bytes += len(data) - (len(latest.body) - body_bytes)
            self._limit_incomplete_request()

    def _limit_incomplete_request(self) -> None:
        """Limit a request that is not complete yet. A request that arrives in one piece costs nothing here."""
        latest = self._latest
        if latest is None or self.scope is not latest.scope:
            if self._header_bytes > self.max_header_bytes:
                self._refuse(HeadersTooLarge())
            else:
                self._start_header_timer()
            return
        if latest.response_complete:
            # Empty lines before a request are allowed, and could keep a connection open forever.
            self._start_header_timer()
            return
        if self._timer is not None:
            self._stop_timer()
        if latest.more_body and self._framing_bytes > self.max_framing_bytes:
            self._refuse(BadRequest())

    def on_headers_complete(self) -> None:
        names = [name for name, _ in self.headers]
        if len(names) > self.max_headers or (
            self._header_bytes > self.max_header_bytes and self._size_of_headers() > self.max_header_bytes
        ):
            raise HeadersTooLarge
        if names.count(b"host") != 1 and (b"host" in names or self.parser.get_http_version() != "1.0"):
            raise BadRequest("The request needs one Host header.")
        has_body = b"transfer-encoding" in names or b"content-length" in names
        if has_body and not self._has_unambiguous_framing():
            raise BadRequest("The body's framing is not supported.")
        if len(self.pipeline) >= self.max_pipelined:
            raise BadRequest
        if (self._is_excess or self._is_full()) and self.url not in _ALWAYS_SERVED:
            raise self._refusal()
        self.limits.idle.pop(self, None)
        super().on_headers_complete()
        if self.cycle is not self._latest:
            self._latest = self.cycle
            # The parser reports trailers as headers: they must not be added to the request's.
            self.headers = []

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        wrapped: Any = Exchange(app, cycle, self.unsent, self._end)
        self._answering = cycle
        super()._start_asgi_task(cycle, wrapped)

    def _size_of_headers(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def _has_unambiguous_framing(self) -> bool:
        """Return whether every proxy agrees where the body ends (RFC 9112, section 6.1)."""
        if self.parser.should_upgrade():
            # The parser would treat the body as data of the other protocol.
            return False
        codings = [value.lower() for name, value in self.headers if name == b"transfer-encoding"]
        return not codings or (codings == [b"chunked"] and self.parser.get_http_version() == "1.1")

    def on_response_complete(self) -> None:
        super().on_response_complete()
        is_idle = self._latest is not None and self._latest.response_complete
        if is_idle and self._is_counted:
            self.limits.idle[self] = self._address
        if is_idle and self._end.must_drain:
            self._drain_and_close()
        elif self.transport.is_closing():
            self._stall_timer.start()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stall_timer.start()
        self.unsent.add(self.transport, self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        super().resume_writing()
        self.unsent.remove(self.transport)
        if not self.transport.is_closing():
            self._stall_timer.stop()

    # Task: T-155
    def shutdown(self) -> None:
        notify_application(self.app_state)
        if self.flow.write_paused:
            # The server does not wait for a client that does not read.
            self._stall_timer.shorten(SHUTDOWN_GRACE_SECONDS)
        super().shutdown()

    def timeout_keep_alive_handler(self) -> None:
        self._close()

    def _upgrade(self) -> None:
        latest = self._latest
        if self._should_upgrade() and (latest is None or latest.response_complete):
            self._stop_timer()
            self._is_counted = False
            self.handle_websocket_upgrade()
            # It stays one of the connections of its address.
            protocol: Any = self.transport.get_protocol()
            protocol.release = partial(self.limits.release, self._address)
        else:
            # A client may offer another protocol, such as h2c. This request is answered in HTTP/1.1, and is the last.
            self._refuse(BadRequest())

    def _start_header_timer(self) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(self.header_seconds, self._on_header_timeout)

    def _on_header_timeout(self) -> None:
        self._timer = None
        if self.flow.read_paused:
            # The server has paused reading: earlier responses of this connection are still being sent.
            self._start_header_timer()
        elif self._header_bytes == 0 or (self._latest is not None and self.scope is self._latest.scope):
            # There is no request: browsers open connections in advance.
            self._close()
        else:
            self._refuse(Timeout())

    def _refuse(self, error: TodoError) -> None:
        """Stop reading. Earlier requests are answered first, then this one, unless its response has started already."""
        self._stop_timer()
        self._drained_bytes = 0
        latest = self._latest
        if latest is None or latest.response_complete:
            self.transport.write(refusal(error, self.server_state.default_headers))
            self._drain_and_close()
            return
        self._end.broken = latest
        if latest.more_body:
            latest.message_event.set()

    def _drain_and_close(self) -> None:
        """Tell the client that this was the last response. Discard what it still sends for ``drain_seconds``."""
        self._unset_keepalive_if_required()
        self._drained_bytes = self._drained_bytes or 0
        if self.transport.is_closing():
            return
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.flow.resume_reading()
        self._stop_timer()
        self._timer = self.loop.call_later(self.drain_seconds, self._close)

    def _drain(self, size: int) -> None:
        self._drained_bytes = (self._drained_bytes or 0) + size
        if self._drained_bytes > self.max_drained_bytes:
            self._close()

    def _close(self) -> None:
        """Close the connection after the pending bytes were sent; abort it if the client does not read them."""
        self._stop_timer()
        if not self.transport.is_closing():
            self.transport.close()
            self._stall_timer.start()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
