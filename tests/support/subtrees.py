"""Subtrees: add, read, change and check tasks with subtasks."""

from typing import Any

import psycopg
from httpx import AsyncClient, Response

from support.invariants import violations
from support.tasks import add_task, conflict

Task = dict[str, Any]

# Fields that every change sets.
STAMPS = ("revision", "updated_at")


async def add_line(client: AsyncClient, levels: int) -> list[Task]:
    """Add a chain of ``levels`` tasks, each below the previous one. Return them as created, the topmost first."""
    line: list[Task] = []
    for level in range(levels):
        parent_id = line[-1]["id"] if line else None
        line.append(await add_task(client, title=f"Level {level + 1}", parent_id=parent_id))
    return line


async def read(client: AsyncClient, task: Task) -> Task:
    response = await client.get(f"/tasks/{task['id']}")
    assert response.status_code == 200, response.text
    found: Task = response.json()
    return found


async def read_all(client: AsyncClient, *tasks: Task) -> list[Task]:
    return [await read(client, task) for task in tasks]


async def act(client: AsyncClient, task: Task, action: str, **options: Any) -> Task:
    """Post to an action of a task, which must succeed, and return the task."""
    response = await client.post(f"/tasks/{task['id']}/{action}", **options)
    assert response.status_code == 200, response.text
    answer: Task = response.json()
    return answer


async def trash(client: AsyncClient, task: Task, **options: Any) -> Task:
    """Move a task to the trash and return its new state."""
    response = await client.delete(f"/tasks/{task['id']}", **options)
    assert response.status_code == 204, response.text
    return await read(client, task)


async def undo(client: AsyncClient, revision: int) -> Response:
    return await client.post(f"/changes/{revision}/undo")


async def progress(client: AsyncClient, task: Task) -> tuple[int, int]:
    """Return the number of subtasks of a task, and how many of them are completed."""
    now = await read(client, task)
    return now["subtasks_total"], now["subtasks_completed"]


async def changes_of(client: AsyncClient, since: int) -> list[Task]:
    """Return the changes after a revision, without their times."""
    page = (await client.get("/changes", params={"since": since, "limit": 500})).json()
    return [{name: value for name, value in change.items() if name != "at"} for change in page["changes"]]


async def revision_of(client: AsyncClient) -> int:
    """Return the user's last revision."""
    revision: int = (await client.get("/changes/snapshot")).json()["revision"]
    return revision


def without_stamps(*tasks: Task) -> list[Task]:
    """Return tasks without the fields that every change sets."""
    return [{name: value for name, value in task.items() if name not in STAMPS} for task in tasks]


async def faults_of(client: AsyncClient, database_url: str) -> list[str]:
    """Return the invariants that the client's rows violate."""
    user_id = (await client.get("/me")).json()["id"]
    with psycopg.connect(database_url, autocommit=True) as connection:
        return [f"{rule}: {rows}" for rule, rows in violations(connection, user_id).items()]


CIRCLE = conflict(
    "parent_cycle", "A task cannot become a subtask of itself or of its own subtasks. Choose another parent."
)
UNDER_TRASH = conflict("under_trash", "The parent task is in the trash. Restore the parent first.")
IN_TRASH = conflict("in_trash", "The task is in the trash. Restore it first.")
TOO_DEEP = "A tree of tasks has at most 5 levels. Choose a parent at a higher level."
NO_SUCH_TASK = "You have no such task."
NO_SUCH_CATEGORY = "You have no such category."
