"""Time zones by their IANA names: local time to instants and back, and the user's day.

``resolve_local.sql``, ``day_end.sql`` and ``local_day.sql`` say the same in SQL, and the tests hold the two together.
"""

from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

# Files beside the zones that are none: where the machine stands, and two stopgaps.
_NO_ZONES = frozenset({"Factory", "localtime", "posixrules"})
_ONE_DAY = timedelta(days=1)

ZONE_EXPECTED = "Expected the IANA name of a time zone, such as Europe/Berlin or UTC."


# Task: T-303
def canonical_zone(text: str) -> str:
    """Return a zone's name as IANA writes it, whatever its case. Raises ValueError, with a message for the user."""
    try:
        return _names()[text.casefold()]
    except KeyError:
        raise ValueError(ZONE_EXPECTED) from None


def is_zone(text: str) -> bool:
    """Tell whether this is the name of a zone, written as IANA writes it."""
    return _names().get(text.casefold()) == text


@cache
def _names() -> Mapping[str, str]:
    """Return the names by their folded form. Finding them reads a directory; so once."""
    return {name.casefold(): name for name in available_timezones() - _NO_ZONES}


@cache
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(canonical_zone(name))


# Task: T-303
def local(instant: datetime, zone: str) -> datetime:
    """Return what the clocks of ``zone`` show at ``instant`` (aware): naive."""
    return instant.astimezone(_zone(zone)).replace(tzinfo=None, fold=0)


# Task: T-303
def resolve(local: datetime, zone: str) -> datetime:
    """Return the instant, in UTC, at which the clocks of ``zone`` show ``local`` (naive).

    A time that a clock change skips is moved forward by the gap; of one that comes twice it is the first. Raises
    OverflowError for an instant outside of the years 1 to 9999.
    """
    # Fold 0 is both: it reads the time with the offset from before the change (PEP 495).
    return local.replace(tzinfo=_zone(zone), fold=0).astimezone(UTC)


# Task: T-303
def day_bounds(day: date, zone: str, day_start: time) -> tuple[datetime, datetime]:
    """Return when the user's day begins, and when the next one does: in UTC.

    A day that a zone skipped (Samoa had no 30 December 2011) is empty. Raises OverflowError for 9999-12-31.
    """
    return _start(day, zone, day_start), _start(day + _ONE_DAY, zone, day_start)


def _start(day: date, zone: str, day_start: time) -> datetime:
    return resolve(datetime.combine(day, day_start), zone)


# Task: T-303
def local_day(instant: datetime, zone: str, day_start: time) -> date:
    """Return the user's day that ``instant`` (aware) belongs to: the one within whose bounds it is."""
    since_midnight = timedelta(hours=day_start.hour, minutes=day_start.minute)
    day = (local(instant, zone) - since_midnight).date()
    # The clock may have changed since the day began, or gone back behind the beginning of the next.
    start, end = day_bounds(day, zone, day_start)
    if instant < start:
        return day - _ONE_DAY
    return day + _ONE_DAY if instant >= end else day
