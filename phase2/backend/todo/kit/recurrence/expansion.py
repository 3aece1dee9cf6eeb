"""The days that a rule names: sets of days within a week, a month or a year, and the walk from one to the next.

Days are proleptic Gregorian ordinals, as ``date.toordinal`` gives them. A year is of one of 14 kinds (the weekday it
starts on, leap or not), and what a rule names in it depends on nothing else: each kind is worked out once.
"""

from bisect import bisect_left
from calendar import isleap
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from datetime import date
from itertools import accumulate, takewhile
from math import lcm

from todo.kit.recurrence.rules import Frequency, Rule

_LAST_DAY = date.max.toordinal()
_LAST_YEAR = date.max.year
_ALL_MONTHS = range(1, 13)
# The calendar repeats after so many years: to the day, and to the weekday.
_CYCLE_YEARS = 400
_CYCLE_DAYS = 146_097
# Nothing for so long is never. What comes more rarely (29 February, if a Monday, every 997 days) would take too long.
_LONGEST_GAP_YEARS = 1_000

_MOST_DAYS = 366
_LENGTHS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_COMMON_STARTS = tuple(accumulate(_LENGTHS, initial=0))
_LEAP_STARTS = tuple(start + (month > 1) for month, start in enumerate(_COMMON_STARTS))
# By kind: the day of the year on which each month starts, and the next year.
_STARTS = (_COMMON_STARTS,) * 7 + (_LEAP_STARTS,) * 7
KINDS = range(14)
# By year modulo 400: its kind, which is the weekday of 1 January, plus 7 in a leap year.
_KIND_OF = tuple(date(year, 1, 1).weekday() + 7 * isleap(year) for year in range(2000, 2000 + _CYCLE_YEARS))


# Task: T-322
class Expansion:
    """A rule counted from an anchor, which gives what the rule leaves open: the phase, the weekday, the day, the month.

    With ``clamp``, a day of the month that a month lacks becomes its last day; else such a month has no such day.
    """

    def __init__(self, rule: Rule, anchor: date, *, clamp: bool) -> None:
        self._rule = rule
        self._anchor = anchor
        self._of_year: dict[int, tuple[int, ...]] = {}
        self._of_month: dict[tuple[int, int], tuple[int, ...]] = {}
        by_month = rule.frequency in {Frequency.MONTHLY, Frequency.YEARLY}
        bare = by_month and not rule.month_days and not rule.weekdays
        month_days = (anchor.day,) if bare else rule.month_days
        # By the length of a month, from 0.
        self._month_days = {length: _month_days(month_days, length, clamp=clamp) for length in range(28, 32)}
        only_anchors = bare and rule.frequency is Frequency.YEARLY and not rule.months
        self._months = (anchor.month,) if only_anchors else rule.months or _ALL_MONTHS
        # An ordinal counts within the year where a yearly rule names no month, and within the month otherwise.
        self._by_year = rule.frequency is Frequency.YEARLY and not rule.months

    def days(self, since: int) -> Iterator[int]:
        """Yield the days from the anchor and ``since`` on, in order, to the last one of the year 9999.

        Begins near ``since`` at once, however long ago the anchor is.
        """
        since = max(since, self._anchor.toordinal())
        walks = {
            Frequency.DAILY: self._daily,
            Frequency.WEEKLY: self._weekly,
            Frequency.MONTHLY: self._monthly,
            Frequency.YEARLY: self._yearly,
        }
        for day in walks[self._rule.frequency](since):
            if day > _LAST_DAY:
                return
            if day >= since:
                yield day

    def of_year(self, kind: int) -> tuple[int, ...]:
        """Return the days, from 0, that a yearly rule names in a year of this kind, or a daily one may fall on."""
        if kind not in self._of_year:
            days = {day for month in self._months for day in self._in_month(kind, month)}
            if self._by_year and self._rule.weekdays:
                days &= self._weekdays(kind % 7, _STARTS[kind][-1])
            self._of_year[kind] = self._positioned(days)
        return self._of_year[kind]

    def of_month(self, kind: int, month: int) -> tuple[int, ...]:
        """Return the days of the year, from 0, that a monthly rule names in this month of a year of this kind."""
        key = kind, month
        if key not in self._of_month:
            self._of_month[key] = self._positioned(self._in_month(kind, month)) if month in self._months else ()
        return self._of_month[key]

    def _daily(self, since: int) -> Iterator[int]:
        rule, first = self._rule, self._anchor.toordinal()
        since += (first - since) % rule.interval
        if rule.interval % 7 == 0 and rule.weekdays and all(day != _weekday(first) for _, day in rule.weekdays):
            # Every such step is of whole weeks.
            return iter(())
        if since > _LAST_DAY:
            return iter(())
        if not (rule.months or rule.month_days or rule.weekdays):
            return iter(range(since, _LAST_DAY + 1, rule.interval))

        def in_year(year: int) -> Iterable[int]:
            start = _first_of(year)
            days = self.of_year(_KIND_OF[year % _CYCLE_YEARS])
            if len(days) * rule.interval < _MOST_DAYS:
                return [start + day for day in days if (start + day - first) % rule.interval == 0]
            in_step = range((first - start) % rule.interval, _MOST_DAYS, rule.interval)
            return [start + day for day in in_step if _contains(days, day)]

        near = date.fromordinal(since).year
        return _walk(range(near, _LAST_YEAR + 1), in_year, near, _LONGEST_GAP_YEARS)

    def _weekly(self, since: int) -> Iterator[int]:
        rule, first = self._rule, self._anchor.toordinal()
        weekdays = {day for _, day in rule.weekdays} or {_weekday(first)}
        offsets = sorted((day - rule.week_start) % 7 for day in weekdays)
        chosen = self._positioned(offsets)
        step = 7 * rule.interval
        start = first - (_weekday(first) - rule.week_start) % 7

        def in_week(week: int) -> Iterable[int]:
            if not rule.months:
                return [week + day for day in chosen]
            if _month(week) not in rule.months and _month(week + 6) not in rule.months:
                return ()
            return self._positioned(week + day for day in offsets if _month(week + day) in rule.months)

        near = start + (since - start) // step * step
        return _walk(range(near, _LAST_DAY + 1, step), in_week, near, _LONGEST_GAP_YEARS * _MOST_DAYS)

    def _monthly(self, since: int) -> Iterator[int]:
        def in_month(months: int) -> Iterable[int]:
            year, index = divmod(months, 12)
            days = self.of_month(_KIND_OF[year % _CYCLE_YEARS], index + 1)
            return [_first_of(year) + day for day in days] if days else ()

        step = self._rule.interval
        start = self._anchor.year * 12 + self._anchor.month - 1
        day = date.fromordinal(since)
        near = start + (day.year * 12 + day.month - 1 - start) // step * step
        # The months of the year come round after so many months; those that BYMONTH leaves out are not even looked at.
        turn = lcm(step, 12)
        named = [months for months in range(near, near + turn, step) if months % 12 + 1 in self._months]
        end = (_LAST_YEAR + 1) * 12
        periods = (months + behind for behind in range(0, end - near, turn) for months in named)
        gap = min(lcm(step, _CYCLE_YEARS * 12), _LONGEST_GAP_YEARS * 12)
        return _walk(takewhile(lambda months: months < end, periods), in_month, near, gap)

    def _yearly(self, since: int) -> Iterator[int]:
        def in_year(year: int) -> Iterable[int]:
            days = self.of_year(_KIND_OF[year % _CYCLE_YEARS])
            return [_first_of(year) + day for day in days] if days else ()

        step = self._rule.interval
        near = self._anchor.year + (date.fromordinal(since).year - self._anchor.year) // step * step
        gap = min(lcm(step, _CYCLE_YEARS), _LONGEST_GAP_YEARS)
        return _walk(range(near, _LAST_YEAR + 1, step), in_year, near, gap)

    def _in_month(self, kind: int, month: int) -> Collection[int]:
        start, end = _STARTS[kind][month - 1 : month + 1]
        days: frozenset[int] = self._month_days[end - start]
        if self._rule.weekdays and not self._by_year:
            days = days & self._weekdays((kind + start) % 7, end - start)
        return [start + day for day in days]

    def _weekdays(self, first: int, length: int) -> frozenset[int]:
        """Return the days that BYDAY names in a month or year of this length that begins on the weekday ``first``."""
        days: set[int] = set()
        for ordinal, weekday in self._rule.weekdays:
            every = range((weekday - first) % 7, length, 7)
            if not ordinal:
                days.update(every)
            elif abs(ordinal) <= len(every):
                days.add(every[ordinal - 1 if ordinal > 0 else ordinal])
        return frozenset(days)

    def _positioned(self, days: Iterable[int]) -> tuple[int, ...]:
        """Sort the days of one period, and take those that BYSETPOS names."""
        ordered = sorted(days)
        if not self._rule.positions or self._rule.frequency is Frequency.DAILY:
            return tuple(ordered)
        within = (position for position in self._rule.positions if abs(position) <= len(ordered))
        return tuple(sorted({ordered[position - 1 if position > 0 else position] for position in within}))


def _walk(
    periods: Iterable[int], days_in: Callable[[int], Iterable[int]], near: int, longest_gap: int
) -> Iterator[int]:
    """Yield the days of each period in turn; end where none had any for too long, from ``near`` on."""
    last = near
    for period in periods:
        days = days_in(period)
        if days:
            yield from days
            last = period
        elif period - last > longest_gap:
            return


def _month_days(days: Iterable[int], length: int, *, clamp: bool) -> frozenset[int]:
    """Return those of these days of the month that one of this length has, from 0; all of its days for none."""
    if not days:
        return frozenset(range(length))
    # Only from the start of a month can a day lie behind its end, and be held at it.
    real = (min(day, length) if clamp else day for day in days)
    return frozenset(day - 1 if day > 0 else length + day for day in real if abs(day) <= length)


def _contains(days: Sequence[int], day: int) -> bool:
    index = bisect_left(days, day)
    return index < len(days) and days[index] == day


def _first_of(year: int) -> int:
    before = year - 1
    return before * 365 + before // 4 - before // 100 + before // 400 + 1


def _weekday(day: int) -> int:
    return (day - 1) % 7


def _month(day: int) -> int:
    # A week may reach out of the years that there are: then what counts is the same week of another cycle.
    return date.fromordinal(day % _CYCLE_DAYS + _CYCLE_DAYS).month
