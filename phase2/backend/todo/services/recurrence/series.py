"""Series: the columns of a recurring task after it is created, edited, completed or skipped, and its next dates."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from itertools import islice
from typing import Any
from uuid import UUID

from sqlalchemy import select

from todo.database import Row, Session, Statement
from todo.errors import Conflict, Fault, Invalid, NotFound
from todo.kit import recurrence as rules
from todo.kit.dates import form_of
from todo.models.recurrence import CountedFrom, Missed
from todo.models.tasks import TaskCreate
from todo.services.recurrence.user_time import PROFILE, Clock
from todo.services.recurrence.schedule import (
    ONE_DAY,
    arithmetic,
    columns_of,
    follows_owner,
    next_start,
    parsed,
    shifted,
    state_of,
    upcoming,
)
from todo.services.tasks.statements import OPEN, SERIES, tasks, this_one

# The columns with the state of a series.
_STATE = ("recurrence_anchor", "recurrence_number", "recurrence_due", "recurrence_start")
# The columns from which ``upcoming`` is computed.
_STEPS_FROM = frozenset({"due_date", "due_time_zone", "recurrence", *_STATE})

_READ = Statement(
    select(
        tasks.c.status,
        tasks.c.due_date,
        tasks.c.due_time_zone,
        tasks.c.start_date,
        tasks.c.recurrence,
        *(tasks.c[name] for name in _STATE),
    ).where(this_one)
)

# ``series_id`` stays: the completed occurrences still belong to the series.
_NO_SERIES: Mapping[str, Any] = {name: None for name in SERIES if name != "series_id"}

_NEEDS_DUE = Fault("/due_date", "What repeats needs a due date. Send one, or null as the recurrence.")
_NEVER = Fault("/recurrence", "From this due date on the rule never occurs. Choose another rule or another date.")


# Task: T-325
async def opening(session: Session, body: TaskCreate, task_id: UUID) -> dict[str, Any]:
    """Return the series columns of a new task. Raises Invalid for a due date that the rule does not produce."""
    forms = (body.due_date, body.start_date)
    follows = body.recurrence is not None and follows_owner(body.due_time_zone, forms, body.recurrence.rule)
    # Read the profile only if the dates depend on the user's zone.
    clock = Clock.of(await session.all(PROFILE)) if follows else Clock()
    return opened(body, clock, task_id)


def opened(body: TaskCreate, clock: Clock, task_id: UUID) -> dict[str, Any]:
    """Return the series columns of a new task, computed with its owner's zone; all null without a recurrence."""
    if body.recurrence is None:
        return {**_NO_SERIES, "series_id": None}
    here = clock.of_task(body.due_time_zone)
    if body.due_date is None:
        raise Invalid(_NEEDS_DUE)
    recurrence = body.recurrence.stored()
    _fitted(recurrence, body.due_date, here, may_move=False)
    begun = _begun(body.due_date, body.start_date)
    row = {
        "due_date": body.due_date,
        "due_time_zone": body.due_time_zone,
        "start_date": body.start_date,
        "recurrence": recurrence,
        **begun,
    }
    return {**begun, "series_id": task_id, "upcoming": upcoming(row, here)}


# Task: T-325
def edited(row: Row, sent: Mapping[str, Any], clock: Clock, *, only_this: bool) -> dict[str, Any]:
    """Return the changed columns of dates and recurrence, for those fields of ``sent`` that differ.

    A new due date moves the series, or with ``only_this`` only its open occurrence. A new rule restarts the series at a
    due date that the rule produces. If only the end of the rule changes, or the handling of missed dates or month ends,
    the series continues.
    """
    columns = _edited(row, sent, clock, only_this=only_this)
    after = {**row, **columns}
    if after["recurrence"] is None or not columns.keys() & _STEPS_FROM:
        return columns
    return {**columns, "upcoming": upcoming(after, clock.of_task(after["due_time_zone"]))}


def _edited(row: Row, sent: Mapping[str, Any], clock: Clock, *, only_this: bool) -> dict[str, Any]:
    changed = {name: value for name, value in sent.items() if value != row[name]}
    recurrence = sent.get("recurrence", row["recurrence"])
    if recurrence is None:
        return {**changed, **_NO_SERIES} if "recurrence" in changed else changed
    here = clock.of_task(sent.get("due_time_zone", row["due_time_zone"]))
    due_date, start_date = (sent.get(name, row[name]) for name in ("due_date", "start_date"))
    if due_date is None:
        raise Invalid(_NEEDS_DUE)
    if "recurrence" in changed and not _goes_on(row, recurrence, here):
        fitting = _fitted(recurrence, due_date, here, may_move="due_date" not in changed)
        if "start_date" not in changed:
            start_date = shifted(start_date, due_date, fitting, here)
        begun = {"due_date": fitting, "start_date": start_date, **_begun(fitting, start_date)}
        return {**changed, **begun, "series_id": UUID(row["id"])}
    if only_this:
        return changed
    if "due_date" in changed:
        _fitted(recurrence, due_date, here, may_move=False)
        return {**changed, **_begun(due_date, start_date), "recurrence_number": row["recurrence_number"]}
    if "start_date" in changed:
        changed["recurrence_start"] = shifted(start_date, due_date, row["recurrence_due"], here)
    return changed


# Task: T-325
def advanced(row: Row, clock: Clock, at: datetime) -> dict[str, Any] | None:
    """Return the columns of a series after its open occurrence was completed at ``at``; ``None`` if it was the last."""
    here = clock.of_task(row["due_time_zone"])
    recurrence = arithmetic(row["recurrence"], here)
    # Around a clock change, wall-clock times do not show what has passed. So start a day earlier; the loop below
    # compares instants.
    completed = here.shown(at) - ONE_DAY if at.year > 1 else here.shown(at)
    state = rules.advance(recurrence, state_of(row, here), completed=completed, today=clock.today(at))
    if recurrence.counted_from == CountedFrom.due and recurrence.missed == Missed.skip:
        while state is not None and isinstance(state.due, datetime) and here.instant(state.due) <= at:
            state = rules.skip_one(recurrence, state)
    if state is not None and recurrence.rule.count is None:
        # Without COUNT, skipped dates are not numbered, so the number does not depend on how many there were.
        state = replace(state, number=row["recurrence_number"] + 1)
    return columns_of(row, here, state)


def was_counted(row: Row, clock: Clock, at: datetime) -> bool:
    """Return whether a series that counts from completion was already completed on the day of ``at`` or later.

    Then its next occurrence is in the future and already counts from that day, and completing it again has no effect.
    """
    if row["recurrence"]["from"] != CountedFrom.completion or row["last_completed_at"] is None:
        return False
    here = clock.of_task(row["due_time_zone"])
    last = clock.today(datetime.fromisoformat(row["last_completed_at"]))
    return clock.today(at) <= last < rules.day_of(here.local(row["due_date"]))


# Task: T-326
def skipped(row: Row, clock: Clock) -> dict[str, Any] | None:
    """Return the columns of a series after its open occurrence was skipped; ``None`` if it was the last."""
    here = clock.of_task(row["due_time_zone"])
    return columns_of(row, here, rules.skip_one(arithmetic(row["recurrence"], here), state_of(row, here)))


# Task: T-326
async def occurrences(session: Session, task_id: UUID, *, limit: int) -> list[dict[str, Any]]:
    """Return at most ``limit`` dates of a series, from the open occurrence on.

    A task without a recurrence has one date. A closed task and a task without a due date have none. Raises NotFound.
    """
    [rows, profiles] = await session.together((_READ, {"task_id": task_id}), (PROFILE, {}))
    if not rows:
        raise NotFound
    [row] = rows
    if row["due_date"] is None or row["status"] not in OPEN:
        return []
    clock = Clock.of(profiles)
    here = clock.of_task(row["due_time_zone"])
    found = [(row["due_date"], row["start_date"])]
    if row["recurrence"] is not None:
        following = rules.upcoming(arithmetic(row["recurrence"], here), state_of(row, here))
        forms = (here.form(due, like=row["recurrence_due"]) for _, due in islice(following, limit - 1))
        found += [(form, next_start(row, form, here)) for form in forms]
    return [
        {"due_date": due, "start_date": start, "due_at": form_of(clock.due_at(due, row["due_time_zone"]))}
        for due, start in found
    ]


def require_series(row: Row) -> None:
    """Raise Conflict if the task has no recurrence."""
    if row["recurrence"] is None:
        raise Conflict("This task does not repeat. Complete or cancel it instead.", code="not_recurring")


def _begun(due_date: str, start_date: str | None) -> dict[str, Any]:
    """Return the state columns of a series that starts at ``due_date``."""
    return {
        "recurrence_anchor": due_date,
        "recurrence_number": 1,
        "recurrence_due": due_date,
        "recurrence_start": start_date,
    }


def _fitted(stored: Mapping[str, Any], due_date: str, here: Clock, *, may_move: bool) -> str:
    """Return ``due_date`` if the rule produces it, else the next date that the rule produces.

    Raises Invalid with the next date unless ``may_move``. Raises Invalid if there is no next date.
    """
    due = here.local(due_date)
    fit = rules.fitting(arithmetic(stored, here), due)
    if fit is None:
        raise Invalid(_NEVER)
    if fit == due:
        return due_date
    fitting = here.form(fit, like=due_date)
    if not may_move:
        raise Invalid(Fault("/due_date", f"The rule does not produce this date. The next one that it does: {fitting}."))
    return fitting


def _goes_on(row: Row, stored: Mapping[str, Any], here: Clock) -> bool:
    """Return whether a new recurrence has the same rule except for its end, and also produces the open occurrence."""
    if row["recurrence"] is None or _without_end(stored) != _without_end(row["recurrence"]):
        return False
    state, recurrence = state_of(row, here), arithmetic(stored, here)
    nominal = state.in_sequence
    before = nominal - ONE_DAY if nominal.toordinal() > 1 else None
    anchor = nominal if recurrence.counted_from == CountedFrom.completion else state.anchor
    following = rules.occurrences(recurrence, anchor, after=before, number=state.number - 1)
    return next(following, None) == (state.number, nominal)


def _without_end(stored: Mapping[str, Any]) -> rules.Rule:
    return replace(parsed(stored["rule"]), count=None, until=None)
