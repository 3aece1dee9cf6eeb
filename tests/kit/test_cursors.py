"""Cursors: what an answer gives is taken back."""

from uuid import uuid4

from todo.kit import cursors
from todo.kit.cursors import Cursor


# Task: T-372
class TestEncode:
    def test_gives_nothing_longer_than_what_is_taken(self) -> None:
        # A title and a word are at their longest where JSON escapes each character; a place has 1,000 digits at most.
        title, place, time = "\x01" * 200, "9" * 1_000, "0001-12-31 09:00:00.123456+00 BC"
        cursor = Cursor(2**31 - 1, 99, (title, place, time, time, time, str(uuid4())), "\x01" * 64)
        digest = cursors.digest_of({})

        text = cursors.encode(cursor, digest)

        assert len(text) <= cursors.LONGEST
        assert cursors.decode(text, digest) == cursor
