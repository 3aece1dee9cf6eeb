"""Add and list tasks, and the problems that task routes return."""

from datetime import datetime
from typing import Any

from httpx import AsyncClient, Response

from todo.models.tasks import TaskBase


async def add_task(client: AsyncClient, **fields: Any) -> dict[str, Any]:
    """Add a task over HTTP and return it."""
    response = await client.post("/tasks", json={"title": "Buy milk", **fields})
    assert response.status_code == 201, response.text
    task: dict[str, Any] = response.json()
    return task


async def tasks_of(client: AsyncClient) -> list[dict[str, Any]]:
    """Return the first page of the client's tasks."""
    tasks: list[dict[str, Any]] = (await client.get("/tasks")).json()["tasks"]
    return tasks


async def read_all_pages(client: AsyncClient, query: str, *, limit: int) -> list[dict[str, Any]]:
    """Return all tasks that a query finds, read page by page."""
    tasks: list[dict[str, Any]] = []
    cursor = ""
    while True:
        response = await client.get(f"/tasks?{query}&limit={limit}{cursor}")
        assert response.status_code == 200, response.text
        page = response.json()
        tasks += page["tasks"]
        if page["next_cursor"] is None:
            return tasks
        cursor = f"&cursor={page['next_cursor']}"


def instant(text: str) -> datetime:
    """Parse an instant of the API, which must end with Z."""
    assert text.endswith("Z")
    return datetime.fromisoformat(text)


def without_request_id(response: Response) -> tuple[int, list[tuple[str, str]], bytes]:
    """Return status, headers and body without the request id, to compare responses."""
    request_id = response.headers["x-request-id"]
    headers = sorted((name, value) for name, value in response.headers.items() if name != "x-request-id")
    return response.status_code, headers, response.content.replace(request_id.encode(), b"")


def problem_of(response: Response) -> dict[str, Any]:
    """Return the problem in a response without its request id, which must equal the header."""
    assert response.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = response.json()
    assert problem.pop("request_id") == response.headers["x-request-id"]
    return problem


def invalid(*errors: tuple[str, str], code: str = "invalid_input", detail: str | None = None) -> dict[str, Any]:
    """Return the problem of a 422 with these ``errors``, each a pointer and a detail."""
    return {
        "type": "about:blank",
        "title": "Unprocessable Content",
        "status": 422,
        "detail": detail or "The input is not acceptable; see errors.",
        "code": code,
        "errors": [{"pointer": pointer, "detail": detail} for pointer, detail in errors],
    }


# The fields of a task that was created with only a title.
UNSET: dict[str, Any] = {
    **{
        name: field.get_default(call_default_factory=True)
        for name, field in TaskBase.model_fields.items()
        if not field.is_required()
    },
    "series_id": None,
    "last_completed_at": None,
    "subtasks_total": 0,
    "subtasks_completed": 0,
    "trashed_at": None,
    "completed_at": None,
}

BLANK = "\t \n\r\x0b\x0c\x85\xa0\u1680\u2003\u2028\u2029\u202f\u205f\u3000"
TOO_SHORT = "Expected 1 character or more."
TOO_LONG = "Expected 200 characters or fewer."
NOT_TEXT = "Expected text."
NO_SUCH_FIELD = "There is no such field here."
STATUS_EXPECTED = "Expected 'pending', 'in_progress', 'completed' or 'cancelled'."
PRIORITY_EXPECTED = "Expected 'low', 'medium' or 'high'."
DUE_EXPECTED = (
    "Expected a date (2026-03-10), a date and time (2026-03-10T09:00:00), or one with an offset (2026-03-10T09:00:00Z)."
)
NO_SUCH_DATE = "There is no such date. Check the day and the month; years go from 0001 to 9999."
NO_SUCH_TIME = "There is no such time. Hours go from 00 to 23, minutes and seconds from 00 to 59."
ZONE_EXPECTED = "Expected the IANA name of a time zone, such as Europe/Berlin or UTC."
UUID_EXPECTED = "Expected a UUID, such as 0197f0c2-a6b4-7e0b-8d3c-5a1e9f60b7d2."


def conflict(code: str, detail: str, **members: Any) -> dict[str, Any]:
    """Return the problem of a 409."""
    problem = {"type": "about:blank", "title": "Conflict", "status": 409, "detail": detail, "code": code}
    return {**problem, **members}


NOT_FOUND: dict[str, Any] = {
    "type": "about:blank",
    "title": "Not Found",
    "status": 404,
    "detail": "There is nothing here, or it is not yours.",
    "code": "not_found",
}
ACCOUNT_GONE: dict[str, Any] = {
    "type": "about:blank",
    "title": "Forbidden",
    "status": 403,
    "detail": "The account of this token no longer exists.",
    "code": "account_gone",
}

# Fields that are invalid in every body: the field, its value, and the detail of the error.
WRONG_FIELDS: list[tuple[str, Any, str]] = [
    ("title", None, NOT_TEXT),
    ("title", 1, NOT_TEXT),
    ("title", "", TOO_SHORT),
    ("title", BLANK, TOO_SHORT),
    ("title", "a" * 201, TOO_LONG),
    ("title", "𝄞" * 201, TOO_LONG),
    ("title", "Buy\x00milk", "The character NUL (U+0000) cannot be stored."),
    ("description", 1, NOT_TEXT),
    ("description", "a" * 10_001, "Expected 10,000 characters or fewer."),
    ("description", "\x00", "The character NUL (U+0000) cannot be stored."),
    ("status", "done", STATUS_EXPECTED),
    ("status", None, STATUS_EXPECTED),
    ("priority", "urgent", PRIORITY_EXPECTED),
    ("priority", 1, PRIORITY_EXPECTED),
    ("priority", None, PRIORITY_EXPECTED),
    ("due_date", 20260310, NOT_TEXT),
    *(("due_date", text, DUE_EXPECTED) for text in ("", "0", "25:99", "20260310", "2026-W10-2")),
    ("due_date", "2026-02-30", NO_SUCH_DATE),
    ("due_date", "2026-03-10T25:99:00", NO_SUCH_TIME),
    ("due_date", "2026-12-31T23:59:60Z", NO_SUCH_TIME),
    ("start_date", 0, NOT_TEXT),
    ("start_date", "2026-02-30", NO_SUCH_DATE),
    ("due_time_zone", "", ZONE_EXPECTED),
    ("due_time_zone", "Mars/Olympus", ZONE_EXPECTED),
    ("due_time_zone", "+01:00", ZONE_EXPECTED),
    *(
        (field, None, NO_SUCH_FIELD)
        for field in (
            *("user_id", "created_at", "updated_at", "completed_at", "creation_digest", "colour", "due_at"),
            *("series_id", "last_completed_at", "recurrence_anchor", "position", "trashed_at", "subtasks_total"),
        )
    ),
]
