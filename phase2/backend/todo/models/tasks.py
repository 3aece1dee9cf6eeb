"""Tasks: the tables and the API schemas."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints
from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Computed,
    DateTime,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from todo.kit.dates import canonical_due
from todo.models.base import NO_NUL, Id, RequestBody, optional_field, owner_column
from todo.models.profiles import ZoneName
from todo.models.recurrence import Recurrence
from todo.models.tags import Tags


class Status(StrEnum):
    """The status of a task."""

    pending = "pending"
    in_progress = "in_progress"
    completed = "completed"
    cancelled = "cancelled"


class Priority(StrEnum):
    """The priority of a task."""

    low = "low"
    medium = "medium"
    high = "high"


# Cut at 200 characters, because the size of an index row is limited. Quoted as PostgreSQL prints it, so that Alembic
# finds no difference.
TITLE_KEY = '"left"(btrim(app.normalize_for_search(title)), 200)'

Title = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200), NO_NUL]
Description = Annotated[str, StringConstraints(max_length=10_000), NO_NUL]
DueDate = Annotated[str, AfterValidator(canonical_due)]

_ID_EXTRA: dict[str, Any] = {"examples": ["0197f0c2-a6b4-7e0b-8d3c-5a1e9f60b7d2"]}
_TITLE = "The title: 1 to 200 characters after trimming."
_TITLE_EXTRA: dict[str, Any] = {"examples": ["Buy milk"]}
_DESCRIPTION = "Markdown, up to 10,000 characters."
_DESCRIPTION_EXTRA: dict[str, Any] = {"examples": ["Two litres, *organic*."]}
_STATUS = "The status. A completed task must be reopened before it can be cancelled, and the other way round."
_PRIORITY = "The priority."
_DUE_DATE = (
    "A date (`2026-03-10`): all day, in no particular time zone. A wall-clock time (`2026-03-10T09:00:00`): nine "
    "o'clock in your time zone, or in `due_time_zone`. Or an instant with an offset (`2026-03-10T09:00:00+01:00`), "
    "which is returned in UTC. Seconds may be left out."
)
_DUE_DATE_EXTRA: dict[str, Any] = {"examples": ["2026-03-10", "2026-03-10T09:00:00", "2026-03-10T08:00:00Z"]}
_START_DATE = "When the task can be started, in one of the formats of `due_date`."
_ZONE = (
    "The IANA time zone of a wall-clock time: nine o'clock there. A recurring task keeps its wall-clock time in this "
    "zone. If null, your own time zone applies."
)
_ZONE_EXTRA: dict[str, Any] = {"examples": ["America/New_York"]}
_RECURRENCE = "The recurrence; null if the task does not repeat. It needs a `due_date` that the rule produces."
_RECURRENCE_EXTRA: dict[str, Any] = {
    "examples": [{"rule": "FREQ=MONTHLY", "from": "due", "month_end": "clamp", "missed": "skip"}]
}
_CATEGORY = "The category of the task."
_PARENT = "The parent task. A tree has at most five levels."
_TAGS = "Up to 20 tags of 1 to 50 characters. `Work` and `work` are the same tag; it is stored as typed."
_TAGS_EXTRA: dict[str, Any] = {"examples": [["errand", "Corner shop"]]}
_INSTANT_EXTRA: dict[str, Any] = {"examples": ["2026-03-01T07:30:00.123456Z"]}


# Task: T-011
class TaskBase(BaseModel):
    """The fields that a client may set. The table and the schemas inherit them."""

    title: Title = Field(description=_TITLE, schema_extra=_TITLE_EXTRA, sa_type=Text)
    description: Description | None = Field(
        default=None, description=_DESCRIPTION, schema_extra=_DESCRIPTION_EXTRA, sa_type=Text
    )
    status: Status = Field(default=Status.pending, description=_STATUS, sa_type=Text)
    priority: Priority = Field(default=Priority.medium, description=_PRIORITY, sa_type=Text)
    due_date: DueDate | None = Field(default=None, description=_DUE_DATE, schema_extra=_DUE_DATE_EXTRA, sa_type=Text)
    due_time_zone: ZoneName | None = Field(default=None, description=_ZONE, schema_extra=_ZONE_EXTRA, sa_type=Text)
    start_date: DueDate | None = Field(
        default=None, description=_START_DATE, schema_extra=_DUE_DATE_EXTRA, sa_type=Text
    )
    recurrence: Recurrence | None = Field(
        default=None, description=_RECURRENCE, schema_extra=_RECURRENCE_EXTRA, sa_type=JSONB
    )
    category_id: Id | None = Field(default=None, description=_CATEGORY, schema_extra=_ID_EXTRA, sa_type=Uuid)
    parent_id: Id | None = Field(default=None, description=_PARENT, schema_extra=_ID_EXTRA, sa_type=Uuid)
    tags: Tags = Field(default_factory=list, description=_TAGS, schema_extra=_TAGS_EXTRA, sa_type=JSONB)


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
    """One row. Create it with ``Task.model_validate``: the constructor of a table class validates nothing."""

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

    user_id: str = Field(sa_column=owner_column())
    id: UUID = Field(sa_column=Column("id", Uuid, primary_key=True))
    created_at: datetime = Field(sa_column=Column("created_at", DateTime(timezone=True), nullable=False))
    updated_at: datetime = Field(sa_column=Column("updated_at", DateTime(timezone=True), nullable=False))
    completed_at: datetime | None = Field(default=None, sa_column=Column("completed_at", DateTime(timezone=True)))
    revision: int = Field(sa_column=Column("revision", BigInteger, nullable=False))
    # The sort key of titles: their words, normalized. Compared byte by byte, so the order is the same on every machine.
    title_key: str = Field(
        sa_column=Column("title_key", Text(collation="C"), Computed(TITLE_KEY, persisted=True), nullable=False)
    )
    # Due and start date as instants, resolved by the database. A date is the last microsecond of that day.
    due_at: datetime | None = Field(default=None, sa_column=Column("due_at", DateTime(timezone=True)))
    start_at: datetime | None = Field(default=None, sa_column=Column("start_at", DateTime(timezone=True)))
    # The due date that the rule counts from, and the open occurrence: its number, from 1, and its due and start date
    # according to the rule. The dates of the task differ from these if this occurrence alone was moved.
    recurrence_anchor: str | None = Field(default=None, sa_column=Column("recurrence_anchor", Text))
    recurrence_number: int | None = Field(default=None, sa_column=Column("recurrence_number", Integer))
    recurrence_due: str | None = Field(default=None, sa_column=Column("recurrence_due", Text))
    recurrence_start: str | None = Field(default=None, sa_column=Column("recurrence_start", Text))
    series_id: UUID | None = Field(default=None, sa_column=Column("series_id", Uuid))
    last_completed_at: datetime | None = Field(
        default=None, sa_column=Column("last_completed_at", DateTime(timezone=True))
    )
    # The due date of the occurrence completed last, and of the one skipped last, to recognize repeated requests.
    last_occurrence: str | None = Field(default=None, sa_column=Column("last_occurrence", Text))
    last_skipped: str | None = Field(default=None, sa_column=Column("last_skipped", Text))
    # The open occurrence of a series and the next few, precomputed from the rule: see
    # ``todo.services.recurrence.schedule``. Not in the change log. The database clears it when a column it depends on
    # changes. If null, the rule is evaluated.
    next_occurrences: list[list[Any]] | None = Field(default=None, sa_column=Column("next_occurrences", JSONB))
    tags: Tags = Field(default_factory=list, sa_column=Column("tags", JSONB, nullable=False, server_default="[]"))
    # The case-folded tags, in the same order.
    tag_keys: list[str] = Field(sa_column=Column("tag_keys", JSONB, nullable=False, server_default="[]"))
    subtasks_total: int = Field(sa_column=Column("subtasks_total", Integer, nullable=False, server_default="0"))
    subtasks_completed: int = Field(sa_column=Column("subtasks_completed", Integer, nullable=False, server_default="0"))
    # The digits after a decimal point, compared as text. The database puts a new task at the end.
    position: str = Field(sa_column=Column("position", Text(collation="C"), nullable=False))
    trashed_at: datetime | None = Field(default=None, sa_column=Column("trashed_at", DateTime(timezone=True)))
    # The root of the subtree that was moved to the trash together with this task; the task itself if it is the root.
    trash_id: UUID | None = Field(default=None, sa_column=Column("trash_id", Uuid))
    # A digest of the body that created the task, to recognize a repeated request.
    creation_digest: bytes = Field(sa_column=Column("creation_digest", LargeBinary, nullable=False))


# Task: T-210
class TaskCount(SQLModel, table=True):
    """The number of tasks of a user per category, status and priority, without the trash. The database maintains it.

    The zero UUID stands for no category.
    """

    __tablename__ = "task_counts"

    user_id: str = Field(sa_column=owner_column())
    category_id: UUID = Field(sa_column=Column("category_id", Uuid, primary_key=True))
    status: str = Field(sa_column=Column("status", Text, primary_key=True))
    priority: str = Field(sa_column=Column("priority", Text, primary_key=True))
    tasks: int = Field(sa_column=Column("tasks", BigInteger, nullable=False))


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

    user_id: str = Field(sa_column=owner_column())
    tag_key: str = Field(sa_column=Column("tag_key", Text(collation="C"), primary_key=True))
    task_id: UUID = Field(sa_column=Column("task_id", Uuid, primary_key=True))
    tag: str = Field(sa_column=Column("tag", Text, nullable=False))
    created_at: datetime = Field(sa_column=Column("created_at", DateTime(timezone=True), nullable=False))


# Task: T-375
class TagCount(SQLModel, table=True):
    """The number of tasks outside the trash per tag and spelling. The database maintains it.

    A count of zero has no row.
    """

    __tablename__ = "tag_counts"

    user_id: str = Field(sa_column=owner_column())
    tag_key: str = Field(sa_column=Column("tag_key", Text(collation="C"), primary_key=True))
    tag: str = Field(sa_column=Column("tag", Text(collation="C"), primary_key=True))
    tasks: int = Field(sa_column=Column("tasks", BigInteger, nullable=False))


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

    id: Id | None = Field(
        default=None,
        description="An id of your choice, preferably a UUID version 7. The same request sent again returns 200.",
        schema_extra=_ID_EXTRA,
    )


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

    title: Title = optional_field(description=_TITLE, schema_extra=_TITLE_EXTRA)
    description: Description | None = optional_field(description=_DESCRIPTION, schema_extra=_DESCRIPTION_EXTRA)
    status: Status = optional_field(description=_STATUS)
    priority: Priority = optional_field(description=_PRIORITY)
    due_date: DueDate | None = optional_field(description=_DUE_DATE, schema_extra=_DUE_DATE_EXTRA)
    due_time_zone: ZoneName | None = optional_field(description=_ZONE, schema_extra=_ZONE_EXTRA)
    start_date: DueDate | None = optional_field(description=_START_DATE, schema_extra=_DUE_DATE_EXTRA)
    recurrence: Recurrence | None = optional_field(description=_RECURRENCE, schema_extra=_RECURRENCE_EXTRA)
    category_id: Id | None = optional_field(description=_CATEGORY, schema_extra=_ID_EXTRA)
    parent_id: Id | None = optional_field(description=_PARENT, schema_extra=_ID_EXTRA)
    tags: Tags = optional_field(description=_TAGS, schema_extra=_TAGS_EXTRA)
    scope: Scope = Field(
        default=Scope.series,
        description="`series`: a new `due_date` moves the series from here on. `occurrence`: only the open occurrence.",
        schema_extra={"examples": ["series"]},
    )


# Task: T-011
class TaskPublic(SQLModel):
    """A task as the API returns it."""

    id: UUID = Field(description="A UUID, version 7 unless the client chose another one.", schema_extra=_ID_EXTRA)
    title: str = Field(description=_TITLE, schema_extra=_TITLE_EXTRA)
    description: str | None = Field(description=_DESCRIPTION, schema_extra=_DESCRIPTION_EXTRA)
    status: Status = Field(description=_STATUS, schema_extra={"examples": [Status.pending]})
    priority: Priority = Field(description=_PRIORITY, schema_extra={"examples": [Priority.high]})
    due_date: str | None = Field(description=_DUE_DATE, schema_extra=_DUE_DATE_EXTRA)
    due_time_zone: str | None = Field(description=_ZONE, schema_extra=_ZONE_EXTRA)
    start_date: str | None = Field(description=_START_DATE, schema_extra=_DUE_DATE_EXTRA)
    recurrence: Recurrence | None = Field(description=_RECURRENCE, schema_extra=_RECURRENCE_EXTRA)
    series_id: UUID | None = Field(
        description="The id that all occurrences of a recurring task share: the id of its open task.",
        schema_extra=_ID_EXTRA,
    )
    last_completed_at: datetime | None = Field(
        description="When an occurrence was last completed, in UTC.", schema_extra=_INSTANT_EXTRA
    )
    category_id: UUID | None = Field(description=_CATEGORY, schema_extra=_ID_EXTRA)
    tags: list[str] = Field(description=_TAGS, schema_extra=_TAGS_EXTRA)
    parent_id: UUID | None = Field(description=_PARENT, schema_extra=_ID_EXTRA)
    subtasks_total: int = Field(
        description="The number of direct subtasks, without the trash.", schema_extra={"examples": [3]}
    )
    subtasks_completed: int = Field(
        description="The number of completed direct subtasks, without the trash.", schema_extra={"examples": [1]}
    )
    position: str = Field(
        description="The place in your order. Compare it as text. Move the task to change it.",
        schema_extra={"examples": ["500000000000017"]},
    )
    trashed_at: datetime | None = Field(
        description="When it was moved to the trash, in UTC; null if it is not in the trash.",
        schema_extra={"examples": [None]},
    )
    created_at: datetime = Field(description="When it was created, in UTC.", schema_extra=_INSTANT_EXTRA)
    updated_at: datetime = Field(description="When it last changed, in UTC.", schema_extra=_INSTANT_EXTRA)
    completed_at: datetime | None = Field(
        description="When it was completed, in UTC; null if it is not completed.", schema_extra={"examples": [None]}
    )
    revision: int = Field(
        description="The revision of its last change, and its `ETag`. The changes of a user are numbered 1, 2, 3.",
        schema_extra={"examples": [17]},
    )
