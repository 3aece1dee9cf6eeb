"""Tasks: what is to be done, by when, and how it stands. Everybody has their own, and nobody sees another's."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from starlette.responses import Response

from todo.dependencies import LongSessionDep, SessionDep
from todo.kit.clock import utc_now
from todo.models.base import Id
from todo.models.batches import Batch, BatchResults
from todo.models.changes import History, HistoryQuery
from todo.models.finding import TaskPage, TaskQuery
from todo.models.task_actions import (
    Completion,
    Occurrences,
    OccurrencesQuery,
    Skip,
    TaskDeletion,
    TaskMove,
)
from todo.models.tasks import TaskCreate, TaskPublic, TaskReplace, TaskUpdate
from todo.services import batches, changes, finding, series, tasks, trash
from todo.web.conditions import IfMatch, IfNoneMatch, OnlyIfNew, tagged
from todo.web.route import Route, json_response

router = APIRouter(prefix="/api/v1/tasks", tags=["tasks"], route_class=Route)

TaskId = Annotated[Id, Path(description="The task's id.", examples=["0197f0c2-a6b4-7e0b-8d3c-5a1e9f60b7d2"])]

# Somebody else changes the same task at the same moment, again and again.
_CONTENDED: dict[int | str, dict[str, Any]] = {409: {}, 412: {}}
_UNCHANGED: dict[int | str, dict[str, Any]] = {304: {"description": "It is still as you have it."}}
_CREATED: dict[int | str, dict[str, Any]] = {
    200: {"model": TaskPublic, "description": "The task, which was created before from the same body."},
    409: {},
    412: {},
}


# Task: T-031
@router.post("", status_code=201, response_model=TaskPublic, response_description="The new task.", responses=_CREATED)
async def create_task(body: TaskCreate, session: SessionDep, if_none_match: OnlyIfNew = None) -> Response:
    """Create a task.

    With an ``id`` of your choice it is safe to retry: the same body again answers 200 with the task as it is by now,
    and another body 409 with the code ``id_taken``. With ``If-None-Match: *`` a task that is there already is a 412.
    """
    task, is_new = await tasks.create(session, body, now=utc_now(), unless=if_none_match)
    location = {"Location": f"/api/v1/tasks/{task['id']}"}
    return tagged(task, task["revision"], status_code=201 if is_new else 200, headers=location)


# Task: T-033
@router.get(
    "",
    response_model=TaskPage,
    response_description="A page of tasks.",
    responses={**_UNCHANGED, 200: {"x-timed": True}},
)
async def list_tasks(
    query: Annotated[TaskQuery, Query()], session: SessionDep, if_none_match: IfNoneMatch = None
) -> Response:
    """List your tasks, the newest first unless you say otherwise; of those that you filter by time, by that time.

    All filters have to hold. What is in the trash is in no list but `trashed=true`. A time to filter by is a date,
    which is your day, a wall-clock time where you are, or an instant; it is itself not among what is found. Instead of
    `skip` follow `next_cursor`: so no task comes twice or is left out. If there are filters other than `status`,
    `priority` and `category_id`, not all of many tasks are counted: see `total_is_exact`.

    The `ETag` holds until anything of yours changes. What is due `today`, `overdue`, `upcoming` or this `week` depends
    on the time as well, and so has none.
    """
    page = await finding.page(session, query, now=utc_now(), unless=if_none_match)
    content = {
        "tasks": page.tasks,
        "total": page.total,
        "total_is_exact": page.total_is_exact,
        "page": page.passed // query.limit + 1,
        "page_size": len(page.tasks),
        "next_cursor": page.next_cursor,
    }
    if page.revision is None:
        return json_response(content)
    return tagged(content, page.revision, unless=if_none_match)


# Task: T-353
@router.post(
    "/batch",
    response_model=BatchResults,
    response_description="What became of each operation.",
    responses={404: {}, **_CONTENDED},
)
async def run_batch(body: Batch, session: LongSessionDep) -> dict[str, Any]:
    """Do up to 100 things to your tasks at once, in order and in one transaction.

    Give a task that you create a `ref`, and later operations may name it: `"$party"` for the `ref` `party`, as an `id`,
    `parent_id`, `after_id` or `before_id`. Unless `atomic` is false it is all or nothing: the first operation that
    fails is answered as it would be by itself, and points to its place. With `atomic` false the rest is done, and each
    result has its own `status`. The body may have 1 MiB, which is a hundred descriptions of 10,000 ASCII characters. To
    retry safely send an `Idempotency-Key`.
    """
    return {"results": await batches.run(session, body, now=utc_now())}


# Task: T-032
@router.get("/{task_id}", response_model=TaskPublic, response_description="The task.", responses=_UNCHANGED)
async def read_task(task_id: TaskId, session: SessionDep, if_none_match: IfNoneMatch = None) -> Response:
    """Read one task. Somebody else's task is answered as one that does not exist."""
    task = await tasks.read(session, task_id)
    return tagged(task, task["revision"], unless=if_none_match)


# Task: T-034
@router.put(
    "/{task_id}", response_model=TaskPublic, response_description="The task as it is now.", responses=_CONTENDED
)
async def replace_task(
    task_id: TaskId, body: TaskReplace, session: LongSessionDep, if_match: IfMatch = None
) -> Response:
    """Replace a task: a field that you leave out gets its default.

    A completed task cannot become cancelled, nor the other way round: 422 with the code ``invalid_status_transition``.
    """
    task = await tasks.replace(session, task_id, body, now=utc_now(), if_match=if_match)
    return tagged(task, task["revision"])


# Task: T-034
@router.patch(
    "/{task_id}", response_model=TaskPublic, response_description="The task as it is now.", responses=_CONTENDED
)
async def update_task(task_id: TaskId, body: TaskUpdate, session: LongSessionDep, if_match: IfMatch = None) -> Response:
    """Change the fields that you send, and no others.

    ``null`` clears what may be empty; ``{}`` changes nothing. What changes nothing keeps the ``revision``.
    A new ``due_date`` moves what repeats from here on, or with ``scope`` ``occurrence`` this one only. Another rule
    begins anew, at the next date that fits it; where only its end changes, or its options, the series goes on.
    A completed task cannot become cancelled, nor the other way round: 422 with the code ``invalid_status_transition``.
    """
    task = await tasks.change(session, task_id, body, now=utc_now(), if_match=if_match)
    return tagged(task, task["revision"])


# Task: T-036
# Task: T-351
@router.delete("/{task_id}", status_code=204, response_description="It is in the trash, or gone.", responses=_CONTENDED)
async def delete_task(
    task_id: TaskId, query: Annotated[TaskDeletion, Query()], session: LongSessionDep, if_match: IfMatch = None
) -> None:
    """Move a task to the trash with all that lies under it, or delete it for good.

    The latter with ``permanent=true``. What is in the trash stays as it is: safe to retry. After 30 days it is deleted
    for good, and is a 404 from then on.
    """
    if query.permanent:
        await trash.remove(session, task_id, if_match=if_match)
    else:
        await trash.put(session, task_id, now=utc_now(), if_match=if_match)


# Task: T-351
@router.post(
    "/{task_id}/restore",
    response_model=TaskPublic,
    response_description="The task, out of the trash.",
    responses=_CONTENDED,
)
async def restore_task(task_id: TaskId, session: LongSessionDep, if_match: IfMatch = None) -> Response:
    """Bring a task back from the trash, with all that went there with it: the same tree, as it was.

    What is not in the trash stays as it is: safe to retry. Where what the task lies under is in the trash, that has to
    be restored first: 409 with the code ``under_trash``.
    """
    task = await trash.restore(session, task_id, now=utc_now(), if_match=if_match)
    return tagged(task, task["revision"])


# Task: T-343
@router.post(
    "/{task_id}/move", response_model=TaskPublic, response_description="The task as it is now.", responses=_CONTENDED
)
async def move_task(task_id: TaskId, body: TaskMove, session: SessionDep, if_match: IfMatch = None) -> Response:
    """Put a task right behind another one, or right before it; in another category, or under another task.

    ``{"after_id": null}`` makes it the first, ``{"before_id": null}`` the last. No other task's ``position`` changes.
    What lies under the task moves with it. A task that would come to lie under itself is a 409 with the code
    ``circle``.
    """
    task = await tasks.move(session, task_id, body, now=utc_now(), if_match=if_match)
    return tagged(task, task["revision"])


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
async def complete_task(
    task_id: TaskId, session: LongSessionDep, body: Completion | None = None, if_match: IfMatch = None
) -> Response:
    """Mark a task completed.

    Safe to retry: the first ``completed_at`` stays. A cancelled task has to be reopened first: 422 with the code
    ``invalid_status_transition``. What lies under the task is completed with it.

    What repeats goes on to its next date, under the same id, and is answered: ``completed_at`` is null and
    ``last_completed_at`` says when. The occurrence stays as a completed task with the same ``series_id``. Its subtasks
    begin anew, but for those that repeat by themselves. Name the ``occurrence`` that you mean, and a second attempt
    does nothing more; without it, complete again means the next one. What counts from completion makes one step a day.
    What is undone is undone change by change: the series' step, and the closed occurrence.
    """
    said = body or Completion()
    task = await tasks.complete(
        session, task_id, now=utc_now(), at=said.instant, occurrence=said.occurrence, if_match=if_match
    )
    return tagged(task, task["revision"])


# Task: T-326
@router.post(
    "/{task_id}/skip",
    response_model=TaskPublic,
    response_description="The task at its next date.",
    responses=_CONTENDED,
)
async def skip_task(
    task_id: TaskId, session: SessionDep, body: Skip | None = None, if_match: IfMatch = None
) -> Response:
    """Pass over one occurrence of what repeats, without completing it. After the last one the task is cancelled.

    Name the ``occurrence`` that you mean, and a second attempt does nothing more. A task that does not repeat is a 409
    with the code ``not_recurring``.
    """
    task = await tasks.skip(
        session, task_id, now=utc_now(), occurrence=body.occurrence if body else None, if_match=if_match
    )
    return tagged(task, task["revision"])


# Task: T-326
@router.get("/{task_id}/occurrences", response_model=Occurrences, response_description="What comes next.")
async def list_occurrences(
    task_id: TaskId, query: Annotated[OccurrencesQuery, Query()], session: SessionDep
) -> dict[str, Any]:
    """Tell when a task is due next, the open date first, if each is completed on its day."""
    return {"occurrences": await series.occurrences(session, task_id, limit=query.limit)}


# Task: T-035
@router.post(
    "/{task_id}/reopen", response_model=TaskPublic, response_description="The task, open again.", responses=_CONTENDED
)
async def reopen_task(task_id: TaskId, session: SessionDep, if_match: IfMatch = None) -> Response:
    """Make a completed or cancelled task pending again. An open task stays as it is: safe to retry.

    What lies under it stays as it is.
    """
    task = await tasks.reopen(session, task_id, now=utc_now(), if_match=if_match)
    return tagged(task, task["revision"])


# Task: T-143
@router.get("/{task_id}/history", response_model=History, response_description="What happened to the task.")
async def read_task_history(
    task_id: TaskId, query: Annotated[HistoryQuery, Query()], session: SessionDep
) -> dict[str, Any]:
    """Tell what happened to a task, the latest first. A deleted task has its history as long as the log keeps it."""
    return await changes.history(session, task_id, before=query.before, limit=query.limit)
