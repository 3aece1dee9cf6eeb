"""Errors as ``application/problem+json`` (RFC 9457). The only module that turns errors into responses."""

from collections.abc import Mapping
from typing import Any

import orjson
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from todo import errors
from todo.errors import Invalid, MethodNotAllowed, NotFound, TodoError
from todo.web.context import request_id_of
from todo.web.validation import to_field_errors

MEDIA_TYPE = "application/problem+json"


class _Internal(TodoError):
    """A defect of the application. The log has the details, under the request id."""

    status, title, code = 500, "Internal Server Error", "internal_error"
    detail = "Something went wrong on our side. If it happens again, report the request_id."


_OF_FRAMEWORK: dict[int, type[TodoError]] = {
    error.status: error
    for error in (
        errors.BadRequest,
        errors.Unauthenticated,
        errors.Forbidden,
        errors.ContentTooLarge,
        errors.UnsupportedMediaType,
    )
}


# Task: T-041
def problem_response(error: TodoError, scope: Mapping[str, Any]) -> Response:
    """Render an error for the request of ``scope``."""
    return Response(problem_body(error, request_id_of(scope)), error.status, dict(error.headers), MEDIA_TYPE)


def problem_body(error: TodoError, request_id: str) -> bytes:
    """Render an error as JSON."""
    return orjson.dumps(
        {
            "type": "about:blank",
            "title": error.title,
            "status": error.status,
            "detail": error.detail,
            "code": error.code,
            "request_id": request_id,
            **({"pointer": f"/body{error.pointer}"} if error.pointer else {}),
            **error.members,
        }
    )


def known_error(error: Exception) -> TodoError | None:
    """Return the error to report to the user, also for errors of the framework; ``None`` for a defect of ours."""
    if isinstance(error, TodoError):
        return error
    if isinstance(error, RequestValidationError):
        return Invalid(*to_field_errors(error.errors()))
    if not isinstance(error, HTTPException):
        return None
    if error.status_code == 404:
        return not_found()
    if error.status_code == 405:
        return MethodNotAllowed((error.headers or {}).get("Allow", "").split(", "))
    known = _OF_FRAMEWORK.get(error.status_code)
    return known() if known else None


def not_found() -> NotFound:
    """Return the error for a path that has no route."""
    return NotFound("There is nothing at this path.")


def internal_response(scope: Mapping[str, Any]) -> Response:
    """Render a 500, which contains no detail but the request id."""
    return problem_response(_Internal(), scope)
