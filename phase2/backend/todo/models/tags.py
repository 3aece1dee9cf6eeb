"""Tags of tasks. They are compared case-insensitively, and stored as typed."""

from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict, StringConstraints
from pydantic import Field as PydanticField
from sqlmodel import Field, SQLModel

from todo.kit.text import fold_case
from todo.models.base import NO_NUL, RequestBody

MAX_TAGS = 20

_NAME_EXTRA: dict[str, Any] = {"examples": ["Errand"]}


def _without_repeats(tags: list[str]) -> list[str]:
    """Remove tags that equal an earlier one when case-folded."""
    firsts: dict[str, str] = {}
    for tag in tags:
        firsts.setdefault(fold_case(tag), tag)
    return list(firsts.values())


Tag = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=50), NO_NUL]
Tags = Annotated[list[Tag], PydanticField(max_length=MAX_TAGS), AfterValidator(_without_repeats)]


# Task: T-341
class TagPublic(SQLModel):
    """A tag, and the number of tasks that have it."""

    name: str = Field(
        description="The tag as typed; if it was typed in several ways, the first of them in order.",
        schema_extra=_NAME_EXTRA,
    )
    tasks: int = Field(
        description="The number of tasks that have it, without the trash.", schema_extra={"examples": [3]}
    )


# Task: T-341
class TagList(SQLModel):
    """All tags that tasks have, sorted by their case-folded names."""

    tags: list[TagPublic]
    total: int = Field(description="The number of tags.", schema_extra={"examples": [1]})


# Task: T-341
class TagRename(RequestBody):
    """Body of `PATCH /tags/{name}`."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "Errands"}]})

    name: Tag = Field(
        description="The new name. If another tag has this name, the two are merged.", schema_extra=_NAME_EXTRA
    )
