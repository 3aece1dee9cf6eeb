"""User time: wall-clock time in a user's zone, and the meaning of stored due dates in that zone."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from sqlalchemy import select

from todo.database import OwnedByCaller, Row, Statement
from todo.kit.dates import form_of, parse_due
from todo.kit.recurrence import Due
from todo.kit.zones import local, local_day, resolve
from todo.models.base import table_of
from todo.models.profiles import Profile

_profiles = table_of(Profile)
PROFILE = Statement(select(_profiles.c.time_zone, _profiles.c.day_start).where(OwnedByCaller(_profiles)))

_ONE_DAY = timedelta(days=1)
_LAST_MOMENT = datetime.max.replace(tzinfo=UTC)


# Task: T-325
@dataclass(frozen=True, slots=True)
class Clock:
    """A user's time zone, and the time at which the user's day starts.

    Uses UTC if a conversion would leave the years 1 to 9999, which can happen on the first and the last day of them.
    """

    zone: str = "UTC"
    day_start: time = time(0)

    @classmethod
    def of(cls, profiles: Sequence[Row]) -> "Clock":
        """Build it from the rows of ``PROFILE``; without a row, from the defaults."""
        if not profiles:
            return cls()
        return cls(profiles[0]["time_zone"], time.fromisoformat(profiles[0]["day_start"]))

    def of_task(self, due_time_zone: str | None) -> "Clock":
        """Return the clock of a task: with ``due_time_zone`` if the task has its own zone."""
        return self if due_time_zone is None else Clock(due_time_zone, self.day_start)

    def shown(self, at: datetime) -> datetime:
        """Return the wall-clock time (naive) at an instant."""
        try:
            return local(at, self.zone)
        except OverflowError:
            return at.replace(tzinfo=None)

    def instant(self, shown: datetime) -> datetime:
        """Return the instant (UTC) of a wall-clock time (naive)."""
        try:
            return resolve(shown, self.zone)
        except OverflowError:
            return shown.replace(tzinfo=UTC)

    def today(self, at: datetime) -> date:
        """Return the user's day at an instant."""
        try:
            return local_day(at, self.zone, self.day_start)
        except OverflowError:
            return at.date()

    def local(self, form: str) -> Due:
        """Return a stored due date as rules use it: an instant becomes its wall-clock time."""
        due = parse_due(form)
        return self.shown(due) if isinstance(due, datetime) and due.tzinfo is not None else due

    def form(self, due: Due, *, like: str) -> str:
        """Return a local due date as stored text, in the form of ``like``: an instant if that ends in ``Z``."""
        return form_of(self.instant(due) if isinstance(due, datetime) and like.endswith("Z") else due)

    def due_at(self, form: str, due_time_zone: str | None) -> datetime:
        """Return the instant of a stored due date, as the database computes it.

        A due day means the last microsecond of that day, in the user's zone even if the task has its own zone.
        """
        due = parse_due(form)
        if isinstance(due, datetime):
            return due if due.tzinfo is not None else self.of_task(due_time_zone).instant(due)
        if due == date.max:
            return _LAST_MOMENT
        return self.instant(datetime.combine(due + _ONE_DAY, self.day_start)) - datetime.resolution
