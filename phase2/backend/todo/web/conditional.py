"""Conditional requests: the headers as a route asks for them, and answers that carry an entity tag."""

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
        description="Do it only if it is still as this `ETag` says; otherwise 412 with what it is now.",
    ),
]
IfNoneMatch = Annotated[
    Condition | None,
    PlainValidator(weak_condition),
    _SCHEMA,
    Header(alias="If-None-Match", description="The `ETag` that you have already: 304 if it still holds."),
]
OnlyIfNew = Annotated[
    Condition | None,
    PlainValidator(weak_condition),
    WithJsonSchema({"type": "string", "examples": ["*"]}),
    Header(
        alias="If-None-Match",
        description="`*`: only if there is none with this `id`; otherwise 412 with the one there is.",
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
    """Answer with JSON and its entity tag, or with 304 if the client has it already."""
    sent = {"ETag": etag(revision), **(headers or {})}
    if if_none_match is not None and if_none_match.names(revision):
        return Response(None, 304, sent)
    return json_response(content, status_code, sent)
