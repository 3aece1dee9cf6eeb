"""The specification beyond single routes: the introduction, and the errors and types that features add."""

from typing import Any

from todo import errors
from todo.web.openapi import Documentation

_DESCRIPTION = """\
Tasks of many users, each of whom sees only their own.

Every path below `/api/` wants a bearer token. Press *Authorize* and paste one, or send it along:

    curl http://127.0.0.1:8000/api/v1/tasks -H "Authorization: Bearer $TOKEN"

`todo token alice` prints one where the server verifies tokens with a secret of its own; otherwise the web app's issuer
signs them.

Whatever goes wrong is told in one form, `application/problem+json` (RFC 9457). Its `code` is for programs and does not
change; its `detail` is for people. Every answer names its request in `X-Request-ID`, which a client may choose.

Some requests may change thousands of tasks, and take up to 22 seconds then: renaming or deleting a tag; deleting,
restoring, replacing, changing or completing a task; deleting a category; changing your settings; a batch; an undo. Let
a client wait for 30. Your other changes wait for their turn meanwhile, and are 503 with `Retry-After` after a second or
so; a second such request of yours may be, too. What is more than one request can change is 409 with the code
`too_much_at_once`, of these operations only: nothing was changed then, and doing it in parts helps."""

_CONFLICTING_CHANGE: dict[str, Any] = {
    "type": "object",
    "description": "A later change that touched the same fields.",
    "required": ["revision", "operation", "fields"],
    "properties": {
        "revision": {"type": "integer", "description": "Its number.", "examples": [18]},
        "operation": {"type": "string", "enum": ["create", "update", "delete"], "description": "What it did."},
        "fields": {
            "type": "array",
            "description": "The fields that both changed, by name; empty if it created or deleted the whole thing.",
            "items": {"type": "string", "examples": ["title"]},
        },
    },
}
_PROBLEM_FIELDS: dict[str, Any] = {
    "pointer": {
        "type": "string",
        "description": "Of a batch the operation that failed, as a JSON pointer (RFC 6901).",
        "examples": ["/body/operations/1"],
    },
    "conflicts": {
        "type": "array",
        "description": "The later changes in the way of an undo, at most 100; only with the code `changed_since`.",
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
        "The log does not hold what you ask for. Start again from GET /api/v1/changes/snapshot.", code="resync_required"
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
