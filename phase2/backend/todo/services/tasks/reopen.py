"""Reopen a task. The statement also matches an open task, which stays as it is."""

from datetime import datetime
from functools import cache
from uuid import UUID

from sqlalchemy import case

from todo.database import Session, Statement
from todo.kit.etags import Condition
from todo.models.values import Status
from todo.services.tasks.statements import OPEN, TaskRow, editable, is_open, tasks, update_statement
from todo.services.tasks.unit_of_work import Command, Request, TaskUnitOfWork, run_command


# Task: T-035
async def reopen(session: Session, task_id: UUID, *, now: datetime, if_match: Condition | None = None) -> TaskRow:
    """Make a completed or cancelled task pending again. An open task and all descendants stay unchanged."""
    return await run_command(session, task_id, ReopenTask(), now=now, if_match=if_match)


class ReopenTask(Command):
    """Make a completed or cancelled task pending again."""

    def request(self, *, conditional: bool) -> Request:
        return _statement(conditional=conditional), {}

    def apply(self, unit: TaskUnitOfWork, task_id: UUID) -> None:
        row = unit.require_not_trashed(task_id)
        if row["status"] not in OPEN:
            unit.set(row, {"status": Status.pending.value, "completed_at": None})


@cache
def _statement(*, conditional: bool) -> Statement:
    status = case((is_open(tasks.c.status), tasks.c.status), else_=Status.pending.value)
    return update_statement(editable(conditional=conditional), {"status": status})
