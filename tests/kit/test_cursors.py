"""Cursors: text that clients give back, and sometimes make up."""

import base64

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from todo.kit.cursors import NOT_OURS, OTHER_QUESTION, Cursor, decode, digest_of, encode

DIGEST = digest_of({"sort": ["title"]})
# What PostgreSQL can hold: neither NUL nor half of a character.
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"))


def written(content: object) -> str:
    return base64.urlsafe_b64encode(orjson.dumps(content)).decode().rstrip("=")


# Task: T-372
class TestCursors:
    @given(
        st.builds(
            Cursor,
            passed=st.integers(0, 2**53 - 1),
            part=st.integers(0, 50),
            values=st.lists(st.none() | TEXT).map(tuple),
            word=st.none() | TEXT,
        )
    )
    def test_come_back_as_they_were(self, cursor: Cursor) -> None:
        text = encode(cursor, DIGEST)

        assert decode(text, DIGEST) == cursor
        assert text.isascii()
        assert not set("+/=&?# ") & set(text)

    def test_belong_to_one_question(self) -> None:
        text = encode(Cursor(1, 0, ("a",)), DIGEST)

        with pytest.raises(ValueError, match=OTHER_QUESTION):
            decode(text, digest_of({"sort": ["-title"]}))

    def test_know_a_question_in_whatever_order_it_is_written(self) -> None:
        assert digest_of({"a": 1, "b": [2]}) == digest_of({"b": [2], "a": 1})
        assert digest_of({"a": 1}) != digest_of({"a": 2})

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "x",
            "ä",
            "====",
            "WyJ",
            written({}),
            written([]),
            written([DIGEST, 1, 0, ["a"]]),
            written([DIGEST, -1, 0, ["a"], None]),
            written([DIGEST, 2**53, 0, ["a"], None]),
            written([DIGEST, "1", 0, ["a"], None]),
            written([DIGEST, 1, 0.5, ["a"], None]),
            written([DIGEST, 1, 0, "a", None]),
            written([DIGEST, 1, 0, [1], None]),
            written([DIGEST, 1, 0, ["a\x00"], None]),
            written([DIGEST, 1, 0, ["a"], "\x00"]),
            written([DIGEST, 1, 0, ["a"], 1]),
            written([None, 1, 0, ["a"], None]),
        ],
    )
    def test_are_refused_when_they_are_made_up(self, text: str) -> None:
        with pytest.raises(ValueError, match=NOT_OURS):
            decode(text, DIGEST)

    @given(st.text(max_size=40))
    def test_are_never_more_than_refused(self, text: str) -> None:
        with pytest.raises(ValueError, match=r"cursor"):
            decode(text, DIGEST)
