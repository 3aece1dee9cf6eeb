"""Pydantic's errors as sentences for the user, which never repeat the input."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from todo.errors import FieldError
from todo.kit.ids import UUID_EXPECTED

_MAX_ERRORS = 50
_MAX_NAME_LENGTH = 100

# Sentences by pydantic's error type. They replace messages that repeat the input, name pydantic's internals, or say
# "should have been" instead of what to send.
_SENTENCES = {
    "bool_parsing": "Expected true or false.",
    "bool_type": "Expected true or false.",
    "date_from_datetime_parsing": "Expected a date, such as 2026-03-10.",
    "date_parsing": "Expected a date, such as 2026-03-10.",
    "date_type": "Expected a date, such as 2026-03-10.",
    "dict_type": "Expected an object.",
    "enum": "Expected {expected}.",
    "extra_forbidden": "There is no such field here.",
    "float_parsing": "Expected a number.",
    "float_type": "Expected a number.",
    "greater_than": "Expected more than {gt}.",
    "greater_than_equal": "Expected {ge} or more.",
    "int_from_float": "Expected a whole number.",
    "int_parsing": "Expected a whole number.",
    "int_parsing_size": "Expected a whole number of fewer digits.",
    "int_type": "Expected a whole number.",
    "less_than": "Expected less than {lt}.",
    "less_than_equal": "Expected {le} or less.",
    "list_type": "Expected a list.",
    "literal_error": "Expected {expected}.",
    "missing": "This field is required.",
    "model_attributes_type": "Expected an object.",
    "model_type": "Expected an object.",
    "none_required": "Expected null.",
    # No field uses pydantic's patterns: ``todo.models.values.Pattern`` has a sentence for people.
    "string_pattern_mismatch": "Expected text of another form.",
    "string_too_long": "Expected {max_length} characters or fewer.",
    "string_too_short": "Expected {min_length} characters or more.",
    "string_type": "Expected text.",
    "too_long": "Expected {max_length} entries or fewer.",
    "too_short": "Expected {min_length} entries or more.",
    "union_tag_invalid": "This kind is not known.",
    "uuid_parsing": UUID_EXPECTED,
    "uuid_type": UUID_EXPECTED,
}
_SINGULARS = {" 1 characters ": " 1 character ", " 1 entries ": " 1 entry "}


# Task: T-042
def field_errors_of(error: ValidationError, place: str, *at: str) -> list[FieldError]:
    """Return the errors for the user. ``place`` is ``body``, ``query``, ``path`` or ``header``."""
    if error.error_count() > _MAX_ERRORS:
        return [FieldError(f"/{place}", f"There are more than {_MAX_ERRORS} errors here.")]
    return to_field_errors(error.errors(include_url=False, include_input=False), place, *at)


def to_field_errors(found: Iterable[Any], *at: str) -> list[FieldError]:
    """Convert pydantic's error descriptions to field errors. ``at`` goes in front of each location."""
    return [
        FieldError(pointer(*at, *one["loc"]), _sentence(one["type"], one["msg"], one.get("ctx", {}))) for one in found
    ]


def with_locations(errors: Iterable[FieldError], places: Sequence[tuple[str, Collection[str]]]) -> list[FieldError]:
    """Prefix each pointer of a service with the place of its field, such as ``/body``, if one of ``places`` has it."""
    return [FieldError(_place(error.pointer, places) + error.pointer, error.detail) for error in errors]


def _place(field_pointer: str, places: Sequence[tuple[str, Collection[str]]]) -> str:
    name = field_pointer[1:].partition("/")[0]
    return next((f"/{place}" for place, names in places if name in names), "")


def pointer(*parts: str | int) -> str:
    """Return a JSON pointer (RFC 6901): ``~`` becomes ``~0``, ``/`` becomes ``~1``. Parts end after 100 characters."""
    return "".join("/" + str(part)[:_MAX_NAME_LENGTH].replace("~", "~0").replace("/", "~1") for part in parts)


def _sentence(kind: str, message: str, context: Mapping[str, Any]) -> str:
    template = _SENTENCES.get(kind)
    if template is None:
        return message.removeprefix("Value error, ")
    sentence = template.format_map({name: _readable(value) for name, value in context.items()})
    for wrong, right in _SINGULARS.items():
        sentence = sentence.replace(wrong, right)
    return sentence


def _readable(value: object) -> str:
    return f"{value:,}" if isinstance(value, int | float) else str(value)
