"""Occurrences of a series: the next dates, and what completing and skipping the open occurrence have in common."""

from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Integer, Text, bindparam, func, literal_column, or_, select
from sqlalchemy.dialects.postgresql import JSONB

from todo.database import Row, Session, Statement
from todo.errors import Conflict, NotFound
from todo.kit.dates import format_due, parse_due
from todo.services.recurrence.schedule import Schedule, from_text, to_text
from todo.services.recurrence.series import STATE
from todo.services.recurrence.user_time import PROFILE, UserTime
from todo.services.tasks.statements import OPEN, by_id, tasks

_READ = Statement(
    select(
        tasks.c.status,
        tasks.c.due_date,
        tasks.c.due_time_zone,
        tasks.c.start_date,
        tasks.c.recurrence,
        *(tasks.c[name] for name in STATE),
    ).where(by_id)
)

named_occurrence = bindparam("occurrence", type_=Text)
is_named = or_(tasks.c.due_date == named_occurrence, tasks.c.recurrence_due == named_occurrence)
FIRST = literal_column("0", Integer)


# Task: T-326
async def occurrences(session: Session, task_id: UUID, *, limit: int) -> list[dict[str, Any]]:
    """Return at most ``limit`` dates of a series, from the open occurrence on.

    A task without a recurrence has one date. A closed task and a task without a due date have none. Raises NotFound.
    """
    [rows, profiles] = await session.execute_many((_READ, {"task_id": task_id}), (PROFILE, {}))
    if not rows:
        raise NotFound
    [row] = rows
    if row["due_date"] is None or row["status"] not in OPEN:
        return []
    user_time = UserTime.of(profiles)
    found = [(parse_due(row["due_date"]), from_text(row["start_date"]))]
    if row["recurrence"] is not None:
        found += [(due, start) for _, due, start in Schedule.of(row, user_time).upcoming(limit - 1)]
    return [
        {
            "due_date": format_due(due),
            "start_date": to_text(start),
            "due_at": format_due(user_time.due_at(due, row["due_time_zone"])),
        }
        for due, start in found
    ]


def remaining(missed: ColumnElement[Any], at: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return ``next_occurrences`` from the next open occurrence on; null if the rule must be evaluated."""
    user_id = bindparam("user_id", type_=Text)
    return func.app.next_occurrences_after(
        tasks.c.next_occurrences, missed, at, tasks.c.due_time_zone, user_id, type_=JSONB
    )


def next_columns(rest: ColumnElement[Any]) -> dict[str, ColumnElement[Any]]:
    """Return the columns of a series whose open occurrence becomes the first entry of ``rest``."""
    due_date, start_date, number = (_entry_field(rest, index) for index in range(3))
    return {
        "due_date": due_date,
        "start_date": start_date,
        "recurrence_number": func.coalesce(number.cast(Integer), tasks.c.recurrence_number + literal_column("1")),
        "recurrence_due": due_date,
        "recurrence_start": start_date,
        "next_occurrences": rest,
    }


def _entry_field(rest: ColumnElement[Any], index: int) -> ColumnElement[Any]:
    step = rest.op("->", precedence=15, return_type=JSONB())(FIRST)
    return step.op("->>", precedence=15, return_type=Text())(literal_column(str(index)))


def is_repeated(row: Row, occurrence: str | None, last: str | None) -> bool:
    """Return whether a request is a repetition: the same was done to the named occurrence, which is the ``last`` one.

    False if the named occurrence is open. Raises Conflict if it is neither open nor the last one.
    """
    if occurrence is None or occurrence in (row["due_date"], row["recurrence_due"]):
        return False
    if occurrence == last:
        return True
    raise Conflict("This occurrence is not the open one. Read the task to get the open one.", code="occurrence_passed")
