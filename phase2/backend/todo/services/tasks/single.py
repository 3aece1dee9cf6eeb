"""Single tasks: create, read, change, move, complete, skip, reopen.

An operation that concerns one row only is one statement and one round trip. The statement matches no row if the
operation also concerns a series or a subtree. Then it runs as a unit of work: see
``todo.services.tasks.unit_of_work``. The trash is in ``todo.services.tasks.trash``.
"""

from collections.abc import Mapping
from datetime import datetime
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import case, or_

from todo.database import DatabaseError, Session, Statement
from todo.kit.etags import Condition
from todo.kit.ids import uuid7
from todo.models.base import digest_of
from todo.models.task_actions import TaskMove
from todo.models.tasks import Status, TaskCreate, TaskReplace, TaskUpdate
from todo.services.idempotent_create import create_once
from todo.services.recurrence import series
from todo.services.revisions import expected_revisions, is_conditional
from todo.services.tasks import unit_of_work
from todo.services.tasks.errors import to_move_error, to_user_error
from todo.services.tasks.occurrences import complete_statement, skip_statement
from todo.services.tasks.statements import (
    CREATE,
    PUBLIC_NAMES,
    READ,
    READ_WITH_DIGEST,
    WRITABLE,
    TaskRow,
    by_id,
    column_parameters,
    is_open,
    is_simple,
    move_statement,
    not_trashed,
    revision_matches,
    tasks,
    to_columns,
    update_statement,
)

__all__ = [
    "PUBLIC_NAMES",
    "TaskRow",
    "complete",
    "create",
    "move",
    "read",
    "reopen",
    "replace",
    "skip",
    "update",
]

# The fields that move a series, which needs a unit of work.
_TIMES = frozenset({"due_date", "due_time_zone", "start_date", "recurrence"})


# Task: T-031
async def create(
    session: Session, body: TaskCreate, *, now: datetime, if_none_match: Condition | None = None
) -> tuple[TaskRow, bool]:
    """Create a task at ``now`` (aware, UTC). Return it, and whether it is new.

    If the id exists, an equal body returns the current task, and another body is a Conflict. If the id exists and
    ``if_none_match`` is ``*`` or names the current revision, raises PreconditionFailed. Raises Invalid for an unknown
    category, parent or zone, and for a due date that the rule does not produce.
    """
    task_id = body.id or uuid7(now)
    digest = digest_of(body)
    new = {
        **to_columns(body, WRITABLE),
        **await series.initial_columns_for(session, body, task_id),
        "completed_at": now if body.status is Status.completed else None,
        "creation_digest": digest,
    }

    async def try_to_create() -> TaskRow | None:
        try:
            return await session.fetch_first(CREATE, task_id=task_id, now=now, **new)
        except DatabaseError as error:
            raise to_user_error(error) or error from None

    return await create_once(
        "task",
        body.id,
        digest,
        create=try_to_create,
        look=lambda: session.fetch_first(READ_WITH_DIGEST, task_id=task_id),
        if_none_match=if_none_match,
    )


# Task: T-032
async def read(session: Session, task_id: UUID) -> TaskRow:
    """Return one task, also from the trash. Raises NotFound for an unknown id and for another user's alike."""
    return await session.fetch_one(READ, task_id=task_id)


# Task: T-034
async def replace(
    session: Session, task_id: UUID, body: TaskReplace, *, now: datetime, if_match: Condition | None = None
) -> TaskRow:
    """Set every field to its value in ``body``; absent fields get their defaults."""
    return await _edit(session, task_id, unit_of_work.UpdateTask(body, WRITABLE), now=now, if_match=if_match)


# Task: T-034
async def update(
    session: Session, task_id: UUID, body: TaskUpdate, *, now: datetime, if_match: Condition | None = None
) -> TaskRow:
    """Set only the fields that were sent."""
    sent = tuple(name for name in WRITABLE if name in body.model_fields_set)
    return await _edit(session, task_id, unit_of_work.UpdateTask(body, sent, body.scope), now=now, if_match=if_match)


async def _edit(
    session: Session, task_id: UUID, edit: unit_of_work.UpdateTask, *, now: datetime, if_match: Condition | None
) -> TaskRow:
    if edit.names == ("status",) and edit.body.status is Status.completed:
        row = await _complete(session, task_id, now, now=now, if_match=if_match)
        if row is not None:
            return row
    elif edit.body.recurrence is None:
        # If the task has no recurrence yet, one statement is enough. The statement checks that.
        values = to_columns(edit.body, edit.names)
        statement = _change_statement(tuple(values), conditional=is_conditional(if_match))
        row = await _write(session, statement, task_id, values, now, if_match)
        if row is not None:
            return row
    return await unit_of_work.run_command(session, task_id, edit, now=now, if_match=if_match)


# Task: T-035
async def complete(
    session: Session,
    task_id: UUID,
    *,
    now: datetime,
    at: datetime | None = None,
    occurrence: str | None = None,
    if_match: Condition | None = None,
) -> TaskRow:
    """Complete a task and its subtree, and return it. For a series, complete the open occurrence and return the series.

    ``at`` (aware, not after ``now``) is the time of completion, ``None`` for ``now``. Completing twice keeps the first
    time, since clients retry; for a series, this requires the ``occurrence``. Raises NotFound for an unknown id and for
    another user's alike, Invalid for a cancelled task or a future ``at``, Conflict for an occurrence that has passed.
    """
    unit_of_work.refuse_future(at, now)
    row = await _complete(session, task_id, at or now, now=now, occurrence=occurrence, if_match=if_match)
    if row is not None:
        return row
    completion = unit_of_work.CompleteTask(at=at, occurrence=occurrence)
    return await unit_of_work.run_command(session, task_id, completion, now=now, if_match=if_match)


async def _complete(
    session: Session,
    task_id: UUID,
    at: datetime,
    *,
    now: datetime,
    occurrence: str | None = None,
    if_match: Condition | None,
) -> TaskRow | None:
    statement = complete_statement(named=occurrence is not None, conditional=is_conditional(if_match))
    values = {"completed_at": at, "occurrence": occurrence, "new_id": uuid7(now)}
    return await _write(session, statement, task_id, values, now, if_match)


# Task: T-343
async def move(
    session: Session, task_id: UUID, body: TaskMove, *, now: datetime, if_match: Condition | None = None
) -> TaskRow:
    """Move a task next to another one, to another category, or under another task; return it.

    Raises NotFound, Invalid for an unknown neighbour, category or parent, and Conflict for a cycle.
    """
    statement, values = move_statement(body, conditional=is_conditional(if_match))
    try:
        row = await _write(session, statement, task_id, values, now, if_match)
        if row is None:
            # Find the reason, or move the task if it was restored from the trash in between.
            row = await unit_of_work.run_command(
                session, task_id, unit_of_work.MoveTask(body), now=now, if_match=if_match
            )
    except DatabaseError as error:
        raise to_move_error(error, body) or error from None
    return row


# Task: T-326
async def skip(
    session: Session, task_id: UUID, *, now: datetime, occurrence: str | None = None, if_match: Condition | None = None
) -> TaskRow:
    """Skip the open occurrence of a series, and advance to the next one. If it is the last one, cancel the task.

    Raises NotFound, and Conflict for a task without a recurrence or an ``occurrence`` that has passed.
    """
    statement = skip_statement(named=occurrence is not None, conditional=is_conditional(if_match))
    row = await _write(session, statement, task_id, {"occurrence": occurrence}, now, if_match)
    if row is not None:
        return row
    return await unit_of_work.run_command(
        session, task_id, unit_of_work.SkipOccurrence(occurrence), now=now, if_match=if_match
    )


# Task: T-035
async def reopen(session: Session, task_id: UUID, *, now: datetime, if_match: Condition | None = None) -> TaskRow:
    """Make a completed or cancelled task pending again. An open task and all descendants stay unchanged."""
    row = await _write(session, _reopen_statement(conditional=is_conditional(if_match)), task_id, {}, now, if_match)
    return (
        row
        if row is not None
        else await unit_of_work.run_command(session, task_id, unit_of_work.ReopenTask(), now=now, if_match=if_match)
    )


async def _write(
    session: Session,
    statement: Statement,
    task_id: UUID,
    values: Mapping[str, Any],
    now: datetime,
    if_match: Condition | None,
) -> TaskRow | None:
    """Run a statement on one task; return its row, or ``None`` if the statement matched no row."""
    conditions = expected_revisions(if_match)
    try:
        return await session.fetch_first(statement, task_id=task_id, now=now, **values, **conditions)
    except DatabaseError as error:
        raise to_user_error(error) or error from None


@cache
def _change_statement(names: tuple[str, ...], *, conditional: bool) -> Statement:
    new = column_parameters(names)
    which = [by_id, not_trashed, *([revision_matches] if conditional else [])]
    if "status" in new:
        status = new["status"]
        which.append(or_(is_open(tasks.c.status), is_open(status), tasks.c.status == status))
        which.append(or_(status != Status.completed.value, tasks.c.status == status, is_simple))
    if _TIMES & new.keys():
        which.append(tasks.c.recurrence.is_(None))
    return update_statement(which, new)


@cache
def _reopen_statement(*, conditional: bool) -> Statement:
    pending_unless_open = case((is_open(tasks.c.status), tasks.c.status), else_=Status.pending.value)
    return update_statement(
        [by_id, not_trashed, *([revision_matches] if conditional else [])], {"status": pending_unless_open}
    )
