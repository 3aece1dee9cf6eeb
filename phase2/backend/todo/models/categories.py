"""Categories: the table, and the shapes the API accepts and returns."""

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

from todo.models.base import STORABLE, Body, Id, TrueOrFalse, absent, owner_column
from todo.models.moves import Move

MOST_CATEGORIES = 1000
"""So many a user may have; the database counts."""

CategoryName = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100), STORABLE]
Color = Annotated[str, StringConstraints(pattern=r"^#[0-9A-Fa-f]{6}$", to_lower=True)]

_ID_EXTRA: dict[str, Any] = {"examples": ["0197f0c2-c1d0-7a55-9b1e-2f6d3c8a4e17"]}
_NAME = "1 to 100 characters after trimming. `Work` and `work` are the same name, and each is there once."
_NAME_EXTRA: dict[str, Any] = {"examples": ["Groceries"]}
_COLOR = "As on the web, red, green and blue: given back in small letters."
_COLOR_EXTRA: dict[str, Any] = {"examples": ["#1e90ff"]}
_ARCHIVED = "Whether it is put away. Its tasks stay where they are."
_INSTANT_EXTRA: dict[str, Any] = {"examples": ["2026-03-01T07:30:00.123456Z"]}


# Task: T-331
class CategoryBase(BaseModel):
    """What a client may set. Written once; the table and the schemas inherit it."""

    name: CategoryName = Field(description=_NAME, schema_extra=_NAME_EXTRA, sa_type=Text)
    color: Color | None = Field(default=None, description=_COLOR, schema_extra=_COLOR_EXTRA, sa_type=Text)
    archived: bool = Field(default=False, description=_ARCHIVED)


# Task: T-331
class Category(CategoryBase, SQLModel, table=True):
    """One row. Build it with ``Category.model_validate``: a table's constructor checks nothing."""

    __tablename__ = "categories"
    __table_args__ = (
        CheckConstraint("char_length(name) BETWEEN 1 AND 100", name="name"),
        CheckConstraint("color ~ '^#[0-9a-f]{6}$'", name="color"),
        CheckConstraint("position ~ '^[0-9]{15,}$'", name="position"),
        UniqueConstraint("user_id", "name_key"),
        # The list, in the user's order.
        Index("ix_categories_user_id_position", "user_id", "position"),
    )

    user_id: str = Field(sa_column=owner_column())
    id: UUID = Field(sa_column=Column("id", Uuid, primary_key=True))
    # The name, folded: what has to be unique.
    name_key: str = Field(sa_column=Column("name_key", Text, nullable=False))
    # Digits, compared as text; the database gives a new one the last place.
    position: str = Field(sa_column=Column("position", Text(collation="C"), nullable=False))
    created_at: datetime = Field(sa_column=Column("created_at", DateTime(timezone=True), nullable=False))
    updated_at: datetime = Field(sa_column=Column("updated_at", DateTime(timezone=True), nullable=False))
    revision: int = Field(sa_column=Column("revision", BigInteger, nullable=False))
    # What it was created from, so that a repeated create can be told from another one.
    creation_digest: bytes = Field(sa_column=Column("creation_digest", LargeBinary, nullable=False))


# Task: T-331
class CategoryReplace(Body, CategoryBase):
    """Body of ``PUT /categories/{id}``: an absent field gets its default."""


# Task: T-331
class CategoryCreate(Body, CategoryBase):
    """Body of ``POST /categories``. A client that chooses the id may safely send the same body again."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "Groceries", "color": "#1e90ff"}]})

    id: Id | None = Field(
        default=None,
        description="Chosen by the client, best a UUID v7. Sent again with the same body: 200 with the category.",
        schema_extra=_ID_EXTRA,
    )


# Task: T-331
class CategoryUpdate(Body):
    """Body of ``PATCH /categories/{id}``: an absent field keeps its value, ``null`` clears the colour."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"color": "#1e90ff", "archived": True}]})

    name: CategoryName = absent(description=_NAME, schema_extra=_NAME_EXTRA)
    color: Color | None = absent(description=_COLOR, schema_extra=_COLOR_EXTRA)
    archived: bool = absent(description=_ARCHIVED)


# Task: T-333
class CategoryMove(Move):
    """Body of ``POST /categories/{id}/move``: exactly one of the two."""

    @model_validator(mode="after")
    def _has_a_place(self) -> "CategoryMove":
        if not self.has_place:
            raise ValueError("Give either after_id or before_id.")
        return self


# Task: T-331
class CategoryLogged(SQLModel):
    """A category by itself, as the log tells it: what it holds is told with the tasks."""

    id: UUID = Field(description="A UUID, version 7 unless the client chose another one.", schema_extra=_ID_EXTRA)
    name: str = Field(description=_NAME, schema_extra=_NAME_EXTRA)
    color: str | None = Field(description=_COLOR, schema_extra=_COLOR_EXTRA)
    archived: bool = Field(description=_ARCHIVED, schema_extra={"examples": [False]})
    position: str = Field(
        description="Its place in the list, to be compared as text. Move it to change it.",
        schema_extra={"examples": ["500000000000017"]},
    )
    created_at: datetime = Field(description="When it was created, in UTC.", schema_extra=_INSTANT_EXTRA)
    updated_at: datetime = Field(description="When it last changed, in UTC.", schema_extra=_INSTANT_EXTRA)
    revision: int = Field(
        description="The number of its last change: one user's changes count 1, 2, 3. `If-Match` takes it.",
        schema_extra={"examples": [17]},
    )


# Task: T-331
class CategoryPublic(CategoryLogged):
    """A category as the API returns it, with what it holds."""

    tasks_open: int = Field(
        description="How many tasks in it are pending or in progress, without the trash.",
        schema_extra={"examples": [4]},
    )
    tasks_completed: int = Field(
        description="How many tasks in it are completed, without the trash.", schema_extra={"examples": [2]}
    )


# Task: T-331
class CategoryList(SQLModel):
    """All categories, in the user's order."""

    categories: list[CategoryPublic]
    total: int = Field(description="How many there are here.", schema_extra={"examples": [1]})


# Task: T-331
class CategoryQuery(SQLModel):
    """Query of ``GET /categories``."""

    archived: Annotated[TrueOrFalse | None, WithJsonSchema({"type": "boolean"})] = Field(
        default=None, description="`false`: only those in use; `true`: only those put away. Absent: all."
    )


class Leftover(StrEnum):
    """What becomes of the tasks of a category that goes."""

    keep = "keep"
    trash = "trash"


# Task: T-334
class CategoryDeletion(SQLModel):
    """Query of ``DELETE /categories/{id}``."""

    tasks: Leftover = Field(
        default=Leftover.keep,
        description="`keep`: its tasks stay, in no category. `trash`: they go to the trash, with their subtasks.",
    )
