"""Due dates as text: a date stays a date, an instant is given in UTC (RFC 3339)."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import TypeVar

_Parsed = TypeVar("_Parsed", date, datetime)

_LENGTH_OF_A_DATE = len("2026-03-10")


# Task: T-011
def canonical_due(text: str) -> str:
    """Return ``text`` in the one form that is stored: ``2026-03-10`` or ``2026-03-10T09:00:00Z``.

    Raises ValueError, with a message for the user, for anything else: a date that does not exist,
    a time without an offset, a year outside 1 to 9999 once in UTC.
    """
    if len(text) == _LENGTH_OF_A_DATE:
        return _parsed(date.fromisoformat, text).isoformat()
    if len(text) <= _LENGTH_OF_A_DATE or text[_LENGTH_OF_A_DATE] not in "Tt ":
        raise ValueError(_EXPECTED)
    instant = _parsed(datetime.fromisoformat, text)
    if instant.tzinfo is None:
        raise ValueError("A time needs an offset, as in 2026-03-10T09:00:00Z or 2026-03-10T09:00:00+01:00.")
    try:
        return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")
    except OverflowError:
        raise ValueError("The date is outside the years 1 to 9999.") from None


_EXPECTED = "Expected a date (2026-03-10) or a date and time with an offset (2026-03-10T09:00:00Z)."


def _parsed(parse: Callable[[str], _Parsed], text: str) -> _Parsed:
    try:
        return parse(text)
    except ValueError:
        raise ValueError(_EXPECTED) from None
