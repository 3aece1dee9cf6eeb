"""Keyset cursors: the last row of a page, as opaque text for the client to send back.

A cursor is valid only for the query that returned it: the same filters and sort order. It contains no secret: a forged
cursor returns nothing but a part of the caller's own list.
"""

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

LONGEST = 4_000

UNKNOWN_CURSOR = "This is not a cursor of this list. Start without one."
OTHER_QUERY = "This cursor belongs to other filters or another order. Repeat those, or start without one."
_DIGEST_BYTES = 9
_MAX_OFFSET = 2**53


# Task: T-372
@dataclass(frozen=True, slots=True)
class Cursor:
    """The position of the last returned row: its sort values in ``values``, and the ``part`` of the list it is in.

    ``offset`` is the number of rows up to and including it. ``word`` is the word whose index rows a search scanned.
    """

    offset: int
    part: int
    values: tuple[str | None, ...]
    word: str | None = None


# Task: T-372
def digest_of(query: Mapping[str, Any]) -> str:
    """Return a digest of a query. Equal queries have equal digests, whatever the order of their keys."""
    canonical = orjson.dumps(query, option=orjson.OPT_SORT_KEYS)
    return base64.urlsafe_b64encode(hashlib.blake2b(canonical, digest_size=_DIGEST_BYTES).digest()).decode()


# Task: T-372
def encode(cursor: Cursor, digest: str) -> str:
    """Return the text of a cursor for the query with this digest."""
    content = orjson.dumps([digest, cursor.offset, cursor.part, cursor.values, cursor.word])
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


# Task: T-372
def decode(text: str, digest: str) -> Cursor:
    """Return the cursor. Raises ValueError, with a message for the user, if it is invalid or for another query.

    Its values are text or null. They may still be invalid for the type of their column.
    """
    try:
        content = orjson.loads(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True))
    except ValueError:
        raise ValueError(UNKNOWN_CURSOR) from None
    match content:
        case [str(own), int(offset), int(part), list(values), str() | None as word] if (
            0 <= offset < _MAX_OFFSET and all(_is_value(value) for value in (*values, word))
        ):
            if own != digest:
                raise ValueError(OTHER_QUERY)
            return Cursor(offset, part, tuple(values), word)
    raise ValueError(UNKNOWN_CURSOR)


def _is_value(value: Any) -> bool:
    """Return whether PostgreSQL could have returned this value: null, or text without NUL."""
    return value is None or (isinstance(value, str) and "\x00" not in value)
