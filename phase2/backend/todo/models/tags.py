"""Tags of tasks. They are compared case-insensitively, and stored as typed."""

from pydantic import ConfigDict
from sqlmodel import SQLModel

from todo.models.base import RequestBody
from todo.models.fields import described
from todo.models.values import Tag


# Task: T-341
class TagPublic(SQLModel):
    """A tag, and the number of tasks that have it."""

    name: str = described("The tag as typed; if it was typed in several ways, the first of them in order.", "Errand")
    tasks: int = described("The number of tasks that have it, without the trash.", 3)


# Task: T-341
class TagList(SQLModel):
    """All tags that tasks have, sorted by their case-folded names."""

    tags: list[TagPublic]
    total: int = described("The number of tags.", 1)


# Task: T-341
class TagRename(RequestBody):
    """Body of `PATCH /tags/{name}`."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "Errands"}]})

    name: Tag = described("The new name. If another tag has this name, the two are merged.", "Errand")
