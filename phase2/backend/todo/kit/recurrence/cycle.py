"""The calendar by the kinds of its years, and its cycle of 400 years.

Days are proleptic Gregorian ordinals, as ``date.toordinal`` gives them. A year is of one of 14 kinds: the weekday it
starts on, leap or not. The cycle starts with a year that 400 divides; year 0 is one.
"""

from calendar import isleap
from collections.abc import Mapping, Sequence
from datetime import date
from itertools import accumulate
from math import gcd

LAST_DAY = date.max.toordinal()
LAST_YEAR = date.max.year
ALL_MONTHS = range(1, 13)
KINDS = range(14)
# The calendar repeats after so many years: to the day, and to the weekday.
CYCLE_YEARS = 400
CYCLE_DAYS = 146_097
# As a month: weeks reach into it.
JANUARY_AFTER = 13

_LENGTHS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31, 31)
_COMMON_STARTS = tuple(accumulate(_LENGTHS, initial=0))
_LEAP_STARTS = tuple(start + (month > 1) for month, start in enumerate(_COMMON_STARTS))
# By kind: the day of the year, from 0, on which each month starts, the January after, and the month after that.
STARTS = (_COMMON_STARTS,) * 7 + (_LEAP_STARTS,) * 7
# By year of the cycle: its kind, which is the weekday of 1 January, plus 7 in a leap year.
CYCLE = bytes(date(year, 1, 1).weekday() + 7 * isleap(year) for year in range(CYCLE_YEARS, 2 * CYCLE_YEARS))


def kind_of(year: int) -> int:
    """Return the kind of a year."""
    return CYCLE[year % CYCLE_YEARS]


def first_of(year: int) -> int:
    """Return 1 January of a year, of those too that ``date`` does not have."""
    before = year - 1
    return before * 365 + before // 4 - before // 100 + before // 400 + 1


def year_of(day: int) -> int:
    """Return the year of a day."""
    return date.fromordinal(day).year


def shape_of(kind: int, month: int) -> tuple[int, int]:
    """Return the weekday that a month starts on in a year of this kind, and its length."""
    start, end = STARTS[kind][month - 1 : month + 1]
    return (kind + start) % 7, end - start


def in_cycle(of_kinds: Sequence[bytes]) -> bytes:
    """Return what there is of each kind of year as it follows in a cycle."""
    return b"".join([of_kinds[kind] for kind in CYCLE])


# Task: T-322
def total(marks: bytes, worth: Mapping[int, int], places: range) -> int:
    """Add up what the marks at these places are worth. The marks go round: after the last comes the first."""

    def worth_of(some: bytes) -> int:
        return sum(each * some.count(mark) for mark, each in worth.items())

    # A step that goes round often enough has been at every place that it can reach, and each time once.
    reach = gcd(places.step, len(marks))
    rounds, left = divmod(len(places), len(marks) // reach)
    place = places.start % len(marks)
    found = rounds * worth_of(marks[place % reach :: reach]) if rounds else 0
    while left:
        some = marks[place : place + left * places.step : places.step]
        found += worth_of(some)
        left -= len(some)
        place = (place + len(some) * places.step) % len(marks)
    return found
