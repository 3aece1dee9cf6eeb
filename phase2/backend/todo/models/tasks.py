"""Tasks: the tables and the API schemas."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Index, text
from sqlmodel import SQLModel

from todo.models import fields
from todo.models.base import UNSET, RequestBody, Response
from todo.models.values import Priority, Status


# Other modules take these two from here.
# Task: T-011
class TaskBase(BaseModel):
    """The fields that a client may set. The table and the schemas inherit them."""

    title: fields.Title
    description: fields.Description = None
    status: fields.TaskStatus = Status.pending
    priority: fields.TaskPriority = Priority.medium
    due_date: fields.TaskDueDate = None
    due_time_zone: fields.TaskTimeZone = None
    start_date: fields.TaskStartDate = None
    recurrence: fields.TaskRecurrence = None
    category_id: fields.TaskCategory = None
    parent_id: fields.TaskParent = None
    tags: fields.Tags = Field(default_factory=list)


def _newest_first(*columns: str, where: str | None = None, called: str | None = None) -> Index:
    name = "_".join(("ix_tasks_user_id", *([called] if called else columns), "created_at"))
    kept = text(where) if where else None
    return Index(name, "user_id", *columns, text("created_at DESC"), text("id DESC"), postgresql_where=kept)


def _by(column: str, *, where: str | None = None, name: str | None = None) -> Index:
    kept = text(where) if where else None
    return Index(f"ix_tasks_user_id_{name or column}", "user_id", column, "id", postgresql_where=kept)


# Task: T-011
# Task: T-312
class Task(TaskBase, SQLModel, table=True):
    """A row of the table. Statements name its columns. The application makes no object of this class."""

    __tablename__ = "tasks"
    __table_args__ = (
        CheckConstraint("char_length(title) BETWEEN 1 AND 200", name="title"),
        CheckConstraint("char_length(description) <= 10000", name="description"),
        CheckConstraint("status IN ('pending', 'in_progress', 'completed', 'cancelled')", name="status"),
        CheckConstraint("priority IN ('low', 'medium', 'high')", name="priority"),
        CheckConstraint("(status = 'completed') = (completed_at IS NOT NULL)", name="completed_at"),
        CheckConstraint(
            "num_nulls(recurrence, recurrence_anchor, recurrence_number, recurrence_due) IN (0, 4)"
            " AND (recurrence IS NULL OR (due_date IS NOT NULL AND series_id IS NOT NULL))",
            name="recurrence",
        ),
        CheckConstraint("(trashed_at IS NULL) = (trash_id IS NULL)", name="trash"),
        ForeignKeyConstraint(
            ["user_id", "category_id"], ["categories.user_id", "categories.id"], ondelete="SET NULL (category_id)"
        ),
        ForeignKeyConstraint(["user_id", "parent_id"], ["tasks.user_id", "tasks.id"], ondelete="CASCADE"),
        # For the list, newest first: of all tasks, and of one status, priority, category or parent.
        _newest_first(where="trashed_at IS NULL"),
        _newest_first("status", where="trashed_at IS NULL"),
        _newest_first("priority", where="trashed_at IS NULL"),
        _newest_first(where="due_at IS NULL AND trashed_at IS NULL", called="undated"),
        # Including the trash, because the foreign keys use these. Tasks without a category or parent cost nothing.
        _newest_first("category_id", where="category_id IS NOT NULL"),
        _newest_first("parent_id", where="parent_id IS NOT NULL"),
        _by("due_at", where="due_at IS NOT NULL"),
        _by(
            "due_at",
            where="due_at IS NOT NULL AND status IN ('pending', 'in_progress') AND trashed_at IS NULL",
            name="open_due_at",
        ),
        _by("position"),
        _by("updated_at"),
        _by("title_key", where="trashed_at IS NULL"),
        _by("start_at", where="start_at IS NOT NULL AND trashed_at IS NULL"),
        _by("completed_at", where="completed_at IS NOT NULL AND trashed_at IS NULL"),
        # Closed occurrences of series, which do not count as new tasks in the statistics.
        _by("created_at", where="series_id <> id AND trashed_at IS NULL", name="closed_created_at"),
        _by("trashed_at", where="trashed_at IS NOT NULL"),
    )

    user_id: fields.OwnerId
    id: fields.UuidKey
    created_at: fields.CreatedAt
    updated_at: fields.UpdatedAt
    completed_at: fields.CompletedAt
    revision: fields.Revision
    title_key: fields.TitleKey
    # Due and start date as instants, resolved by the database. A date is the last microsecond of that day.
    due_at: Annotated[datetime | None, fields.TIMESTAMP]
    start_at: Annotated[datetime | None, fields.TIMESTAMP]
    # The due date that the rule counts from, and the open occurrence: its number, from 1, and its due and start date
    # according to the rule. The dates of the task differ from these if this occurrence alone was moved.
    recurrence_anchor: Annotated[str | None, fields.TEXT]
    recurrence_number: int | None
    recurrence_due: Annotated[str | None, fields.TEXT]
    recurrence_start: Annotated[str | None, fields.TEXT]
    series_id: fields.SeriesId
    last_completed_at: fields.LastCompletedAt
    # The due date of the occurrence completed last, and of the one skipped last, to recognize repeated requests.
    last_occurrence: Annotated[str | None, fields.TEXT]
    last_skipped: Annotated[str | None, fields.TEXT]
    # The open occurrence of a series and the next few, precomputed from the rule: see
    # ``todo.services.recurrence.schedule``. Not in the change log. The database clears it when a column it depends on
    # changes. If null, the rule is evaluated.
    next_occurrences: Annotated[list[list[Any]] | None, fields.DOCUMENT]
    tags: fields.Tags
    # The case-folded tags, in the same order.
    tag_keys: Annotated[list[str], fields.LIST]
    subtasks_total: fields.SubtasksTotal
    subtasks_completed: fields.SubtasksCompleted
    # The digits after a decimal point, compared as text. The database puts a new task at the end.
    position: fields.TaskPosition
    trashed_at: fields.TrashedAt
    # The root of the subtree that was moved to the trash together with this task; the task itself if it is the root.
    trash_id: UUID | None
    creation_digest: fields.CreationDigest


# Task: T-210
class TaskCount(SQLModel, table=True):
    """The number of tasks of a user per category, status and priority, without the trash. The database maintains it.

    The zero UUID stands for no category.
    """

    __tablename__ = "task_counts"

    user_id: fields.OwnerId
    category_id: fields.UuidKey
    status: fields.TextKey
    priority: fields.TextKey
    tasks: Annotated[int, fields.BIGINT]


# Task: T-341
class TaskTag(SQLModel, table=True):
    """A tag of a task outside the trash. The database derives it from the row of the task."""

    __tablename__ = "task_tags"
    __table_args__ = (
        Index(
            "ix_task_tags_user_id_tag_key_created_at",
            "user_id",
            "tag_key",
            text("created_at DESC"),
            text("task_id DESC"),
        ),
    )

    user_id: fields.OwnerId
    tag_key: fields.BytewiseKey
    task_id: fields.UuidKey
    tag: Annotated[str, fields.TEXT]
    created_at: Annotated[datetime, fields.TIMESTAMP]


# Task: T-375
class TagCount(SQLModel, table=True):
    """The number of tasks outside the trash per tag and spelling. The database maintains it.

    A count of zero has no row.
    """

    __tablename__ = "tag_counts"

    user_id: fields.OwnerId
    tag_key: fields.BytewiseKey
    tag: fields.BytewiseKey
    tasks: Annotated[int, fields.BIGINT]


# Task: T-011
class TaskReplace(RequestBody, TaskBase):
    """Body of `PUT /tasks/{id}`. A field that is left out gets its default."""


# Task: T-011
class TaskCreate(RequestBody, TaskBase):
    """Body of `POST /tasks`. With an id chosen by the client, the request is safe to repeat."""

    # The example has no id: a client that sends it twice expects two tasks.
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"title": "Buy milk", "priority": "high", "due_date": "2026-03-10"}]}
    )

    id: fields.ChosenTaskId = None


class Scope(StrEnum):
    """The occurrences that a new due date applies to."""

    series = "series"
    occurrence = "occurrence"


# Task: T-011
class TaskUpdate(RequestBody):
    """Body of `PATCH /tasks/{id}`. A field that is left out keeps its value; `null` clears it.

    For a field that cannot be empty, `null` is refused with 422.
    """

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"status": "in_progress", "due_date": "2026-03-10T08:00:00Z"}]}
    )

    title: fields.Title = UNSET
    description: fields.Description = UNSET
    status: fields.TaskStatus = UNSET
    priority: fields.TaskPriority = UNSET
    due_date: fields.TaskDueDate = UNSET
    due_time_zone: fields.TaskTimeZone = UNSET
    start_date: fields.TaskStartDate = UNSET
    recurrence: fields.TaskRecurrence = UNSET
    category_id: fields.TaskCategory = UNSET
    parent_id: fields.TaskParent = UNSET
    tags: fields.Tags = UNSET
    scope: Scope = Field(
        default=Scope.series,
        description="`series`: a new `due_date` moves the series from here on. `occurrence`: only the open occurrence.",
        examples=["series"],
    )


# Task: T-011
class TaskPublic(Response, TaskBase):
    """A task as the API returns it."""

    leading = (
        "id", "title", "description", "status", "priority", "due_date", "due_time_zone", "start_date", "recurrence",
        "series_id", "last_completed_at", "category_id", "tags", "parent_id",
    )  # fmt: skip

    id: fields.TaskId
    series_id: fields.SeriesId
    last_completed_at: fields.LastCompletedAt
    subtasks_total: fields.SubtasksTotal
    subtasks_completed: fields.SubtasksCompleted
    position: fields.TaskPosition
    trashed_at: fields.TrashedAt
    created_at: fields.CreatedAt
    updated_at: fields.UpdatedAt
    completed_at: fields.CompletedAt
    revision: fields.Revision
