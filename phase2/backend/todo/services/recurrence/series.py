"""Series: the columns of a recurring task after it is created, edited, completed or skipped, and its next dates."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

from todo.database import Row, Session
from todo.errors import FieldError, Invalid
from todo.kit import recurrence as rules
from todo.models.recurrence import CountedFrom, Missed
from todo.models.tasks import TaskCreate
from todo.services.recurrence.schedule import (
    ONE_DAY,
    depends_on_user_zone,
    next_occurrences,
    parse_stored_rule,
    shift_start,
    to_columns,
    to_recurrence,
    to_state,
)
from todo.services.recurrence.user_time import PROFILE, UserTime

# The columns with the state of a series.
STATE = ("recurrence_anchor", "recurrence_number", "recurrence_due", "recurrence_start")
COLUMNS = (*STATE, "series_id", "next_occurrences")
"""The columns of a series that no client can set."""

# The columns from which ``next_occurrences`` is computed.
_STEPS_FROM = frozenset({"due_date", "due_time_zone", "recurrence", *STATE})

# ``series_id`` stays: the completed occurrences still belong to the series.
_NO_SERIES: Mapping[str, Any] = {name: None for name in COLUMNS if name != "series_id"}

_NEEDS_DUE = FieldError("/due_date", "What repeats needs a due date. Send one, or null as the recurrence.")
_NEVER = FieldError("/recurrence", "From this due date on the rule never occurs. Choose another rule or another date.")


# Task: T-325
async def initial_columns_for(session: Session, body: TaskCreate, task_id: UUID) -> dict[str, Any]:
    """Return the series columns of a new task. Raises Invalid for a due date that the rule does not produce."""
    due_texts = (body.due_date, body.start_date)
    follows = body.recurrence is not None and depends_on_user_zone(body.due_time_zone, due_texts, body.recurrence.rule)
    # Read the profile only if the dates depend on the user's zone.
    user_time = UserTime.of(await session.fetch_all(PROFILE)) if follows else UserTime()
    return initial_columns(body, user_time, task_id)


def initial_columns(body: TaskCreate, user_time: UserTime, task_id: UUID) -> dict[str, Any]:
    """Return the series columns of a new task, computed with its owner's zone; all null without a recurrence."""
    if body.recurrence is None:
        return {**_NO_SERIES, "series_id": None}
    task_time = user_time.of_task(body.due_time_zone)
    if body.due_date is None:
        raise Invalid(_NEEDS_DUE)
    recurrence = body.recurrence.stored()
    _first_valid_due(recurrence, body.due_date, task_time, may_move=False)
    restarted = _restart_columns(body.due_date, body.start_date)
    row = {
        "due_date": body.due_date,
        "due_time_zone": body.due_time_zone,
        "start_date": body.start_date,
        "recurrence": recurrence,
        **restarted,
    }
    return {**restarted, "series_id": task_id, "next_occurrences": next_occurrences(row, task_time)}


# Task: T-325
def columns_after_edit(row: Row, sent: Mapping[str, Any], user_time: UserTime, *, only_this: bool) -> dict[str, Any]:
    """Return the changed columns of dates and recurrence, for those fields of ``sent`` that differ.

    A new due date moves the series, or with ``only_this`` only its open occurrence. A new rule restarts the series at a
    due date that the rule produces. If only the end of the rule changes, or the handling of missed dates or month ends,
    the series continues.
    """
    columns = _changed_columns(row, sent, user_time, only_this=only_this)
    after = {**row, **columns}
    if after["recurrence"] is None or not columns.keys() & _STEPS_FROM:
        return columns
    return {**columns, "next_occurrences": next_occurrences(after, user_time.of_task(after["due_time_zone"]))}


def _changed_columns(row: Row, sent: Mapping[str, Any], user_time: UserTime, *, only_this: bool) -> dict[str, Any]:
    changed = {name: value for name, value in sent.items() if value != row[name]}
    recurrence = sent.get("recurrence", row["recurrence"])
    if recurrence is None:
        return {**changed, **_NO_SERIES} if "recurrence" in changed else changed
    task_time = user_time.of_task(sent.get("due_time_zone", row["due_time_zone"]))
    due_date, start_date = (sent.get(name, row[name]) for name in ("due_date", "start_date"))
    if due_date is None:
        raise Invalid(_NEEDS_DUE)
    if "recurrence" in changed and not _keeps_schedule(row, recurrence, task_time):
        fitting = _first_valid_due(recurrence, due_date, task_time, may_move="due_date" not in changed)
        if "start_date" not in changed:
            start_date = shift_start(start_date, due_date, fitting, task_time)
        restarted = {"due_date": fitting, "start_date": start_date, **_restart_columns(fitting, start_date)}
        return {**changed, **restarted, "series_id": UUID(row["id"])}
    if only_this:
        return changed
    if "due_date" in changed:
        _first_valid_due(recurrence, due_date, task_time, may_move=False)
        return {**changed, **_restart_columns(due_date, start_date), "recurrence_number": row["recurrence_number"]}
    if "start_date" in changed:
        changed["recurrence_start"] = shift_start(start_date, due_date, row["recurrence_due"], task_time)
    return changed


# Task: T-325
def columns_after_completion(row: Row, user_time: UserTime, at: datetime) -> dict[str, Any] | None:
    """Return the columns of a series after its open occurrence was completed at ``at``; ``None`` if it was the last."""
    task_time = user_time.of_task(row["due_time_zone"])
    recurrence = to_recurrence(row["recurrence"], task_time)
    # Around a clock change, wall-clock times do not show what has passed. So start a day earlier; the loop below
    # compares instants.
    completed = task_time.wall_time_at(at) - ONE_DAY if at.year > 1 else task_time.wall_time_at(at)
    state = rules.advance(recurrence, to_state(row, task_time), completed=completed, today=user_time.today(at))
    if recurrence.counted_from == CountedFrom.due and recurrence.missed == Missed.skip:
        while state is not None and isinstance(state.due, datetime) and task_time.instant_of(state.due) <= at:
            state = rules.skip_occurrence(recurrence, state)
    if state is not None and recurrence.rule.count is None:
        # Without COUNT, skipped dates are not numbered, so the number does not depend on how many there were.
        state = replace(state, number=row["recurrence_number"] + 1)
    return to_columns(row, task_time, state)


def already_completed_today(row: Row, user_time: UserTime, at: datetime) -> bool:
    """Return whether a series that counts from completion was already completed on the day of ``at`` or later.

    Then its next occurrence is in the future and already counts from that day, and completing it again has no effect.
    """
    if row["recurrence"]["from"] != CountedFrom.completion or row["last_completed_at"] is None:
        return False
    task_time = user_time.of_task(row["due_time_zone"])
    last = user_time.today(datetime.fromisoformat(row["last_completed_at"]))
    return user_time.today(at) <= last < rules.day_of(task_time.to_local(row["due_date"]))


# Task: T-326
def columns_after_skip(row: Row, user_time: UserTime) -> dict[str, Any] | None:
    """Return the columns of a series after its open occurrence was skipped; ``None`` if it was the last."""
    task_time = user_time.of_task(row["due_time_zone"])
    return to_columns(
        row, task_time, rules.skip_occurrence(to_recurrence(row["recurrence"], task_time), to_state(row, task_time))
    )


def _restart_columns(due_date: str, start_date: str | None) -> dict[str, Any]:
    """Return the state columns of a series that starts at ``due_date``."""
    return {
        "recurrence_anchor": due_date,
        "recurrence_number": 1,
        "recurrence_due": due_date,
        "recurrence_start": start_date,
    }


def _first_valid_due(stored: Mapping[str, Any], due_date: str, task_time: UserTime, *, may_move: bool) -> str:
    """Return ``due_date`` if the rule produces it, else the next date that the rule produces.

    Raises Invalid with the next date unless ``may_move``. Raises Invalid if there is no next date.
    """
    due = task_time.to_local(due_date)
    fit = rules.first_match(to_recurrence(stored, task_time), due)
    if fit is None:
        raise Invalid(_NEVER)
    if fit == due:
        return due_date
    fitting = task_time.format_due(fit, template=due_date)
    if not may_move:
        raise Invalid(
            FieldError("/due_date", f"The rule does not produce this date. The next one that it does: {fitting}.")
        )
    return fitting


def _keeps_schedule(row: Row, stored: Mapping[str, Any], task_time: UserTime) -> bool:
    """Return whether a new recurrence has the same rule except for its end, and also produces the open occurrence."""
    if row["recurrence"] is None or _without_end(stored) != _without_end(row["recurrence"]):
        return False
    state, recurrence = to_state(row, task_time), to_recurrence(stored, task_time)
    nominal = state.in_sequence
    before = nominal - ONE_DAY if nominal.toordinal() > 1 else None
    anchor = nominal if recurrence.counted_from == CountedFrom.completion else state.anchor
    following = rules.occurrences(recurrence, anchor, after=before, number=state.number - 1)
    return next(following, None) == (state.number, nominal)


def _without_end(stored: Mapping[str, Any]) -> rules.Rule:
    return replace(parse_stored_rule(stored["rule"]), count=None, until=None)
