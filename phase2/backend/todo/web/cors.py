"""CORS: the origins that may call the API, the headers that they may send, and those that they may read."""

from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from todo.errors import Forbidden
from todo.web.problems import problem_response

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
_ALLOWED_HEADERS = (
    "Authorization",
    "Content-Type",
    "If-Match",
    "If-None-Match",
    "Idempotency-Key",
    "Last-Event-ID",
    "X-Request-ID",
    # What browsers send with a reload, and what libraries add: tracing, error reports, the mark of a script.
    "Cache-Control",
    "Pragma",
    "X-Requested-With",
    "Traceparent",
    "Tracestate",
    "Baggage",
    "Sentry-Trace",
)
_EXPOSED_HEADERS = ("Location", "ETag", "X-Request-ID", "Retry-After", "Idempotency-Replayed")
# The maximum in Chromium.
_MAX_AGE_SECONDS = 7200


# Task: T-048
# Task: T-511
class Cors(CORSMiddleware):
    """Allows web pages from ``origins``. Callers authenticate with a token in a header, so cookies are never allowed.

    It wraps ``Problems``, so that browsers can read errors too.
    """

    def __init__(self, app: ASGIApp, origins: Sequence[str]) -> None:
        super().__init__(
            app,
            allow_origins=origins,
            allow_methods=_METHODS,
            allow_headers=_ALLOWED_HEADERS,
            expose_headers=_EXPOSED_HEADERS,
            max_age=_MAX_AGE_SECONDS,
        )

    def preflight_response(self, request_headers: Headers) -> Response:
        response = super().preflight_response(request_headers)
        return response if response.status_code == 200 else _Refusal(vary=response.headers["Vary"])


class _Refusal(Response):
    """A refused preflight, as a problem. Its request is known only when it is sent."""

    def __init__(self, vary: str) -> None:
        super().__init__()
        self._vary = vary

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        error = Forbidden("CORS does not allow this request: its origin, its method or a header.", code="cors_refused")
        response = problem_response(error, scope)
        response.headers["Vary"] = self._vary
        await response(scope, receive, send)
