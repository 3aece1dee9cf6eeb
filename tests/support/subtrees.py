"""Families: tasks under tasks, made, read and checked as a whole."""

from typing import Any

import psycopg
from httpx import AsyncClient, Response

from support.tasks import add_task

Task = dict[str, Any]

# What every change has anew.
STAMPS = ("revision", "updated_at")

_FAULTS = """
SELECT title, 'progress' AS fault FROM tasks AS parent WHERE user_id = %(user)s
    AND (subtasks_total, subtasks_completed) <> (
        SELECT count(*), count(*) FILTER (WHERE status = 'completed') FROM tasks AS child
        WHERE child.user_id = parent.user_id AND child.parent_id = parent.id AND child.trashed_at IS NULL
    )
UNION ALL
SELECT child.title, 'alive under the trash' FROM tasks AS child JOIN tasks AS parent
    ON parent.user_id = child.user_id AND parent.id = child.parent_id
    WHERE child.user_id = %(user)s AND child.trashed_at IS NULL AND parent.trashed_at IS NOT NULL
UNION ALL
SELECT position, 'place' FROM tasks WHERE user_id = %(user)s GROUP BY position HAVING count(*) > 1
UNION ALL
SELECT 'all', 'counts' WHERE (SELECT count(*) FROM tasks WHERE user_id = %(user)s AND trashed_at IS NULL)
    <> (SELECT coalesce(sum(tasks), 0) FROM task_counts WHERE user_id = %(user)s)
"""


async def add_line(client: AsyncClient, levels: int) -> list[Task]:
    """Create a task, one under it, and so on; return them as they were created, the topmost first."""
    line: list[Task] = []
    for level in range(levels):
        parent_id = line[-1]["id"] if line else None
        line.append(await add_task(client, title=f"Level {level + 1}", parent_id=parent_id))
    return line


async def read(client: AsyncClient, task: Task) -> Task:
    """Return a task as it is now."""
    response = await client.get(f"/tasks/{task['id']}")
    assert response.status_code == 200, response.text
    found: Task = response.json()
    return found


async def read_all(client: AsyncClient, *tasks: Task) -> list[Task]:
    """Return tasks as they are now."""
    return [await read(client, task) for task in tasks]


async def act(client: AsyncClient, task: Task, action: str, **options: Any) -> Task:
    """Post to one of a task's actions, which has to succeed; return the answer."""
    response = await client.post(f"/tasks/{task['id']}/{action}", **options)
    assert response.status_code == 200, response.text
    answer: Task = response.json()
    return answer


async def trash(client: AsyncClient, task: Task, **options: Any) -> Task:
    """Move a task to the trash and return it as it is there."""
    response = await client.delete(f"/tasks/{task['id']}", **options)
    assert response.status_code == 204, response.text
    return await read(client, task)


async def undo(client: AsyncClient, revision: int) -> Response:
    """Undo a change."""
    return await client.post(f"/changes/{revision}/undo")


async def progress(client: AsyncClient, task: Task) -> tuple[int, int]:
    """Return how many tasks lie under a task, and how many of them are completed."""
    now = await read(client, task)
    return now["subtasks_total"], now["subtasks_completed"]


async def changes_of(client: AsyncClient, since: int) -> list[Task]:
    """Return the changes after a revision, without their times."""
    page = (await client.get("/changes", params={"since": since, "limit": 500})).json()
    return [{name: value for name, value in change.items() if name != "at"} for change in page["changes"]]


async def revision_of(client: AsyncClient) -> int:
    """Return the number of the user's last change."""
    revision: int = (await client.get("/changes/snapshot")).json()["revision"]
    return revision


def without_stamps(*tasks: Task) -> list[Task]:
    """Return tasks without what every change has anew."""
    return [{name: value for name, value in task.items() if name not in STAMPS} for task in tasks]


async def faults_of(client: AsyncClient, database_url: str) -> list[tuple[str, str]]:
    """Return everything in which a user's tasks contradict each other."""
    user_id = (await client.get("/me")).json()["id"]
    with psycopg.connect(database_url) as connection:
        return connection.execute(_FAULTS, {"user": user_id}).fetchall()


def conflict(code: str, detail: str) -> dict[str, Any]:
    """The problem of a 409."""
    return {"type": "about:blank", "title": "Conflict", "status": 409, "detail": detail, "code": code}


CIRCLE = conflict(
    "parent_cycle", "A task cannot become a subtask of itself or of its own subtasks. Choose another parent."
)
UNDER_TRASH = conflict("under_trash", "The parent task is in the trash. Restore the parent first.")
IN_TRASH = conflict("in_trash", "The task is in the trash. Restore it first.")
TOO_DEEP = "A tree of tasks has at most 5 levels. Choose a parent at a higher level."
NO_SUCH_TASK = "You have no such task."
NO_SUCH_CATEGORY = "You have no such category."
