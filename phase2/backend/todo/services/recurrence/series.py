"""Series: the columns of a recurring task after it is created, edited, completed or skipped, and its next dates."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

from todo.database import Row, Session
from todo.errors import FieldError, Invalid
from todo.kit import recurrence as rules
from todo.kit.dates import Due, format_due, parse_due
from todo.models.recurrence import CountedFrom, Missed
from todo.models.tasks import TaskCreate
from todo.services.recurrence.schedule import ONE_DAY, Schedule, from_text, parse_stored_rule, shift_start, to_text
from todo.services.recurrence.user_time import PROFILE, UserTime

# The columns with the state of a series.
STATE = ("recurrence_anchor", "recurrence_number", "recurrence_due", "recurrence_start")
COLUMNS = (*STATE, "series_id", "next_occurrences")
"""The columns of a series that no client can set."""

# The columns from which ``next_occurrences`` is computed.
_NEXT_OCCURRENCES_COLUMNS = frozenset({"due_date", "due_time_zone", "recurrence", *STATE})

# ``series_id`` stays: the completed occurrences still belong to the series.
_NO_SERIES: Mapping[str, Any] = {name: None for name in COLUMNS if name != "series_id"}

_NEEDS_DUE = FieldError("/due_date", "A recurring task needs a due date. Send one, or null as the recurrence.")
_NEVER = FieldError("/recurrence", "The rule produces no date from the due date on. Choose another rule or date.")


# Task: T-325
async def initial_columns_for(session: Session, body: TaskCreate, task_id: UUID) -> dict[str, Any]:
    """Return the series columns of a new task; all null without a recurrence.

    Raises Invalid for a due date that the rule does not produce.
    """
    schedule = _initial_schedule(body, UserTime())
    # Read the profile only if the dates depend on the user's zone.
    if schedule is not None and schedule.depends_on_user_zone:
        schedule = schedule._replace(clock=UserTime.of(await session.fetch_all(PROFILE)))
    return _initial_columns(schedule, task_id)


def initial_columns(body: TaskCreate, user_time: UserTime, task_id: UUID) -> dict[str, Any]:
    """Return the series columns of a new task, as ``initial_columns_for`` does, computed with its owner's zone."""
    return _initial_columns(_initial_schedule(body, user_time), task_id)


def _initial_schedule(body: TaskCreate, user_time: UserTime) -> Schedule | None:
    if body.recurrence is None:
        return None
    if body.due_date is None:
        raise Invalid(_NEEDS_DUE)
    due, start, zone = parse_due(body.due_date), from_text(body.start_date), body.due_time_zone
    return Schedule(user_time.of_task(zone), zone, body.recurrence.stored(), 1, due, due, due, start)


def _initial_columns(schedule: Schedule | None, task_id: UUID) -> dict[str, Any]:
    if schedule is None:
        return {**_NO_SERIES, "series_id": None}
    _first_valid_due(schedule, may_move=False)
    columns = schedule.columns()
    return {**columns, "recurrence_anchor": columns["due_date"], "series_id": task_id}


# Task: T-325
def columns_after_edit(row: Row, sent: Mapping[str, Any], user_time: UserTime, *, only_this: bool) -> dict[str, Any]:
    """Return the changed columns of dates and recurrence, for those fields of ``sent`` that differ.

    A new due date moves the series, or with ``only_this`` only its open occurrence. A new rule restarts the series at a
    due date that the rule produces. If only the end of the rule changes, or the handling of missed dates or month ends,
    the series continues.
    """
    changed = {name: value for name, value in sent.items() if value != row[name]}
    after = {**row, **changed}
    if not changed:
        return changed
    if after["recurrence"] is None:
        return {**changed, **_NO_SERIES} if "recurrence" in changed else changed
    if after["due_date"] is None:
        raise Invalid(_NEEDS_DUE)
    due, start, zone = parse_due(after["due_date"]), from_text(after["start_date"]), after["due_time_zone"]
    started = Schedule(user_time.of_task(zone), zone, after["recurrence"], 1, due, due, due, start)
    if "recurrence" in changed and not _keeps_schedule(row, after, user_time):
        fitting = _first_valid_due(started, may_move="due_date" not in changed)
        if start and "start_date" not in changed:
            start = shift_start(start, due, fitting, started.clock)
        columns = started._replace(anchor=fitting, due_date=fitting, due=fitting, start=start).columns()
        return {**changed, **columns, "recurrence_anchor": columns["due_date"], "series_id": UUID(row["id"])}
    if "due_date" in changed and not only_this:
        _first_valid_due(started, may_move=False)
        due_date, number = after["due_date"], row["recurrence_number"]
        return {
            **changed,
            "recurrence_anchor": due_date,
            "recurrence_number": number,
            "recurrence_due": due_date,
            "recurrence_start": after["start_date"],
            "next_occurrences": started._replace(number=number).next_occurrences(),
        }
    if "start_date" in changed and not only_this:
        rule_due = parse_due(row["recurrence_due"])
        changed["recurrence_start"] = to_text(start and shift_start(start, due, rule_due, started.clock))
    if changed.keys() & _NEXT_OCCURRENCES_COLUMNS:
        changed["next_occurrences"] = Schedule.of({**row, **changed}, user_time).next_occurrences()
    return changed


# Task: T-325
def columns_after_completion(row: Row, user_time: UserTime, at: datetime) -> dict[str, Any] | None:
    """Return the columns of a series after its open occurrence was completed at ``at``; ``None`` if it was the last."""
    schedule = Schedule.of(row, user_time)
    clock, recurrence = schedule.clock, schedule.recurrence
    # Around a clock change, wall-clock times do not show what has passed. So start a day earlier; the loop below
    # compares instants.
    completed = clock.wall_time_at(at) - ONE_DAY if at.year > 1 else clock.wall_time_at(at)
    state = rules.advance(recurrence, schedule.state, completed=completed, today=user_time.today(at))
    if recurrence.counted_from == CountedFrom.due and recurrence.missed == Missed.skip:
        while state is not None and isinstance(state.due, datetime) and clock.instant_of(state.due) <= at:
            state = rules.skip_occurrence(recurrence, state)
    if state is not None and recurrence.rule.count is None:
        # Without COUNT, skipped dates are not numbered, so the number does not depend on how many there were.
        state = replace(state, number=row["recurrence_number"] + 1)
    return schedule.columns_at(state)


def already_completed_today(row: Row, user_time: UserTime, at: datetime) -> bool:
    """Return whether a series that counts from completion was already completed on the day of ``at`` or later.

    Then its next occurrence is in the future and already counts from that day, and completing it again has no effect.
    """
    if row["recurrence"]["from"] != CountedFrom.completion or row["last_completed_at"] is None:
        return False
    due = user_time.of_task(row["due_time_zone"]).to_local(parse_due(row["due_date"]))
    last = user_time.today(datetime.fromisoformat(row["last_completed_at"]))
    return user_time.today(at) <= last < rules.day_of(due)


# Task: T-326
def columns_after_skip(row: Row, user_time: UserTime) -> dict[str, Any] | None:
    """Return the columns of a series after its open occurrence was skipped; ``None`` if it was the last."""
    schedule = Schedule.of(row, user_time)
    return schedule.columns_at(rules.skip_occurrence(schedule.recurrence, schedule.state))


def _first_valid_due(schedule: Schedule, *, may_move: bool) -> Due:
    """Return the due date if the rule produces it, else the next date that the rule produces.

    Raises Invalid with the next date unless ``may_move``. Raises Invalid if there is no next date.
    """
    local_due = schedule.clock.to_local(schedule.due)
    fit = rules.first_match(schedule.recurrence, local_due)
    if fit is None:
        raise Invalid(_NEVER)
    if fit == local_due:
        return schedule.due
    fitting = schedule.clock.to_due(fit, like=schedule.due)
    if not may_move:
        sentence = f"The rule does not produce this date. The next one that it does: {format_due(fitting)}."
        raise Invalid(FieldError("/due_date", sentence))
    return fitting


def _keeps_schedule(row: Row, after: Row, user_time: UserTime) -> bool:
    """Return whether a new recurrence has the same rule except for its end, and also produces the open occurrence."""
    if row["recurrence"] is None or _without_end(after["recurrence"]) != _without_end(row["recurrence"]):
        return False
    moved = {name: after[name] for name in ("due_time_zone", "recurrence")}
    schedule = Schedule.of({**row, **moved}, user_time)
    state, recurrence = schedule.state, schedule.recurrence
    nominal = state.in_sequence
    before = nominal - ONE_DAY if nominal.toordinal() > 1 else None
    anchor = nominal if recurrence.counted_from == CountedFrom.completion else state.anchor
    following = rules.occurrences(recurrence, anchor, after=before, number=state.number - 1)
    return next(following, None) == (state.number, nominal)


def _without_end(stored: Mapping[str, Any]) -> rules.Rule:
    return replace(parse_stored_rule(stored["rule"]), count=None, until=None)
