"""Recurrence rules (RFC 5545, section 3.3.10): the parts of a rule, and its canonical text."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import NamedTuple

# In the order of ``date.weekday()``: Monday is 0.
WEEKDAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")


class Frequency(StrEnum):
    """The period of a rule, before INTERVAL."""

    DAILY = "DAILY"
    WEEKLY = "WEEKLY"
    MONTHLY = "MONTHLY"
    YEARLY = "YEARLY"


class Weekday(NamedTuple):
    """An item of BYDAY. A negative ``ordinal`` counts from the end; 0 means every such weekday."""

    ordinal: int
    weekday: int

    def __str__(self) -> str:
        return f"{self.ordinal or ''}{WEEKDAYS[self.weekday]}"


# Task: T-321
@dataclass(frozen=True, slots=True)
class Rule:
    """A validated rule. Create it with ``parse_rule``. ``str`` returns its canonical text.

    Lists are sorted and have no duplicates; an empty list means that the part was not given. ``until`` is kept as
    written: a date (inclusive), a naive time (local to the task), or an aware time in UTC. ``week_start`` is 0 (Monday)
    if it makes no difference.
    """

    frequency: Frequency
    interval: int = 1
    months: tuple[int, ...] = ()
    month_days: tuple[int, ...] = ()
    weekdays: tuple[Weekday, ...] = ()
    positions: tuple[int, ...] = ()
    count: int | None = None
    until: date | datetime | None = None
    week_start: int = 0

    @property
    def uses_week_start(self) -> bool:
        """True if the first day of the week makes a difference."""
        return (
            self.frequency is Frequency.WEEKLY and bool(self.weekdays) and (self.interval > 1 or bool(self.positions))
        )

    def __str__(self) -> str:
        parts = {
            "FREQ": self.frequency.value,
            "INTERVAL": str(self.interval) if self.interval > 1 else "",
            "BYMONTH": _listed(self.months),
            "BYMONTHDAY": _listed(self.month_days),
            "BYDAY": _listed(self.weekdays),
            "BYSETPOS": _listed(self.positions),
            "COUNT": str(self.count or ""),
            "UNTIL": _until(self.until),
            # Always written if it matters, because the default can differ: see ``week_start`` of ``parse_rule``.
            "WKST": WEEKDAYS[self.week_start] if self.uses_week_start else "",
        }
        return ";".join(f"{name}={value}" for name, value in parts.items() if value)


def _listed(items: Iterable[object]) -> str:
    return ",".join(map(str, items))


def _until(until: date | datetime | None) -> str:
    if until is None:
        return ""
    # Not strftime: its result for years before 1000 depends on the platform.
    basic = until.isoformat().replace("-", "").replace(":", "")
    return f"{basic.removesuffix('+0000')}Z" if isinstance(until, datetime) and until.tzinfo else basic
