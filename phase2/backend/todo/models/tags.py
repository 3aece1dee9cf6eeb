"""Tags: words on a task, compared by their folded form and kept as typed."""

from typing import Annotated

from pydantic import AfterValidator, StringConstraints
from pydantic import Field as PydanticField

from todo.kit.text import folded
from todo.models.base import STORABLE

MOST_TAGS = 20


def _without_repeats(tags: list[str]) -> list[str]:
    """Keep the first of those that are the same when folded."""
    return list({folded(tag): tag for tag in reversed(tags)}.values())[::-1]


Tag = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=50), STORABLE]
Tags = Annotated[list[Tag], PydanticField(max_length=MOST_TAGS), AfterValidator(_without_repeats)]
