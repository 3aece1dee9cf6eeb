"""Complete a task, or the open occurrence of a series, which then advances to the next one.

The statement completes a simple task. It advances a series without subtasks to the next date in ``next_occurrences``.
It matches no row if the task has subtasks, if these dates do not suffice, so that the rule must be evaluated, or if the
task cannot be completed. Then ``CompleteTask`` takes over.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import (
    CTE,
    ColumnElement,
    DateTime,
    Text,
    Uuid,
    and_,
    bindparam,
    case,
    func,
    literal_column,
    null,
    select,
    true,
)

from todo.database import Row, Session, Statement
from todo.errors import FieldError, Invalid
from todo.kit.dates import format_due
from todo.kit.etags import Condition
from todo.kit.ids import uuid7
from todo.models.values import Status
from todo.services.recurrence import series
from todo.services.tasks.occurrences import is_named, is_repeated, named_occurrence, next_columns, remaining
from todo.services.tasks.statements import (
    OPEN,
    TaskRow,
    by_id,
    descendant_ids,
    id_in,
    is_open,
    is_simple,
    is_this,
    not_trashed,
    now,
    owned_by_caller,
    revision_matches_if,
    tasks,
    this_id,
    update_statement,
)
from todo.services.tasks.unit_of_work import Command, Request, TaskUnitOfWork, run_command

_completed_at = bindparam("completed_at", type_=DateTime(timezone=True))
_PENDING = literal_column(f"'{Status.pending}'", Text)
_COMPLETED = literal_column(f"'{Status.completed}'", Text)

_insert_completed_copy = func.app.insert_completed_copy(
    bindparam("user_id", type_=Text), this_id, bindparam("new_id", type_=Uuid), _completed_at, now, type_=Uuid
)
_INSERT_COMPLETED_COPY = Statement(select(_insert_completed_copy.label("id")), writes=True)
"""Insert a completed copy of the open occurrence, before the series advances."""

_is_below = and_(owned_by_caller, not_trashed, id_in(descendant_ids(is_this)), tasks.c.id != this_id)
# Recurring descendants are completed without advancing to a next occurrence, and are not reopened.
_COMPLETE_BELOW = update_statement(
    [_is_below, is_open(tasks.c.status)],
    {
        "status": Status.completed.value,
        "completed_at": _completed_at,
        "last_completed_at": case((tasks.c.recurrence.is_not(None), _completed_at), else_=tasks.c.last_completed_at),
    },
    returning=[tasks.c.id],
)
_REOPEN_BELOW = update_statement(
    [_is_below, tasks.c.recurrence.is_(None), tasks.c.status == Status.completed.value],
    {"status": Status.pending.value, "completed_at": null()},
    returning=[tasks.c.id],
)


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
    refuse_future(at, now)
    return await run_command(session, task_id, CompleteTask(now, at, occurrence), now=now, if_match=if_match)


@dataclass(slots=True)
class CompleteTask(Command):
    """Complete a task, or the open occurrence of a series, with its subtree.

    ``at`` is the time of completion, ``None`` for ``now``. ``occurrence`` is the due date of the occurrence, ``None``
    for the open one.
    """

    now: datetime
    at: datetime | None = None
    occurrence: str | None = None

    @property
    def includes_subtree(self) -> bool:
        return True

    def request(self, *, conditional: bool) -> Request:
        values = {"completed_at": self.at or self.now, "occurrence": self.occurrence, "new_id": uuid7(self.now)}
        return _statement(named=self.occurrence is not None, conditional=conditional), values

    def apply(self, unit: TaskUnitOfWork, task_id: UUID) -> None:
        row = unit.require_not_trashed(task_id)
        at = self.at or self.now
        if is_repeated(row, self.occurrence, row["last_occurrence"]):
            return
        refuse_transition(row, Status.completed)
        if row["status"] == Status.completed:
            return
        if row["recurrence"] is not None and series.already_completed_today(row, unit.user_time, at):
            return
        following = series.columns_after_completion(row, unit.user_time, at) if row["recurrence"] is not None else None
        if following is None:
            self._complete_without_next(unit, row, at)
        else:
            self._complete_occurrence(unit, row, at, following)

    def _complete_without_next(self, unit: TaskUnitOfWork, row: Row, at: datetime) -> None:
        below = unit.descendants(row)
        if below:
            unit.add(_COMPLETE_BELOW, row, completed_at=at)
            for each in below:
                if each["status"] in OPEN:
                    each |= {"status": Status.completed.value, "completed_at": format_due(at)}
                    if each["recurrence"] is not None:
                        each["last_completed_at"] = format_due(at)
        done = {"status": Status.completed.value, "completed_at": at}
        if row["recurrence"] is not None:
            done |= _last_completion_columns(row, at)
        unit.set(row, done)

    def _complete_occurrence(self, unit: TaskUnitOfWork, row: Row, at: datetime, following: Mapping[str, Any]) -> None:
        unit.add(_INSERT_COMPLETED_COPY, row, new_id=uuid7(self.now), completed_at=at)
        below = unit.descendants(row)
        if below:
            unit.add(_REOPEN_BELOW, row)
            for each in below:
                if each["status"] == Status.completed and each["recurrence"] is None:
                    each |= {"status": Status.pending.value, "completed_at": None}
        unit.set(row, {**following, **_last_completion_columns(row, at), "status": Status.pending.value})


def _last_completion_columns(row: Row, at: datetime) -> dict[str, Any]:
    """Return the columns with the last completed occurrence and its time. An offline client can send an older time."""
    before = row["last_completed_at"]
    latest = at if before is None else max(at, datetime.fromisoformat(before))
    return {"last_completed_at": latest, "last_occurrence": row["due_date"]}


def refuse_future(at: datetime | None, now: datetime) -> None:
    """Raise Invalid if the time of completion is in the future."""
    if at is not None and at > now:
        raise Invalid(FieldError("/completed_at", "This is in the future. Send the time at which it was done."))


def refuse_transition(row: Row, new: Status) -> None:
    """Raise Invalid if a task's status may not change to ``new``."""
    current = Status(row["status"])
    if not (current in OPEN or new in OPEN or current is new):
        sentence = f"A {current} task cannot become {new}. Reopen it first."
        raise Invalid(FieldError("/status", sentence), detail=sentence, code="invalid_status_transition")


# Task: T-327
@cache
def _statement(*, named: bool, conditional: bool) -> Statement:
    """Return the statement that completes a simple task, or the open occurrence of a series, which then advances.

    A series must have no subtasks. With ``named``, its open occurrence must be the parameter ``occurrence``. A task
    that is completed already stays unchanged, and so does a series whose last completed occurrence is the named one.
    """
    which = [not_trashed, *revision_matches_if(conditional=conditional)]
    named_conditions = [*which, *([is_named] if named else [])]
    step = _step(named_conditions)
    series_continues = step.c.rest.is_not(None)
    is_done = tasks.c.status == _COMPLETED
    done: ColumnElement[bool] = and_(*named_conditions, is_done | (is_open(tasks.c.status) & is_simple))
    status: list[tuple[Any, Any]] = [(series_continues, _PENDING)]
    completed_at: list[tuple[Any, Any]] = [(series_continues, null())]
    if named:
        repeated = and_(*which, tasks.c.last_occurrence == named_occurrence, is_named.is_not(true()))
        status.append((repeated, tasks.c.status))
        completed_at.append((repeated, tasks.c.completed_at))
        done = done | repeated
    following = {
        **next_columns(step.c.rest),
        "last_occurrence": tasks.c.due_date,
        "last_completed_at": func.greatest(tasks.c.last_completed_at, _completed_at),
    }
    new = {name: case((series_continues, value), else_=tasks.c[name]) for name, value in following.items()}
    new["status"] = case(*status, else_=_COMPLETED)
    new["completed_at"] = case(*completed_at, else_=func.coalesce(tasks.c.completed_at, _completed_at))
    return update_statement([by_id, series_continues | done], new)


def _step(which: Sequence[ColumnElement[bool]]) -> CTE:
    """Insert the completed copy. Return one row with the ``rest`` of the series, or with null if there was no copy.

    FOR UPDATE locks the row and reads its latest version, so the copy has the values of the previous writer. The copy
    is written before the series, and gets the earlier revision.
    """
    missed = tasks.c.recurrence.op("->>", return_type=Text())(literal_column("'missed'"))
    occurrence = (
        select(remaining(missed, _completed_at).label("rest"))
        .where(
            by_id,
            *which,
            is_open(tasks.c.status),
            tasks.c.next_occurrences.is_not(None),
            tasks.c.recurrence.is_not(None),
            tasks.c.subtasks_total == 0,
        )
        .with_for_update()
        .cte("occurrence")
    )
    closed = select(_insert_completed_copy.label("id")).where(occurrence.c.rest.is_not(None)).cte("closed")
    nothing = select(literal_column("1").label("one")).subquery("nothing")
    joined = nothing.outerjoin(closed, true()).outerjoin(occurrence, closed.c.id.is_not(None))
    return select(occurrence.c.rest).select_from(joined).cte("step")
