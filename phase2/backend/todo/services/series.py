"""Series: what repeats, between the forms that are stored and the local times that rules count in."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import select

from todo.database import OwnedByCaller, Row, Session, Statement
from todo.errors import Conflict, Fault, Invalid, NotFound
from todo.kit import recurrence as rules
from todo.kit.dates import form_of, parse_due
from todo.kit.recurrence import Due, State
from todo.kit.zones import day_bounds, local, local_day, resolve
from todo.models.base import table_of
from todo.models.profiles import Profile
from todo.models.recurrence import Recurrence
from todo.models.tasks import Status, TaskCreate
from todo.services.task_rows import SERIES, tasks, this_one

_profiles = table_of(Profile)
PROFILE = Statement(select(_profiles.c.time_zone, _profiles.c.day_start).where(OwnedByCaller(_profiles)))
_READ = Statement(
    select(
        tasks.c.id,
        tasks.c.status,
        tasks.c.due_date,
        tasks.c.due_time_zone,
        tasks.c.start_date,
        tasks.c.recurrence,
        *(tasks.c[name] for name in SERIES),
    ).where(this_one)
)

NO_SERIES: Mapping[str, Any] = dict.fromkeys(("recurrence_anchor", "recurrence_number", "recurrence_due"))

_NEEDS_DUE = Fault("/due_date", "What repeats needs a due date. Send one, or null as the recurrence.")
_NEVER = Fault("/recurrence", "From this due date on the rule never occurs. Choose another rule or another date.")


@dataclass(frozen=True, slots=True)
class Clock:
    """Where a user is: the zone, and when a day starts there."""

    zone: str = "UTC"
    day_start: time = time(0)

    @classmethod
    def of(cls, profiles: Sequence[Row]) -> "Clock":
        """Make it of the rows of ``PROFILE``."""
        if not profiles:
            return cls()
        return cls(profiles[0]["time_zone"], time.fromisoformat(profiles[0]["day_start"]))

    def of_task(self, due_time_zone: str | None) -> "Clock":
        """Return the clock of a task that may have a zone of its own."""
        return self if due_time_zone is None else Clock(due_time_zone, self.day_start)

    def local(self, form: str) -> Due:
        """Return a stored form as rules count: an instant as what the clocks here show then."""
        due = parse_due(form)
        return local(due, self.zone) if isinstance(due, datetime) and due.tzinfo is not None else due

    def form(self, due: Due, *, like: str) -> str:
        """Return a local due in the stored form that ``like`` has."""
        if isinstance(due, datetime) and like.endswith("Z"):
            return form_of(resolve(due, self.zone))
        return form_of(due)

    def end_of(self, form: str) -> datetime:
        """Return the instant at which something is due: the end of the day for what is due all day."""
        due = parse_due(form)
        if not isinstance(due, datetime):
            return day_bounds(due, self.zone, self.day_start)[1]
        return due if due.tzinfo is not None else resolve(due, self.zone)

    def today(self, at: datetime) -> date:
        """Return the user's day at an instant."""
        return local_day(at, self.zone, self.day_start)


# Task: T-325
async def opening(session: Session, body: TaskCreate, task_id: UUID) -> dict[str, Any]:
    """Return the columns of a new task's series. Raises Invalid for a due date that the rule does not produce."""
    if body.recurrence is None:
        return {**NO_SERIES, "series_id": None}
    clock = Clock()
    # Only an instant needs to know where its owner is, to be a local time.
    if body.due_date is not None and body.due_date.endswith("Z") and body.due_time_zone is None:
        clock = Clock.of(await session.all(PROFILE))
    return opened(body, clock, task_id)


def opened(body: TaskCreate, clock: Clock, task_id: UUID) -> dict[str, Any]:
    """Return the columns of a new task's series, if it repeats, in its owner's zone."""
    if body.recurrence is None:
        return {**NO_SERIES, "series_id": None}
    begun = begin(body.recurrence, body.due_date, clock.of_task(body.due_time_zone), may_move=False)
    return {**begun, "series_id": task_id, "due_date": body.due_date}


def begin(recurrence: Recurrence, due_date: str | None, clock: Clock, *, may_move: bool) -> dict[str, Any]:
    """Return the columns of a series that begins at ``due_date``, or at the next date that fits if it ``may_move``."""
    if due_date is None:
        raise Invalid(_NEEDS_DUE)
    due_date = fitted(recurrence, due_date, clock, may_move=may_move)
    return {
        "due_date": due_date,
        "recurrence_anchor": due_date,
        "recurrence_number": 1,
        "recurrence_due": due_date,
    }


def fitted(recurrence: Recurrence, due_date: str, clock: Clock, *, may_move: bool) -> str:
    """Return ``due_date`` if the rule produces it. Else the next one that it does, or Invalid, which names that."""
    due = clock.local(due_date)
    fit = rules.fitting(_of(recurrence), due)
    if fit is None:
        raise Invalid(_NEVER)
    if fit == due:
        return due_date
    fitting = clock.form(fit, like=due_date)
    if not may_move:
        raise Invalid(Fault("/due_date", f"The rule does not produce this date. The next one that it does: {fitting}."))
    return fitting


def moved(row: Row, due_date: str | None, here: Clock, *, only_this: bool) -> dict[str, Any]:
    """Return the columns of a series that is moved to ``due_date``, or whose open occurrence alone is."""
    if due_date is None:
        raise Invalid(_NEEDS_DUE)
    if only_this:
        return {"due_date": due_date}
    fitted(_recurrence(row), due_date, here, may_move=False)
    return {"due_date": due_date, "recurrence_anchor": due_date, "recurrence_due": due_date}


# Task: T-325
def advanced(row: Row, clock: Clock, at: datetime) -> dict[str, Any] | None:
    """Return the columns of a series whose open occurrence was completed at ``at``; ``None`` if that was the last."""
    here = clock.of_task(row["due_time_zone"])
    completed = local(at, here.zone)
    state = rules.advance(_of(_recurrence(row)), _state(row, here), completed=completed, today=here.today(at))
    return _columns(row, here, state)


def was_counted(row: Row, clock: Clock, at: datetime) -> bool:
    """Tell whether a series that counts from completion has been completed on the day of ``at`` already."""
    here = clock.of_task(row["due_time_zone"])
    last = row["last_completed_at"]
    if row["recurrence"]["from"] != "completion" or last is None or row["recurrence_due"] == row["recurrence_anchor"]:
        return False
    anchor = here.local(row["recurrence_anchor"])
    day = anchor.date() if isinstance(anchor, datetime) else anchor
    return day == here.today(at) == here.today(datetime.fromisoformat(last))


# Task: T-325
def skipped(row: Row, clock: Clock) -> dict[str, Any] | None:
    """Return the columns of a series whose open occurrence is passed over; ``None`` if that was the last."""
    here = clock.of_task(row["due_time_zone"])
    return _columns(row, here, rules.skip_one(_of(_recurrence(row)), _state(row, here)))


# Task: T-326
async def occurrences(session: Session, task_id: UUID, *, limit: int) -> list[dict[str, Any]]:
    """Return when a series is due, from the open occurrence on, at most ``limit`` times.

    A task that does not repeat has the one, and one that is done has none. Raises NotFound.
    """
    [rows, profiles] = await session.together((_READ, {"task_id": task_id}), (PROFILE, {}))
    if not rows:
        raise NotFound
    [row] = rows
    if row["due_date"] is None or row["status"] in (Status.completed, Status.cancelled):
        return []
    here = Clock.of(profiles).of_task(row["due_time_zone"])
    first = [row["due_date"]]
    if row["recurrence"] is None:
        return [_occurrence(row, form, here) for form in first]
    following = rules.upcoming(_of(_recurrence(row)), _state(row, here))
    forms = (here.form(due, like=row["recurrence_anchor"]) for _, due in following)
    return [_occurrence(row, form, here) for form in itertools.islice(itertools.chain(first, forms), limit)]


def _occurrence(row: Row, form: str, here: Clock) -> dict[str, Any]:
    at = here.end_of(form)
    return {
        "due_date": form,
        "start_date": _moved_start(row, form, here),
        "due_at": form_of(at),
    }


def require_series(row: Row) -> None:
    """Raise Conflict for a task that does not repeat."""
    if row["recurrence"] is None:
        raise Conflict("This task does not repeat. Complete or cancel it instead.", code="not_recurring")


def _columns(row: Row, here: Clock, state: State | None) -> dict[str, Any] | None:
    if state is None:
        return None
    like = row["recurrence_anchor"]
    due_date = here.form(state.due, like=like)
    return {
        "due_date": due_date,
        "start_date": _moved_start(row, due_date, here),
        "recurrence_anchor": here.form(state.anchor, like=like),
        "recurrence_number": state.number,
        "recurrence_due": due_date,
    }


def _moved_start(row: Row, due_date: str, here: Clock) -> str | None:
    start = row["start_date"]
    if start is None:
        return None
    moved = rules.shift(here.local(start), here.local(row["due_date"]), here.local(due_date))
    return here.form(moved, like=start)


def _state(row: Row, here: Clock) -> State:
    was_moved = row["recurrence_due"] != row["due_date"]
    return State(
        anchor=here.local(row["recurrence_anchor"]),
        number=row["recurrence_number"],
        due=here.local(row["due_date"]),
        nominal=here.local(row["recurrence_due"]) if was_moved else None,
    )


def _recurrence(row: Row) -> Recurrence:
    return Recurrence.model_validate_json(orjson.dumps(row["recurrence"]))


def _of(recurrence: Recurrence) -> rules.Recurrence:
    return rules.Recurrence(
        rules.parse_rule(recurrence.rule),
        counted_from=recurrence.counted_from.value,
        month_end=recurrence.month_end.value,
        missed=recurrence.missed.value,
    )
