"""Identifiers: UUID version 7 (RFC 9562, section 5.7), which sort by the time they were made."""

import secrets
import time
from uuid import UUID

_RANDOM_BITS = 74
_VARIANT = 0b10 << 62
_VERSION = 7 << 76


# Task: T-010
def uuid7(milliseconds: int | None = None) -> UUID:
    """Make a UUID v7 of ``milliseconds`` since the Unix epoch; ``None`` means now."""
    if milliseconds is None:
        milliseconds = time.time_ns() // 1_000_000
    random = secrets.randbits(_RANDOM_BITS)
    high, low = random >> 62, random & ((1 << 62) - 1)
    return UUID(int=(milliseconds & 0xFFFF_FFFF_FFFF) << 80 | _VERSION | high << 64 | _VARIANT | low)
