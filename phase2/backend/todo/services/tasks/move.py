"""Move a task next to another one, to another category, or under another task."""

from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import Boolean, ColumnElement, Text, Uuid, bindparam, func

from todo.database import DatabaseError, Session, SqlState, Statement
from todo.errors import Conflict, FieldError, Invalid, TodoError
from todo.kit.etags import Condition
from todo.models.task_actions import TaskMove
from todo.services.tasks.statements import TaskRow, column_parameters, editable, tasks, update_statement
from todo.services.tasks.unit_of_work import Command, Request, TaskUnitOfWork, as_read, run_command

_MOVABLE = ("category_id", "parent_id")
NO_SUCH_NEIGHBOUR = "Expected the id of another task of yours."


# Task: T-343
async def move(
    session: Session, task_id: UUID, body: TaskMove, *, now: datetime, if_match: Condition | None = None
) -> TaskRow:
    """Move a task next to another one, to another category, or under another task; return it.

    Raises NotFound, Invalid for an unknown neighbour, category or parent, and Conflict for a cycle.
    """
    try:
        return await run_command(session, task_id, MoveTask(body), now=now, if_match=if_match)
    except DatabaseError as error:
        raise to_move_error(error, body) or error from None


@dataclass(slots=True)
class MoveTask(Command):
    """Move a task to the place, the category and the parent in ``body``."""

    body: TaskMove

    def request(self, *, conditional: bool) -> Request:
        body = self.body
        columns: dict[str, Any] = {name: getattr(body, name) for name in _MOVABLE if name in body.model_fields_set}
        place = {"neighbour": body.neighbour_id, "is_behind": body.is_behind} if body.has_place else {}
        return _statement(tuple(columns), has_place=body.has_place, conditional=conditional), {**columns, **place}

    def apply(self, unit: TaskUnitOfWork, task_id: UUID) -> None:
        row = unit.require_not_trashed(task_id)
        neighbour = self.body.neighbour_id
        if unit.is_batch and neighbour is not None and (neighbour == task_id or str(neighbour) not in unit.rows):
            raise _unknown_neighbour(self.body)
        unit.refuse_references(task_id, self.body)
        statement, values = self.request(conditional=False)
        unit.add(statement, row, **values)
        unit.patch_row(row, as_read({name: values[name] for name in _MOVABLE if name in values}))


@cache
def _statement(names: tuple[str, ...], *, has_place: bool, conditional: bool) -> Statement:
    new: dict[str, ColumnElement[Any]] = column_parameters(names)
    if has_place:
        new["position"] = func.app.position_in_tasks(
            bindparam("user_id", type_=Text),
            tasks.c.id,
            bindparam("neighbour", type_=Uuid),
            bindparam("is_behind", type_=Boolean),
        )
    return update_statement(editable(conditional=conditional), new)


def to_move_error(error: DatabaseError, body: TaskMove) -> TodoError | None:
    """Return the error for an unknown neighbour, or for a place without room for another position; else ``None``."""
    if error.sqlstate == SqlState.unknown_neighbour:
        return _unknown_neighbour(body)
    if error.sqlstate == SqlState.position_exhausted:
        return Conflict(
            "There is no position left in this place. Move the task elsewhere, then back.", code="position_exhausted"
        )
    return None


def _unknown_neighbour(body: TaskMove) -> Invalid:
    return Invalid(FieldError("/after_id" if body.is_behind else "/before_id", NO_SUCH_NEIGHBOUR))
