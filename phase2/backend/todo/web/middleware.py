"""Pure ASGI middleware, outermost first: ``Tracing``, (CORS), ``Problems``, ``Authentication``, then the routes.

WebSockets are traced, and pass through the others: their routes authenticate them.
"""

import itertools
import logging
import re
import secrets
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from todo import errors
from todo.web.context import Trace, begin_trace, set_identity, trace_of
from todo.web.logged_paths import LoggedPaths
from todo.web.logs import ResponseAborted, request_log
from todo.web.problems import internal_response, known_error, problem_response

log = logging.getLogger("todo.request")

# Paths with this prefix need a valid token. The OpenAPI document uses this too.
PROTECTED = "/api/"

_ACCEPTABLE_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
# Messages that start a response. The second one refuses a WebSocket.
_ANSWERS = frozenset({"http.response.start", "websocket.http.response.start"})
_MASK = (1 << 128) - 1
# Counting from a random number gives unique ids without a system call per request.
_request_numbers = itertools.count(secrets.randbits(128))


def new_request_id() -> str:
    """Return an id for a request that has none: 32 hexadecimal digits."""
    return f"{next(_request_numbers) & _MASK:032x}"


# Task: T-044
class Tracing:
    """Gives every request an id, adds it to the response, and logs one line at the end.

    ``paths`` removes user text from the logged paths.
    """

    def __init__(self, app: ASGIApp, *, paths: LoggedPaths | None = None) -> None:
        self._app = app
        self._paths = paths or LoggedPaths()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        trace = begin_trace(scope, _request_id(scope))
        started = time.perf_counter()

        async def send_traced(message: Message) -> None:
            kind = message["type"]
            if kind == "websocket.close":
                trace.status = message.get("code", 1000)
            elif kind in _ANSWERS:
                trace.status = message["status"]
                message["headers"] = [*message["headers"], *response_headers(trace.request_id)]
                if not any(name == b"cache-control" for name, _ in message["headers"]):
                    message["headers"].append((b"cache-control", b"private, no-cache"))
            await send(message)

        try:
            await self._app(scope, receive, send_traced)
        finally:
            _log(scope, trace, self._paths.path_of(scope), time.perf_counter() - started)


def response_headers(request_id: str) -> tuple[tuple[bytes, bytes], ...]:
    """Return the headers that every response has."""
    return (b"x-request-id", request_id.encode()), (b"x-content-type-options", b"nosniff")


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _ACCEPTABLE_REQUEST_ID.fullmatch(value):
            return str(value, "ascii")
    return new_request_id()


def _log(scope: Scope, trace: Trace, path: str, seconds: float) -> None:
    request_log.write(
        {
            "request_id": trace.request_id,
            "user_id": trace.identity.user_id if trace.identity else None,
            "method": scope.get("method", "WEBSOCKET"),
            "path": path,
            # 0 if the client left before the response. For a WebSocket, the close code that we sent.
            "status": trace.status,
            "milliseconds": round(seconds * 1000, 2),
        }
    )


# Task: T-041
class Problems:
    """Turns every exception into a problem response. Raises ResponseAborted if the response has already started."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        trace = trace_of(scope)
        try:
            await self._app(scope, receive, send)
        except Exception as error:
            known = known_error(error)
            if known is None or trace.status:
                log.exception("unhandled", extra={"request_id": trace.request_id})
            if trace.status:
                raise ResponseAborted from None
            response = problem_response(known, scope) if known else internal_response(scope)
            await response(scope, receive, send)


# Task: T-045
class Authentication:
    """Requires a valid bearer token for every path below ``PROTECTED``, before any other check."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith(PROTECTED):
            set_identity(scope, await scope["app"].state.verifier.verify(bearer_token(scope)))
        await self._app(scope, receive, send)


def bearer_token(scope: Scope) -> bytes:
    """Return the token of the only Authorization header. Raises Unauthenticated."""
    values = [value for name, value in scope["headers"] if name == b"authorization"]
    if len(values) != 1:
        raise errors.Unauthenticated
    scheme, _, token = values[0].partition(b" ")
    token = token.strip(b" ")
    if scheme.lower() != b"bearer" or not token:
        raise errors.Unauthenticated
    return bytes(token)
