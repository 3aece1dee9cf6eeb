"""The parts of the OpenAPI document beyond single routes: the introduction, and the errors and types of features."""

from typing import Any

from todo import errors
from todo.web.openapi import Documentation

_DESCRIPTION = """\
A todo API for many users. Each user sees only their own data.

Every path below `/api/` needs a bearer token. Press *Authorize* and paste one, or send it in a header:

    curl http://127.0.0.1:8000/api/v1/tasks -H "Authorization: Bearer $TOKEN"

If the server verifies tokens with its own secret, `todo token alice` prints one. Otherwise the issuer of the web app
signs them.

Every error is an `application/problem+json` (RFC 9457). Its `code` is for programs and does not change; its `detail` is
for people. Every response has the id of its request in `X-Request-ID`. You may send this header to choose the id.

Some requests can change thousands of tasks, and can take up to 22 seconds: renaming or deleting a tag; deleting,
restoring, replacing, updating or completing a task; deleting a category; updating your settings; a batch; an undo. Use
a timeout of 30 seconds for them. While such a request runs, your other changes wait. After about a second, the answer
to a waiting request is 503 with `Retry-After`. If a request would change more tasks than one request can, the answer
is 409 with the code `too_much_at_once`, and nothing was changed. Then change the tasks in parts."""

_CONFLICTING_CHANGE: dict[str, Any] = {
    "type": "object",
    "description": "A later change that touched the same fields.",
    "required": ["revision", "operation", "fields"],
    "properties": {
        "revision": {"type": "integer", "description": "The revision of the later change.", "examples": [18]},
        "operation": {"type": "string", "enum": ["create", "update", "delete"], "description": "The kind of change."},
        "fields": {
            "type": "array",
            "description": "The names of the fields that both changes set. Empty if it created or deleted the object.",
            "items": {"type": "string", "examples": ["title"]},
        },
    },
}
_PROBLEM_FIELDS: dict[str, Any] = {
    "pointer": {
        "type": "string",
        "description": "The operation of a batch that failed, as a JSON pointer (RFC 6901).",
        "examples": ["/body/operations/1"],
    },
    "conflicts": {
        "type": "array",
        "description": "The later changes that prevent an undo, at most 100. Only with the code `changed_since`.",
        "items": {"$ref": "#/components/schemas/ConflictingChange"},
    },
}
_ERRORS = (
    errors.Conflict("You already have another task with this id. Choose a new id.", code="id_taken"),
    errors.Conflict(
        "Later changes touched the same fields; see conflicts. Undo those first.",
        code="changed_since",
        conflicts=[{"revision": 18, "operation": "update", "fields": ["title"]}],
    ),
    errors.Conflict(
        "Another category of yours has this name; see conflicting_id. Choose another name.",
        code="name_taken",
        conflicting_id="0197f0c2-c1d0-7a55-9b1e-2f6d3c8a4e17",
    ),
    errors.Conflict(errors.TOO_MUCH_AT_ONCE, code="too_much_at_once"),
    errors.Gone(
        "The log does not contain this revision. Start again from GET /api/v1/changes/snapshot.", code="resync_required"
    ),
)

# Task: T-050
DOCUMENTATION = Documentation(
    description=_DESCRIPTION,
    errors=_ERRORS,
    problem_fields=_PROBLEM_FIELDS,
    schemas={"ConflictingChange": _CONFLICTING_CHANGE},
    location="/api/v1/tasks/0197f0c2-a6b4-7e0b-8d3c-5a1e9f60b7d2",
)
