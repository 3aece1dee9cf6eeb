"""Errors as ``application/problem+json`` (RFC 9457): the one place where they become responses."""

import http
from collections.abc import Mapping
from typing import Any

import orjson
from starlette.responses import Response

from todo.errors import TodoError
from todo.web.context import request_id_of

MEDIA_TYPE = "application/problem+json"
INTERNAL = "Something went wrong on our side. If it happens again, report the request_id."


# Task: T-041
def problem_response(error: TodoError, scope: Mapping[str, Any]) -> Response:
    """Render an error for the request of ``scope``."""
    body = {
        "type": "about:blank",
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
        "code": error.code,
        "request_id": request_id_of(scope),
        **error.members,
    }
    return Response(orjson.dumps(body), error.status, dict(error.headers), MEDIA_TYPE)


def internal_response(scope: Mapping[str, Any]) -> Response:
    """Render a 500: what happened is in the log, under the request id."""
    body = {
        "type": "about:blank",
        "title": http.HTTPStatus.INTERNAL_SERVER_ERROR.phrase,
        "status": 500,
        "detail": INTERNAL,
        "code": "internal_error",
        "request_id": request_id_of(scope),
    }
    return Response(orjson.dumps(body), 500, None, MEDIA_TYPE)
