"""Conditional requests: the header parameters of routes, and responses with an ``ETag``."""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Header
from pydantic import PlainValidator, WithJsonSchema
from starlette.responses import Response

from todo.kit.etags import Condition, etag, strong_condition, weak_condition
from todo.web.route import json_response

_SCHEMA = WithJsonSchema({"type": "string", "examples": ['"17"']})

# Task: T-121
IfMatch = Annotated[
    Condition | None,
    PlainValidator(strong_condition),
    _SCHEMA,
    Header(
        alias="If-Match",
        description=(
            'Send the `ETag` of your last read, such as `"17"`, to write only if the object has not changed since.'
            " Otherwise the answer is 412, with the current object in `current`."
        ),
    ),
]
IfNoneMatch = Annotated[
    Condition | None,
    PlainValidator(weak_condition),
    _SCHEMA,
    Header(
        alias="If-None-Match",
        description="Send the `ETag` of the copy that you have. If it is current, the answer is 304, without a body.",
    ),
]
OnlyIfNew = Annotated[
    Condition | None,
    PlainValidator(weak_condition),
    WithJsonSchema({"type": "string", "examples": ["*"]}),
    Header(
        alias="If-None-Match",
        description=(
            "Send `*` to create the object only if none has this `id`. If one has, the answer is 412, with that object"
            " in `current`."
        ),
    ),
]


# Task: T-121
def response_with_etag(
    content: Any,
    revision: int,
    *,
    if_none_match: Condition | None = None,
    status_code: int = 200,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return a JSON response with its ``ETag``, or 304 if ``if_none_match`` names ``revision``."""
    sent = {"ETag": etag(revision), **(headers or {})}
    if if_none_match is not None and if_none_match.names(revision):
        return Response(None, 304, sent)
    return json_response(content, status_code, sent)
