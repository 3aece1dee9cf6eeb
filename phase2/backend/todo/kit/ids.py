"""Identifiers: UUID version 7 (RFC 9562, section 5.7), which sort by creation time."""

import re
import secrets
from datetime import UTC, datetime, timedelta
from uuid import UUID

from todo.kit.clock import utc_now

UUID_EXPECTED = "Expected a UUID, such as 0197f0c2-a6b4-7e0b-8d3c-5a1e9f60b7d2."

_PLAIN = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_RANDOM_BITS = 62
_VARIANT = 0b10 << 62
_VERSION = 7 << 76


# Task: T-010
def uuid7(at: datetime | None = None) -> UUID:
    """Return a new UUID v7 for the time ``at`` (aware, from 1970 on); ``None`` means now.

    The 12 bits after the version contain the fraction of the millisecond (section 6.2, method 3), so that ids of
    different microseconds sort by time. Raises ValueError for an instant before 1970.
    """
    milliseconds, microseconds = divmod(((at or utc_now()) - _EPOCH) // _MICROSECOND, 1_000)
    fraction = (microseconds << 12) // 1_000
    return UUID(int=milliseconds << 80 | _VERSION | fraction << 64 | _VARIANT | secrets.randbits(_RANDOM_BITS))


# Task: T-010
def plain_uuid(text: str) -> str:
    """Return ``text`` if it is a UUID in the format of JSON Schema: 36 characters (RFC 9562, section 4).

    Python and pydantic accept other formats too (``urn:uuid:...``, ``{...}``). Raises ValueError, with a message for
    the user.
    """
    if not _PLAIN.fullmatch(text):
        raise ValueError(UUID_EXPECTED)
    return text
