"""Value types: the validation of each kind of value. ``todo.models.fields`` builds the field types from them."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    StringConstraints,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema
from pydantic_core.core_schema import chain_schema, custom_error_schema, str_schema

from todo.kit.dates import canonical_due, format_due, parse_due
from todo.kit.ids import plain_uuid
from todo.kit.text import fold_case
from todo.kit.zones import canonical_zone


def _without_nul(text: str) -> str:
    if "\x00" in text:
        raise ValueError("The character NUL (U+0000) cannot be stored.")
    return text


NO_NUL = AfterValidator(_without_nul)
"""Text that PostgreSQL can store. Put it after StringConstraints, which trims before it counts only if it is first."""


@dataclass(frozen=True)
class Pattern:
    """Text that matches ``pattern`` as a whole. The schema shows the pattern, an error the sentence ``expected``."""

    pattern: str
    expected: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        matching = str_schema(pattern=f"^{self.pattern}$")
        return chain_schema(
            [
                handler(source),
                custom_error_schema(
                    matching, custom_error_type="value_error", custom_error_context={"error": self.expected}
                ),
            ]
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {**handler(schema), "pattern": f"^{self.pattern}$"}


def _plain(value: Any) -> Any:
    return plain_uuid(value) if isinstance(value, str) else value


Id = Annotated[UUID, BeforeValidator(_plain)]
"""An id from a client: a UUID, only in the form with 36 characters."""


def _digits_only(value: Any) -> Any:
    # Pydantic also parses "1.0" and "1_000". A query sends text, a JSON body sends a number.
    if isinstance(value, str) and not (value.removeprefix("-").isdecimal() and value.isascii()):
        raise ValueError("Expected a whole number.")
    return value


DIGITS_ONLY = BeforeValidator(_digits_only)
WholeNumber = Annotated[int, DIGITS_ONLY]
"""A whole number in a query (digits only) or in a JSON body (a number). In front of ``| None``, the limits come first:
``Annotated[int, Field(ge=1, le=9), DIGITS_ONLY] | None``. Otherwise the schema would not show them."""


def _true_or_false(value: Any) -> Any:
    # Pydantic also parses "1" and "yes". A query sends text, a JSON body sends true or false.
    if isinstance(value, str) and value not in {"true", "false"}:
        raise ValueError("Expected true or false.")
    return value


QueryBool = Annotated[bool, BeforeValidator(_true_or_false)]
"""``true`` or ``false`` in a query (these two words only) or in a JSON body."""


class Status(StrEnum):
    """The status of a task."""

    pending = "pending"
    in_progress = "in_progress"
    completed = "completed"
    cancelled = "cancelled"


class Priority(StrEnum):
    """The priority of a task."""

    low = "low"
    medium = "medium"
    high = "high"


class Weekday(StrEnum):
    """A day of the week."""

    monday = "monday"
    tuesday = "tuesday"
    wednesday = "wednesday"
    thursday = "thursday"
    friday = "friday"
    saturday = "saturday"
    sunday = "sunday"


DueDate = Annotated[str, AfterValidator(canonical_due)]
"""A date, a wall-clock time, or an instant."""


def _instant(text: str) -> str:
    due = parse_due(text)
    if not isinstance(due, datetime) or due.tzinfo is None:
        raise ValueError("Expected a date and time with an offset, such as 2026-03-10T09:00:00Z.")
    return format_due(due)


Instant = Annotated[str, AfterValidator(_instant)]
"""An instant with an offset, as a client sends it."""

ZoneName = Annotated[str, AfterValidator(canonical_zone)]

TIME_OF_DAY = "([01][0-9]|2[0-3]):[0-5][0-9]"
TimeOfDay = Annotated[str, Pattern(TIME_OF_DAY, "Expected a time of day from 00:00 to 23:59, such as 03:00.")]

HexColor = Annotated[
    str, StringConstraints(to_lower=True), Pattern("#[0-9A-Fa-f]{6}", "Expected a color such as '#3366ff'.")
]

MAX_TAGS = 20

Tag = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=50), NO_NUL]


def _without_repeats(tags: list[str]) -> list[str]:
    """Remove tags that equal an earlier one when case-folded."""
    firsts: dict[str, str] = {}
    for tag in tags:
        firsts.setdefault(fold_case(tag), tag)
    return list(firsts.values())


DistinctTags = Annotated[list[Tag], Field(max_length=MAX_TAGS), AfterValidator(_without_repeats)]


Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100), NO_NUL]
