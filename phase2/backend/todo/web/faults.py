"""What pydantic finds wrong, said to the user without repeating what the user sent."""

from pydantic import ValidationError

from todo.errors import Fault

_MOST_FAULTS = 50
_LONGEST_NAME = 100


# Task: T-042
def faults_of(error: ValidationError, place: str, *at: str) -> list[Fault]:
    """Return where and what, for the user. ``place`` is ``body``, ``query``, ``path`` or ``header``."""
    if error.error_count() > _MOST_FAULTS:
        return [Fault(f"/{place}", f"More than {_MOST_FAULTS} things are wrong here.")]
    return [
        Fault(_pointer(place, *at, *found["loc"]), _sentence(found["type"], found["msg"]))
        for found in error.errors(include_url=False, include_input=False)
    ]


def _pointer(*parts: str | int) -> str:
    """Join as RFC 6901 does: ``~`` becomes ``~0`` and ``/`` becomes ``~1``."""
    return "".join("/" + str(part)[:_LONGEST_NAME].replace("~", "~0").replace("/", "~1") for part in parts)


def _sentence(kind: str, message: str) -> str:
    if kind == "extra_forbidden":
        return "There is no such field here."
    if kind == "missing":
        return "This field is required."
    if kind == "model_type":
        return "Expected an object."
    return message.removeprefix("Value error, ")
