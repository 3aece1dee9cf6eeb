"""Series: add and complete recurring tasks, and read all occurrences."""

from collections.abc import Mapping
from typing import Any

from httpx import AsyncClient, Response

from support.subtrees import act, read
from support.tasks import add_task
from todo.models.tasks import TaskBase

Task = dict[str, Any]

# Earlier than the due date of any test's task.
LONG_AGO = "2020-01-01T00:00:00Z"


def recurrence(rule: str, **others: str) -> dict[str, str]:
    """Return a recurrence as the API returns it, with defaults for all members."""
    return {"rule": rule, "from": "due", "month_end": "clamp", "missed": "skip", **others}


async def add_series(
    client: AsyncClient, rule: str, due_date: str, *, options: Mapping[str, str] | None = None, **fields: Any
) -> Task:
    """Add a recurring task. ``options`` are members of its recurrence."""
    return await add_task(client, due_date=due_date, recurrence=recurrence(rule, **(options or {})), **fields)


async def complete(client: AsyncClient, task: Task, **body: Any) -> Task:
    """Complete a task or its open occurrence, and return the task in the response."""
    return await act(client, task, "complete", json=body)


async def due_after_each(client: AsyncClient, task: Task, times: int, **body: Any) -> list[str]:
    """Complete a series ``times`` times, and return the due date after each completion."""
    return [(await complete(client, task, **body))["due_date"] for _ in range(times)]


async def change(client: AsyncClient, task: Task, **fields: Any) -> Task:
    """Change fields of a task, which must succeed, and return the task."""
    response = await client.patch(f"/tasks/{task['id']}", json=fields)
    assert response.status_code == 200, response.text
    changed: Task = response.json()
    return changed


async def refused(client: AsyncClient, task: Task, action: str, **body: Any) -> Response:
    """Post to an action of a task, which must change nothing, and return the response."""
    before = await series_of(client, task)
    response = await client.post(f"/tasks/{task['id']}/{action}", json=body)
    assert await series_of(client, task) == before
    return response


async def replace(client: AsyncClient, task: Task, **fields: Any) -> Task:
    """Replace a task by itself with these fields changed, and return the task."""
    body = {name: task[name] for name in TaskBase.model_fields}
    response = await client.put(f"/tasks/{task['id']}", json={**body, **fields})
    assert response.status_code == 200, response.text
    replaced: Task = response.json()
    return replaced


async def series_of(client: AsyncClient, task: Task) -> list[Task]:
    """Return the open task of a series, followed by its closed occurrences in the order of due dates."""
    page = (await client.get("/tasks", params={"limit": 100})).json()
    assert page["total"] == len(page["tasks"])
    found = [each for each in page["tasks"] if each["series_id"] == task["series_id"]]
    return sorted(found, key=lambda each: (each["id"] != task["id"], each["due_date"]))


async def closed(client: AsyncClient, task: Task) -> list[tuple[str, str]]:
    """Return due date and status of the closed occurrences of a series."""
    occurrences = await series_of(client, task)
    return [(each["due_date"], each["status"]) for each in occurrences if each["id"] != task["id"]]


async def upcoming(client: AsyncClient, task: Task, limit: int = 10) -> list[dict[str, str]]:
    """Return the upcoming occurrences of a series."""
    response = await client.get(f"/tasks/{task['id']}/occurrences", params={"limit": limit})
    assert response.status_code == 200, response.text
    occurrences: list[dict[str, str]] = response.json()["occurrences"]
    return occurrences


async def due_at(client: AsyncClient, task: Task) -> str:
    """Return the instant at which a task is due."""
    [occurrence] = await upcoming(client, await read(client, task), limit=1)
    return occurrence["due_at"]


async def set_time_zone(client: AsyncClient, time_zone: str, **profile: Any) -> None:
    """Set the time zone and other fields of the client's profile."""
    response = await client.patch("/me", json={"time_zone": time_zone, **profile})
    assert response.status_code == 200, response.text
