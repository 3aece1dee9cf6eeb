"""The OpenAPI 3.1 document: FastAPI's description of the routes, completed with facts that the routes imply.

A new route documents itself: the name of its function is the ``operationId``, the first sentence of its docstring is
the summary, and the docstring of its module describes its tag. Its examples are built from those of the fields, and its
errors follow from its parameters. A route declares only the errors of its service, as in ``responses={409: {}}``.
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
    "description": "A JWT from the issuer that the server trusts, or one that `todo token` printed.",
}

_REQUEST_ID = "0197f0c2a6b47e0b8d3c5a1e9f60b7d2"

_PROBLEM: _Json = {
    "type": "object",
    "description": "An error (RFC 9457).",
    "required": ["type", "title", "status", "detail", "code", "request_id"],
    "properties": {
        "type": {
            "type": "string",
            "description": "Always `about:blank`. Use `code` to tell errors apart.",
            "examples": ["about:blank"],
        },
        "title": {"type": "string", "description": "The name of the HTTP status.", "examples": ["Not Found"]},
        "status": {"type": "integer", "description": "The HTTP status.", "examples": [404]},
        "detail": {"type": "string", "description": "For people: a sentence that says what happened and what to do."},
        "code": {"type": "string", "description": "For programs: the kind of error.", "examples": ["not_found"]},
        "request_id": {
            "type": "string",
            "description": "The id of the request in the server's log, as in `X-Request-ID`.",
            "examples": [_REQUEST_ID],
        },
        "errors": {
            "type": "array",
            "description": "Each error in the input. Only with status 422.",
            "items": {"$ref": "#/components/schemas/FieldError"},
        },
        "current": {
            "type": "object",
            "description": "The object as it is now. Only with status 412.",
        },
        "conflicting_id": {
            "type": "string",
            "description": "The id of the object that already has this name. Only with the code `name_taken`.",
            "examples": ["0197f0c2-c1d0-7a55-9b1e-2f6d3c8a4e17"],
        },
    },
}
_FIELD_ERROR: _Json = {
    "type": "object",
    "description": "One error in the input.",
    "required": ["pointer", "detail"],
    "properties": {
        "pointer": {
            "type": "string",
            "description": "A JSON pointer (RFC 6901) that begins with `body`, `query`, `path` or `header`.",
            "examples": ["/body/title"],
        },
        "detail": {
            "type": "string",
            "description": "For people: a sentence that says what is wrong or what is expected.",
            "examples": ["This field is required."],
        },
    },
}

_IDEMPOTENCY_KEY: _Json = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": (
        "Send a new key with each new request, for example a UUID: 1 to 255 printable ASCII characters. If you receive"
        " no answer, send the same request with the same key again. Within 24 hours, it has no second effect: you"
        " receive the stored answer, with the header `Idempotency-Replayed: true`. If the first request is still"
        " running, the second one waits for up to two seconds; then the answer is 409 with the code"
        " `idempotency_key_in_use`. A different request with the same key is 422 with the code"
        " `idempotency_key_reused`. After an error, you may use the key again."
    ),
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "examples": ["0197f0c2-a6b4-7e0b"]},
}

_HEADERS: _Json = {
    "ETag": {
        "required": True,
        "description": (
            "The revision of the object. Send it as `If-None-Match` with a read, or as `If-Match` with a write."
        ),
        "schema": {"type": "string", "examples": ['"17"']},
    },
    # For operations with some answers that depend on the current time.
    "ETag-Unless-Timed": {
        "description": (
            "The revision of the answer. Send it as `If-None-Match`. Absent if the answer depends on the current time."
        ),
        "schema": {"type": "string", "examples": ['"17"']},
    },
    "Idempotency-Replayed": {
        "description": "`true` if this is the stored answer to an earlier request with the same `Idempotency-Key`.",
        "schema": {"type": "string", "enum": ["true"]},
    },
    "X-Request-ID": {
        "required": True,
        "description": "The id of the request in the server's log: the one that you sent, or a new one.",
        "schema": {"type": "string", "examples": [_REQUEST_ID]},
    },
    "Location": {
        "required": True,
        "description": "The URL of the new object.",
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
        "description": "The number of seconds to wait before you try again.",
        "schema": {"type": "integer", "minimum": 0, "examples": [1]},
    },
}

_REUSED = "This Idempotency-Key was used for another request. Choose a new key for a new request."
_CURRENT = {"id": "0197f0c2-a6b4-7e0b-8d3c-5a1e9f60b7d2", "title": "Buy milk", "revision": 17}

# The errors that operations return, the usual one of each status first. Others, such as 405, belong to no operation.
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
    """The parts of the document that features add. This module knows no feature.

    ``errors`` are examples of errors that only some operations return. ``problem_fields`` are the extra members of such
    problems, and ``schemas`` the types that these members refer to. ``location`` is an example of a new object's URL.
    """

    description: str = ""
    errors: Sequence[TodoError] = ()
    problem_fields: Mapping[str, _Json] = field(default_factory=dict)
    schemas: Mapping[str, _Json] = field(default_factory=dict)
    location: str | None = None


_NO_DOCUMENTATION = Documentation()


def install(app: FastAPI, documentation: Documentation = _NO_DOCUMENTATION) -> None:
    """Make ``app.openapi()`` return this document. The first call builds it."""
    made: list[_Json] = []

    def openapi() -> _Json:
        if not made:
            made.append(document(app, documentation))
        return made[0]

    app.openapi = openapi  # type: ignore[method-assign]


# Task: T-050
def document(app: FastAPI, documentation: Documentation = _NO_DOCUMENTATION) -> _Json:
    """Return the document with all visible routes of ``app``. Raises ValueError if a summary or example is missing."""
    made = get_openapi(title=app.title, version=app.version, routes=app.routes)
    schemas: _Json = made.get("components", {}).get("schemas", {})
    # A Condition is documented as the text of its header.
    for unused in ("HTTPValidationError", "ValidationError", "Condition"):
        schemas.pop(unused, None)
    for schema in schemas.values():
        _remove_titles(schema)
    problem = {**_PROBLEM, "properties": {**_PROBLEM["properties"], **documentation.problem_fields}}
    schemas |= {"Problem": problem, "FieldError": _FIELD_ERROR, **documentation.schemas}
    names = _names_of(documentation)
    endpoints = _endpoints_of(app)
    for path, operations in made["paths"].items():
        for method, operation in operations.items():
            operations[method] = _complete(operation, path, method, endpoints[path, method], schemas, names)
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
    """Return the route function of every path and method."""
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
    """Yield each tag with its description: the docstring of the module of its first operation."""
    seen = set()
    for place, operation in _operations_of(document):
        for tag in operation.get("tags", ()):
            if tag not in seen:
                seen.add(tag)
                yield {"name": tag, "description": inspect.getdoc(inspect.getmodule(endpoints[place])) or tag}


def _complete(
    operation: _Json,
    path: str,
    method: str,
    endpoint: Callable[..., Any],
    schemas: _Json,
    names: Mapping[str, str],
) -> _Json:
    """Return the operation with everything that follows from its shape, in reading order."""
    summary, description = _sentences_of(endpoint)
    for parameter in operation.get("parameters", ()):
        _remove_titles(parameter["schema"])
        # The parameter itself has this description.
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
    """Return the statuses of the errors that any operation of this shape can return."""
    # Every operation refuses unknown query parameters.
    found = {"400", "422", "500"}
    if "requestBody" in operation:
        found |= {"408", "413", "415"}
    if "{" in path:
        found.add("404")
    if path.startswith(PROTECTED):
        found |= {"401", "503"}
        # The account may have been deleted while its token is still valid.
        if method != "get":
            found.add("403")
        if method.upper() in METHODS_WITH_IDEMPOTENCY_KEY:
            found.add("409")
    return found


def _is_conditional(operation: _Json) -> bool:
    names = {parameter["name"] for parameter in operation.get("parameters", ())}
    return not names.isdisjoint({"If-Match", "If-None-Match"})


def _sentences_of(endpoint: Callable[..., Any]) -> tuple[str, str]:
    """Return the first sentence of the docstring, without its full stop, and the rest."""
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
    """Yield the status, the name and the description of every shared response."""
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
    """Add an example to a body: the example of its schema, changed by the fields in ``x-example``."""
    differences = message.pop("x-example", {})
    for content in message.get("content", {}).values():
        example = _example_of(content["schema"], schemas, "")
        content["example"] = {**example, **differences} if differences else example


def _example_of(schema: _Json, schemas: _Json, name: str) -> Any:
    """Build an example from those of the fields. Raises ValueError for a field that has none."""
    if schema.get("examples"):
        example = schema["examples"][0]
        # Restore the order of the fields: pydantic sorts the names in examples.
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
        # A nullable field: null is the last alternative.
        return _example_of(schema["anyOf"][0], schemas, name)
    if "items" in schema:
        return [_example_of(schema["items"], schemas, name)]
    if "properties" in schema:
        return {
            field: _example_of(value, schemas, f"{name}.{field}".lstrip("."))
            for field, value in schema["properties"].items()
        }
    raise ValueError(f"{name or schema}: give the field an example")


def _remove_titles(schema: _Json) -> None:
    """Remove the titles that pydantic derives from names: client generators would name types after them."""
    schema.pop("title", None)
    for below in _schemas_below(schema):
        _remove_titles(below)


def _schemas_below(schema: _Json) -> Iterable[_Json]:
    yield from schema.get("properties", {}).values()
    for keyword in ("anyOf", "oneOf", "allOf", "prefixItems"):
        yield from schema.get(keyword, ())
    for keyword in ("items", "additionalProperties"):
        if isinstance(schema.get(keyword), dict):
            yield schema[keyword]
