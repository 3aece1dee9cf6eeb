"""Reading a JSON body: bounded in size and time, and never kept when it is refused."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

from pydantic import ValidationError
from starlette.requests import Request

from todo.errors import Fault, Invalid, Malformed, NotJson, Timeout, TooLarge
from todo.web.faults import faults_of

# A description of 10,000 characters takes 120,000 bytes when each is escaped as a surrogate pair.
MOST_BYTES = 1_048_576
_SECONDS = 10.0


# Task: T-043
async def read_body(request: Request, *, required: bool) -> bytes:
    """Return the body, empty if there is none and none is required.

    Raises NotJson, TooLarge, Malformed (framing), Timeout, and Invalid for a missing body.
    """
    length = request.headers.get("content-length")
    if length is not None and not length.isascii():
        raise Malformed
    content_type = request.headers.get("content-type")
    if content_type is not None and not _is_json(content_type):
        raise NotJson
    if length is not None and int(length) > MOST_BYTES:
        raise _too_large()
    body = await _receive(request)
    if body and content_type is None:
        raise NotJson
    if required and not body:
        raise Invalid(Fault("/body", "A JSON body is required."))
    return body


def _is_json(content_type: str) -> bool:
    essence = content_type.partition(";")[0].strip().lower()
    return essence == "application/json" or (essence.startswith("application/") and essence.endswith("+json"))


async def _receive(request: Request) -> bytes:
    message = await _next(request, _SECONDS)
    body: bytes = message.get("body", b"")
    if not message.get("more_body"):
        if len(body) > MOST_BYTES:
            raise _too_large()
        return body
    chunks, size = [body], len(body)
    deadline = asyncio.get_running_loop().time() + _SECONDS
    while message.get("more_body"):
        message = await _next(request, deadline - asyncio.get_running_loop().time())
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
        if size > MOST_BYTES:
            raise _too_large()
    return b"".join(chunks)


async def _next(request: Request, seconds: float) -> Any:
    try:
        async with asyncio.timeout(seconds):
            message = await request.receive()
    except TimeoutError:
        raise Timeout from None
    if message["type"] == "http.disconnect":
        raise Malformed("The connection was closed before the whole body had arrived.")
    return message


def _too_large() -> TooLarge:
    return TooLarge(f"The body is too large: {MOST_BYTES:,} bytes are the most that is accepted.")


# Task: T-043
def parse_json(body: bytes, validate: Callable[[bytes], Any], faults: list[Fault]) -> Any:
    """Validate ``body``; what is wrong with its content is added to ``faults``. Raises Malformed if it is no JSON."""
    try:
        return validate(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0] if error.error_count() == 1 else None
        if first is not None and first["type"] == "json_invalid":
            if not _has_lone_surrogate(body):
                raise Malformed("The body is not valid JSON.", code="malformed_json") from None
            faults.append(Fault("/body", "Text holds half of a surrogate pair, which is no character."))
        else:
            faults.extend(faults_of(error, "body"))
    return None


def _has_lone_surrogate(body: bytes) -> bool:
    """Tell JSON that names an impossible character (its content is invalid) from what is no JSON at all."""
    try:
        json.loads(body)
    except (ValueError, RecursionError):
        return False
    return True
