"""Browsers of other origins: which may call, what they may send, and what they may see."""

from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from todo.errors import Forbidden
from todo.web.problems import problem_response

_METHODS = ("GET", "CURRENT_REVISION", "POST", "PUT", "PATCH", "DELETE")
_MAY_SEND = (
    "Authorization",
    "Content-Type",
    "If-Match",
    "If-None-Match",
    "Idempotency-Key",
    "Last-Event-ID",
    "X-Request-ID",
)
_MAY_SEE = ("Location", "ETag", "X-Request-ID", "Retry-After", "Idempotency-Replayed")
# Chromium's most.
_REMEMBER_SECONDS = 7200


# Task: T-048
class Cors(CORSMiddleware):
    """Let browsers of ``origins`` in. Callers bring a token in a header: cookies are never allowed.

    It stands outside of ``Problems``, so that a browser may read errors, too.
    """

    def __init__(self, app: ASGIApp, origins: Sequence[str]) -> None:
        super().__init__(
            app,
            allow_origins=origins,
            allow_methods=_METHODS,
            allow_headers=_MAY_SEND,
            expose_headers=_MAY_SEE,
            max_age=_REMEMBER_SECONDS,
        )

    def preflight_response(self, request_headers: Headers) -> Response:
        response = super().preflight_response(request_headers)
        return response if response.status_code == 200 else _Refusal(headers={"Vary": response.headers["Vary"]})


class _Refusal(Response):
    """A refused preflight, as a problem: only when it is sent is the request known."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        error = Forbidden("Browsers may not send this from there: the origin, method or a header.", code="cors_refused")
        response = problem_response(error, scope)
        response.headers.update(self.headers)
        await response(scope, receive, send)
