"""Responses to bytes that never become a request: problems like all others, written without the application."""

import time
from collections.abc import Iterable

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from todo.errors import TodoError
from todo.web.logs import request_log
from todo.web.middleware import new_request_id, response_headers
from todo.web.problems import MEDIA_TYPE, problem_body


def refusal(error: TodoError, default_headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return the whole response, with ``Connection: close``, and log it."""
    started = time.perf_counter()
    request_id = new_request_id()
    body = problem_body(error, request_id)
    headers = [
        *default_headers,
        *response_headers(request_id),
        *((name.lower().encode(), value.encode()) for name, value in error.headers.items()),
        (b"content-type", MEDIA_TYPE.encode()),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"private, no-cache"),
        (b"connection", b"close"),
    ]
    lines = b"".join(b"%s: %s\r\n" % header for header in headers)
    milliseconds = round((time.perf_counter() - started) * 1000, 2)
    request_log.write({"request_id": request_id, "status": error.status, "milliseconds": milliseconds})
    return b"%s%s\r\n%s" % (STATUS_LINE[error.status], lines, body)
