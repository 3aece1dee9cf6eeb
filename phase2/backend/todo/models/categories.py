"""Categories: the table and the API schemas."""

from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema, model_validator
from sqlalchemy import CheckConstraint, Index, UniqueConstraint
from sqlmodel import SQLModel

from todo.models import fields
from todo.models.base import UNSET, RequestBody, Response
from todo.models.fields import described
from todo.models.ordering import Move
from todo.models.values import QueryBool

MAX_CATEGORIES = 1000
"""The limit for one user. The database enforces it."""


# Task: T-331
class CategoryBase(BaseModel):
    """The fields that a client may set. The table and the schemas inherit them."""

    name: fields.CategoryName
    color: fields.Color = None
    archived: fields.Archived = False


# Task: T-331
class Category(CategoryBase, SQLModel, table=True):
    """A row of the table. Statements name its columns. The application makes no object of this class."""

    __tablename__ = "categories"
    __table_args__ = (
        CheckConstraint("char_length(name) BETWEEN 1 AND 100", name="name"),
        CheckConstraint("color ~ '^#[0-9a-f]{6}$'", name="color"),
        CheckConstraint("position ~ '^[0-9]{15,}$'", name="position"),
        UniqueConstraint("user_id", "name_key"),
        # For the list in the user's order.
        Index("ix_categories_user_id_position", "user_id", "position"),
    )

    user_id: fields.OwnerId
    id: fields.UuidKey
    # The case-folded name, which is unique per user.
    name_key: Annotated[str, fields.TEXT]
    # Digits, compared as text. The database puts a new category at the end.
    position: fields.CategoryPosition
    created_at: fields.CreatedAt
    updated_at: fields.UpdatedAt
    revision: fields.CategoryRevision
    creation_digest: fields.CreationDigest


# Task: T-331
class CategoryReplace(RequestBody, CategoryBase):
    """Body of `PUT /categories/{id}`. A field that is left out gets its default."""


# Task: T-331
class CategoryCreate(RequestBody, CategoryBase):
    """Body of `POST /categories`. With an id chosen by the client, the request is safe to repeat."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "Groceries", "color": "#1e90ff"}]})

    id: fields.ChosenCategoryId = None


# Task: T-331
class CategoryUpdate(RequestBody):
    """Body of `PATCH /categories/{id}`. A field that is left out keeps its value; `null` clears the color."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"color": "#1e90ff", "archived": True}]})

    name: fields.CategoryName = UNSET
    color: fields.Color = UNSET
    archived: fields.Archived = UNSET


# Task: T-333
class CategoryMove(Move):
    """Body of `POST /categories/{id}/move`: exactly one of the two fields."""

    @model_validator(mode="after")
    def _has_a_place(self) -> "CategoryMove":
        if not self.has_place:
            raise ValueError("Give either after_id or before_id.")
        return self


# Task: T-331
class CategoryState(Response, CategoryBase):
    """A category without the number of its tasks, as in the change log."""

    id: fields.CategoryId
    position: fields.CategoryPosition
    created_at: fields.CreatedAt
    updated_at: fields.UpdatedAt
    revision: fields.CategoryRevision


# Task: T-331
class CategoryPublic(CategoryState):
    """A category with the number of its tasks."""

    tasks_open: int = described("The number of its pending and in-progress tasks, without the trash.", 4)
    tasks_completed: int = described("The number of its completed tasks, without the trash.", 2)


# Task: T-331
class CategoryList(SQLModel):
    """All categories, in the user's order."""

    categories: list[CategoryPublic]
    total: int = described("The number of categories in this list.", 1)


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
