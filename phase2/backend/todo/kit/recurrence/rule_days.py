"""The days that a rule selects in a week, month or year, regardless of INTERVAL.

The days in a year depend only on the kind of the year. The days in a month depend only on its length and the weekday of
its first day. Each result is computed once and cached.
"""

from collections.abc import Iterable
from datetime import date
from itertools import compress

from todo.kit.recurrence.cycle import ALL_MONTHS, CYCLE_DAYS, JANUARY_AFTER, kind_of, shape_of
from todo.kit.recurrence.rules import Frequency, Rule, Weekday


# Task: T-322
class RuleDays:
    """The days that a rule selects. The anchor supplies the weekday, day or month that the rule leaves open.

    With ``clamp``, a day that a month lacks becomes the last day of the month; without it, the month has no such day.
    Days count from 0 in their period. Flags are one byte per day: 1 if the rule selects it, before BYSETPOS applies.
    """

    def __init__(self, rule: Rule, anchor: date, *, clamp: bool) -> None:
        self._positions = () if rule.frequency is Frequency.DAILY else rule.positions
        self._flags_by_shape: dict[tuple[int, int], bytes] = {}
        self._flags_by_kind: dict[int, bytes] = {}
        self._of_week: dict[bytes, tuple[int, ...]] = {}
        self._of_month: dict[tuple[int, int], tuple[int, ...]] = {}
        self._of_year: dict[int, tuple[int, ...]] = {}
        by_month = rule.frequency in {Frequency.MONTHLY, Frequency.YEARLY}
        bare = by_month and not rule.month_days and not rule.weekdays
        month_days = (anchor.day,) if bare else rule.month_days
        # Flags by the length of the month.
        self._month_days = {length: _month_days(month_days, length, clamp=clamp) for length in range(28, 32)}
        only_anchors = bare and rule.frequency is Frequency.YEARLY and not rule.months
        self.months = (anchor.month,) if only_anchors else rule.months or ALL_MONTHS
        only_weekday = rule.frequency is Frequency.WEEKLY and not rule.weekdays
        self._weekdays = (Weekday(0, anchor.weekday()),) if only_weekday else rule.weekdays
        # An ordinal in BYDAY counts within the year if a yearly rule has no BYMONTH, and within the month otherwise.
        self._by_year = rule.frequency is Frequency.YEARLY and not rule.months

    def of_year(self, kind: int) -> tuple[int, ...]:
        """Return the days that a yearly rule selects in a year of this kind."""
        if kind not in self._of_year:
            self._of_year[kind] = self._positioned(self.flags(kind))
        return self._of_year[kind]

    def of_month(self, kind: int, month: int) -> tuple[int, ...]:
        """Return the days that a monthly rule selects in this month of a year of this kind."""
        if month not in self.months:
            return ()
        shape = shape_of(kind, month)
        if shape not in self._of_month:
            self._of_month[shape] = self._positioned(self._flags_of_month(kind, month))
        return self._of_month[shape]

    def flags(self, kind: int) -> bytes:
        """Return the flags of a year of this kind."""
        if kind not in self._flags_by_kind:
            flags = b"".join([self._flags_of_month(kind, month) for month in ALL_MONTHS])
            if self._by_year and self._weekdays:
                flags = _both(flags, self._flags_of_weekdays(kind % 7, len(flags)))
            self._flags_by_kind[kind] = flags
        return self._flags_by_kind[kind]

    def of_week(self, start: int) -> tuple[int, ...]:
        """Return the days that a weekly rule selects in the week that starts on the day ``start``."""
        # A week may reach beyond the supported years: use the same week of another cycle.
        day = date.fromordinal(start % CYCLE_DAYS + CYCLE_DAYS)
        kind = kind_of(day.year)
        flags = self._flags_of_month(kind, day.month)
        if len(flags) < day.day + 6:
            flags += self._flags_of_month(kind, day.month + 1)
        return self._in_week(flags[day.day - 1 : day.day + 6])

    def sizes_of_weeks(self, kind: int, week_start: int) -> bytes:
        """Return the number of days that a weekly rule selects in each week that starts in a year of this kind."""
        flags = self.flags(kind)
        weeks = range((week_start - kind) % 7, len(flags), 7)
        flags += self._flags_of_month(kind, JANUARY_AFTER)
        return bytes([len(self._in_week(flags[week : week + 7])) for week in weeks])

    def _flags_of_month(self, kind: int, month: int) -> bytes:
        first, length = shape = shape_of(kind, month)
        if (1 if month == JANUARY_AFTER else month) not in self.months:
            return bytes(length)
        if shape not in self._flags_by_shape:
            flags = self._month_days[length]
            if self._weekdays and not self._by_year:
                flags = _both(flags, self._flags_of_weekdays(first, length))
            self._flags_by_shape[shape] = flags
        return self._flags_by_shape[shape]

    def _flags_of_weekdays(self, first: int, length: int) -> bytes:
        """Return the flags for BYDAY in a month or year of this length whose first weekday is ``first``."""
        flags = bytearray(length)
        for ordinal, weekday in self._weekdays:
            every = range((weekday - first) % 7, length, 7)
            if not ordinal:
                flags[every.start :: 7] = b"\1" * len(every)
            elif abs(ordinal) <= len(every):
                flags[every[ordinal - 1 if ordinal > 0 else ordinal]] = 1
        return bytes(flags)

    def _in_week(self, flags: bytes) -> tuple[int, ...]:
        if flags not in self._of_week:
            self._of_week[flags] = self._positioned(flags)
        return self._of_week[flags]

    def _positioned(self, flags: bytes) -> tuple[int, ...]:
        """Return the flagged days of one period, reduced to those that BYSETPOS selects."""
        days = tuple(compress(range(len(flags)), flags))
        if not self._positions:
            return days
        within = (position for position in self._positions if abs(position) <= len(days))
        return tuple(sorted({days[position - 1 if position > 0 else position] for position in within}))


def _both(some: bytes, others: bytes) -> bytes:
    return (int.from_bytes(some) & int.from_bytes(others)).to_bytes(len(some))


def _month_days(days: Iterable[int], length: int, *, clamp: bool) -> bytes:
    """Return the flags for these days in a month of this length. Without any days, all days are flagged."""
    if not days:
        return b"\1" * length
    flags = bytearray(length)
    for day in days:
        # Only a positive day can be beyond the end of the month and be clamped.
        real = min(day, length) if clamp else day
        if abs(real) <= length:
            flags[real - 1 if real > 0 else real] = 1
    return bytes(flags)
