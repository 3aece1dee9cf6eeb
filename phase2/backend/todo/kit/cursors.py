"""Cursors: where a page of a list ended, as text that clients only give back.

A cursor belongs to the question that it answers: filters and order. It holds no secret, and whoever makes one up gets
no more than their own list.
"""

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

LONGEST = 4_000

NOT_OURS = "This is not a cursor that an answer gave. Start without one."
OTHER_QUESTION = "This cursor belongs to other filters or another order. Repeat those, or start without one."
_DIGEST_BYTES = 9
_MOST_PASSED = 2**53


# Task: T-372
@dataclass(frozen=True, slots=True)
class Cursor:
    """The last row that was given: ``values`` are what it is ordered by, in the ``part`` of the list that it is in.

    ``passed`` rows came up to it, and it among them. ``word`` is the word that a search walked along.
    """

    passed: int
    part: int
    values: tuple[str | None, ...]
    word: str | None = None


# Task: T-372
def digest_of(question: Mapping[str, Any]) -> str:
    """Return what tells one question from another: the same for equal ones, in whatever order they are written."""
    canonical = orjson.dumps(question, option=orjson.OPT_SORT_KEYS)
    return base64.urlsafe_b64encode(hashlib.blake2b(canonical, digest_size=_DIGEST_BYTES).digest()).decode()


# Task: T-372
def encode(cursor: Cursor, digest: str) -> str:
    """Return the text of a cursor that belongs to the question of this digest."""
    content = orjson.dumps([digest, cursor.passed, cursor.part, cursor.values, cursor.word])
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


# Task: T-372
def decode(text: str, digest: str) -> Cursor:
    """Return the cursor. Raises ValueError, with a message for the user, if it is none, or another question's.

    Its values are text or null, and may still be no values of the columns that they stand for.
    """
    try:
        content = orjson.loads(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True))
    except ValueError:
        raise ValueError(NOT_OURS) from None
    match content:
        case [str(own), int(passed), int(part), list(values), str() | None as word] if (
            0 <= passed < _MOST_PASSED and all(_is_value(value) for value in (*values, word))
        ):
            if own != digest:
                raise ValueError(OTHER_QUESTION)
            return Cursor(passed, part, tuple(values), word)
    raise ValueError(NOT_OURS)


def _is_value(value: Any) -> bool:
    """Tell whether PostgreSQL could have said so."""
    return value is None or (isinstance(value, str) and "\x00" not in value)
