"""Statements that complete or skip the open occurrence of a series, and advance the series to the next occurrence.

They take the next dates from the column ``next_occurrences``. They match no row if these dates do not suffice, so that
the rule must be evaluated in Python.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any

from sqlalchemy import (
    CTE,
    ColumnElement,
    DateTime,
    Integer,
    Text,
    Uuid,
    and_,
    bindparam,
    case,
    func,
    literal_column,
    null,
    or_,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import JSONB

from todo.database import Statement
from todo.models.recurrence import Missed
from todo.models.tasks import Status
from todo.services.tasks.statements import (
    by_id,
    is_open,
    is_simple,
    not_trashed,
    now,
    revision_matches,
    tasks,
    update_statement,
)

_user = bindparam("user_id", type_=Text)
_completed_at = bindparam("completed_at", type_=DateTime(timezone=True))
_named = bindparam("occurrence", type_=Text)
_FIRST = literal_column("0", Integer)
_PENDING = literal_column(f"'{Status.pending}'", Text)
_COMPLETED = literal_column(f"'{Status.completed}'", Text)

_insert_completed_copy = func.app.insert_completed_copy(
    _user,
    bindparam("task_id", type_=Uuid),
    bindparam("new_id", type_=Uuid),
    _completed_at,
    now,
    type_=Uuid,
)
INSERT_COMPLETED_COPY = Statement(select(_insert_completed_copy.label("id")), writes=True)
"""Insert a completed copy of the open occurrence, before the series advances."""

_is_named = or_(tasks.c.due_date == _named, tasks.c.recurrence_due == _named)


def _remaining(missed: ColumnElement[Any], at: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return ``next_occurrences`` from the next open occurrence on; null if the rule must be evaluated."""
    return func.app.next_occurrences_after(
        tasks.c.next_occurrences, missed, at, tasks.c.due_time_zone, _user, type_=JSONB
    )


def _next_columns(rest: ColumnElement[Any]) -> dict[str, ColumnElement[Any]]:
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
    step = rest.op("->", precedence=15, return_type=JSONB())(_FIRST)
    return step.op("->>", precedence=15, return_type=Text())(literal_column(str(index)))


# Task: T-327
@cache
def complete_statement(*, named: bool, conditional: bool) -> Statement:
    """Return the statement that completes a simple task, or the open occurrence of a series, which then advances.

    A series must have no subtasks. With ``named``, its open occurrence must be the parameter ``occurrence``. A task
    that is completed already stays unchanged, and so does a series whose last completed occurrence is the named one.
    """
    which = [not_trashed, *([revision_matches] if conditional else [])]
    meant = [*which, *([_is_named] if named else [])]
    step = _step(meant)
    goes_on = step.c.rest.is_not(None)
    is_done = tasks.c.status == _COMPLETED
    done: ColumnElement[bool] = and_(*meant, or_(is_done, and_(is_open(tasks.c.status), is_simple)))
    status: list[tuple[Any, Any]] = [(goes_on, _PENDING)]
    completed_at: list[tuple[Any, Any]] = [(goes_on, null())]
    if named:
        is_repeated = and_(*which, tasks.c.last_occurrence == _named, _is_named.is_not(true()))
        status.append((is_repeated, tasks.c.status))
        completed_at.append((is_repeated, tasks.c.completed_at))
        done = or_(done, is_repeated)
    following = {
        **_next_columns(step.c.rest),
        "last_occurrence": tasks.c.due_date,
        "last_completed_at": func.greatest(tasks.c.last_completed_at, _completed_at),
    }
    new = {name: case((goes_on, value), else_=tasks.c[name]) for name, value in following.items()}
    new["status"] = case(*status, else_=_COMPLETED)
    new["completed_at"] = case(*completed_at, else_=func.coalesce(tasks.c.completed_at, _completed_at))
    return update_statement([by_id, or_(goes_on, done)], new)


def _step(which: Sequence[ColumnElement[bool]]) -> CTE:
    """Insert the completed copy. Return one row with the ``rest`` of the series, or with null if there was no copy.

    FOR UPDATE locks the row and reads its latest version, so the copy has the values of the previous writer. The copy
    is written before the series, and gets the earlier revision.
    """
    missed = tasks.c.recurrence.op("->>", return_type=Text())(literal_column("'missed'"))
    occurrence = (
        select(_remaining(missed, _completed_at).label("rest"))
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


# Task: T-327
@cache
def skip_statement(*, named: bool, conditional: bool) -> Statement:
    """Return the statement that advances a series to the next occurrence, also if it has subtasks."""
    # The next occurrence in the sequence, even if its date has passed: so no completion time is needed.
    is_kept = _remaining(literal_column(f"'{Missed.keep}'", Text), null()).is_not(None)
    which = [by_id, not_trashed, is_open(tasks.c.status), tasks.c.next_occurrences.is_not(None), is_kept]
    which += [*([revision_matches] if conditional else []), *([_is_named] if named else [])]
    rest = tasks.c.next_occurrences.op("-", return_type=JSONB())(_FIRST)
    return update_statement(which, {**_next_columns(rest), "last_skipped": tasks.c.due_date})
