"""Categories: the table and the API schemas."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, StringConstraints, WithJsonSchema, model_validator
from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    Index,
    LargeBinary,
    Text,
    UniqueConstraint,
    Uuid,
)
from sqlmodel import Field, SQLModel

from todo.models.base import NO_NUL, Id, QueryBool, RequestBody, optional_field, owner_column
from todo.models.ordering import Move

MAX_CATEGORIES = 1000
"""The limit for one user. The database enforces it."""

CategoryName = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100), NO_NUL]
Color = Annotated[str, StringConstraints(pattern=r"^#[0-9A-Fa-f]{6}$", to_lower=True)]

_ID_EXTRA: dict[str, Any] = {"examples": ["0197f0c2-c1d0-7a55-9b1e-2f6d3c8a4e17"]}
_NAME = "1 to 100 characters after trimming. Names are unique; `Work` and `work` are the same name."
_NAME_EXTRA: dict[str, Any] = {"examples": ["Groceries"]}
_COLOR = "An RGB color in hexadecimal notation, such as `#1e90ff`. Returned in lower case."
_COLOR_EXTRA: dict[str, Any] = {"examples": ["#1e90ff"]}
_ARCHIVED = "Whether the category is archived. Its tasks stay in it."
_INSTANT_EXTRA: dict[str, Any] = {"examples": ["2026-03-01T07:30:00.123456Z"]}


# Task: T-331
class CategoryBase(BaseModel):
    """The fields that a client may set. The table and the schemas inherit them."""

    name: CategoryName = Field(description=_NAME, schema_extra=_NAME_EXTRA, sa_type=Text)
    color: Color | None = Field(default=None, description=_COLOR, schema_extra=_COLOR_EXTRA, sa_type=Text)
    archived: bool = Field(default=False, description=_ARCHIVED)


# Task: T-331
class Category(CategoryBase, SQLModel, table=True):
    """One row. Create it with ``Category.model_validate``: the constructor of a table class validates nothing."""

    __tablename__ = "categories"
    __table_args__ = (
        CheckConstraint("char_length(name) BETWEEN 1 AND 100", name="name"),
        CheckConstraint("color ~ '^#[0-9a-f]{6}$'", name="color"),
        CheckConstraint("position ~ '^[0-9]{15,}$'", name="position"),
        UniqueConstraint("user_id", "name_key"),
        # For the list in the user's order.
        Index("ix_categories_user_id_position", "user_id", "position"),
    )

    user_id: str = Field(sa_column=owner_column())
    id: UUID = Field(sa_column=Column("id", Uuid, primary_key=True))
    # The case-folded name, which is unique per user.
    name_key: str = Field(sa_column=Column("name_key", Text, nullable=False))
    # Digits, compared as text. The database puts a new category at the end.
    position: str = Field(sa_column=Column("position", Text(collation="C"), nullable=False))
    created_at: datetime = Field(sa_column=Column("created_at", DateTime(timezone=True), nullable=False))
    updated_at: datetime = Field(sa_column=Column("updated_at", DateTime(timezone=True), nullable=False))
    revision: int = Field(sa_column=Column("revision", BigInteger, nullable=False))
    # A digest of the body that created it, to recognize a repeated request.
    creation_digest: bytes = Field(sa_column=Column("creation_digest", LargeBinary, nullable=False))


# Task: T-331
class CategoryReplace(RequestBody, CategoryBase):
    """Body of `PUT /categories/{id}`. A field that is left out gets its default."""


# Task: T-331
class CategoryCreate(RequestBody, CategoryBase):
    """Body of `POST /categories`. With an id chosen by the client, the request is safe to repeat."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "Groceries", "color": "#1e90ff"}]})

    id: Id | None = Field(
        default=None,
        description="An id of your choice, preferably a UUID version 7. The same request sent again returns 200.",
        schema_extra=_ID_EXTRA,
    )


# Task: T-331
class CategoryUpdate(RequestBody):
    """Body of `PATCH /categories/{id}`. A field that is left out keeps its value; `null` clears the color."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"color": "#1e90ff", "archived": True}]})

    name: CategoryName = optional_field(description=_NAME, schema_extra=_NAME_EXTRA)
    color: Color | None = optional_field(description=_COLOR, schema_extra=_COLOR_EXTRA)
    archived: bool = optional_field(description=_ARCHIVED)


# Task: T-333
class CategoryMove(Move):
    """Body of `POST /categories/{id}/move`: exactly one of the two fields."""

    @model_validator(mode="after")
    def _has_a_place(self) -> "CategoryMove":
        if not self.has_place:
            raise ValueError("Give either after_id or before_id.")
        return self


# Task: T-331
class CategoryState(SQLModel):
    """A category without the number of its tasks, as in the change log."""

    id: UUID = Field(description="A UUID, version 7 unless the client chose another one.", schema_extra=_ID_EXTRA)
    name: str = Field(description=_NAME, schema_extra=_NAME_EXTRA)
    color: str | None = Field(description=_COLOR, schema_extra=_COLOR_EXTRA)
    archived: bool = Field(description=_ARCHIVED, schema_extra={"examples": [False]})
    position: str = Field(
        description="The place in your order. Compare it as text. Move the category to change it.",
        schema_extra={"examples": ["500000000000017"]},
    )
    created_at: datetime = Field(description="When it was created, in UTC.", schema_extra=_INSTANT_EXTRA)
    updated_at: datetime = Field(description="When it last changed, in UTC.", schema_extra=_INSTANT_EXTRA)
    revision: int = Field(
        description="The revision of its last change, for `If-Match`. The changes of a user are numbered 1, 2, 3.",
        schema_extra={"examples": [17]},
    )


# Task: T-331
class CategoryPublic(CategoryState):
    """A category with the number of its tasks."""

    tasks_open: int = Field(
        description="The number of its pending and in-progress tasks, without the trash.",
        schema_extra={"examples": [4]},
    )
    tasks_completed: int = Field(
        description="The number of its completed tasks, without the trash.", schema_extra={"examples": [2]}
    )


# Task: T-331
class CategoryList(SQLModel):
    """All categories, in the user's order."""

    categories: list[CategoryPublic]
    total: int = Field(description="The number of categories in this list.", schema_extra={"examples": [1]})


# Task: T-331
class CategoryQuery(SQLModel):
    """Query of ``GET /categories``."""

    archived: Annotated[QueryBool | None, WithJsonSchema({"type": "boolean"})] = Field(
        default=None, description="`true`: only archived categories. `false`: only the others. Without it: all."
    )


class TaskDisposition(StrEnum):
    """The treatment of the tasks of a deleted category."""

    keep = "keep"
    trash = "trash"


# Task: T-334
class CategoryDeletion(SQLModel):
    """Query of ``DELETE /categories/{id}``."""

    tasks: TaskDisposition = Field(
        default=TaskDisposition.keep,
        description="`keep`: its tasks stay, without a category. `trash`: they move to the trash, with their subtasks.",
    )
