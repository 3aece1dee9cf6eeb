"""Identifiers: UUID version 7 (RFC 9562, section 5.7), which sort by the time they were made."""

import secrets
from datetime import UTC, datetime, timedelta
from uuid import UUID

from todo.kit.clock import utc_now

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_RANDOM_BITS = 62
_VARIANT = 0b10 << 62
_VERSION = 7 << 76


# Task: T-010
def uuid7(at: datetime | None = None) -> UUID:
    """Make a UUID v7 of ``at`` (aware, from 1970 on); ``None`` means now.

    The 12 bits behind the version hold the fraction of the millisecond (section 6.2, method 3), so that ids
    of different microseconds sort as these do. Raises ValueError for an instant before 1970.
    """
    milliseconds, microseconds = divmod(((at or utc_now()) - _EPOCH) // _MICROSECOND, 1_000)
    fraction = (microseconds << 12) // 1_000
    return UUID(int=milliseconds << 80 | _VERSION | fraction << 64 | _VARIANT | secrets.randbits(_RANDOM_BITS))
