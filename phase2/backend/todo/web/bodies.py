"""Read a JSON body, limited in size and time. A refused body is not kept in memory.

JSON as in RFC 8259, in UTF-8 without a byte order mark. If an object has the same name twice, the last one counts, as
in every browser. Nothing else parses the same bytes, so no second parser can understand them differently.
"""

import asyncio
import json
import re
from collections.abc import Callable
from typing import Any

from pydantic import ValidationError
from starlette.requests import Request

from todo.errors import BadRequest, ContentTooLarge, FieldError, Invalid, Timeout, UnsupportedMediaType
from todo.web.validation import field_errors_of

# A description of 10,000 characters takes 120,000 bytes when each is escaped as a surrogate pair.
MAX_BYTES = 1_048_576
MAX_SECONDS = 10.0
_MAX_DIGITS = 20


# Task: T-043
async def read_body(request: Request, *, required: bool) -> bytes:
    """Return the body; empty if there is none and none is required.

    Raises UnsupportedMediaType, ContentTooLarge, BadRequest (framing), Timeout, and Invalid for a missing body.
    """
    _check_headers(request.scope["headers"])
    try:
        async with asyncio.timeout(MAX_SECONDS):
            body = await _receive(request)
    except TimeoutError:
        raise Timeout from None
    if required and not body:
        raise Invalid(FieldError("/body", "A JSON body is required."))
    return body


def _check_headers(headers: list[tuple[bytes, bytes]]) -> None:
    """Refuse a body by its headers alone. A client that sent ``Expect: 100-continue`` then does not send it."""
    has_body = declares_json = False
    length = 0
    for name, value in headers:
        if name == b"content-type":
            if declares_json or not (value == b"application/json" or _is_json(value.decode("latin-1"))):
                raise UnsupportedMediaType
            declares_json = True
        elif name == b"content-encoding" and value.lower() != b"identity":
            raise UnsupportedMediaType("Send the body as plain JSON, without a content-encoding.")
        elif name == b"content-length":
            # The server has already refused other values, and those with more digits.
            if not value.isdigit() or len(value) > _MAX_DIGITS:
                raise BadRequest
            length = int(value)
            has_body = length > 0
        elif name == b"transfer-encoding":
            has_body = True
    if has_body and not declares_json:
        raise UnsupportedMediaType
    if length > MAX_BYTES:
        raise _too_large()


def _is_json(content_type: str) -> bool:
    essence, *parameters = (part.strip().lower() for part in content_type.split(";"))
    is_json = essence == "application/json" or (essence.startswith("application/") and essence.endswith("+json"))
    charsets = [p.removeprefix("charset=").strip('"') for p in parameters if p.startswith("charset=")]
    return is_json and all(charset in {"utf-8", "utf8"} for charset in charsets)


async def _receive(request: Request) -> bytes:
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise BadRequest("The body did not arrive completely.")
        chunk: bytes = message.get("body", b"")
        size += len(chunk)
        if size > MAX_BYTES:
            raise _too_large()
        chunks.append(chunk)
        if not message.get("more_body"):
            return b"".join(chunks)


def _too_large() -> ContentTooLarge:
    return ContentTooLarge(f"The body is too large. The limit is {MAX_BYTES:,} bytes.")


# Task: T-043
def parse_json(body: bytes, validate: Callable[[bytes], Any], errors: list[FieldError]) -> Any:
    """Return the validated ``body``; ``None`` after adding to ``errors``. Raises BadRequest if it is not JSON."""
    try:
        return validate(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0] if error.error_count() == 1 else None
        if first is None or first["type"] != "json_invalid":
            errors.extend(field_errors_of(error, "body"))
        elif "hex escape" in first["msg"] and _is_json_for_python(body):
            errors.append(FieldError("/body", "A text contains half of a surrogate pair, which is not a character."))
        else:
            raise BadRequest(f"The body is not valid JSON.{_where(first['msg'])}", code="malformed_json") from None
    return None


def _where(message: str) -> str:
    """Return where the parser stopped, as a sentence. The rest of its message may contain a piece of the body."""
    found = re.search(r" at line ([0-9]+) column ([0-9]+)$", message)
    return f" Look at line {found[1]}, column {found[2]}." if found else ""


def _is_json_for_python(body: bytes) -> bool:
    r"""Return whether Python parses ``body`` as JSON. If it contains ``\ud800``, it is JSON with invalid content."""
    try:
        json.loads(body)
    except (ValueError, RecursionError):
        return False
    return True
