"""All errors of the application, as one tree of exceptions. Independent of the web framework.

TodoError
├── BadRequest            400   the request cannot be read
├── Unauthenticated       401   no token, or an invalid one
├── Forbidden             403   the token is valid, but the request is not allowed
├── NotFound              404   missing, or owned by another user: the same answer for both
├── MethodNotAllowed      405
├── Timeout               408   the request did not arrive in time
├── Conflict              409   the state does not allow it
├── Gone                  410   it existed, but the change log no longer contains it
├── PreconditionFailed    412   the condition names another state; carries the current state
├── ContentTooLarge       413
├── UnsupportedMediaType  415
├── Invalid               422   the input is readable, but not acceptable; lists the field errors
├── TooManyRequests       429
├── HeadersTooLarge       431
└── Unavailable           503   try again later
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from todo.kit.etags import etag


class CommandFailed(Exception):
    """The command failed. The message is one line, for the person who started it."""


# Task: T-384
TOO_MUCH_AT_ONCE = (
    "This changes more tasks than one request can, and nothing was changed. Change some of them first, up to 100 at a"
    " time with POST /api/v1/tasks/batch; if this is a batch, send fewer operations. Then try again."
)


@dataclass(frozen=True, slots=True)
class FieldError:
    """One error in the input: a JSON pointer (RFC 6901) to the place, and a sentence.

    A service points into its own arguments, for example ``/status``. Only the web layer knows whether the value came in
    the body, the query, the path or a header, and adds that as a prefix: ``/body/status``. If the field is in none of
    them, the pointer stays as it is.
    """

    pointer: str
    detail: str


# Task: T-012
class TodoError(Exception):
    """Base class. ``detail`` tells the user what happened and what to do next. It never repeats the input."""

    status: ClassVar[int]
    title: ClassVar[str]
    code: str
    detail: str
    # In a batch: JSON pointer into the body, to the operation that failed.
    pointer: str | None = None

    def __init__(self, detail: str | None = None, *, code: str | None = None) -> None:
        if detail is not None:
            self.detail = detail
        if code is not None:
            self.code = code
        super().__init__(self.detail)

    @property
    def headers(self) -> Mapping[str, str]:
        """Response headers of the error."""
        return {}

    @property
    def members(self) -> Mapping[str, object]:
        """Extension members of the problem details (RFC 9457, section 3.2)."""
        return {}


class BadRequest(TodoError):
    status, title, code = 400, "Bad Request", "malformed_request"
    detail = "The request could not be read."


class Unauthenticated(TodoError):
    status, title, code = 401, "Unauthorized", "unauthenticated"
    detail = "Send a valid bearer token: 'Authorization: Bearer <token>'."

    @property
    def headers(self) -> Mapping[str, str]:
        return {"WWW-Authenticate": "Bearer" if self.code == "unauthenticated" else 'Bearer error="invalid_token"'}


class Forbidden(TodoError):
    status, title, code = 403, "Forbidden", "forbidden"
    detail = "This is not allowed."


class NotFound(TodoError):
    status, title, code = 404, "Not Found", "not_found"
    detail = "There is nothing here, or it is not yours."


class MethodNotAllowed(TodoError):
    status, title, code = 405, "Method Not Allowed", "method_not_allowed"
    detail = "This path does not support this method. The Allow header lists the methods that it supports."

    def __init__(self, allowed: Sequence[str]) -> None:
        self._allowed = allowed
        super().__init__()

    @property
    def headers(self) -> Mapping[str, str]:
        return {"Allow": ", ".join(sorted(self._allowed))}


class Timeout(TodoError):
    status, title, code = 408, "Request Timeout", "request_timeout"
    detail = "The request did not arrive in time. Send it again."


class Conflict(TodoError):
    status, title, code = 409, "Conflict", "conflict"
    detail = "The current state does not allow this."

    def __init__(
        self,
        detail: str | None = None,
        *,
        code: str | None = None,
        conflicts: Sequence[Mapping[str, object]] = (),
        conflicting_id: str | None = None,
    ) -> None:
        self._conflicts = conflicts
        self._conflicting_id = conflicting_id
        super().__init__(detail, code=code)

    @property
    def members(self) -> Mapping[str, object]:
        members = {"conflicts": self._conflicts, "conflicting_id": self._conflicting_id}
        return {name: value for name, value in members.items() if value}


class Gone(TodoError):
    status, title, code = 410, "Gone", "gone"
    detail = "This is no longer there."


class PreconditionFailed(TodoError):
    """``current`` is the current state of the object, ``revision`` its revision (sent as ETag)."""

    status, title, code = 412, "Precondition Failed", "precondition_failed"
    detail = (
        "Your condition does not match the object; see current. Apply your change to that state, and send its ETag."
    )

    def __init__(self, *, current: Mapping[str, object], revision: int) -> None:
        self._current = current
        self._revision = revision
        super().__init__()

    @property
    def headers(self) -> Mapping[str, str]:
        return {"ETag": etag(self._revision)}

    @property
    def members(self) -> Mapping[str, object]:
        return {"current": self._current}


class ContentTooLarge(TodoError):
    status, title, code = 413, "Content Too Large", "content_too_large"
    detail = "The body is too large."


class UnsupportedMediaType(TodoError):
    status, title, code = 415, "Unsupported Media Type", "unsupported_media_type"
    detail = "Send the body as JSON, with 'Content-Type: application/json'."


class Invalid(TodoError):
    status, title, code = 422, "Unprocessable Content", "invalid_input"
    detail = "The input is not acceptable; see errors."

    def __init__(self, *errors: FieldError, detail: str | None = None, code: str | None = None) -> None:
        self.errors = errors
        super().__init__(detail, code=code)

    @property
    def members(self) -> Mapping[str, object]:
        return {"errors": [{"pointer": error.pointer, "detail": error.detail} for error in self.errors]}


class TooManyRequests(TodoError):
    status, title, code = 429, "Too Many Requests", "too_many_requests"
    detail = "Too many requests. Wait a moment, then try again."


class HeadersTooLarge(TodoError):
    status, title, code = 431, "Request Header Fields Too Large", "headers_too_large"
    detail = "The URL and the headers of the request are too large."


class Unavailable(TodoError):
    status, title, code = 503, "Service Unavailable", "unavailable"
    detail = "The service cannot answer right now. Try again in a moment."

    def __init__(self, detail: str | None = None, *, retry_after_seconds: int = 1, code: str | None = None) -> None:
        self._retry_after_seconds = retry_after_seconds
        super().__init__(detail, code=code)

    @property
    def headers(self) -> Mapping[str, str]:
        return {"Retry-After": str(self._retry_after_seconds)}
