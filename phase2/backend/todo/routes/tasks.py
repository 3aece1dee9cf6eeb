"""Tasks: what is to be done, by when, and how it stands. Everybody has their own, and nobody sees another's."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Path, Query
from starlette.responses import Response

from todo.dependencies import SessionDep
from todo.kit.clock import utc_now
from todo.models.tasks import TaskCreate, TaskPage, TaskPublic, TaskQuery, TaskReplace, TaskUpdate
from todo.services import tasks
from todo.services.tasks import TaskRow
from todo.web.route import Route, json_response

router = APIRouter(prefix="/api/v1/tasks", tags=["tasks"], route_class=Route)

TaskId = Annotated[UUID, Path(description="The task's id.", examples=["0197f0c2-a6b4-7e0b-8d3c-5a1e9f60b7d2"])]

# Somebody else changes the same task at the same moment, again and again.
_CONTENDED: dict[int | str, dict[str, Any]] = {409: {}}
_CREATED: dict[int | str, dict[str, Any]] = {
    200: {"model": TaskPublic, "description": "The task, which was created before from the same body."},
    409: {},
}


# Task: T-031
@router.post("", status_code=201, response_model=TaskPublic, response_description="The new task.", responses=_CREATED)
async def create_task(body: TaskCreate, session: SessionDep) -> Response:
    """Create a task.

    With an ``id`` of your choice it is safe to retry: the same body again answers 200 with the task as it is by now,
    and another body 409 with the code ``id_taken``.
    """
    task, is_new = await tasks.create(session, body, now=utc_now())
    return json_response(task, 201 if is_new else 200, {"Location": f"/api/v1/tasks/{task['id']}"})


# Task: T-033
@router.get("", response_model=TaskPage, response_description="A page of tasks.")
async def list_tasks(query: Annotated[TaskQuery, Query()], session: SessionDep) -> dict[str, Any]:
    """List your tasks, newest first. Filters narrow the list: repeated, one of the values is enough."""
    rows, total = await tasks.page(
        session, skip=query.skip, limit=query.limit, statuses=query.statuses, priorities=query.priority
    )
    return {"tasks": rows, "total": total, "page": query.skip // query.limit + 1, "page_size": len(rows)}


# Task: T-032
@router.get("/{task_id}", response_model=TaskPublic, response_description="The task.")
async def read_task(task_id: TaskId, session: SessionDep) -> TaskRow:
    """Read one task. Somebody else's task is answered as one that does not exist."""
    return await tasks.read(session, task_id)


# Task: T-034
@router.put(
    "/{task_id}", response_model=TaskPublic, response_description="The task as it is now.", responses=_CONTENDED
)
async def replace_task(task_id: TaskId, body: TaskReplace, session: SessionDep) -> TaskRow:
    """Replace a task: a field that you leave out gets its default.

    A completed task cannot become cancelled, nor the other way round: 422 with the code ``invalid_status_transition``.
    """
    return await tasks.replace(session, task_id, body, now=utc_now())


# Task: T-034
@router.patch(
    "/{task_id}", response_model=TaskPublic, response_description="The task as it is now.", responses=_CONTENDED
)
async def update_task(task_id: TaskId, body: TaskUpdate, session: SessionDep) -> TaskRow:
    """Change the fields that you send, and no others; ``null`` clears what may be empty.

    A completed task cannot become cancelled, nor the other way round: 422 with the code ``invalid_status_transition``.
    """
    return await tasks.change(session, task_id, body, now=utc_now())


# Task: T-036
@router.delete("/{task_id}", status_code=204, response_description="It is gone.")
async def delete_task(task_id: TaskId, session: SessionDep) -> None:
    """Delete a task for good. Deleted again, it is a 404."""
    await tasks.remove(session, task_id)


# Task: T-035
@router.post(
    "/{task_id}/complete",
    response_model=TaskPublic,
    response_description="The completed task.",
    responses={
        **_CONTENDED,
        200: {"x-example": {"status": "completed", "completed_at": "2026-03-01T07:30:00.123456Z"}},
    },
)
async def complete_task(task_id: TaskId, session: SessionDep) -> TaskRow:
    """Mark a task completed.

    Safe to retry: the first ``completed_at`` stays. A cancelled task has to be reopened first: 422 with the code
    ``invalid_status_transition``.
    """
    return await tasks.complete(session, task_id, now=utc_now())


# Task: T-035
@router.post("/{task_id}/reopen", response_model=TaskPublic, response_description="The task, open again.")
async def reopen_task(task_id: TaskId, session: SessionDep) -> TaskRow:
    """Make a completed or cancelled task pending again. An open task stays as it is: safe to retry."""
    return await tasks.reopen(session, task_id, now=utc_now())
