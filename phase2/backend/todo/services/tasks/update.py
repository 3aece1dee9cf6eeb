"""Update or replace a task.

The statement sets the fields that were sent. It matches no row if this change of status is not allowed, if completing
the task affects more than its row, or if a date of a series would change. Then ``UpdateTask`` takes over.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

from sqlalchemy import or_

from todo.database import MAX_CACHED_STATEMENTS, Row, Session, Statement
from todo.kit.etags import Condition
from todo.models.tasks import Scope, TaskBase, TaskReplace, TaskUpdate
from todo.models.values import Status
from todo.services.recurrence import series
from todo.services.recurrence.user_time import UserTime
from todo.services.tasks.complete import CompleteTask, complete, refuse_transition
from todo.services.tasks.statements import (
    WRITABLE,
    TaskRow,
    column_parameters,
    editable,
    is_open,
    is_simple,
    recurrence_column,
    tasks,
    to_columns,
    update_statement,
)
from todo.services.tasks.unit_of_work import Command, Request, TaskUnitOfWork, run_command

# The fields that move a series, which needs a unit of work.
_TIMES = ("due_date", "due_time_zone", "start_date", "recurrence")


# Task: T-034
async def replace(
    session: Session, task_id: UUID, body: TaskReplace, *, now: datetime, if_match: Condition | None = None
) -> TaskRow:
    """Set every field to its value in ``body``; absent fields get their defaults."""
    return await run_command(session, task_id, UpdateTask(body, WRITABLE), now=now, if_match=if_match)


# Task: T-034
async def update(
    session: Session, task_id: UUID, body: TaskUpdate, *, now: datetime, if_match: Condition | None = None
) -> TaskRow:
    """Set only the fields that were sent."""
    if body.status is Status.completed and body.model_fields_set - {"scope"} == {"status"}:
        return await complete(session, task_id, now=now, if_match=if_match)
    return await run_command(session, task_id, UpdateTask.of(body), now=now, if_match=if_match)


@dataclass(slots=True)
class UpdateTask(Command):
    """Set the named fields to their values in ``body``."""

    body: TaskBase | TaskUpdate
    names: Collection[str]
    scope: Scope = Scope.series

    @classmethod
    def of(cls, body: TaskUpdate) -> "UpdateTask":
        """Return the command that sets the fields that were sent."""
        return cls(body, tuple(name for name in WRITABLE if name in body.model_fields_set), body.scope)

    @property
    def includes_subtree(self) -> bool:
        return "status" in self.names and self.body.status is Status.completed

    def request(self, *, conditional: bool) -> Request | None:
        if self.body.recurrence is not None:
            return None
        values = to_columns(self.body, self.names)
        return _statement(tuple(values), conditional=conditional), values

    def apply(self, unit: TaskUnitOfWork, task_id: UUID) -> None:
        row = unit.require_not_trashed(task_id)
        values, shown = self._columns(row, unit.user_time)
        unit.refuse_references(task_id, self.body)
        unit.set(row, values, shown=shown)
        if self.includes_subtree:
            # After the other fields, with the same checks as any other completion.
            CompleteTask(unit.now).apply(unit, task_id)

    def _columns(self, row: Row, user_time: UserTime) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the columns to write, and those that are read in another form. Raises if a value is not allowed."""
        values = to_columns(self.body, self.names)
        shown = {name: getattr(self.body, name) for name in ("tags",) if name in values}
        if "status" in values:
            refuse_transition(row, values["status"])
            if values["status"] == Status.completed:
                values.pop("status")
        moved = series.columns_after_edit(row, self._times(values), user_time, only_this=self.scope is Scope.occurrence)
        if moved.get("recurrence") is not None:
            shown["recurrence"] = moved["recurrence"]
            moved["recurrence"] = recurrence_column(self.body.recurrence)
        return {**values, **moved}, shown

    def _times(self, values: dict[str, Any]) -> dict[str, Any]:
        """Remove the fields that move a series from ``values``, and return them in the form in which they are read."""
        times = {name: values.pop(name) for name in _TIMES if name in values}
        if times.get("recurrence") is not None and self.body.recurrence is not None:
            times["recurrence"] = self.body.recurrence.stored()
        return times


@lru_cache(maxsize=MAX_CACHED_STATEMENTS)
def _statement(names: tuple[str, ...], *, conditional: bool) -> Statement:
    new = column_parameters(names)
    which = editable(conditional=conditional)
    if "status" in new:
        status = new["status"]
        which.append(or_(is_open(tasks.c.status), is_open(status), tasks.c.status == status))
        which.append(or_(status != Status.completed.value, tasks.c.status == status, is_simple))
    if not new.keys().isdisjoint(_TIMES):
        which.append(tasks.c.recurrence.is_(None))
    return update_statement(which, new)
