"""The log of changes: its tables, and the shapes in which it is read."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, BigInteger, CheckConstraint, Column, DateTime, Index, LargeBinary, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from todo.models.base import WholeNumber, owner_column
from todo.models.tasks import TaskPublic

MOST_CHANGES = 500


class Operation(StrEnum):
    """What a change did to its thing."""

    create = "create"
    update = "update"
    delete = "delete"


# Task: T-111
class Revision(SQLModel, table=True):
    """One user's counter: the number of the last change, and of the last one that the log has forgotten."""

    __tablename__ = "revisions"

    user_id: str = Field(sa_column=owner_column())
    revision: int = Field(sa_column=Column("revision", BigInteger, nullable=False))
    forgotten: int = Field(sa_column=Column("forgotten", BigInteger, nullable=False, server_default="0"))


# Task: T-111
class Change(SQLModel, table=True):
    """One change. The database writes it, in the transaction of the change; nobody else does."""

    __tablename__ = "changes"
    __table_args__ = (
        CheckConstraint("operation IN ('create', 'update', 'delete')", name="operation"),
        Index("ix_changes_user_id_entity", "user_id", "entity", "entity_id", "revision"),
    )

    user_id: str = Field(sa_column=owner_column())
    revision: int = Field(sa_column=Column("revision", BigInteger, primary_key=True, autoincrement=False))
    entity: str = Field(sa_column=Column("entity", Text, nullable=False))
    entity_id: str = Field(sa_column=Column("entity_id", Text, nullable=False))
    operation: Operation = Field(sa_column=Column("operation", Text, nullable=False))
    changed_at: datetime = Field(sa_column=Column("changed_at", DateTime(timezone=True), nullable=False))
    # The row after the change; null when it is gone.
    state: dict[str, Any] | None = Field(sa_column=Column("state", JSONB))
    # What the changed fields were before; the whole row when it is gone, null when it is new.
    before: dict[str, Any] | None = Field(sa_column=Column("before", JSONB))


# Task: T-131
class IdempotencyKey(SQLModel, table=True):
    """The answer to a request that may come again, kept in the transaction of its effect."""

    __tablename__ = "idempotency_keys"

    user_id: str = Field(sa_column=owner_column())
    key: str = Field(sa_column=Column("key", Text, primary_key=True))
    request_digest: bytes = Field(sa_column=Column("request_digest", LargeBinary, nullable=False))
    answer: list[dict[str, Any]] = Field(sa_column=Column("answer", JSON, nullable=False))
    created_at: datetime = Field(sa_column=Column("created_at", DateTime(timezone=True), nullable=False))


class FieldChange(SQLModel):
    """One field, before and after."""

    before: Any = Field(description="The value before; null also where there was none.")
    after: Any = Field(description="The value after.")


# Task: T-141
class ChangePublic(SQLModel):
    """A change as the feed and the live streams tell it."""

    revision: int = Field(description="Its number: one user's changes count 1, 2, 3, without gaps.")
    type: str = Field(description="What kind of thing it happened to: `task`.")
    id: str = Field(description="The thing's id.")
    operation: Operation
    at: datetime = Field(description="When it happened, in UTC.")
    fields: list[str] = Field(description="The fields that changed. Empty when the thing is new or gone.")
    state: TaskPublic | None = Field(description="The thing after the change; null when it is gone (a tombstone).")


# Task: T-141
class ChangeFeed(SQLModel):
    """Changes in order."""

    changes: list[ChangePublic]
    revision: int = Field(description="Go on from here: send it as `since` next time.")
    has_more: bool = Field(description="Whether there are more right now.")


# Task: T-142
class Snapshot(SQLModel):
    """A page of everything there is, to start from."""

    tasks: list[TaskPublic]
    revision: int = Field(description="Once all pages are read, go on with `GET /changes?since=` this.")
    next_cursor: str | None = Field(description="Send it as `cursor` for the next page; null on the last one.")


# Task: T-143
class HistoryEntry(SQLModel):
    """One thing that happened to a task."""

    revision: int
    operation: Operation
    at: datetime = Field(description="When it happened, in UTC.")
    changed: dict[str, FieldChange] = Field(description="The fields that changed, before and after.")


# Task: T-143
class History(SQLModel):
    """What happened to a task, the latest first."""

    history: list[HistoryEntry]
    next_before: int | None = Field(description="Send it as `before` for what happened earlier; null if that is all.")


# Task: T-144
class Undone(SQLModel):
    """What an undo did: it is a change itself, and can be undone."""

    undone: int = Field(description="The revision that was undone.")
    revision: int = Field(description="The revision of the undo.")
    type: str = Field(description="What kind of thing it happened to: `task`.")
    id: str = Field(description="The thing's id.")
    state: TaskPublic | None = Field(description="The thing as it is now; null if the undo removed it.")


class FeedQuery(SQLModel):
    """Query of ``GET /changes``."""

    since: WholeNumber = Field(default=0, ge=0, le=2**62, description="The revision that you have already.")
    limit: WholeNumber = Field(default=100, ge=1, le=MOST_CHANGES, description="How many changes to return at most.")


class SnapshotQuery(SQLModel):
    """Query of ``GET /changes/snapshot``."""

    cursor: str | None = Field(default=None, max_length=200, description="`next_cursor` of the page before.")
    limit: WholeNumber = Field(default=100, ge=1, le=MOST_CHANGES, description="How many things to return at most.")


class HistoryQuery(SQLModel):
    """Query of ``GET /tasks/{id}/history``."""

    before: WholeNumber = Field(default=2**62, ge=1, le=2**62, description="`next_before` of the page before.")
    limit: WholeNumber = Field(default=50, ge=1, le=100, description="How many entries to return at most.")


class EventsQuery(SQLModel):
    """Query of ``GET /events``."""

    since: WholeNumber | None = Field(
        default=None, ge=0, le=2**62, description="The revision that you have already. Absent: from now on."
    )
