"""Due and start dates: a day, a wall-clock time, or an instant. In text, an instant is in UTC (RFC 3339)."""

import re
from datetime import UTC, date, datetime, time
from typing import TypeAlias, TypeGuard

Due: TypeAlias = date | datetime
"""A due or start date: a day, a wall-clock time (naive), or an instant (aware, in UTC)."""

# RFC 3339 with optional seconds. It checks only the syntax: the date may not exist.
# Python's own parsers also accept week dates, ``20260310``, and more with every version.
_SHAPE = re.compile(
    r"""
    \d{4} - \d\d - \d\d
    ( T (?P<hour> \d\d ) : (?P<minute> \d\d ) ( : (?P<second> \d\d ) ( \. (?P<fraction> \d+ ) )? )?
        (?P<offset> Z | [+-] ( [01]\d | 2[0-3] ) : [0-5]\d )?
    )?
    """,
    re.ASCII | re.IGNORECASE | re.VERBOSE,
)
_MAX_DIGITS = 6

_EXPECTED = (
    "Expected a date (2026-03-10), a date and time (2026-03-10T09:00:00), or one with an offset (2026-03-10T09:00:00Z)."
)
_NO_SUCH_DATE = "There is no such date. Check the day and the month; years go from 0001 to 9999."
_NO_SUCH_TIME = "There is no such time. Hours go from 00 to 23, minutes and seconds from 00 to 59."
_TOO_FINE = "A fraction of a second has at most six digits."
_OUT_OF_RANGE = "In UTC this is outside of the years 0001 to 9999."


def is_instant(due: Due | None) -> TypeGuard[datetime]:
    """Return whether a due date is an instant."""
    return isinstance(due, datetime) and due.tzinfo is not None


# Task: T-011
# Task: T-311
def canonical_due(text: str) -> str:
    """Return ``text`` in the stored format: ``2026-03-10``, or ``2026-03-10T09:00:00`` with or without a ``Z``.

    Trailing zeros of a fraction of a second are removed. Raises ValueError, with a message for the user, for anything
    that ``parse_due`` refuses.
    """
    return format_due(parse_due(text))


def format_due(due: Due) -> str:
    """Return the stored format of a due date."""
    if not isinstance(due, datetime):
        return due.isoformat()
    text = due.replace(tzinfo=None).isoformat()
    return f"{text.rstrip('0') if due.microsecond else text}{'' if due.tzinfo is None else 'Z'}"


# Task: T-011
# Task: T-311
def parse_due(text: str) -> Due:
    """Return the due date in ``text``.

    Raises ValueError, with a message for the user, for any other format, for a date or time that does not exist
    (including leap seconds and 24:00), and for an instant outside the years 1 to 9999 in UTC.
    """
    parts = _SHAPE.fullmatch(text)
    if parts is None:
        raise ValueError(_EXPECTED)
    try:
        day = date.fromisoformat(text[:10])
    except ValueError:
        raise ValueError(_NO_SUCH_DATE) from None
    if parts["hour"] is None:
        return day
    time_of_day = _time(parts)
    if parts["offset"] is None:
        return datetime.combine(day, time_of_day)
    offset = time.fromisoformat(f"00:00{parts['offset'].upper()}").tzinfo
    try:
        return datetime.combine(day, time_of_day, offset).astimezone(UTC)
    except OverflowError:
        raise ValueError(_OUT_OF_RANGE) from None


def _time(parts: re.Match[str]) -> time:
    fraction = parts["fraction"] or ""
    if len(fraction) > _MAX_DIGITS:
        raise ValueError(_TOO_FINE)
    microsecond = int(fraction.ljust(_MAX_DIGITS, "0"))
    try:
        return time(int(parts["hour"]), int(parts["minute"]), int(parts["second"] or 0), microsecond)
    except ValueError:
        raise ValueError(_NO_SUCH_TIME) from None
