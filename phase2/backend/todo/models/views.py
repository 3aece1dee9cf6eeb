"""Saved views: the table and the API schemas."""

from typing import Annotated, Any

from pydantic import ConfigDict
from sqlalchemy import CheckConstraint, UniqueConstraint
from sqlmodel import SQLModel

from todo.models import fields
from todo.models.base import UNSET, RequestBody
from todo.models.fields import described
from todo.models.task_list import TaskFilter

MAX_VIEWS = 200
"""The limit for one user. The database enforces it."""

_EXAMPLE: dict[str, Any] = {"due": "today", "status": ["pending", "in_progress"], "sort": ["-priority", "due_date"]}
_DESCRIPTION = (
    "Parameters of `GET /tasks`, except `skip`, `limit`, `cursor` and `view`. A repeatable parameter is a list."
)


# Task: T-373
class View(SQLModel, table=True):
    """One row. ``query`` has only the validated parameters that differ from their defaults."""

    __tablename__ = "views"
    __table_args__ = (
        CheckConstraint("char_length(name) BETWEEN 1 AND 100", name="name"),
        CheckConstraint("jsonb_typeof(query) = 'object'", name="query"),
        UniqueConstraint("user_id", "name_key"),
    )

    user_id: fields.OwnerId
    id: fields.UuidKey
    name: fields.ViewName
    # The case-folded name, which is unique per user.
    name_key: Annotated[str, fields.BYTEWISE]
    query: Annotated[dict[str, Any], fields.DOCUMENT]
    created_at: fields.CreatedAt
    updated_at: fields.UpdatedAt
    revision: fields.Revision
    creation_digest: fields.CreationDigest


# Task: T-373
class ViewQuery(RequestBody, TaskFilter):
    """The query of a saved view: the parameters of `GET /tasks` except those of the page."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    @property
    def stored(self) -> dict[str, Any]:
        """The parameters that differ from their defaults, as JSON."""
        return self.model_dump(mode="json", exclude_defaults=True)


# Task: T-373
class ViewCreate(RequestBody):
    """Body of `POST /views`. With an id chosen by the client, the request is safe to repeat."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "Today by priority", "query": _EXAMPLE}]})

    name: fields.ViewName
    query: Annotated[ViewQuery, described(_DESCRIPTION)]
    id: fields.ChosenViewId = None


# Task: T-373
class ViewUpdate(RequestBody):
    """Body of `PATCH /views/{id}`. A field that is left out keeps its value; `null` is refused with 422.

    `query` is replaced as a whole.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [{"query": {"due": "week"}}]})

    name: fields.ViewName = UNSET
    query: Annotated[ViewQuery, described(_DESCRIPTION)] = UNSET


# Task: T-373
class ViewPublic(SQLModel):
    """A view as the API returns it."""

    id: fields.ViewId
    name: fields.ViewName
    query: dict[str, Any] = described(_DESCRIPTION, _EXAMPLE)
    created_at: fields.CreatedAt
    updated_at: fields.UpdatedAt
    revision: fields.Revision


# Task: T-373
class ViewList(SQLModel):
    """All views, sorted by name."""

    views: list[ViewPublic]
    total: int = described("The number of views.", 1)
