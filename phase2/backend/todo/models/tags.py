"""Tags: words on a task, compared by their folded form and kept as typed."""

from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict, StringConstraints
from pydantic import Field as PydanticField
from sqlmodel import Field, SQLModel

from todo.kit.text import folded
from todo.models.base import STORABLE, Body

MOST_TAGS = 20

_NAME_EXTRA: dict[str, Any] = {"examples": ["Errand"]}


def _without_repeats(tags: list[str]) -> list[str]:
    """Keep the first of those that are the same when folded, where it stands."""
    firsts: dict[str, str] = {}
    for tag in tags:
        firsts.setdefault(folded(tag), tag)
    return list(firsts.values())


Tag = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=50), STORABLE]
Tags = Annotated[list[Tag], PydanticField(max_length=MOST_TAGS), AfterValidator(_without_repeats)]


# Task: T-341
class TagPublic(SQLModel):
    """A tag, and how many tasks have it."""

    name: str = Field(description="As it was typed, of several ways the first in order.", schema_extra=_NAME_EXTRA)
    tasks: int = Field(description="How many tasks have it, without the trash.", schema_extra={"examples": [3]})


# Task: T-341
class TagList(SQLModel):
    """All tags that tasks have, in the order of their folded names."""

    tags: list[TagPublic]
    total: int = Field(description="How many there are.", schema_extra={"examples": [1]})


# Task: T-341
class TagRename(Body):
    """Body of ``PATCH /tags/{name}``."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "Errands"}]})

    name: Tag = Field(description="The new name. If it is another tag's, the two become one.", schema_extra=_NAME_EXTRA)
