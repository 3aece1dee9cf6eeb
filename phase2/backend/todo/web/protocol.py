"""HTTP/1.1 on the wire: uvicorn's protocol, with limits, and with problems as its answers.

uvicorn waits for headers without end, keeps them at any size, and answers what it cannot read in plain text. Its own
parser (llhttp) refuses what makes requests ambiguous: conflicting lengths, folded lines, bare line feeds.

A connection whose request was refused, or answered before its body had come, is not used again. It is closed only
after what the client still sends was thrown away for a while: a reset would take the answer from the client.

A large answer is written piece by piece, as the client takes it, since a transport holds the whole of what it was given
until the last byte is gone. So it can be counted while it is there, and what follows it is not begun.
"""

import socket
import time
from asyncio import TimerHandle
from collections.abc import Awaitable, Coroutine, Mapping
from typing import Any, ClassVar, cast

from httptools import HttpParserError, HttpParserUpgrade
from uvicorn._types import ASGI3Application
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from todo.errors import HeadersTooLarge, Malformed, Timeout, TodoError, Unavailable
from todo.web.logs import log_request
from todo.web.middleware import new_request_id, response_headers
from todo.web.problems import MEDIA_TYPE, problem_body
from todo.web.unsent import PATIENCE_SECONDS, Patience, Unsent

# How long what was written waits for a client that does not read it, once the server stops.
FAREWELL_SECONDS = 1.0
# Of a large answer the transport gets so much at once: as much as it holds before it asks us to wait.
_PIECE_BYTES = 65_536
# Where the lifespan's state says what to call when the server begins to stop.
STOPPING = "stopping"


# Task: T-155
def tell_application(state: Mapping[str, Any]) -> None:
    """Tell the application that the server stops, so that it ends what would not end by itself. Safe to call again.

    uvicorn tells each connection, and the application only when the last of them is gone.
    """
    stop = state.get(STOPPING)
    if stop is not None:
        stop()


class _Exchange:
    """A request and its answer, between uvicorn's cycle and the application.

    The connection ends with an answer that begins before the request's body has come.
    """

    __slots__ = ("_app", "_cycle", "_protocol")

    def __init__(self, protocol: "Protocol", cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._protocol = protocol
        self._cycle = cycle
        self._app = app

    def __call__(self, scope: Any, _receive: object, _send: object) -> Awaitable[None]:
        return self._app(scope, self.receive, self.send)

    async def receive(self) -> Any:
        if not self._is_broken():
            message = await self._cycle.receive()
        return {"type": "http.disconnect"} if self._is_broken() else message

    def send(self, message: Any) -> Coroutine[Any, Any, None]:
        cycle = self._cycle
        if cycle.response_started:
            # Not a coroutine itself: most answers are small, and are written at once.
            if cycle.flow.write_paused or len(message.get("body", b"")) > _PIECE_BYTES:
                return self._send_in_pieces(message)
        elif cycle.more_body or self._is_broken():
            return self._send_last_start(message)
        return cycle.send(message)

    async def _send_in_pieces(self, message: Any) -> None:
        cycle, unsent = self._cycle, self._protocol.unsent
        body = message.get("body", b"")
        for start in range(0, len(body) or 1, _PIECE_BYTES):
            end = start + _PIECE_BYTES
            piece = message
            if len(body) > _PIECE_BYTES:
                # A copy: a view would hold the whole.
                is_last = end >= len(body)
                piece = {**message, "body": body[start:end], "more_body": not is_last or message.get("more_body")}
            if cycle.flow.write_paused and not cycle.disconnected:
                unsent.add(cycle.transport, len(body))
            await cycle.send(piece)

    async def _send_last_start(self, message: Any) -> None:
        self._cycle.keep_alive = False
        await self._cycle.send(message)
        # The client knows now. uvicorn must not close before the protocol has thrown the rest away.
        self._cycle.keep_alive = self._protocol.lingers = True

    def _is_broken(self) -> bool:
        return self._protocol.broken is self._cycle


# Task: T-018
class Protocol(HttpToolsProtocol):
    """One connection. The limits are for a subclass to change, as tests do.

    ``header_seconds`` counts from the connection, later from the first byte of a request. Idling between requests is
    uvicorn's ``timeout_keep_alive``. Time and size of a body are the business of ``bodies``, here only its framing is.
    """

    header_seconds = 10.0
    most_header_bytes = 32_768
    most_headers = 100
    # Chunks of single bytes, chunk extensions and trailers: what comes with a body and is none.
    most_framing_bytes = 1_048_576
    # Requests sent ahead, without waiting for answers.
    most_waiting = 16
    linger_seconds = 2.0
    most_discarded_bytes = 16_777_216
    flush_seconds = PATIENCE_SECONDS
    # One for the process.
    unsent: ClassVar[Unsent] = Unsent()

    def __init__(self, config: Config, server_state: ServerState, app_state: dict[str, Any], **others: Any) -> None:
        super().__init__(config, server_state, app_state, **others)
        # uvicorn would answer in plain text.
        self._most_at_once, self.limit_concurrency = self.limit_concurrency, None
        # The last request whose headers are complete.
        self._current: RequestResponseCycle | None = None
        # The one that is being answered: requests that were sent ahead stand behind it.
        self._answering: RequestResponseCycle | None = None
        # The last one, if no more of it will come, because what came could not be read.
        self.broken: RequestResponseCycle | None = None
        # Whether the last answer has begun before all of its request had come.
        self.lingers = False
        self._timer: TimerHandle | None = None
        self._header_bytes = 0
        self._framing_bytes = 0
        self._discarded_bytes: int | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        connection = transport.get_extra_info("socket")
        if connection is not None and connection.family != socket.AF_UNIX:
            # The kernel would take megabytes for a client that reads nothing, and would not say that a slow one reads.
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _PIECE_BYTES)
        self._patience = Patience(self.loop, transport, self.flush_seconds)
        self._limit_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        self._patience.end()
        self.unsent.forget(self.transport)
        if self._answering is not None:
            # uvicorn tells only the latest of those that were sent ahead.
            self._answering.disconnected = True
            self._answering.message_event.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._discarded_bytes is not None:
            self._discard(len(data))
            return
        self._unset_keepalive_if_required()
        cycle = self._current
        body_bytes = 0 if cycle is None else len(cycle.body)
        if cycle is not None and self.scope is cycle.scope:
            self._header_bytes = 0
        self._header_bytes += len(data)
        try:
            self.parser.feed_data(data)
        except HttpParserError as error:
            cause = error.__context__
            self._refuse(cause if isinstance(cause, TodoError) else Malformed())
        except HttpParserUpgrade:
            self._upgrade()
        else:
            if self._current is not cycle:
                self._framing_bytes = 0
            elif cycle is not None:
                self._framing_bytes += len(data) - (len(cycle.body) - body_bytes)
            self._after_data()

    def _after_data(self) -> None:
        """Limit what is not complete yet. A request that arrives in one piece costs nothing here."""
        cycle = self._current
        if cycle is None or self.scope is not cycle.scope:
            if self._header_bytes > self.most_header_bytes:
                self._refuse(HeadersTooLarge())
            else:
                self._limit_headers()
            return
        if cycle.response_complete:
            # Empty lines before a request: they are allowed, and would keep a connection for ever.
            self._limit_headers()
            return
        if self._timer is not None:
            self._stop_timer()
        if cycle.more_body and self._framing_bytes > self.most_framing_bytes:
            self._refuse(Malformed())

    def on_headers_complete(self) -> None:
        names = [name for name, _ in self.headers]
        if len(names) > self.most_headers or (
            self._header_bytes > self.most_header_bytes and self._measured() > self.most_header_bytes
        ):
            raise HeadersTooLarge
        if names.count(b"host") != 1 and (b"host" in names or self.parser.get_http_version() != "1.0"):
            raise Malformed("The request needs one Host header.")
        has_body = b"transfer-encoding" in names or b"content-length" in names
        if has_body and not self._frames_are_sound():
            raise Malformed("The body's framing is not supported.")
        if len(self.pipeline) >= self.most_waiting:
            raise Malformed
        if self._most_at_once is not None and len(self.connections) > self._most_at_once:
            raise Unavailable("The server is busy. Try again in a moment.", code="overloaded")
        super().on_headers_complete()
        if self.cycle is not self._current:
            self._current = self.cycle
            # What the parser calls headers from here on are trailers: they must not pass for headers.
            self.headers = []

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._answering = cycle
        super()._start_asgi_task(cycle, cast("ASGI3Application", _Exchange(self, cycle, app)))

    def _measured(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def _frames_are_sound(self) -> bool:
        """Tell whether everybody on the way will agree where the body ends (RFC 9112, section 6.1)."""
        if self.parser.should_upgrade():
            # The parser takes what follows for another protocol's.
            return False
        codings = [value.lower() for name, value in self.headers if name == b"transfer-encoding"]
        return not codings or (codings == [b"chunked"] and self.parser.get_http_version() == "1.1")

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.lingers and self._current is not None and self._current.response_complete:
            self._linger()
        elif self.transport.is_closing():
            self._patience.begin()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._patience.begin()
        self.unsent.add(self.transport, self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        super().resume_writing()
        self.unsent.forget(self.transport)
        if not self.transport.is_closing():
            self._patience.end()

    # Task: T-155
    def shutdown(self) -> None:
        tell_application(self.app_state)
        if self.flow.write_paused:
            # Nobody reads that the server stops. It does not wait for those.
            self._patience.end()
            self._patience.seconds = FAREWELL_SECONDS
            self._patience.begin()
        super().shutdown()

    def timeout_keep_alive_handler(self) -> None:
        self._hang_up()

    def _upgrade(self) -> None:
        if self._should_upgrade():
            self._stop_timer()
            self.handle_websocket_upgrade()
        else:
            # Another protocol was offered (h2c, as Java does). We stay with this one, for this request only.
            self._refuse(Malformed())

    def _limit_headers(self) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(self.header_seconds, self._headers_are_late)

    def _headers_are_late(self) -> None:
        self._timer = None
        if self.flow.read_paused:
            # It is we who do not read: answers that were asked for before are still under way.
            self._limit_headers()
        elif self._header_bytes == 0 or (self._current is not None and self.scope is self._current.scope):
            # Nothing of a request: a browser connects ahead, too.
            self._hang_up()
        else:
            self._refuse(Timeout())

    def _refuse(self, error: TodoError) -> None:
        """Read no more from this connection. Requests before are answered, and so is this one if it is its turn."""
        self._stop_timer()
        self._discarded_bytes = 0
        cycle = self._current
        if cycle is None or cycle.response_complete:
            self._answer(error)
            self._linger()
            return
        self.broken = cycle
        if cycle.more_body:
            cycle.message_event.set()

    def _answer(self, error: TodoError) -> None:
        started = time.perf_counter()
        request_id = new_request_id()
        body = problem_body(error, request_id)
        headers = [
            *self.server_state.default_headers,
            *response_headers(request_id),
            *((name.lower().encode(), value.encode()) for name, value in error.headers.items()),
            (b"content-type", MEDIA_TYPE.encode()),
            (b"content-length", b"%d" % len(body)),
            (b"cache-control", b"private, no-cache"),
            (b"connection", b"close"),
        ]
        lines = b"".join(b"%s: %s\r\n" % header for header in headers)
        self.transport.write(b"%s%s\r\n%s" % (STATUS_LINE[error.status], lines, body))
        milliseconds = round((time.perf_counter() - started) * 1000, 2)
        log_request({"request_id": request_id, "status": error.status, "milliseconds": milliseconds})

    def _linger(self) -> None:
        """Say that this was all, and throw away what still comes, for a while."""
        self._unset_keepalive_if_required()
        self._discarded_bytes = self._discarded_bytes or 0
        if self.transport.is_closing():
            return
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.flow.resume_reading()
        self._stop_timer()
        self._timer = self.loop.call_later(self.linger_seconds, self._hang_up)

    def _discard(self, size: int) -> None:
        self._discarded_bytes = (self._discarded_bytes or 0) + size
        if self._discarded_bytes > self.most_discarded_bytes:
            self._hang_up()

    def _hang_up(self) -> None:
        """Close; drop the connection if the client does not take what was written for it."""
        self._stop_timer()
        if not self.transport.is_closing():
            self.transport.close()
            self._patience.begin()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
