"""The schedule of a series: its rule and its dates, which the columns of its row hold and rules use in local time."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import islice
from typing import Any, NamedTuple

import orjson

from todo.database import Row
from todo.kit import recurrence as rules
from todo.kit.dates import Due, format_due, is_instant, parse_due
from todo.kit.recurrence import LocalDue, State
from todo.models.recurrence import CountedFrom
from todo.services.recurrence.user_time import UserTime

ONE_DAY = timedelta(days=1)

# Number of precomputed occurrences. The rule is rarely evaluated again, and the row stays small.
_MAX_NEXT_OCCURRENCES = 10


class Schedule(NamedTuple):
    """The columns of a series, as values. ``clock`` is the clock of the task, ``stored`` the column ``recurrence``.

    ``due`` and ``start`` are the dates of the open occurrence according to the rule. ``due_date`` is that of the task,
    which differs if this occurrence alone was moved.
    """

    clock: UserTime
    due_time_zone: str | None
    stored: Mapping[str, Any]
    number: int
    anchor: Due
    due_date: Due
    due: Due
    start: Due | None

    @classmethod
    def of(cls, row: Row, user_time: UserTime) -> "Schedule":
        """Return the schedule in a row."""
        zone, start = row["due_time_zone"], from_text(row["recurrence_start"])
        due_date, due, anchor = (parse_due(row[name]) for name in ("due_date", "recurrence_due", "recurrence_anchor"))
        number, clock = row["recurrence_number"], user_time.of_task(zone)
        return cls(clock, zone, row["recurrence"], number, anchor, due_date, due, start)

    @property
    def recurrence(self) -> rules.Recurrence:
        """The recurrence in the form for computations: all times are local."""
        stored, rule = self.stored, parse_stored_rule(self.stored["rule"])
        if is_instant(rule.until):
            rule = replace(rule, until=self.clock.wall_time_at(rule.until))
        return rules.Recurrence(
            rule, counted_from=stored["from"], month_end=stored["month_end"], missed=stored["missed"]
        )

    @property
    def state(self) -> State:
        """The state of the series, in local time."""
        anchor = self.clock.to_local(self.anchor)
        nominal = self._in_sequence(anchor)
        if self.due_date == self.due:
            return State(anchor, self.number, due=nominal)
        return State(anchor, self.number, due=self.clock.to_local(self.due_date), nominal=nominal)

    def _in_sequence(self, anchor: LocalDue) -> LocalDue:
        """Return the local ``due``. For an instant, this is its local day with the anchor's time of day.

        The wall-clock time of the instant can differ from the anchor's time of day: if the owner has changed the zone,
        or if a clock change skipped the intended time, which may have been on the day before.
        """
        due, instant = self.clock.to_local(self.due), self.due
        if not is_instant(instant) or not isinstance(due, datetime) or not isinstance(anchor, datetime):
            return due
        meant = datetime.combine(due, anchor.time())
        if meant <= due or self.clock.instant_of(meant) == instant:
            return meant
        day_before = meant - ONE_DAY if meant.toordinal() > 1 else meant
        return day_before if self.clock.instant_of(day_before) == instant else meant

    @property
    def depends_on_user_zone(self) -> bool:
        """True if the task has no zone of its own, and one of its dates or UNTIL is an instant."""
        until = parse_stored_rule(self.stored["rule"]).until
        dates = (until, self.anchor, self.due_date, self.due, self.start)
        return self.due_time_zone is None and any(map(is_instant, dates))

    def upcoming(self, limit: int) -> Iterator[tuple[int, Due, Due | None]]:
        """Yield the number, the due date and the start date of the next occurrences, at most ``limit``."""
        for number, local_due in islice(rules.upcoming(self.recurrence, self.state), limit):
            yield number, *self._dates_at(local_due)

    def _dates_at(self, local_due: LocalDue) -> tuple[Due, Due | None]:
        due = self.clock.to_due(local_due, like=self.due)
        return due, self.start and shift_start(self.start, self.due, due, self.clock)

    def columns_at(self, state: State | None) -> dict[str, Any] | None:
        """Return the columns of the series that advances to ``state``; ``None`` if the series has ended."""
        if state is None:
            return None
        due, start = self._dates_at(state.due)
        # The anchor stays unchanged: a series that counts from completion takes only its time of day from it.
        return self._replace(number=state.number, due_date=due, due=due, start=start).columns()

    def columns(self) -> dict[str, Any]:
        """Return the columns of the open occurrence, and the next ones."""
        due, start = format_due(self.due), to_text(self.start)
        return {
            "due_date": due,
            "start_date": start,
            "recurrence_number": self.number,
            "recurrence_due": due,
            "recurrence_start": start,
            "next_occurrences": self.next_occurrences(),
        }

    # Task: T-327
    def next_occurrences(self) -> str | None:
        """Return the column ``next_occurrences``: a JSON list of the open occurrence and the next ones.

        The database takes them one after the other. Each entry is as if the series had advanced to it step by step.
        ``None`` if no next occurrence is known, or if it depends on the day of completion.
        """
        if self.stored["from"] == CountedFrom.completion:
            return None
        is_counted = parse_stored_rule(self.stored["rule"]).count is not None
        in_zone = [self.clock.zone] if self.depends_on_user_zone else []
        steps: list[list[Any]] = [[format_due(self.due_date)]]
        due_before, start_before = self.due, self.start
        for number, due, start in self.upcoming(_MAX_NEXT_OCCURRENCES):
            if due == due_before or (start_before and start != shift_start(start_before, due_before, due, self.clock)):
                # There is a clock change in between. The following dates depend on whether the series stops at this
                # one, so the list ends before it.
                break
            steps.append([format_due(due), to_text(start), number if is_counted else None, *in_zone])
            due_before, start_before = due, start
        return orjson.dumps(steps).decode() if len(steps) > 1 else None


def shift_start(start: Due, due_before: Due, due_after: Due, clock: UserTime) -> Due:
    """Move a start date by the same interval as its due date."""
    if due_before == due_after:
        return start
    shifted = rules.shift(clock.to_local(start), clock.to_local(due_before), clock.to_local(due_after))
    return clock.to_due(shifted, like=start)


def to_text(due: Due | None) -> str | None:
    """Return the column of a date that may be missing."""
    return None if due is None else format_due(due)


def from_text(text: str | None) -> Due | None:
    """Return the date in a column that may be null."""
    return None if text is None else parse_due(text)


@lru_cache(maxsize=1024)
def parse_stored_rule(rule: str) -> rules.Rule:
    """Return a stored rule, parsed. Cached, because many series have the same rule."""
    return rules.parse_rule(rule)
