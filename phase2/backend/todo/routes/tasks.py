"""Tasks: things to do, with due dates, recurrence, subtasks and tags. A user sees only their own tasks."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from starlette.responses import Response

from todo.dependencies import BulkSessionDep, SessionDep
from todo.kit.clock import utc_now
from todo.models.batches import Batch, BatchResults
from todo.models.changes import History, HistoryQuery
from todo.models.task_actions import (
    Completion,
    OccurrenceList,
    OccurrencesQuery,
    Skip,
    TaskDeletion,
    TaskMove,
)
from todo.models.task_list import TaskPage, TaskQuery
from todo.models.tasks import TaskCreate, TaskPublic, TaskReplace, TaskUpdate
from todo.models.values import Id
from todo.services import changes, tasks
from todo.services.task_list import page as task_list
from todo.web.conditional import IfMatch, IfNoneMatch, OnlyIfNew, response_with_etag
from todo.web.route import Route, json_response

router = APIRouter(prefix="/api/v1/tasks", tags=["tasks"], route_class=Route)

TaskId = Annotated[Id, Path(description="The task's id.", examples=["0197f0c2-a6b4-7e0b-8d3c-5a1e9f60b7d2"])]

# 409: for example, other writers keep changing the same task. 412: the task does not match `If-Match`.
_CONTENDED: dict[int | str, dict[str, Any]] = {409: {}, 412: {}}
_UNCHANGED: dict[int | str, dict[str, Any]] = {304: {"description": "It has not changed."}}
_CREATED: dict[int | str, dict[str, Any]] = {
    200: {"model": TaskPublic, "description": "The task, which an earlier request with the same body created."},
    409: {},
    412: {},
}


# Task: T-031
@router.post("", status_code=201, response_model=TaskPublic, response_description="The new task.", responses=_CREATED)
async def create_task(body: TaskCreate, session: SessionDep, if_none_match: OnlyIfNew = None) -> Response:
    """Create a task.

    Choose the `id` yourself to make the request safe to repeat: the same body again returns 200 with the task as it is
    now, and another body returns 409 with the code `id_taken`. With `If-None-Match: *`, a task that exists already
    returns 412.
    """
    task, is_new = await tasks.create(session, body, now=utc_now(), if_none_match=if_none_match)
    location = {"Location": f"/api/v1/tasks/{task['id']}"}
    return response_with_etag(task, task["revision"], status_code=201 if is_new else 200, headers=location)


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
    """List tasks.

    A task must match all filters. Tasks in the trash are returned only with `trashed=true`. The newest task comes
    first by default; with a filter by time, the default is the order of that time. See `sort`.

    The value of a filter by time is a date (one of your days), a wall-clock time in your time zone, or an instant. The
    given time itself does not match.

    To read all pages, follow `next_cursor` instead of using `skip`: no task is returned twice or left out. With filters
    other than `status`, `priority` and `category_id`, a large total may not be counted completely: see
    `total_is_exact`.

    The `ETag` is valid until any of your data changes. The results of `due` with `today`, `overdue`, `upcoming` or
    `week` also depend on the current time, so they have no `ETag`.
    """
    page = await task_list.page(session, query, now=utc_now(), if_none_match=if_none_match)
    content = {
        "tasks": page.tasks,
        "total": page.total,
        "total_is_exact": page.total_is_exact,
        "page": page.offset // query.limit + 1,
        "page_size": len(page.tasks),
        "next_cursor": page.next_cursor,
    }
    if page.revision is None:
        return json_response(content)
    return response_with_etag(content, page.revision, if_none_match=if_none_match)


# Task: T-353
@router.post(
    "/batch",
    response_model=BatchResults,
    response_description="The result of each operation.",
    responses={404: {}, **_CONTENDED},
)
async def run_batch(body: Batch, session: BulkSessionDep) -> dict[str, Any]:
    """Run a batch.

    Up to 100 operations on tasks run in order and in one transaction.

    By default, all operations are done, or none: the first operation that fails determines the error of the whole
    request, and `pointer` or `errors` point to it. With `atomic` false, the other operations are done, and each result
    has its own `status`. An invalid body fails as a whole in both cases.

    An operation that creates a task can set a `ref`. Later operations refer to that task as `"$party"`, for the `ref`
    `party`, in `id`, `parent_id`, `after_id` and `before_id`.

    The body can have up to 1 MiB, enough for a hundred descriptions of 10,000 ASCII characters. To repeat the request
    safely, send an `Idempotency-Key`.
    """
    return {"results": await tasks.run_batch(session, body, now=utc_now())}


# Task: T-032
@router.get("/{task_id}", response_model=TaskPublic, response_description="The task.", responses=_UNCHANGED)
async def read_task(task_id: TaskId, session: SessionDep, if_none_match: IfNoneMatch = None) -> Response:
    """Get a task.

    A task in the trash is returned as well. The task of another user returns 404, as if it did not exist.
    """
    task = await tasks.read(session, task_id)
    return response_with_etag(task, task["revision"], if_none_match=if_none_match)


# Task: T-034
@router.put(
    "/{task_id}", response_model=TaskPublic, response_description="The task as it is now.", responses=_CONTENDED
)
async def replace_task(
    task_id: TaskId, body: TaskReplace, session: BulkSessionDep, if_match: IfMatch = None
) -> Response:
    """Replace a task.

    A field that you leave out gets its default. A completed task cannot become cancelled, or the other way round: 422
    with the code `invalid_status_transition`.
    """
    task = await tasks.replace(session, task_id, body, now=utc_now(), if_match=if_match)
    return response_with_etag(task, task["revision"])


# Task: T-034
@router.patch(
    "/{task_id}", response_model=TaskPublic, response_description="The task as it is now.", responses=_CONTENDED
)
async def update_task(task_id: TaskId, body: TaskUpdate, session: BulkSessionDep, if_match: IfMatch = None) -> Response:
    """Update a task.

    Only the fields that you send change. `null` clears a field that can be empty. A request that changes nothing, such
    as `{}`, keeps the `revision`.

    A new `due_date` moves a recurring task from here on; with `scope` set to `occurrence`, it moves only this
    occurrence. A different rule starts the series again, at the next date that the rule produces. If only the end of
    the rule or the options of the recurrence change, the series continues.

    A completed task cannot become cancelled, or the other way round: 422 with the code `invalid_status_transition`.
    """
    task = await tasks.update(session, task_id, body, now=utc_now(), if_match=if_match)
    return response_with_etag(task, task["revision"])


# Task: T-036
# Task: T-351
@router.delete(
    "/{task_id}", status_code=204, response_description="The task is in the trash, or deleted.", responses=_CONTENDED
)
async def delete_task(
    task_id: TaskId, query: Annotated[TaskDeletion, Query()], session: BulkSessionDep, if_match: IfMatch = None
) -> None:
    """Delete a task.

    The task and its whole subtree move to the trash; with `permanent=true`, they are deleted permanently. A task that
    is in the trash already stays as it is, so the request is safe to repeat. By default, a task is deleted permanently
    after 30 days in the trash, and returns 404 from then on.
    """
    if query.permanent:
        await tasks.delete(session, task_id, if_match=if_match)
    else:
        await tasks.trash(session, task_id, now=utc_now(), if_match=if_match)


# Task: T-351
@router.post(
    "/{task_id}/restore",
    response_model=TaskPublic,
    response_description="The restored task.",
    responses=_CONTENDED,
)
async def restore_task(task_id: TaskId, session: BulkSessionDep, if_match: IfMatch = None) -> Response:
    """Restore a task.

    Everything that moved to the trash together with the task is restored with it, as the same tree. A task that is not
    in the trash stays as it is, so the request is safe to repeat. If the parent is in the trash, restore the parent
    first: 409 with the code `under_trash`.
    """
    task = await tasks.restore(session, task_id, now=utc_now(), if_match=if_match)
    return response_with_etag(task, task["revision"])


# Task: T-343
@router.post(
    "/{task_id}/move", response_model=TaskPublic, response_description="The task as it is now.", responses=_CONTENDED
)
async def move_task(task_id: TaskId, body: TaskMove, session: SessionDep, if_match: IfMatch = None) -> Response:
    """Move a task.

    The task moves directly after or before another task, to another category, or below another parent.
    `{"after_id": null}` makes it the first, `{"before_id": null}` the last. The `position` of other tasks does not
    change. The subtasks move with the task. A task cannot move below itself: 409 with the code `parent_cycle`.
    """
    task = await tasks.move(session, task_id, body, now=utc_now(), if_match=if_match)
    return response_with_etag(task, task["revision"])


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
    task_id: TaskId, session: BulkSessionDep, body: Completion | None = None, if_match: IfMatch = None
) -> Response:
    """Complete a task.

    All open tasks in its subtree are completed with it. The request is safe to repeat: the first `completed_at` is
    kept. A cancelled task must be reopened first: 422 with the code `invalid_status_transition`.

    A recurring task advances to its next date instead, and keeps its id. The response contains this open task:
    `completed_at` is null, and `last_completed_at` is the time of completion. The completed occurrence is kept as a
    separate, completed task with the same `series_id`. Completed subtasks become pending again, except those that are
    recurring themselves.

    Send the `occurrence` that you mean, and a repeated request changes nothing. Without it, a second request completes
    the next occurrence; a series that is counted from completion advances only once a day. To undo the completion, undo
    its changes one by one: the update of the recurring task, and the creation of the completed occurrence.
    """
    said = body or Completion()
    task = await tasks.complete(
        session, task_id, now=utc_now(), at=said.instant, occurrence=said.occurrence, if_match=if_match
    )
    return response_with_etag(task, task["revision"])


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
    """Skip an occurrence.

    A recurring task advances to its next date without being completed. If the last occurrence is skipped, the task is
    cancelled. Send the `occurrence` that you mean, and a repeated request changes nothing. A task that does not repeat
    returns 409 with the code `not_recurring`.
    """
    task = await tasks.skip(
        session, task_id, now=utc_now(), occurrence=body.occurrence if body else None, if_match=if_match
    )
    return response_with_etag(task, task["revision"])


# Task: T-326
@router.get("/{task_id}/occurrences", response_model=OccurrenceList, response_description="The next occurrences.")
async def list_occurrences(
    task_id: TaskId, query: Annotated[OccurrencesQuery, Query()], session: SessionDep
) -> dict[str, Any]:
    """List occurrences.

    Returns the next due dates of a task, the open one first, assuming that each occurrence is completed on its day. A
    task that does not repeat has one occurrence. A closed task, or a task without a due date, has none.
    """
    return {"occurrences": await tasks.occurrences(session, task_id, limit=query.limit)}


# Task: T-035
@router.post(
    "/{task_id}/reopen", response_model=TaskPublic, response_description="The reopened task.", responses=_CONTENDED
)
async def reopen_task(task_id: TaskId, session: SessionDep, if_match: IfMatch = None) -> Response:
    """Reopen a task.

    A completed or cancelled task becomes pending. An open task stays as it is, so the request is safe to repeat. The
    subtasks do not change.
    """
    task = await tasks.reopen(session, task_id, now=utc_now(), if_match=if_match)
    return response_with_etag(task, task["revision"])


# Task: T-143
@router.get("/{task_id}/history", response_model=History, response_description="The changes of the task.")
async def read_task_history(
    task_id: TaskId, query: Annotated[HistoryQuery, Query()], session: SessionDep
) -> dict[str, Any]:
    """Get the task history.

    Returns the changes of a task, the latest first. The history of a deleted task is available as long as the change
    log keeps it.
    """
    return await changes.history(session, task_id, before=query.before, limit=query.limit)
