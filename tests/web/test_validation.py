"""Field errors: a pointer and a sentence that says what is expected. They never repeat the input."""

from datetime import date
from enum import StrEnum
from typing import Annotated, Any, Literal
from uuid import UUID

import orjson
import pytest
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from support.tasks import UUID_EXPECTED
from todo.errors import FieldError
from todo.models.values import HexColor, Pattern, TimeOfDay
from todo.web.validation import field_errors_of, pointer, with_locations


class Colour(StrEnum):
    red = "red"
    blue = "blue"


class Thing(BaseModel, extra="forbid"):
    name: str


SECRET = "5uspicious"
SENTENCES: list[tuple[Any, Any, str]] = [
    (str, 1, "Expected text."),
    (Annotated[str, Field(min_length=1)], "", "Expected 1 character or more."),
    (Annotated[str, Field(min_length=2)], "a", "Expected 2 characters or more."),
    (Annotated[str, Field(max_length=1)], SECRET, "Expected 1 character or fewer."),
    (Annotated[str, Field(max_length=1_000)], SECRET * 1_000, "Expected 1,000 characters or fewer."),
    (Annotated[str, Field(pattern="^a+$")], SECRET, "Expected text of another form."),
    (Annotated[str, Pattern("a+", "Expected some a's, such as 'aa'.")], SECRET, "Expected some a's, such as 'aa'."),
    (TimeOfDay, "24:00", "Expected a time of day from 00:00 to 23:59, such as 03:00."),
    *((HexColor, color, "Expected a color such as '#3366ff'.") for color in ("blue", "#3366f", "#3366ff0", "#3366fg")),
    *((HexColor, color, "Expected a color such as '#3366ff'.") for color in ("3366ff", "#3366ff\n", " #3366ff", "")),
    (Colour, SECRET, "Expected 'red' or 'blue'."),
    (Literal["red", "blue"], SECRET, "Expected 'red' or 'blue'."),
    (int, SECRET, "Expected a whole number."),
    (int, "1", "Expected a whole number."),
    (int, 1.5, "Expected a whole number."),
    (int, None, "Expected a whole number."),
    (Annotated[int, Field(ge=1_000)], 0, "Expected 1,000 or more."),
    (Annotated[int, Field(le=5)], 6, "Expected 5 or less."),
    (Annotated[int, Field(gt=0)], 0, "Expected more than 0."),
    (Annotated[float, Field(lt=0.5)], 6.5, "Expected less than 0.5."),
    (float, SECRET, "Expected a number."),
    (bool, SECRET, "Expected true or false."),
    (UUID, SECRET, UUID_EXPECTED),
    (UUID, 1, UUID_EXPECTED),
    (list[int], SECRET, "Expected a list."),
    (Annotated[list[int], Field(min_length=1)], [], "Expected 1 entry or more."),
    (Annotated[list[int], Field(max_length=2)], [1, 2, 3], "Expected 2 entries or fewer."),
    (dict[str, int], [], "Expected an object."),
    (Thing, [], "Expected an object."),
    (Thing, {}, "This field is required."),
    (Thing, {"name": "a", SECRET[:4]: SECRET}, "There is no such field here."),
    (None, SECRET, "Expected null."),
    (date, SECRET, "Expected a date, such as 2026-03-10."),
]


# Task: T-042
class TestFieldErrors:
    @pytest.mark.parametrize(("kind", "given", "sentence"), SENTENCES)
    def test_field_error_says_what_is_expected(self, kind: Any, given: Any, sentence: str) -> None:
        with pytest.raises(ValidationError) as caught:
            TypeAdapter(kind, config=None if kind is Thing else {"strict": True}).validate_json(orjson.dumps(given))

        errors = field_errors_of(caught.value, "body", "at")

        assert [error.detail for error in errors] == [sentence]
        assert all(error.pointer.startswith("/body/at") for error in errors)
        assert SECRET not in repr(errors)

    def test_more_than_fifty_errors_become_one(self) -> None:
        with pytest.raises(ValidationError) as caught:
            TypeAdapter(list[int]).validate_python([SECRET] * 51)

        assert field_errors_of(caught.value, "body") == [FieldError("/body", "There are more than 50 errors here.")]


# Task: T-042
class TestLocations:
    def test_field_error_points_to_the_part_of_the_request_with_the_field(self) -> None:
        errors = [FieldError("/name/0", "a"), FieldError("/tag", "b"), FieldError("/colour", "c")]

        found = with_locations(errors, [("body", {"name"}), ("query", {"tag"})])

        assert [error.pointer for error in found] == ["/body/name/0", "/query/tag", "/colour"]


# Task: T-042
class TestPointer:
    def test_pointer_escapes_slash_and_tilde(self) -> None:
        assert pointer("query", "a/b~c", 0) == "/query/a~1b~0c/0"

    def test_pointer_truncates_long_names(self) -> None:
        assert pointer("body", "a" * 1_000) == f"/body/{'a' * 100}"
