"""Saved views: the table and the API schemas."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import ConfigDict, StringConstraints
from sqlalchemy import BigInteger, CheckConstraint, Column, DateTime, LargeBinary, Text, UniqueConstraint, Uuid
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from todo.models.base import NO_NUL, Id, RequestBody, optional_field, owner_column
from todo.models.task_list import TaskFilter

MAX_VIEWS = 200
"""The limit for one user. The database enforces it."""

ViewName = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100), NO_NUL]

_ID_EXTRA: dict[str, Any] = {"examples": ["0197f0c2-d2e3-7b66-8c2f-3a7e4d9b5f28"]}
_NAME = "1 to 100 characters after trimming. Names are unique; `Today` and `today` are the same name."
_NAME_EXTRA: dict[str, Any] = {"examples": ["Today, the important first"]}
_QUERY = "Parameters of `GET /tasks`, except `skip`, `limit`, `cursor` and `view`. A repeatable parameter is a list."
_QUERY_EXAMPLE: dict[str, Any] = {
    "due": "today",
    "status": ["pending", "in_progress"],
    "sort": ["-priority", "due_date"],
}
_INSTANT_EXTRA: dict[str, Any] = {"examples": ["2026-03-01T07:30:00.123456Z"]}


# Task: T-373
class View(SQLModel, table=True):
    """One row. ``query`` has only the validated parameters that differ from their defaults."""

    __tablename__ = "views"
    __table_args__ = (
        CheckConstraint("char_length(name) BETWEEN 1 AND 100", name="name"),
        CheckConstraint("jsonb_typeof(query) = 'object'", name="query"),
        UniqueConstraint("user_id", "name_key"),
    )

    user_id: str = Field(sa_column=owner_column())
    id: UUID = Field(sa_column=Column("id", Uuid, primary_key=True))
    name: str = Field(sa_column=Column("name", Text, nullable=False))
    # The case-folded name, which is unique per user.
    name_key: str = Field(sa_column=Column("name_key", Text(collation="C"), nullable=False))
    query: dict[str, Any] = Field(sa_column=Column("query", JSONB, nullable=False))
    created_at: datetime = Field(sa_column=Column("created_at", DateTime(timezone=True), nullable=False))
    updated_at: datetime = Field(sa_column=Column("updated_at", DateTime(timezone=True), nullable=False))
    revision: int = Field(sa_column=Column("revision", BigInteger, nullable=False))
    # A digest of the body that created it, to recognize a repeated request.
    creation_digest: bytes = Field(sa_column=Column("creation_digest", LargeBinary, nullable=False))


# Task: T-373
class ViewQuery(RequestBody, TaskFilter):
    """The query of a saved view: the parameters of `GET /tasks` except those of the page."""

    model_config = ConfigDict(json_schema_extra={"examples": [_QUERY_EXAMPLE]})

    @property
    def stored(self) -> dict[str, Any]:
        """The parameters that differ from their defaults, as JSON."""
        return self.model_dump(mode="json", exclude_defaults=True)


# Task: T-373
class ViewCreate(RequestBody):
    """Body of `POST /views`. With an id chosen by the client, the request is safe to repeat."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "Today, the important first", "query": _QUERY_EXAMPLE}]}
    )

    name: ViewName = Field(description=_NAME, schema_extra=_NAME_EXTRA)
    query: ViewQuery = Field(description=_QUERY)
    id: Id | None = Field(
        default=None,
        description="An id of your choice, preferably a UUID version 7. The same request sent again returns 200.",
        schema_extra=_ID_EXTRA,
    )


# Task: T-373
class ViewUpdate(RequestBody):
    """Body of `PATCH /views/{id}`. A field that is left out keeps its value; `null` is refused with 422.

    `query` is replaced as a whole.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [{"query": {"due": "week"}}]})

    name: ViewName = optional_field(description=_NAME, schema_extra=_NAME_EXTRA)
    query: ViewQuery = optional_field(description=_QUERY)


# Task: T-373
class ViewPublic(SQLModel):
    """A view as the API returns it."""

    id: UUID = Field(description="A UUID, version 7 unless the client chose another one.", schema_extra=_ID_EXTRA)
    name: str = Field(description=_NAME, schema_extra=_NAME_EXTRA)
    query: dict[str, Any] = Field(description=_QUERY, schema_extra={"examples": [_QUERY_EXAMPLE]})
    created_at: datetime = Field(description="When it was created, in UTC.", schema_extra=_INSTANT_EXTRA)
    updated_at: datetime = Field(description="When it last changed, in UTC.", schema_extra=_INSTANT_EXTRA)
    revision: int = Field(
        description="The revision of its last change, and its `ETag`. The changes of a user are numbered 1, 2, 3.",
        schema_extra={"examples": [17]},
    )


# Task: T-373
class ViewList(SQLModel):
    """All views, sorted by name."""

    views: list[ViewPublic]
    total: int = Field(description="The number of views.", schema_extra={"examples": [1]})
