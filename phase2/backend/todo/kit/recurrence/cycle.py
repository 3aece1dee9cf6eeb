"""The calendar: the 14 kinds of years, and the cycle of 400 years.

Days are proleptic Gregorian ordinals, as returned by ``date.toordinal``. The kind of a year is the weekday of its first
day, and whether it is a leap year. A cycle starts with a year that is divisible by 400, such as year 0.
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
# The calendar, including the weekdays, repeats after this many years.
CYCLE_YEARS = 400
CYCLE_DAYS = 146_097
# The January of the next year, as a month number: weeks reach into it.
JANUARY_AFTER = 13

_LENGTHS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31, 31)
_COMMON_STARTS = tuple(accumulate(_LENGTHS, initial=0))
_LEAP_STARTS = tuple(start + (month > 1) for month, start in enumerate(_COMMON_STARTS))
# By kind: the first day of each month, of the next January and of the next February, as days of the year from 0.
STARTS = (_COMMON_STARTS,) * 7 + (_LEAP_STARTS,) * 7
# The kind of each year of the cycle: the weekday of 1 January, plus 7 in a leap year.
CYCLE = bytes(date(year, 1, 1).weekday() + 7 * isleap(year) for year in range(CYCLE_YEARS, 2 * CYCLE_YEARS))


def kind_of(year: int) -> int:
    """Return the kind of a year."""
    return CYCLE[year % CYCLE_YEARS]


def first_of(year: int) -> int:
    """Return 1 January of a year, also of years that ``date`` does not support."""
    before = year - 1
    return before * 365 + before // 4 - before // 100 + before // 400 + 1


def year_of(day: int) -> int:
    """Return the year of a day."""
    return date.fromordinal(day).year


def shape_of(kind: int, month: int) -> tuple[int, int]:
    """Return the weekday of the first day of a month in a year of this kind, and the length of the month."""
    start, end = STARTS[kind][month - 1 : month + 1]
    return (kind + start) % 7, end - start


def tile_400_years(by_kind: Sequence[bytes]) -> bytes:
    """Concatenate the bytes for the kind of each year of a cycle, in order."""
    return b"".join([by_kind[kind] for kind in CYCLE])


# Task: T-322
def count_in_400_years(labels: bytes, weights: Mapping[int, int], indexes: range) -> int:
    """Return the sum of ``weights[labels[i % len(labels)]]`` over ``indexes``. A byte without a weight counts as 0."""

    def worth_of(some: bytes) -> int:
        return sum(each * some.count(mark) for mark, each in weights.items())

    # ``len(labels) // reach`` steps visit each position that this step can reach exactly once. Then they repeat.
    reach = gcd(indexes.step, len(labels))
    rounds, left = divmod(len(indexes), len(labels) // reach)
    place = indexes.start % len(labels)
    found = rounds * worth_of(labels[place % reach :: reach]) if rounds else 0
    while left:
        some = labels[place : place + left * indexes.step : indexes.step]
        found += worth_of(some)
        left -= len(some)
        place = (place + len(some) * indexes.step) % len(labels)
    return found
