"""IANA time zones: conversion between local time and instants, and the user's day.

``resolve_local.sql``, ``day_end.sql`` and ``local_day.sql`` do the same in SQL, and the tests compare the two.
"""

from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

# Files that are not zones of their own: the zone of the machine, and two placeholders.
_NO_ZONES = frozenset({"Factory", "localtime", "posixrules"})
_ONE_DAY = timedelta(days=1)

ZONE_EXPECTED = "Expected the IANA name of a time zone, such as Europe/Berlin or UTC."


# Task: T-303
def canonical_zone(text: str) -> str:
    """Return the IANA spelling of a zone name in any case. Raises ValueError, with a message for the user."""
    try:
        return _names()[text.casefold()]
    except KeyError:
        raise ValueError(ZONE_EXPECTED) from None


@cache
def _names() -> Mapping[str, str]:
    """Return the names by their case-folded form. Cached, because it reads a directory."""
    return {name.casefold(): name for name in available_timezones() - _NO_ZONES}


@cache
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(canonical_zone(name))


# Task: T-303
def local(instant: datetime, zone: str) -> datetime:
    """Return the wall-clock time (naive) in ``zone`` at ``instant`` (aware)."""
    return instant.astimezone(_zone(zone)).replace(tzinfo=None, fold=0)


# Task: T-303
def resolve(local: datetime, zone: str) -> datetime:
    """Return the instant, in UTC, of the wall-clock time ``local`` (naive) in ``zone``.

    A time that a clock change skips is moved forward by the gap. A time that occurs twice means the first one. Raises
    OverflowError for an instant outside the years 1 to 9999.
    """
    # Fold 0 does both: it uses the offset from before the clock change (PEP 495).
    return local.replace(tzinfo=_zone(zone), fold=0).astimezone(UTC)


# Task: T-303
def day_bounds(day: date, zone: str, day_start: time) -> tuple[datetime, datetime]:
    """Return the start of the user's day and the start of the next day, in UTC.

    A day that the zone skipped (Samoa had no 30 December 2011) is empty. Raises OverflowError for 9999-12-31.
    """
    return _start(day, zone, day_start), _start(day + _ONE_DAY, zone, day_start)


def _start(day: date, zone: str, day_start: time) -> datetime:
    return resolve(datetime.combine(day, day_start), zone)


# Task: T-303
def local_day(instant: datetime, zone: str, day_start: time) -> date:
    """Return the user's day whose bounds contain ``instant`` (aware)."""
    since_midnight = timedelta(hours=day_start.hour, minutes=day_start.minute)
    day = (local(instant, zone) - since_midnight).date()
    # The clocks may have changed since the start of the day, or been set back across the start of the next one.
    start, end = day_bounds(day, zone, day_start)
    if instant < start:
        return day - _ONE_DAY
    return day + _ONE_DAY if instant >= end else day
