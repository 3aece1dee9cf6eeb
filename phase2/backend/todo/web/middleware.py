"""Pure ASGI middleware, outermost first: ``Tracing``, (CORS), ``Problems``, ``Authentication``, then the routes.

WebSockets are traced, and pass the rest: their routes authenticate by the first message.
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
from todo.web.logs import AnswerBroken, request_log
from todo.web.problems import internal_response, known_error, problem_response

log = logging.getLogger("todo.request")

# What only a verified caller may reach. The specification takes it from here.
PROTECTED = "/api/"

_ACCEPTABLE_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
# Where an answer begins; the second one refuses a WebSocket.
_ANSWERS = frozenset({"http.response.start", "websocket.http.response.start"})
_MASK = (1 << 128) - 1
# Nobody else counts from there: unique without a system call per request.
_request_numbers = itertools.count(secrets.randbits(128))


def new_request_id() -> str:
    """Make an id for a request that brings none: 32 hexadecimal digits."""
    return f"{next(_request_numbers) & _MASK:032x}"


# Task: T-044
class Tracing:
    """Give every request an id, answer with it, and write one line when it is done.

    ``paths`` hides text of users from these lines.
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
    """Return what every answer carries."""
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
            # 0: nobody was left to answer to. Of a WebSocket the code that we closed it with.
            "status": trace.status,
            "milliseconds": round(seconds * 1000, 2),
        }
    )


# Task: T-041
class Problems:
    """Turn whatever is raised below into a problem, unless the answer has already begun."""

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
                raise AnswerBroken from None
            response = problem_response(known, scope) if known else internal_response(scope)
            await response(scope, receive, send)


# Task: T-045
class Authentication:
    """Demand a valid bearer token for everything under ``PROTECTED``, before anything else is looked at."""

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
