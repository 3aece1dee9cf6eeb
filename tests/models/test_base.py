"""Types that a query and a JSON body share: one sends text, the other sends numbers and booleans."""

import json
from datetime import date
from typing import Any

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError
from sqlmodel import Field

from todo.models.base import UNSET, RequestBody, Response
from todo.models.values import QueryBool, WholeNumber


class Filter(BaseModel):
    """A filter of a list, as a query has it."""

    most: WholeNumber | None = Field(default=None, ge=1)
    trashed: QueryBool = False


class SavedFilter(RequestBody, Filter):
    """The same filter in a JSON body."""


def in_body(value: dict[str, Any]) -> SavedFilter:
    return TypeAdapter(SavedFilter).validate_json(json.dumps(value))


def in_query(value: dict[str, Any]) -> Filter:
    return TypeAdapter(Filter).validate_python(value)


class NoteBase(BaseModel):
    text: str
    color: str | None = None
    words: list[str] = Field(default_factory=list)


class Note(Response, NoteBase):
    leading = ("id", "color")

    id: int
    number: int
    excerpt: str = UNSET


class LongNote(Note):
    pages: int


# Task: T-011
class TestWholeNumber:
    def test_a_whole_number_is_digits_in_a_query_and_a_number_in_a_body(self) -> None:
        assert (in_query({"most": "5"}).most, in_body({"most": 5}).most) == (5, 5)

    @pytest.mark.parametrize("text", ["1.0", "1_000", "", " 1", "+1", "--1", "five", "٣", "0", "-1"])
    def test_a_whole_number_in_a_query_is_nothing_else(self, text: str) -> None:
        with pytest.raises(ValidationError):
            in_query({"most": text})

    @pytest.mark.parametrize("value", ["5", 1.5, 5.0, True, [], {}, 0])
    def test_a_whole_number_in_a_body_is_nothing_else(self, value: Any) -> None:
        with pytest.raises(ValidationError):
            in_body({"most": value})


# Task: T-011
class TestTrueOrFalse:
    def test_a_flag_is_a_word_in_a_query_and_a_boolean_in_a_body(self) -> None:
        assert (in_query({"trashed": "true"}).trashed, in_body({"trashed": True}).trashed) == (True, True)

    @pytest.mark.parametrize("text", ["True", "1", "yes", "", "on"])
    def test_a_flag_in_a_query_is_nothing_else(self, text: str) -> None:
        with pytest.raises(ValidationError):
            in_query({"trashed": text})

    @pytest.mark.parametrize("value", ["true", 1, 0.0, None, [], {}])
    def test_a_flag_in_a_body_is_nothing_else(self, value: Any) -> None:
        with pytest.raises(ValidationError):
            in_body({"trashed": value})


# Task: T-464
class TestBody:
    def test_a_body_takes_the_text_of_a_date_and_nothing_else_that_would_have_to_be_converted(self) -> None:
        class Due(RequestBody):
            due: date

        assert Due.model_validate_json('{"due": "2026-03-10"}').due == date(2026, 3, 10)
        with pytest.raises(ValidationError):
            Due.model_validate_json('{"due": 20260310}')


# Task: T-011
class TestResponse:
    def test_a_response_always_has_what_a_client_may_leave_out(self) -> None:
        schema = LongNote.model_json_schema()

        assert schema["required"] == ["id", "color", "text", "words", "number", "pages"]
        assert [name for name, field in schema["properties"].items() if "default" in field] == []

    def test_the_leading_fields_come_first_and_the_others_as_declared(self) -> None:
        assert list(Note.model_fields) == ["id", "color", "text", "words", "number", "excerpt"]
        assert list(Note.model_json_schema()["properties"]) == list(Note.model_fields)
        assert list(LongNote.model_fields) == [*Note.model_fields, "pages"]

    def test_a_request_body_from_the_same_base_keeps_its_defaults(self) -> None:
        note = NoteBase(text="Buy milk")

        assert (note.color, note.words) == (None, [])
