"""Skip the open occurrence of a series, which then advances to the next one.

The statement takes the next date from ``next_occurrences``. It matches no row if these dates do not suffice, or if the
task does not recur or is not open. Then ``SkipOccurrence`` takes over.
"""

from dataclasses import dataclass
from datetime import datetime
from functools import cache
from uuid import UUID

from sqlalchemy import Text, literal_column, null
from sqlalchemy.dialects.postgresql import JSONB

from todo.database import Session, Statement
from todo.errors import Conflict
from todo.kit.etags import Condition
from todo.models.recurrence import Missed
from todo.models.values import Status
from todo.services.recurrence import series
from todo.services.tasks.occurrences import FIRST, is_named, is_repeated, next_columns, remaining
from todo.services.tasks.statements import (
    OPEN,
    TaskRow,
    by_id,
    is_open,
    not_trashed,
    revision_matches_if,
    tasks,
    update_statement,
)
from todo.services.tasks.unit_of_work import Command, Request, TaskUnitOfWork, run_command


# Task: T-326
async def skip(
    session: Session, task_id: UUID, *, now: datetime, occurrence: str | None = None, if_match: Condition | None = None
) -> TaskRow:
    """Skip the open occurrence of a series, and advance to the next one. If it is the last one, cancel the task.

    Raises NotFound, and Conflict for a task without a recurrence or an ``occurrence`` that has passed.
    """
    return await run_command(session, task_id, SkipOccurrence(occurrence), now=now, if_match=if_match)


@dataclass(slots=True)
class SkipOccurrence(Command):
    """Skip the open occurrence of a series. If it is the last one, cancel the task."""

    occurrence: str | None = None

    def request(self, *, conditional: bool) -> Request:
        statement = _statement(named=self.occurrence is not None, conditional=conditional)
        return statement, {"occurrence": self.occurrence}

    def apply(self, unit: TaskUnitOfWork, task_id: UUID) -> None:
        row = unit.require_not_trashed(task_id)
        if row["recurrence"] is None:
            raise Conflict("This task does not repeat. Complete or cancel it instead.", code="not_recurring")
        if is_repeated(row, self.occurrence, row["last_skipped"]):
            return
        if row["status"] in OPEN:
            following = series.columns_after_skip(row, unit.user_time) or {"status": Status.cancelled.value}
            unit.set(row, {**following, "last_skipped": row["due_date"]})
        elif self.occurrence is None or self.occurrence != row["last_skipped"]:
            raise Conflict("The series has ended. Reopen the task first.", code="series_ended")


# Task: T-327
@cache
def _statement(*, named: bool, conditional: bool) -> Statement:
    """Return the statement that advances a series to the next occurrence, also if it has subtasks."""
    # The next occurrence in the sequence, even if its date has passed: so no completion time is needed.
    is_kept = remaining(literal_column(f"'{Missed.keep}'", Text), null()).is_not(None)
    which = [by_id, not_trashed, is_open(tasks.c.status), tasks.c.next_occurrences.is_not(None), is_kept]
    which += [*revision_matches_if(conditional=conditional), *([is_named] if named else [])]
    rest = tasks.c.next_occurrences.op("-", return_type=JSONB())(FIRST)
    return update_statement(which, {**next_columns(rest), "last_skipped": tasks.c.due_date})
