"""Cursors: every cursor that a response contains is accepted in a request."""

from uuid import uuid4

from todo.kit import cursors
from todo.kit.cursors import Cursor


# Task: T-372
class TestEncode:
    def test_longest_possible_cursor_is_within_the_accepted_length(self) -> None:
        # A title and a word are longest if JSON escapes each character; a position has at most 1,000 digits.
        title, place, time = "\x01" * 200, "9" * 1_000, "0001-12-31 09:00:00.123456+00 BC"
        cursor = Cursor(2**31 - 1, 99, (title, place, time, time, time, str(uuid4())), "\x01" * 64)
        digest = cursors.digest_of({})

        text = cursors.encode(cursor, digest)

        assert len(text) <= cursors.LONGEST
        assert cursors.decode(text, digest) == cursor
