"""Tasks under ``/api/v1/tasks``."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query
from starlette.responses import Response

from todo.dependencies import SessionDep
from todo.kit.clock import utc_now
from todo.models.tasks import TaskCreate, TaskPage, TaskPublic, TaskQuery, TaskReplace, TaskUpdate
from todo.services import tasks
from todo.services.tasks import TaskRow
from todo.web.route import Route, json_response

router = APIRouter(prefix="/api/v1/tasks", tags=["tasks"], route_class=Route)


# Task: T-031
@router.post("", status_code=201, response_model=TaskPublic)
async def create_task(body: TaskCreate, session: SessionDep) -> Response:
    """Create a task. With an id of your choice it is safe to retry: the same body again answers 200."""
    task, is_new = await tasks.create(session, body, now=utc_now())
    return json_response(task, 201 if is_new else 200, {"Location": f"/api/v1/tasks/{task['id']}"})


# Task: T-033
@router.get("", response_model=TaskPage)
async def list_tasks(query: Annotated[TaskQuery, Query()], session: SessionDep) -> dict[str, Any]:
    """List your tasks, newest first."""
    rows, total = await tasks.page(
        session, skip=query.skip, limit=query.limit, statuses=query.statuses, priorities=query.priority
    )
    return {"tasks": rows, "total": total, "page": query.skip // query.limit + 1, "page_size": len(rows)}


# Task: T-032
@router.get("/{task_id}", response_model=TaskPublic)
async def read_task(task_id: UUID, session: SessionDep) -> TaskRow:
    """Read one task."""
    return await tasks.read(session, task_id)


# Task: T-034
@router.put("/{task_id}", response_model=TaskPublic)
async def replace_task(task_id: UUID, body: TaskReplace, session: SessionDep) -> TaskRow:
    """Replace a task: a field that you leave out gets its default."""
    return await tasks.replace(session, task_id, body, now=utc_now())


# Task: T-034
@router.patch("/{task_id}", response_model=TaskPublic)
async def update_task(task_id: UUID, body: TaskUpdate, session: SessionDep) -> TaskRow:
    """Change the fields that you send, and no others; null clears what may be empty."""
    return await tasks.change(session, task_id, body, now=utc_now())


# Task: T-036
@router.delete("/{task_id}", status_code=204)
async def delete_task(task_id: UUID, session: SessionDep) -> None:
    """Delete a task for good."""
    await tasks.remove(session, task_id)


# Task: T-035
@router.post("/{task_id}/complete", response_model=TaskPublic)
async def complete_task(task_id: UUID, session: SessionDep) -> TaskRow:
    """Mark a task completed. Safe to retry: the first time stays."""
    return await tasks.complete(session, task_id, now=utc_now())


# Task: T-035
@router.post("/{task_id}/reopen", response_model=TaskPublic)
async def reopen_task(task_id: UUID, session: SessionDep) -> TaskRow:
    """Make a completed or cancelled task pending again. Safe to retry."""
    return await tasks.reopen(session, task_id, now=utc_now())
