"""Series: tasks that repeat, made, completed, and looked at as a whole."""

from collections.abc import Mapping
from typing import Any

from httpx import AsyncClient, Response

from support.subtrees import act, read
from support.tasks import add_task
from todo.models.tasks import TaskBase

Task = dict[str, Any]

# A time before which no task of a test is due.
LONG_AGO = "2020-01-01T00:00:00Z"


def recurrence(rule: str, **others: str) -> dict[str, str]:
    """A recurrence as it is given back."""
    return {"rule": rule, "from": "due", "month_end": "clamp", "missed": "skip", **others}


async def add_series(
    client: AsyncClient, rule: str, due_date: str, *, options: Mapping[str, str] | None = None, **fields: Any
) -> Task:
    """Create a task that repeats. ``options`` are those of the recurrence."""
    return await add_task(client, due_date=due_date, recurrence=recurrence(rule, **(options or {})), **fields)


async def complete(client: AsyncClient, task: Task, **said: Any) -> Task:
    """Complete a task or its open occurrence; return what is answered."""
    return await act(client, task, "complete", json=said)


async def due_after_each(client: AsyncClient, task: Task, times: int, **said: Any) -> list[str]:
    """Complete a series so often; return the due date that each completion leaves."""
    return [(await complete(client, task, **said))["due_date"] for _ in range(times)]


async def change(client: AsyncClient, task: Task, **fields: Any) -> Task:
    """Change fields of a task, which has to succeed; return the answer."""
    response = await client.patch(f"/tasks/{task['id']}", json=fields)
    assert response.status_code == 200, response.text
    changed: Task = response.json()
    return changed


async def refused(client: AsyncClient, task: Task, action: str, **said: Any) -> Response:
    """Post to one of a task's actions, which has to change nothing; return the answer."""
    before = await series_of(client, task)
    response = await client.post(f"/tasks/{task['id']}/{action}", json=said)
    assert await series_of(client, task) == before
    return response


async def replace(client: AsyncClient, task: Task, **fields: Any) -> Task:
    """Send back a task as it was read, but for these fields; return the answer."""
    body = {name: task[name] for name in TaskBase.model_fields}
    response = await client.put(f"/tasks/{task['id']}", json={**body, **fields})
    assert response.status_code == 200, response.text
    replaced: Task = response.json()
    return replaced


async def series_of(client: AsyncClient, task: Task) -> list[Task]:
    """Return the open task of a series, and then its closed occurrences, by their due dates."""
    page = (await client.get("/tasks", params={"limit": 100})).json()
    assert page["total"] == len(page["tasks"])
    found = [each for each in page["tasks"] if each["series_id"] == task["series_id"]]
    return sorted(found, key=lambda each: (each["id"] != task["id"], each["due_date"]))


async def closed(client: AsyncClient, task: Task) -> list[tuple[str, str]]:
    """Return due date and status of a series' closed occurrences."""
    occurrences = await series_of(client, task)
    return [(each["due_date"], each["status"]) for each in occurrences if each["id"] != task["id"]]


async def upcoming(client: AsyncClient, task: Task, limit: int = 10) -> list[dict[str, str]]:
    """Return the occurrences that are to come."""
    response = await client.get(f"/tasks/{task['id']}/occurrences", params={"limit": limit})
    assert response.status_code == 200, response.text
    occurrences: list[dict[str, str]] = response.json()["occurrences"]
    return occurrences


async def due_at(client: AsyncClient, task: Task) -> str:
    """Return the instant at which a task is due."""
    [occurrence] = await upcoming(client, await read(client, task), limit=1)
    return occurrence["due_at"]


async def live_in(client: AsyncClient, time_zone: str, **profile: Any) -> None:
    """Set where a user is."""
    response = await client.patch("/me", json={"time_zone": time_zone, **profile})
    assert response.status_code == 200, response.text
