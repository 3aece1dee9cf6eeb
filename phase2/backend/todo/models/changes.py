"""The log of changes: its tables, and the shapes in which it is read."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

from annotated_types import Ge, Le
from pydantic import WithJsonSchema, create_model
from sqlalchemy import JSON, BigInteger, CheckConstraint, Column, DateTime, Index, LargeBinary, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from todo.models.base import WholeNumber, owner_column
from todo.models.entities import ENTITY_MODELS, EntityModels, EntityState, InSnapshot, one_of

MOST_CHANGES = 500


class Operation(StrEnum):
    """What a change did to its thing."""

    create = "create"
    update = "update"
    delete = "delete"


# Task: T-111
class Revision(SQLModel, table=True):
    """One user's counter: the number of the last change."""

    __tablename__ = "revisions"

    user_id: str = Field(sa_column=owner_column())
    revision: int = Field(sa_column=Column("revision", BigInteger, nullable=False))


# Task: T-111
class Change(SQLModel, table=True):
    """One change. The database writes it, in the transaction of the change; nobody else does.

    The table refers to no other: rows go with their user's counter, by a trigger.
    """

    __tablename__ = "changes"
    __table_args__ = (
        CheckConstraint("operation IN ('create', 'update', 'delete')", name="operation"),
        Index("ix_changes_user_id_entity", "user_id", "entity", "entity_id", "revision"),
    )

    user_id: str = Field(sa_column=Column("user_id", Text, primary_key=True))
    revision: int = Field(sa_column=Column("revision", BigInteger, primary_key=True, autoincrement=False))
    entity: str = Field(sa_column=Column("entity", Text, nullable=False))
    entity_id: str = Field(sa_column=Column("entity_id", Text, nullable=False))
    operation: Operation = Field(sa_column=Column("operation", Text, nullable=False))
    changed_at: datetime = Field(sa_column=Column("changed_at", DateTime(timezone=True), nullable=False))
    # The row after the change, without its revision, which is this one; null when it is gone.
    state: dict[str, Any] | None = Field(sa_column=Column("state", JSONB))
    # What the changed fields were before; the whole row when it is gone, null when it is new.
    before: dict[str, Any] | None = Field(sa_column=Column("before", JSONB))


# Task: T-131
class IdempotencyKey(SQLModel, table=True):
    """The answer to a request that may come again, kept in the transaction of its effect."""

    __tablename__ = "idempotency_keys"
    __table_args__ = (
        # What has expired is found without a look at the rest: one user's many keys would keep the others' for ever.
        Index("ix_idempotency_keys_user_id_created_at", "user_id", "created_at"),
    )

    user_id: str = Field(sa_column=owner_column())
    key: str = Field(sa_column=Column("key", Text, primary_key=True))
    request_digest: bytes = Field(sa_column=Column("request_digest", LargeBinary, nullable=False))
    answer: list[dict[str, Any]] = Field(sa_column=Column("answer", JSON, nullable=False))
    created_at: datetime = Field(sa_column=Column("created_at", DateTime(timezone=True), nullable=False))


_REVISION_EXTRA: dict[str, Any] = {"examples": [17]}
_TYPE = f"What kind of thing it happened to: {one_of(ENTITY_MODELS)}."
_TYPE_EXTRA: dict[str, Any] = {"examples": ["task"]}
_ID = "The thing's id; `me` for the profile."
_ID_EXTRA: dict[str, Any] = {"examples": ["0197f0c2-a6b4-7e0b-8d3c-5a1e9f60b7d2"]}
_OPERATION = "What happened to it."
_OPERATION_EXTRA: dict[str, Any] = {"examples": [Operation.update]}
_AT = "When it happened, in UTC."
_AT_EXTRA: dict[str, Any] = {"examples": ["2026-03-01T07:30:00.123456Z"]}


class FieldChange(SQLModel):
    """One field, before and after."""

    before: Any = Field(
        description="The value before; null also where there was none.", schema_extra={"examples": ["Buy milk"]}
    )
    after: Any = Field(description="The value after.", schema_extra={"examples": ["Buy bread"]})


# Task: T-141
class ChangePublic(SQLModel):
    """A change as the feed and the live streams tell it."""

    revision: int = Field(
        description="Its number: one user's changes count 1, 2, 3, without gaps.", schema_extra=_REVISION_EXTRA
    )
    type: str = Field(description=_TYPE, schema_extra=_TYPE_EXTRA)
    id: str = Field(description=_ID, schema_extra=_ID_EXTRA)
    operation: Operation = Field(description=_OPERATION, schema_extra=_OPERATION_EXTRA)
    at: datetime = Field(description=_AT, schema_extra=_AT_EXTRA)
    fields: list[str] = Field(
        description="The fields that changed. Empty when the thing is new or gone.",
        schema_extra={"examples": [["title"]]},
    )
    state: EntityState | None = Field(description="The thing after the change; null when it is gone (a tombstone).")


# Task: T-141
class ChangeFeed(SQLModel):
    """Changes in order."""

    changes: list[ChangePublic]
    revision: int = Field(description="Go on from here: send it as `since` next time.", schema_extra=_REVISION_EXTRA)
    has_more: bool = Field(description="Whether there are more right now.", schema_extra={"examples": [False]})


_PAGED = [entity.snapshot_field for entity in ENTITY_MODELS.values() if entity.in_snapshot is InSnapshot.paged]
_PAGED_AFTER = dict(zip(_PAGED[1:], _PAGED, strict=False))


def _snapshot_field(entity: EntityModels) -> tuple[Any, Any]:
    """Return the type and the description of an entity's member of the snapshot."""
    state: Any = entity.state
    if entity.in_snapshot is InSnapshot.single:
        sentence = "On the first page: null there if you have set nothing. On the others null."
        return state | None, Field(description=sentence)
    if entity.in_snapshot is InSnapshot.complete:
        return list[state], Field(description="All of them, on the first page; on the others none.")
    before = _PAGED_AFTER.get(entity.snapshot_field)
    return list[state], Field(description=f"On the pages after the last of `{before}`." if before else None)


_SNAPSHOT_FIELDS: dict[str, Any] = {
    **{entity.snapshot_field: _snapshot_field(entity) for entity in ENTITY_MODELS.values()},
    "revision": (
        int,
        Field(
            description="Once all pages are read, go on with `GET /changes?since=` this.", schema_extra=_REVISION_EXTRA
        ),
    ),
    "next_cursor": (
        str | None,
        Field(
            description="Send it as `cursor` for the next page; null on the last one.",
            schema_extra={"examples": [None]},
        ),
    ),
}

# Task: T-142
Snapshot = create_model(
    "Snapshot",
    __base__=SQLModel,
    __doc__="A page of everything there is, to start from.",
    __module__=__name__,
    **_SNAPSHOT_FIELDS,
)


# Task: T-143
class HistoryEntry(SQLModel):
    """One thing that happened to a task."""

    revision: int = Field(description="The number of the change.", schema_extra=_REVISION_EXTRA)
    operation: Operation = Field(description=_OPERATION, schema_extra=_OPERATION_EXTRA)
    at: datetime = Field(description=_AT, schema_extra=_AT_EXTRA)
    changed: dict[str, FieldChange] = Field(
        description="The fields that changed, before and after.",
        schema_extra={"examples": [{"title": {"before": "Buy milk", "after": "Buy bread"}}]},
    )


# Task: T-143
class History(SQLModel):
    """What happened to a task, the latest first."""

    history: list[HistoryEntry]
    next_before: int | None = Field(
        description="Send it as `before` for what happened earlier; null if that is all.",
        schema_extra={"examples": [None]},
    )


# Task: T-144
class Undone(SQLModel):
    """What an undo did: it is a change itself, and can be undone."""

    undone: int = Field(description="The revision that was undone.", schema_extra=_REVISION_EXTRA)
    revision: int = Field(description="The revision of the undo.", schema_extra={"examples": [18]})
    type: str = Field(description=_TYPE, schema_extra=_TYPE_EXTRA)
    id: str = Field(description=_ID, schema_extra=_ID_EXTRA)
    state: EntityState | None = Field(description="The thing as it is now; null if the undo removed it.")


class FeedQuery(SQLModel):
    """Query of ``GET /changes``."""

    since: WholeNumber = Field(default=0, ge=0, le=2**62, description="The revision that you have already.")
    limit: WholeNumber = Field(default=100, ge=1, le=MOST_CHANGES, description="How many changes to return at most.")


class SnapshotQuery(SQLModel):
    """Query of ``GET /changes/snapshot``."""

    cursor: str | None = Field(default=None, max_length=200, description="`next_cursor` of the page before.")
    limit: WholeNumber = Field(
        default=100, ge=1, le=MOST_CHANGES, description=f"How many {' or '.join(_PAGED)} to return at most."
    )


class HistoryQuery(SQLModel):
    """Query of ``GET /tasks/{id}/history``."""

    before: WholeNumber = Field(default=2**62, ge=1, le=2**62, description="`next_before` of the page before.")
    limit: WholeNumber = Field(default=50, ge=1, le=100, description="How many entries to return at most.")


class EventsQuery(SQLModel):
    """Query of ``GET /events``."""

    since: Annotated[
        Annotated[WholeNumber, Ge(0), Le(2**62)] | None,
        WithJsonSchema({"type": "integer", "minimum": 0, "maximum": 2**62}),
    ] = Field(default=None, description="The revision that you have already. Absent: from now on.")
