"""Pure ASGI middleware, outermost first: ``Tracing``, (CORS), ``Problems``, ``Authentication``, then the router."""

import logging
import re
import time

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from todo import errors
from todo.kit.ids import uuid7
from todo.web.context import identity_of, request_id_of, set_identity, set_request_id
from todo.web.problems import internal_response, problem_response

log = logging.getLogger("todo.request")

_ACCEPTABLE_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")


# Task: T-044
class Tracing:
    """Give every request an id, answer with it, and write one line when it is done."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        request_id = _request_id(scope)
        set_request_id(scope, request_id)
        extra = [
            (b"x-request-id", request_id.encode()),
            (b"x-content-type-options", b"nosniff"),
            (b"cache-control", b"private, no-cache"),
        ]
        status = 0

        async def send_traced(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], *extra]
            await send(message)

        try:
            await self._app(scope, receive, send_traced)
        finally:
            identity = identity_of(scope)
            log.info(
                "request",
                extra={
                    "request_id": request_id,
                    "method": scope["method"],
                    "path": scope["path"],
                    "status": status,
                    "milliseconds": round((time.perf_counter() - started) * 1000, 2),
                    "user_id": identity.user_id if identity else None,
                },
            )


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _ACCEPTABLE_REQUEST_ID.fullmatch(value):
            return str(value, "ascii")
    return uuid7().hex


# Task: T-041
class Problems:
    """Turn whatever is raised below into a problem, unless the answer has already begun."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = False

        async def send_noted(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, send_noted)
        except Exception as error:
            if begun:
                raise
            if isinstance(error, HTTPException):
                error = _from_framework(error)
            if isinstance(error, errors.TodoError):
                response = problem_response(error, scope)
            else:
                log.exception("unhandled", extra={"request_id": request_id_of(scope)})
                response = internal_response(scope)
            await response(scope, receive, send)


def _from_framework(error: HTTPException) -> Exception:
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "")
        return errors.MethodNotAllowed([method.strip() for method in allowed.split(",")])
    if error.status_code == 404:
        return errors.NotFound("There is nothing at this path.")
    return error


# Task: T-045
class Authentication:
    """Demand a valid bearer token for everything under ``/api/``, before anything else is looked at."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith("/api/"):
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
