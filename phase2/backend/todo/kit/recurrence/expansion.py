"""The days that a rule names: sets of days within a week, a month or a year, and the walk from one to the next.

Days are proleptic Gregorian ordinals, as ``date.toordinal`` gives them. What a rule names in a year depends on nothing
but its kind, and in a month on its length and the weekday it starts on: each is worked out once.
"""

from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from datetime import date
from itertools import compress, takewhile
from math import lcm

from todo.kit.recurrence.cycle import (
    ALL_MONTHS,
    CYCLE,
    CYCLE_YEARS,
    KINDS,
    LAST_DAY,
    LAST_YEAR,
    STARTS,
    first_of,
    kind_of,
    total,
    year_of,
)
from todo.kit.recurrence.rules import Frequency, Rule, Weekday

_MOST_DAYS = 366
# Nothing for so long is never. What comes more rarely (29 February, if a Monday, every 997 days) would take too long.
_LONGEST_GAP_YEARS = 1_000
# So few periods are sooner looked at one by one than by way of every kind of year.
_FEW = 60


# Task: T-322
class Expansion:
    """A rule counted from an anchor, which gives what the rule leaves open: the phase, the weekday, the day, the month.

    With ``clamp``, a day of the month that a month lacks becomes its last day; else such a month has no such day.
    """

    def __init__(self, rule: Rule, anchor: date, *, clamp: bool) -> None:
        self._rule = rule
        self._anchor = anchor
        self._named: dict[tuple[int, int], tuple[int, ...]] = {}
        self._in_shape: dict[tuple[int, int], bytes] = {}
        self._flags: dict[int, bytes] = {}
        self._of_week: dict[bytes, tuple[int, ...]] = {}
        self._of_month: dict[tuple[int, int], tuple[int, ...]] = {}
        self._of_year: dict[int, tuple[int, ...]] = {}
        by_month = rule.frequency in {Frequency.MONTHLY, Frequency.YEARLY}
        bare = by_month and not rule.month_days and not rule.weekdays
        month_days = (anchor.day,) if bare else rule.month_days
        # By the length of a month, from 0.
        self._month_days = {length: _month_days(month_days, length, clamp=clamp) for length in range(28, 32)}
        only_anchors = bare and rule.frequency is Frequency.YEARLY and not rule.months
        self._months = (anchor.month,) if only_anchors else rule.months or ALL_MONTHS
        only_weekday = rule.frequency is Frequency.WEEKLY and not rule.weekdays
        self._weekdays = (Weekday(0, anchor.weekday()),) if only_weekday else rule.weekdays
        # An ordinal counts within the year where a yearly rule names no month, and within the month otherwise.
        self._by_year = rule.frequency is Frequency.YEARLY and not rule.months
        # The anchor's: from here on every INTERVALth counts.
        self._period = self._period_of(anchor.toordinal())

    def days(self, since: int) -> Iterator[int]:
        """Yield the days from the anchor and ``since`` on, in order, to the last one of the year 9999.

        Begins near ``since`` at once, however long ago the anchor is.
        """
        since = max(since, self._anchor.toordinal())
        if since > LAST_DAY:
            return
        walks = {
            Frequency.DAILY: self._daily,
            Frequency.WEEKLY: self._weekly,
            Frequency.MONTHLY: self._monthly,
            Frequency.YEARLY: self._yearly,
        }
        for day in walks[self._rule.frequency](since):
            if day > LAST_DAY:
                return
            if day >= since:
                yield day

    def count(self, since: int, until: int) -> int:
        """Return how many days there are from the anchor and ``since`` on, and before the day ``until``.

        Takes about as long for ten years as for ten thousand.
        """
        since = max(since, self._anchor.toordinal())
        if until <= since:
            return 0
        first, step = self._period_of(since), self._rule.interval
        periods = range(first + (self._period - first) % step, self._period_of(until), step)
        return self._size(periods) + self._passed(until) - self._passed(since)

    def of_year(self, kind: int) -> tuple[int, ...]:
        """Return the days, from 0, that a yearly rule names in a year of this kind."""
        if kind not in self._of_year:
            starts = STARTS[kind]
            days = [starts[month - 1] + day for month in self._months for day in self._in_month(_shape(kind, month))]
            if self._by_year and self._weekdays:
                days = sorted(self._on_weekdays(kind % 7, starts[-1]).intersection(days))
            self._of_year[kind] = self._positioned(days)
        return self._of_year[kind]

    def of_month(self, kind: int, month: int) -> tuple[int, ...]:
        """Return the days, from 0, that a monthly rule names in this month of a year of this kind."""
        if month not in self._months:
            return ()
        key = _shape(kind, month)
        if key not in self._of_month:
            self._of_month[key] = self._positioned(self._in_month(key))
        return self._of_month[key]

    def _daily(self, since: int) -> Iterator[int]:
        rule, first = self._rule, self._anchor.toordinal()
        since += (first - since) % rule.interval
        if rule.interval % 7 == 0 and rule.weekdays and all(day != _weekday(first) for _, day in rule.weekdays):
            # Every such step is of whole weeks.
            return iter(())
        if since > LAST_DAY:
            return iter(())
        if not (rule.months or rule.month_days or rule.weekdays):
            return iter(range(since, LAST_DAY + 1, rule.interval))

        def in_year(year: int) -> Iterable[int]:
            start = first_of(year)
            begin = (first - start) % rule.interval
            kind = kind_of(year)
            in_step = self._flags_of(kind)[begin : STARTS[kind][-1] : rule.interval]
            if 1 not in in_step:
                return ()
            return list(compress(range(start + begin, start + _MOST_DAYS, rule.interval), in_step))

        near = year_of(since)
        return _walk(range(near, LAST_YEAR + 1), in_year, near, _LONGEST_GAP_YEARS)

    def _weekly(self, since: int) -> Iterator[int]:
        step = self._rule.interval
        near = self._near(since)
        return _walk(range(near, self._period_of(LAST_DAY) + 1, step), self._days_in, near, _LONGEST_GAP_YEARS * 53)

    def _monthly(self, since: int) -> Iterator[int]:
        step = self._rule.interval
        near = self._near(since)
        # The months of the year come round after so many months; those that BYMONTH leaves out are not even looked at.
        turn = lcm(step, 12)
        named = [months for months in range(near, near + turn, step) if months % 12 + 1 in self._months]
        end = (LAST_YEAR + 1) * 12
        periods = (months + behind for behind in range(0, end - near, turn) for months in named)
        gap = min(lcm(step, CYCLE_YEARS * 12), _LONGEST_GAP_YEARS * 12)
        return _walk(takewhile(lambda months: months < end, periods), self._days_in, near, gap)

    def _yearly(self, since: int) -> Iterator[int]:
        step = self._rule.interval
        near = self._near(since)
        gap = min(lcm(step, CYCLE_YEARS), _LONGEST_GAP_YEARS)
        return _walk(range(near, LAST_YEAR + 1, step), self._days_in, near, gap)

    def _near(self, day: int) -> int:
        """Return the last period in step that begins at ``day`` or before."""
        period = self._period_of(day)
        return period - (period - self._period) % self._rule.interval

    def _period_of(self, day: int) -> int:
        """Return the number of the day, week, month or year that ``day`` lies in."""
        if self._rule.frequency is Frequency.DAILY:
            return day
        if self._rule.frequency is Frequency.WEEKLY:
            return (day - 1 - self._rule.week_start) // 7
        found = date.fromordinal(day)
        return found.year if self._rule.frequency is Frequency.YEARLY else found.year * 12 + found.month - 1

    def _days_in(self, period: int) -> Sequence[int]:
        """Return the days that the rule names in a period, if that is in step."""
        if self._rule.frequency is Frequency.MONTHLY:
            year, month = divmod(period, 12)
            kind = kind_of(year)
            days = self.of_month(kind, month + 1)
            start = first_of(year) + STARTS[kind][month] if days else 0
        elif self._rule.frequency is Frequency.YEARLY:
            start, days = first_of(period), self.of_year(kind_of(period))
        else:
            start = period if self._rule.frequency is Frequency.DAILY else period * 7 + 1 + self._rule.week_start
            year = year_of(start)
            place = start - first_of(year)
            flags = self._flags_of(kind_of(year))
            if self._rule.frequency is Frequency.DAILY:
                return [start] if flags[place] else ()
            days = self._in_week(flags[place : place + 7])
        return [start + day for day in days]

    def _passed(self, day: int) -> int:
        """Return how many days of its period lie before a day."""
        period = self._period_of(day)
        return 0 if (period - self._period) % self._rule.interval else bisect_left(self._days_in(period), day)

    def _size(self, periods: range) -> int:
        """Return how many days these periods have."""
        frequency = self._rule.frequency
        if len(periods) <= _FEW:
            return sum(len(self._days_in(period)) for period in periods)
        if frequency is Frequency.YEARLY:
            return total(CYCLE, {kind: len(self.of_year(kind)) for kind in KINDS}, periods)
        sizes = [self._sizes(kind) for kind in KINDS]
        # The first that begins in the year 0, as the cycle does.
        begin = {Frequency.DAILY: first_of(0), Frequency.WEEKLY: (first_of(0) + 5 - self._rule.week_start) // 7}
        places = range(periods.start - begin.get(frequency, 0), periods.stop - begin.get(frequency, 0), periods.step)
        return total(b"".join([sizes[kind] for kind in CYCLE]), {size: size for size in set().union(*sizes)}, places)

    def _sizes(self, kind: int) -> bytes:
        """Return how many days each period has, of those that begin in a year of this kind."""
        if self._rule.frequency is Frequency.MONTHLY:
            return bytes([len(self.of_month(kind, month)) for month in ALL_MONTHS])
        flags, length = self._flags_of(kind), STARTS[kind][-1]
        if self._rule.frequency is Frequency.DAILY:
            return flags[:length]
        weeks = range((self._rule.week_start - kind) % 7, length, 7)
        return bytes([len(self._in_week(flags[week : week + 7])) for week in weeks])

    def _flags_of(self, kind: int) -> bytes:
        """Tell of each day of a year of this kind, and of six more, whether the rule names it, BYSETPOS aside."""
        if kind not in self._flags:
            months = [(month, _shape(kind, month)) for month in ALL_MONTHS]
            next_january = (1, ((kind + STARTS[kind][-1]) % 7, 31))
            self._flags[kind] = b"".join(
                self._flags_in(shape) if month in self._months else bytes(shape[1])
                for month, shape in [*months, next_january]
            )[: STARTS[kind][-1] + 6]
        return self._flags[kind]

    def _flags_in(self, shape: tuple[int, int]) -> bytes:
        if shape not in self._in_shape:
            self._in_shape[shape] = bytes(map(self._in_month(shape).__contains__, range(shape[1])))
        return self._in_shape[shape]

    def _in_week(self, flags: bytes) -> tuple[int, ...]:
        """Return the days, from 0, of a week of which those with a flag are named."""
        if flags not in self._of_week:
            self._of_week[flags] = self._positioned(compress(range(7), flags))
        return self._of_week[flags]

    def _in_month(self, shape: tuple[int, int]) -> Collection[int]:
        """Return the days, from 0, of a month that begins on a weekday and has a length, BYSETPOS aside."""
        if shape not in self._named:
            days = self._month_days[shape[1]]
            restricted = self._weekdays and not self._by_year
            self._named[shape] = tuple(sorted(days & self._on_weekdays(*shape))) if restricted else tuple(sorted(days))
        return self._named[shape]

    def _on_weekdays(self, first: int, length: int) -> frozenset[int]:
        """Return the days that BYDAY names in a month or year of this length that begins on the weekday ``first``."""
        days: set[int] = set()
        for ordinal, weekday in self._weekdays:
            every = range((weekday - first) % 7, length, 7)
            if not ordinal:
                days.update(every)
            elif abs(ordinal) <= len(every):
                days.add(every[ordinal - 1 if ordinal > 0 else ordinal])
        return frozenset(days)

    def _positioned(self, days: Iterable[int]) -> tuple[int, ...]:
        """Take of the days of one period, which are in order, those that BYSETPOS names."""
        ordered = tuple(days)
        if not self._rule.positions or self._rule.frequency is Frequency.DAILY:
            return ordered
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


def _shape(kind: int, month: int) -> tuple[int, int]:
    """Return the weekday that a month starts on in a year of this kind, and its length."""
    start, end = STARTS[kind][month - 1 : month + 1]
    return (kind + start) % 7, end - start


def _weekday(day: int) -> int:
    return (day - 1) % 7
