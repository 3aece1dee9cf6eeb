"""What pydantic finds wrong, said to the user without repeating what the user sent."""

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from pydantic import ValidationError

from todo.errors import Fault

_MOST_FAULTS = 50
_LONGEST_NAME = 100

# Where pydantic's own words repeat the input, or name its inner workings.
_SENTENCES = {
    "extra_forbidden": "There is no such field here.",
    "missing": "This field is required.",
    "model_type": "Expected an object.",
    "model_attributes_type": "Expected an object.",
    "uuid_parsing": "Expected a UUID.",
    "uuid_type": "Expected a UUID.",
    "union_tag_invalid": "This kind is not known.",
}


# Task: T-042
def faults_of(error: ValidationError, place: str, *at: str) -> list[Fault]:
    """Return where and what, for the user. ``place`` is ``body``, ``query``, ``path`` or ``header``."""
    if error.error_count() > _MOST_FAULTS:
        return [Fault(f"/{place}", f"More than {_MOST_FAULTS} things are wrong here.")]
    return described(error.errors(include_url=False, include_input=False), place, *at)


def described(found: Iterable[Any], *at: str) -> list[Fault]:
    """Turn pydantic's descriptions of errors into faults below ``at``."""
    return [Fault(pointer(*at, *one["loc"]), _sentence(one["type"], one["msg"])) for one in found]


def placed(faults: Iterable[Fault], places: Sequence[tuple[str, Collection[str]]]) -> list[Fault]:
    """Put before a service's pointers the place that the field came in; a field of none of them stays as it is."""
    return [Fault(_place(fault.pointer, places) + fault.pointer, fault.detail) for fault in faults]


def _place(field_pointer: str, places: Sequence[tuple[str, Collection[str]]]) -> str:
    name = field_pointer[1:].partition("/")[0]
    return next((f"/{place}" for place, names in places if name in names), "")


def pointer(*parts: str | int) -> str:
    """Join as RFC 6901 does: ``~`` becomes ``~0`` and ``/`` becomes ``~1``. Names are cut off at 100 characters."""
    return "".join("/" + str(part)[:_LONGEST_NAME].replace("~", "~0").replace("/", "~1") for part in parts)


def _sentence(kind: str, message: str) -> str:
    return _SENTENCES.get(kind) or message.removeprefix("Value error, ")
