"""The specification, OpenAPI 3.1: what FastAPI finds in the routes, and what follows from their shape.

A new route documents itself: its function's name is the ``operationId``, the first sentence of its docstring the
summary, and its module's docstring says what its tag means. Its examples are put together from those of the fields, and
its errors follow from what it takes. Only what its service refuses of its own accord is declared with it, as in
``responses={409: {}}``.
"""

import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute, iter_route_contexts
from starlette.responses import Response

from todo import errors
from todo.errors import FieldError, TodoError
from todo.web.idempotency import METHODS_WITH_IDEMPOTENCY_KEY
from todo.web.middleware import PROTECTED
from todo.web.problems import MEDIA_TYPE, internal_response, problem_response

_Json = dict[str, Any]

_SECURITY_SCHEME = {
    "type": "http",
    "scheme": "bearer",
    "bearerFormat": "JWT",
    "description": "A JWT of the issuer that the server trusts, or one that `todo token` printed.",
}

_REQUEST_ID = "0197f0c2a6b47e0b8d3c5a1e9f60b7d2"

_PROBLEM: _Json = {
    "type": "object",
    "description": "What went wrong (RFC 9457).",
    "required": ["type", "title", "status", "detail", "code", "request_id"],
    "properties": {
        "type": {
            "type": "string",
            "description": "Always `about:blank`: `code` says more.",
            "examples": ["about:blank"],
        },
        "title": {"type": "string", "description": "The status in words.", "examples": ["Not Found"]},
        "status": {"type": "integer", "description": "The status of the answer.", "examples": [404]},
        "detail": {"type": "string", "description": "What happened and what to do, for people."},
        "code": {"type": "string", "description": "What happened, for programs.", "examples": ["not_found"]},
        "request_id": {
            "type": "string",
            "description": "The request's name in our log, as in `X-Request-ID`.",
            "examples": [_REQUEST_ID],
        },
        "errors": {
            "type": "array",
            "description": "What exactly is not acceptable; only with status 422.",
            "items": {"$ref": "#/components/schemas/FieldError"},
        },
        "current": {
            "type": "object",
            "description": "The thing as it is now; only with status 412.",
        },
        "conflicting_id": {
            "type": "string",
            "description": "The thing that has the name already; only with the code `name_taken`.",
            "examples": ["0197f0c2-c1d0-7a55-9b1e-2f6d3c8a4e17"],
        },
    },
}
_FIELD_ERROR: _Json = {
    "type": "object",
    "description": "One thing that is not acceptable.",
    "required": ["pointer", "detail"],
    "properties": {
        "pointer": {
            "type": "string",
            "description": "Where: a JSON pointer (RFC 6901) that begins with `body`, `query`, `path` or `header`.",
            "examples": ["/body/title"],
        },
        "detail": {
            "type": "string",
            "description": "What is wrong, for people.",
            "examples": ["This field is required."],
        },
    },
}

_IDEMPOTENCY_KEY: _Json = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": (
        "What you call this request, 1 to 255 printable ASCII characters. Sent again with the same key within 24 hours,"
        " the same request has no second effect and is answered the same, with `Idempotency-Replayed: true`; another"
        " request is 422 with the code `idempotency_key_reused`. While the first one is still running, the second"
        " waits for up to two seconds, and is then 409 with the code `idempotency_key_in_use`. After an error the key"
        " may be used again."
    ),
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "examples": ["0197f0c2-a6b4-7e0b"]},
}

_HEADERS: _Json = {
    "ETag": {
        "required": True,
        "description": "The revision: send it as `If-None-Match` to a read, or as `If-Match` to a write.",
        "schema": {"type": "string", "examples": ['"17"']},
    },
    # The same where some of the answers depend on the time, and have none.
    "ETag-Unless-Timed": {
        "description": "The revision: send it as `If-None-Match`. An answer that depends on the time has none.",
        "schema": {"type": "string", "examples": ['"17"']},
    },
    "Idempotency-Replayed": {
        "description": "`true` if this is the stored answer to an earlier request with the same `Idempotency-Key`.",
        "schema": {"type": "string", "enum": ["true"]},
    },
    "X-Request-ID": {
        "required": True,
        "description": "The request's name in our log: the one that the client sent, or a new one.",
        "schema": {"type": "string", "examples": [_REQUEST_ID]},
    },
    "Location": {
        "required": True,
        "description": "Where the new thing is.",
        "schema": {
            "type": "string",
            "format": "uri-reference",
            "examples": ["/api/v1/things/0197f0c2-a6b4-7e0b-8d3c-5a1e9f60b7d2"],
        },
    },
    "WWW-Authenticate": {
        "required": True,
        "description": "How to authenticate (RFC 6750).",
        "schema": {"type": "string", "examples": ["Bearer"]},
    },
    "Retry-After": {
        "required": True,
        "description": "After how many seconds to try again.",
        "schema": {"type": "integer", "minimum": 0, "examples": [1]},
    },
}

_REUSED = "This Idempotency-Key was used for another request. Choose a new key for a new request."
_CURRENT = {"id": "0197f0c2-a6b4-7e0b-8d3c-5a1e9f60b7d2", "title": "Buy milk", "revision": 17}

# What an operation can answer with, the usual error of each status first. Others, such as 405, belong to no operation.
_ERRORS: tuple[TodoError, ...] = (
    errors.BadRequest(),
    errors.Unauthenticated(),
    errors.Forbidden("The account of this token no longer exists.", code="account_gone"),
    errors.NotFound(),
    errors.Timeout(),
    errors.Conflict(),
    errors.Conflict(
        "A request with this Idempotency-Key is still running. Wait for its answer, then try again.",
        code="idempotency_key_in_use",
    ),
    errors.PreconditionFailed(current=_CURRENT, revision=17),
    errors.ContentTooLarge(),
    errors.UnsupportedMediaType(),
    errors.Invalid(FieldError("/body/title", "This field is required.")),
    errors.Invalid(
        FieldError("/header/idempotency-key", _REUSED),
        detail=_REUSED,
        code="idempotency_key_reused",
    ),
    errors.TooManyRequests(),
    errors.Unavailable(),
)
_INTERNAL = "InternalError"

_FAILURE = "400"


@dataclass(frozen=True, slots=True, kw_only=True)
class Documentation:
    """The parts of the document that features add. This module knows none of them.

    ``errors`` are examples of what only some operations answer. ``problem_fields`` are members that such a problem has,
    and ``schemas`` are the types that they refer to. ``location`` is an example of the address of a new thing.
    """

    description: str = ""
    errors: Sequence[TodoError] = ()
    problem_fields: Mapping[str, _Json] = field(default_factory=dict)
    schemas: Mapping[str, _Json] = field(default_factory=dict)
    location: str | None = None


_NOTHING = Documentation()


def install(app: FastAPI, documentation: Documentation = _NOTHING) -> None:
    """Let ``app.openapi()`` be this document, made when it is first asked for."""
    made: list[_Json] = []

    def openapi() -> _Json:
        if not made:
            made.append(document(app, documentation))
        return made[0]

    app.openapi = openapi  # type: ignore[method-assign]


# Task: T-050
def document(app: FastAPI, documentation: Documentation = _NOTHING) -> _Json:
    """Describe every route of ``app`` that is not hidden. Raises ValueError for what cannot be described."""
    made = get_openapi(title=app.title, version=app.version, routes=app.routes)
    schemas: _Json = made.get("components", {}).get("schemas", {})
    # Conditions are text, and are documented as such.
    for unused in ("HTTPValidationError", "ValidationError", "Condition"):
        schemas.pop(unused, None)
    for schema in schemas.values():
        _without_titles(schema)
    problem = {**_PROBLEM, "properties": {**_PROBLEM["properties"], **documentation.problem_fields}}
    schemas |= {"Problem": problem, "FieldError": _FIELD_ERROR, **documentation.schemas}
    names = _names_of(documentation)
    endpoints = _endpoints_of(app)
    for path, operations in made["paths"].items():
        for method, operation in operations.items():
            operations[method] = _completed(operation, path, method, endpoints[path, method], schemas, names)
    used = {name for _, operation in _operations_of(made) for name in operation["responses"]}
    return {
        "openapi": made["openapi"],
        "info": {
            "title": app.title,
            "version": app.version,
            "description": documentation.description,
            "license": {"name": "MIT License", "identifier": "MIT"},
        },
        "servers": [{"url": "/", "description": "This server."}],
        "security": [{"bearer": []}],
        "tags": list(_tags_of(made, endpoints)),
        "paths": made["paths"],
        "components": {
            "securitySchemes": {"bearer": _SECURITY_SCHEME},
            "schemas": {name: schemas[name] for name in sorted(schemas)},
            "responses": {name: response for status, name, response in _responses(documentation) if status in used},
            "headers": _headers(documentation),
        },
    }


def _endpoints_of(app: FastAPI) -> dict[tuple[str, str], Callable[..., Any]]:
    """Return the function behind every path and method."""
    return {
        (found.path_format, method.lower()): found.endpoint
        for found in iter_route_contexts(app.routes)
        if isinstance(found.original_route, APIRoute) and found.path_format and found.endpoint
        for method in found.methods or ()
    }


def _operations_of(document: _Json) -> Iterator[tuple[tuple[str, str], _Json]]:
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            yield (path, method), operation


def _tags_of(document: _Json, endpoints: dict[tuple[str, str], Callable[..., Any]]) -> Iterator[_Json]:
    """Describe each tag by the module that its first operation stands in."""
    seen = set()
    for place, operation in _operations_of(document):
        for tag in operation.get("tags", ()):
            if tag not in seen:
                seen.add(tag)
                yield {"name": tag, "description": inspect.getdoc(inspect.getmodule(endpoints[place])) or tag}


def _completed(
    operation: _Json,
    path: str,
    method: str,
    endpoint: Callable[..., Any],
    schemas: _Json,
    names: Mapping[str, str],
) -> _Json:
    """Return the operation with all that follows from its shape, in the order in which one reads it."""
    summary, description = _sentences_of(endpoint)
    for parameter in operation.get("parameters", ()):
        _without_titles(parameter["schema"])
        # It stands beside the schema already.
        parameter["schema"].pop("description", None)
    takes_key = path.startswith(PROTECTED) and method.upper() in METHODS_WITH_IDEMPOTENCY_KEY
    if takes_key:
        operation.setdefault("parameters", []).append(_IDEMPOTENCY_KEY)
    if "requestBody" in operation:
        _add_example(operation["requestBody"], schemas)
    responses = operation["responses"]
    successes = {status: responses[status] for status in sorted(responses) if status < _FAILURE}
    for status, response in successes.items():
        headers = {
            "X-Request-ID": True,
            "Location": "201" in successes,
            "ETag": status != "204" and _is_conditional(operation),
            "Idempotency-Replayed": takes_key,
        }
        response["headers"] = {name: _header(name) for name, is_sent in headers.items() if is_sent}
        if response.pop("x-timed", False):
            response["headers"]["ETag"] = _header("ETag-Unless-Timed")
        _add_example(response, schemas)
    failures = {status for status in responses if status >= _FAILURE} | _failures_of(operation, path, method)
    return {
        "tags": operation["tags"],
        "summary": summary,
        **({"description": description} if description else {}),
        "operationId": endpoint.__name__,
        **({} if path.startswith(PROTECTED) else {"security": []}),
        **{name: operation[name] for name in ("parameters", "requestBody") if name in operation},
        "responses": successes
        | {status: {"$ref": f"#/components/responses/{names[status]}"} for status in sorted(failures)},
    }


def _failures_of(operation: _Json, path: str, method: str) -> set[str]:
    """Return what can go wrong with any operation of this shape."""
    # Every one refuses what it does not know in a query.
    found = {"400", "422", "500"}
    if "requestBody" in operation:
        found |= {"408", "413", "415"}
    if "{" in path:
        found.add("404")
    if path.startswith(PROTECTED):
        found |= {"401", "503"}
        # The account of a token that still verifies may be gone.
        if method != "get":
            found.add("403")
        if method.upper() in METHODS_WITH_IDEMPOTENCY_KEY:
            found.add("409")
    return found


def _is_conditional(operation: _Json) -> bool:
    names = {parameter["name"] for parameter in operation.get("parameters", ())}
    return not names.isdisjoint({"If-Match", "If-None-Match"})


def _sentences_of(endpoint: Callable[..., Any]) -> tuple[str, str]:
    """Return the first sentence of the docstring, without its full stop, and all the others."""
    text = inspect.getdoc(endpoint) or ""
    match = re.fullmatch(r"(.+?)[.](?:\s+(.*))?", text, re.DOTALL)
    if match is None:
        raise ValueError(f"{endpoint.__name__}: the docstring has no first sentence, which would be the summary")
    return " ".join(match[1].split()), match[2] or ""


def _header(name: str) -> _Json:
    return {"$ref": f"#/components/headers/{name}"}


def _names_of(documentation: Documentation) -> dict[str, str]:
    """Return the names of the shared responses by status."""
    return {str(error.status): type(error).__name__ for error in (*_ERRORS, *documentation.errors)} | {"500": _INTERNAL}


def _headers(documentation: Documentation) -> _Json:
    if documentation.location is None:
        return _HEADERS
    location = _HEADERS["Location"]
    return {
        **_HEADERS,
        "Location": {**location, "schema": {**location["schema"], "examples": [documentation.location]}},
    }


def _responses(documentation: Documentation) -> Iterator[tuple[str, str, _Json]]:
    """Yield the status, the name and the description of every answer that operations share."""
    described: dict[str, list[Response]] = {}
    for error in (*_ERRORS, *documentation.errors):
        described.setdefault(type(error).__name__, []).append(problem_response(error, {}))
    described[_INTERNAL] = [internal_response({})]
    for name, responses in sorted(described.items(), key=lambda pair: pair[1][0].status_code):
        examples = [{**orjson.loads(response.body), "request_id": _REQUEST_ID} for response in responses]
        headers = [header for header in _HEADERS if header in responses[0].headers or header == "X-Request-ID"]
        content: _Json = {"schema": {"$ref": "#/components/schemas/Problem"}}
        if len(examples) == 1:
            content["example"] = examples[0]
        else:
            content["examples"] = {example["code"]: {"value": example} for example in examples}
        yield (
            str(responses[0].status_code),
            name,
            {
                "description": examples[0]["detail"],
                "headers": {header: _header(header) for header in headers},
                "content": {MEDIA_TYPE: content},
            },
        )


def _add_example(message: _Json, schemas: _Json) -> None:
    """Give a body an example; ``x-example`` says where it differs from that of its schema."""
    differences = message.pop("x-example", {})
    for content in message.get("content", {}).values():
        example = _example_of(content["schema"], schemas, "")
        content["example"] = {**example, **differences} if differences else example


def _example_of(schema: _Json, schemas: _Json, name: str) -> Any:
    """Put an example together from those of the fields. Raises ValueError for a field that has none."""
    if schema.get("examples"):
        example = schema["examples"][0]
        # pydantic sorts the names.
        order = [field for field in schema.get("properties", ()) if field in example]
        return {field: example[field] for field in order} if order else example
    for keyword in ("const", "default"):
        if keyword in schema:
            return schema[keyword]
    if "enum" in schema:
        return schema["enum"][0]
    return _example_of_parts(schema, schemas, name)


def _example_of_parts(schema: _Json, schemas: _Json, name: str) -> Any:
    if "$ref" in schema:
        target = schema["$ref"].rpartition("/")[2]
        return _example_of(schemas[target], schemas, target)
    if "anyOf" in schema:
        # Something or null: something.
        return _example_of(schema["anyOf"][0], schemas, name)
    if "items" in schema:
        return [_example_of(schema["items"], schemas, name)]
    if "properties" in schema:
        return {
            field: _example_of(value, schemas, f"{name}.{field}".lstrip("."))
            for field, value in schema["properties"].items()
        }
    raise ValueError(f"{name or schema}: give the field an example")


def _without_titles(schema: _Json) -> None:
    """Take out the titles that pydantic makes of names: client generators would name types by them."""
    schema.pop("title", None)
    for below in _schemas_below(schema):
        _without_titles(below)


def _schemas_below(schema: _Json) -> Iterable[_Json]:
    yield from schema.get("properties", {}).values()
    for keyword in ("anyOf", "oneOf", "allOf", "prefixItems"):
        yield from schema.get(keyword, ())
    for keyword in ("items", "additionalProperties"):
        if isinstance(schema.get(keyword), dict):
            yield schema[keyword]
