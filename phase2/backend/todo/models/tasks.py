"""Tasks: the table, and the shapes the API accepts and returns."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

from pydantic import AfterValidator, ConfigDict, StringConstraints
from sqlalchemy import BigInteger, CheckConstraint, Column, DateTime, Index, LargeBinary, Text, Uuid, text
from sqlmodel import Field, SQLModel

from todo.kit.dates import canonical_due
from todo.models.base import STORABLE, Body, Id, WholeNumber, absent, owner_column


class Status(StrEnum):
    """Where a task stands."""

    pending = "pending"
    in_progress = "in_progress"
    completed = "completed"
    cancelled = "cancelled"


class Priority(StrEnum):
    """How much a task matters."""

    low = "low"
    medium = "medium"
    high = "high"


Title = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200), STORABLE]
Description = Annotated[str, StringConstraints(max_length=10_000), STORABLE]
DueDate = Annotated[str, AfterValidator(canonical_due)]

_ID_EXTRA: dict[str, Any] = {"examples": ["0197f0c2-a6b4-7e0b-8d3c-5a1e9f60b7d2"]}
_TITLE = "What is to be done. 1 to 200 characters after trimming."
_TITLE_EXTRA: dict[str, Any] = {"examples": ["Buy milk"]}
_DESCRIPTION = "Markdown, up to 10,000 characters."
_DESCRIPTION_EXTRA: dict[str, Any] = {"examples": ["Two litres, *organic*."]}
_STATUS = "Where the task stands. A completed or cancelled task has to be reopened before it can become the other."
_PRIORITY = "How much the task matters."
_DUE_DATE = (
    "A date (`2026-03-10`), which stays a date, or a date and time with offset "
    "(`2026-03-10T09:00:00+01:00`), which is given back in UTC. Seconds may be left out."
)
_DUE_DATE_EXTRA: dict[str, Any] = {"examples": ["2026-03-10", "2026-03-10T08:00:00Z"]}
_INSTANT_EXTRA: dict[str, Any] = {"examples": ["2026-03-01T07:30:00.123456Z"]}


# Task: T-011
class TaskBase(SQLModel):
    """What a client may set. Written once; the table and the schemas inherit it."""

    title: Title = Field(description=_TITLE, schema_extra=_TITLE_EXTRA, sa_type=Text)
    description: Description | None = Field(
        default=None, description=_DESCRIPTION, schema_extra=_DESCRIPTION_EXTRA, sa_type=Text
    )
    status: Status = Field(default=Status.pending, description=_STATUS, sa_type=Text)
    priority: Priority = Field(default=Priority.medium, description=_PRIORITY, sa_type=Text)
    due_date: DueDate | None = Field(default=None, description=_DUE_DATE, schema_extra=_DUE_DATE_EXTRA, sa_type=Text)


# Task: T-011
class Task(TaskBase, table=True):
    """One row. Build it with ``Task.model_validate``: a table's constructor checks nothing."""

    __tablename__ = "tasks"
    __table_args__ = (
        CheckConstraint("char_length(title) BETWEEN 1 AND 200", name="title"),
        CheckConstraint("char_length(description) <= 10000", name="description"),
        CheckConstraint("status IN ('pending', 'in_progress', 'completed', 'cancelled')", name="status"),
        CheckConstraint("priority IN ('low', 'medium', 'high')", name="priority"),
        CheckConstraint("(status = 'completed') = (completed_at IS NOT NULL)", name="completed_at"),
        # The list view: one user's tasks, newest first.
        Index("ix_tasks_user_id_created_at", "user_id", text("created_at DESC"), text("id DESC")),
        # The same, of one status.
        Index("ix_tasks_user_id_status_created_at", "user_id", "status", text("created_at DESC"), text("id DESC")),
    )

    user_id: str = Field(sa_column=owner_column())
    id: UUID = Field(sa_column=Column("id", Uuid, primary_key=True))
    created_at: datetime = Field(sa_column=Column("created_at", DateTime(timezone=True), nullable=False))
    updated_at: datetime = Field(sa_column=Column("updated_at", DateTime(timezone=True), nullable=False))
    completed_at: datetime | None = Field(default=None, sa_column=Column("completed_at", DateTime(timezone=True)))
    revision: int = Field(sa_column=Column("revision", BigInteger, nullable=False))
    # What the task was created from, so that a repeated create can be told from another one.
    creation_digest: bytes = Field(sa_column=Column("creation_digest", LargeBinary, nullable=False))


# Task: T-210
class TaskCount(SQLModel, table=True):
    """How many tasks of one status and priority a user has. The database keeps it; nobody else writes it."""

    __tablename__ = "task_counts"

    user_id: str = Field(sa_column=owner_column())
    status: str = Field(sa_column=Column("status", Text, primary_key=True))
    priority: str = Field(sa_column=Column("priority", Text, primary_key=True))
    tasks: int = Field(sa_column=Column("tasks", BigInteger, nullable=False))


# Task: T-011
class TaskReplace(Body, TaskBase):
    """Body of ``PUT /tasks/{id}``: an absent field gets its default."""


# Task: T-011
class TaskCreate(Body, TaskBase):
    """Body of ``POST /tasks``. A client that chooses the id may safely send the same body again."""

    # Without an id: tried twice, it makes two tasks, as one expects.
    model_config = ConfigDict(  # type: ignore[assignment]
        json_schema_extra={"examples": [{"title": "Buy milk", "priority": "high", "due_date": "2026-03-10"}]}
    )

    id: Id | None = Field(
        default=None,
        description="Chosen by the client, best a UUID v7. Sent again with the same body: 200 with the task.",
        schema_extra=_ID_EXTRA,
    )


# Task: T-011
class TaskUpdate(Body):
    """Body of ``PATCH /tasks/{id}``: an absent field keeps its value, ``null`` clears it.

    Only what may be empty can be cleared; for the other fields ``null`` is a 422.
    """

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"status": "in_progress", "due_date": "2026-03-10T08:00:00Z"}]}
    )

    title: Title = absent(description=_TITLE, schema_extra=_TITLE_EXTRA)
    description: Description | None = absent(description=_DESCRIPTION, schema_extra=_DESCRIPTION_EXTRA)
    status: Status = absent(description=_STATUS)
    priority: Priority = absent(description=_PRIORITY)
    due_date: DueDate | None = absent(description=_DUE_DATE, schema_extra=_DUE_DATE_EXTRA)


# Task: T-011
class TaskPublic(SQLModel):
    """A task as the API returns it."""

    id: UUID = Field(description="A UUID, version 7 unless the client chose another one.", schema_extra=_ID_EXTRA)
    title: str = Field(description=_TITLE, schema_extra=_TITLE_EXTRA)
    description: str | None = Field(description=_DESCRIPTION, schema_extra=_DESCRIPTION_EXTRA)
    status: Status = Field(description=_STATUS, schema_extra={"examples": [Status.pending]})
    priority: Priority = Field(description=_PRIORITY, schema_extra={"examples": [Priority.high]})
    due_date: str | None = Field(description=_DUE_DATE, schema_extra=_DUE_DATE_EXTRA)
    created_at: datetime = Field(description="When it was created, in UTC.", schema_extra=_INSTANT_EXTRA)
    updated_at: datetime = Field(description="When it last changed, in UTC.", schema_extra=_INSTANT_EXTRA)
    completed_at: datetime | None = Field(
        description="When it was completed, in UTC; null unless completed.", schema_extra={"examples": [None]}
    )
    revision: int = Field(
        description="The number of its last change, and its `ETag`: one user's changes count 1, 2, 3.",
        schema_extra={"examples": [17]},
    )


# Task: T-011
class TaskPage(SQLModel):
    """A page of tasks, newest first."""

    tasks: list[TaskPublic]
    total: int = Field(description="How many tasks match, on all pages.", schema_extra={"examples": [1]})
    page: int = Field(description="The number of this page: `skip // limit + 1`.", schema_extra={"examples": [1]})
    page_size: int = Field(description="How many tasks this page holds.", schema_extra={"examples": [1]})


# Task: T-011
class TaskQuery(SQLModel):
    """Query of ``GET /tasks``."""

    skip: WholeNumber = Field(default=0, ge=0, le=2**31 - 1, description="How many tasks to pass over.")
    limit: WholeNumber = Field(default=50, ge=1, le=100, description="How many tasks to return at most.")
    status: list[Status] = Field(default_factory=list, description="Only tasks of this status; repeat for several.")
    status_filter: list[Status] = Field(
        default_factory=list, description="Another name of `status`; what both say adds up."
    )
    priority: list[Priority] = Field(
        default_factory=list, description="Only tasks of this priority; repeat for several."
    )

    @property
    def statuses(self) -> list[Status]:
        """Both names of the filter together."""
        return [*self.status, *self.status_filter]
