"""The expansion of a rule from an anchor: iterate over its days, and count them.

Days are proleptic Gregorian ordinals, as returned by ``date.toordinal``. The periods of a rule are days, weeks, months
or years. Starting with the period of the anchor, every INTERVALth period is in step; the others are left out.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date
from itertools import takewhile
from math import lcm

from todo.kit.recurrence.cycle import (
    ALL_MONTHS,
    CYCLE,
    CYCLE_DAYS,
    CYCLE_YEARS,
    KINDS,
    LAST_DAY,
    LAST_YEAR,
    STARTS,
    count_in_400_years,
    first_of,
    kind_of,
    tile_400_years,
    year_of,
)
from todo.kit.recurrence.rule_days import RuleDays
from todo.kit.recurrence.rules import Frequency, Rule

_MAX_DAYS = 366
# A longer gap ends the iteration. Rules with longer gaps (29 February, if a Monday, every 997 days) take too long.
_LONGEST_GAP_YEARS = 1_000
# Up to this many, it is faster to evaluate periods one by one than to evaluate all kinds of years.
_FEW_PERIODS = 100
_FEW_YEARS = 10


# Task: T-322
class Expansion:
    """A rule that is expanded from an anchor. For ``clamp``, see ``RuleDays``."""

    def __init__(self, rule: Rule, anchor: date, *, clamp: bool) -> None:
        self._rule = rule
        self._frequency = rule.frequency
        self._days = RuleDays(rule, anchor, clamp=clamp)
        daily = rule.frequency is Frequency.DAILY
        self._names_every_day = daily and not (rule.months or rule.month_days or rule.weekdays)
        self._anchor = anchor.toordinal()
        # From this period on, every INTERVALth is in step.
        self._first_period = self._period_of(self._anchor)

    def days(self, since: int) -> Iterator[int]:
        """Yield the days from the later of the anchor and ``since`` on, in order, up to the end of the year 9999.

        Starts close to ``since`` without iterating from the anchor.
        """
        since = max(since, self._anchor)
        if since > LAST_DAY:
            return
        walks = {
            Frequency.DAILY: self._daily,
            Frequency.WEEKLY: self._weekly,
            Frequency.MONTHLY: self._monthly,
            Frequency.YEARLY: self._yearly,
        }
        for day in walks[self._frequency](since):
            if day > LAST_DAY:
                return
            if day >= since:
                yield day

    def count(self, since: int, until: int) -> int:
        """Return the number of days of the rule from ``since`` on and before the day ``until``.

        The cost for thousands of years is the same as for a few. Also counts across gaps that end ``days``.
        """
        since = max(since, self._anchor)
        if until <= since:
            return 0
        first, step = self._period_of(since), self._rule.interval
        periods = range(first + (self._first_period - first) % step, self._period_of(until), step)
        return self._size(periods) + self._passed(until) - self._passed(since)

    def _daily(self, since: int) -> Iterator[int]:
        rule, first, step = self._rule, self._anchor, self._rule.interval
        if step % 7 == 0 and rule.weekdays and all(day != _weekday(first) for _, day in rule.weekdays):
            # Each step is a whole number of weeks, so the weekday never changes.
            return
        if self._names_every_day:
            yield from range(since + (first - since) % step, LAST_DAY + 1, step)
            return
        last = since
        for start, flags in self._stretches(year_of(since)):
            if start - last > _LONGEST_GAP_YEARS * _MAX_DAYS:
                return
            begin = (first - start) % step
            for place in _flagged(flags[begin::step]):
                day = start + begin + place * step
                if day - last > _LONGEST_GAP_YEARS * _MAX_DAYS:
                    return
                yield day
                last = day

    def _stretches(self, year: int) -> Iterator[tuple[int, bytes]]:
        """Yield a first day and the flags from that day on: first for single years, then for whole cycles."""
        for near in range(year, year + _FEW_YEARS):
            yield first_of(near), self._days.flags(kind_of(near))
        start = first_of(year + _FEW_YEARS)
        period = (start - first_of(0)) % CYCLE_DAYS
        cycle = tile_400_years([self._days.flags(kind) for kind in KINDS])
        cycle = cycle[period:] + cycle[:period]
        for first in range(start, LAST_DAY + 1, CYCLE_DAYS):
            yield first, cycle

    def _weekly(self, since: int) -> Iterator[int]:
        near, step = self._near(since), self._rule.interval
        return _walk(range(near, self._period_of(LAST_DAY) + 1, step), self._days_in, near, _LONGEST_GAP_YEARS * 53)

    def _monthly(self, since: int) -> Iterator[int]:
        near, step = self._near(since), self._rule.interval
        # After this many months, the same months of the year repeat. Months that BYMONTH excludes are not visited.
        period = lcm(step, 12)
        named = [months for months in range(near, near + period, step) if months % 12 + 1 in self._days.months]
        end = (LAST_YEAR + 1) * 12

        def periods() -> Iterator[int]:
            yield from named
            # From the second round on, months that lack the day in every year are not visited either.
            real = [months for months in named if any(self._days.of_month(kind, months % 12 + 1) for kind in KINDS)]
            if real:
                yield from (months + behind for behind in range(period, end - near, period) for months in real)

        gap = min(lcm(step, CYCLE_YEARS * 12), _LONGEST_GAP_YEARS * 12)
        return _walk(takewhile(lambda months: months < end, periods()), self._days_in, near, gap)

    def _yearly(self, since: int) -> Iterator[int]:
        near, step = self._near(since), self._rule.interval
        gap = min(lcm(step, CYCLE_YEARS), _LONGEST_GAP_YEARS)
        return _walk(range(near, LAST_YEAR + 1, step), self._days_in, near, gap)

    def _near(self, day: int) -> int:
        """Return the last period in step that starts on or before ``day``."""
        period = self._period_of(day)
        return period - (period - self._first_period) % self._rule.interval

    def _period_of(self, day: int) -> int:
        """Return the number of the day, week, month or year that contains ``day``."""
        if self._frequency is Frequency.DAILY:
            return day
        if self._frequency is Frequency.WEEKLY:
            return (day - 1 - self._rule.week_start) // 7
        found = date.fromordinal(day)
        return found.year if self._frequency is Frequency.YEARLY else found.year * 12 + found.month - 1

    def _days_in(self, period: int) -> Sequence[int]:
        """Return the days of the rule in a period. The period must be in step."""
        if self._frequency is Frequency.YEARLY:
            start, days = first_of(period), self._days.of_year(kind_of(period))
        elif self._frequency is Frequency.MONTHLY:
            year, month = divmod(period, 12)
            kind = kind_of(year)
            start, days = first_of(year) + STARTS[kind][month], self._days.of_month(kind, month + 1)
        elif self._frequency is Frequency.WEEKLY:
            start = period * 7 + 1 + self._rule.week_start
            days = self._days.of_week(start)
        else:
            year = year_of(period)
            start, days = period, (0,) if self._days.flags(kind_of(year))[period - first_of(year)] else ()
        return [start + day for day in days]

    def _passed(self, day: int) -> int:
        """Return the number of days of the rule in the same period and before ``day``; 0 if it is not in step."""
        period = self._period_of(day)
        if self._frequency is Frequency.DAILY or (period - self._first_period) % self._rule.interval:
            return 0
        return bisect_left(self._days_in(period), day)

    def _size(self, periods: range) -> int:
        """Return the number of days of the rule in these periods."""
        if self._names_every_day:
            return len(periods)
        if len(periods) <= _FEW_PERIODS:
            return sum(len(self._days_in(period)) for period in periods)
        if self._frequency is Frequency.YEARLY:
            return count_in_400_years(CYCLE, {kind: len(self._days.of_year(kind)) for kind in KINDS}, periods)
        sizes = [self._sizes(kind) for kind in KINDS]
        # The first period that starts in year 0, like the cycle.
        first = {
            Frequency.DAILY: first_of(0),
            Frequency.WEEKLY: (first_of(0) + 5 - self._rule.week_start) // 7,
            Frequency.MONTHLY: 0,
        }[self._frequency]
        places = range(periods.start - first, periods.stop - first, periods.step)
        return count_in_400_years(tile_400_years(sizes), {size: size for size in set().union(*sizes)}, places)

    def _sizes(self, kind: int) -> bytes:
        """Return the number of days of the rule in each period that starts in a year of this kind."""
        if self._frequency is Frequency.DAILY:
            return self._days.flags(kind)
        if self._frequency is Frequency.WEEKLY:
            return self._days.sizes_of_weeks(kind, self._rule.week_start)
        return bytes([len(self._days.of_month(kind, month)) for month in ALL_MONTHS])


def _walk(
    periods: Iterable[int], days_in: Callable[[int], Iterable[int]], near: int, longest_gap: int
) -> Iterator[int]:
    """Yield the days of each period, in order. End after a gap longer than ``longest_gap``, counted from ``near``."""
    last = near
    for period in periods:
        days = days_in(period)
        if days:
            yield from days
            last = period
        elif period - last > longest_gap:
            return


def _flagged(flags: bytes) -> Iterator[int]:
    place = flags.find(1)
    while place >= 0:
        yield place
        place = flags.find(1, place + 1)


def _weekday(day: int) -> int:
    return (day - 1) % 7
