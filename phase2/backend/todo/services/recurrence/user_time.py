"""User time: wall-clock time in a user's zone, and the meaning of stored due dates in that zone."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from sqlalchemy import select

from todo.database import OwnedByCaller, Row, Statement
from todo.kit.dates import Due, is_instant
from todo.kit.recurrence import LocalDue
from todo.kit.zones import local, local_day, resolve
from todo.models.base import table_of
from todo.models.profiles import Profile

_profiles = table_of(Profile)
PROFILE = Statement(select(_profiles.c.time_zone, _profiles.c.day_start).where(OwnedByCaller(_profiles)))

_ONE_DAY = timedelta(days=1)
_LAST_MOMENT = datetime.max.replace(tzinfo=UTC)


# Task: T-325
@dataclass(frozen=True, slots=True)
class UserTime:
    """A user's time zone, and the time at which the user's day starts.

    Uses UTC if a conversion would leave the years 1 to 9999. This can happen on the first day and on the last day.
    """

    zone: str = "UTC"
    day_start: time = time(0)

    @classmethod
    def of(cls, profiles: Sequence[Row]) -> "UserTime":
        """Build it from the rows of ``PROFILE``; without a row, from the defaults."""
        if not profiles:
            return cls()
        return cls(profiles[0]["time_zone"], time.fromisoformat(profiles[0]["day_start"]))

    def of_task(self, due_time_zone: str | None) -> "UserTime":
        """Return the clock of a task: with ``due_time_zone`` if the task has its own zone."""
        return self if due_time_zone is None else UserTime(due_time_zone, self.day_start)

    def wall_time_at(self, at: datetime) -> datetime:
        """Return the wall-clock time (naive) at an instant."""
        try:
            return local(at, self.zone)
        except OverflowError:
            return at.replace(tzinfo=None)

    def instant_of(self, wall_time: datetime) -> datetime:
        """Return the instant (UTC) of a wall-clock time (naive)."""
        try:
            return resolve(wall_time, self.zone)
        except OverflowError:
            return wall_time.replace(tzinfo=UTC)

    def today(self, at: datetime) -> date:
        """Return the user's day at an instant."""
        try:
            return local_day(at, self.zone, self.day_start)
        except OverflowError:
            return at.date()

    def to_local(self, due: Due) -> LocalDue:
        """Return a due date as rules use it: an instant becomes its wall-clock time."""
        return self.wall_time_at(due) if is_instant(due) else due

    def to_due(self, local_due: LocalDue, *, like: Due) -> Due:
        """Return a local due date in the form of another one: an instant if that is one."""
        return self.instant_of(local_due) if isinstance(local_due, datetime) and is_instant(like) else local_due

    def due_at(self, due: Due, due_time_zone: str | None) -> datetime:
        """Return the instant of a due date, as the database computes it.

        A due day means the last microsecond of that day, in the user's zone even if the task has its own zone.
        """
        if isinstance(due, datetime):
            return due if is_instant(due) else self.of_task(due_time_zone).instant_of(due)
        if due == date.max:
            return _LAST_MOMENT
        return self.instant_of(datetime.combine(due + _ONE_DAY, self.day_start)) - datetime.resolution
