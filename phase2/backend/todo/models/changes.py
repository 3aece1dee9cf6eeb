"""The change log: its tables and its API schemas."""

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

MAX_CHANGES = 500


class Operation(StrEnum):
    """The kind of a change."""

    create = "create"
    update = "update"
    delete = "delete"


# Task: T-111
class Revision(SQLModel, table=True):
    """The revision counter of a user: the revision of the last change."""

    __tablename__ = "revisions"

    user_id: str = Field(sa_column=owner_column())
    revision: int = Field(sa_column=Column("revision", BigInteger, nullable=False))


# Task: T-111
class Change(SQLModel, table=True):
    """One change. Only the database writes it, in the transaction of the change.

    The table has no foreign key. A trigger deletes the rows together with the revision counter of their user.
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
    # The row after the change, without its revision, which is the one above. Null if the row was deleted.
    state: dict[str, Any] | None = Field(sa_column=Column("state", JSONB))
    # The previous values of the changed fields. The whole row if it was deleted, null if it was created.
    before: dict[str, Any] | None = Field(sa_column=Column("before", JSONB))


# Task: T-131
class IdempotencyRecord(SQLModel, table=True):
    """The stored response to a request with an idempotency key, written in the transaction of its effect."""

    __tablename__ = "idempotency_keys"
    __table_args__ = (
        # Finds the expired keys of a user. Without it, many keys of one user could block the deletion of others' keys.
        Index("ix_idempotency_keys_user_id_created_at", "user_id", "created_at"),
    )

    user_id: str = Field(sa_column=owner_column())
    key: str = Field(sa_column=Column("key", Text, primary_key=True))
    request_digest: bytes = Field(sa_column=Column("request_digest", LargeBinary, nullable=False))
    answer: list[dict[str, Any]] = Field(sa_column=Column("answer", JSON, nullable=False))
    created_at: datetime = Field(sa_column=Column("created_at", DateTime(timezone=True), nullable=False))


_REVISION_EXTRA: dict[str, Any] = {"examples": [17]}
_TYPE = f"The type of the object: {one_of(ENTITY_MODELS)}."
_TYPE_EXTRA: dict[str, Any] = {"examples": ["task"]}
_ID = "The id of the object; `me` for the profile."
_ID_EXTRA: dict[str, Any] = {"examples": ["0197f0c2-a6b4-7e0b-8d3c-5a1e9f60b7d2"]}
_OPERATION = "The kind of change."
_OPERATION_EXTRA: dict[str, Any] = {"examples": [Operation.update]}
_AT = "The time of the change, in UTC."
_AT_EXTRA: dict[str, Any] = {"examples": ["2026-03-01T07:30:00.123456Z"]}


class FieldChange(SQLModel):
    """The values of one field before and after a change."""

    before: Any = Field(
        description="The value before the change. Null also if there was none.", schema_extra={"examples": ["Buy milk"]}
    )
    after: Any = Field(description="The value after the change.", schema_extra={"examples": ["Buy bread"]})


# Task: T-141
class ChangePublic(SQLModel):
    """A change, as in the change feed and in live events."""

    revision: int = Field(
        description="The number of the change. The changes of a user are numbered 1, 2, 3, without gaps.",
        schema_extra=_REVISION_EXTRA,
    )
    type: str = Field(description=_TYPE, schema_extra=_TYPE_EXTRA)
    id: str = Field(description=_ID, schema_extra=_ID_EXTRA)
    operation: Operation = Field(description=_OPERATION, schema_extra=_OPERATION_EXTRA)
    at: datetime = Field(description=_AT, schema_extra=_AT_EXTRA)
    fields: list[str] = Field(
        description="The fields that changed. Empty if the object was created or deleted.",
        schema_extra={"examples": [["title"]]},
    )
    state: EntityState | None = Field(
        description="The object after the change. Null if it was deleted for good (a tombstone)."
    )


# Task: T-141
class ChangeFeed(SQLModel):
    """Changes, in order."""

    changes: list[ChangePublic]
    revision: int = Field(description="Send it as `since` in the next request.", schema_extra=_REVISION_EXTRA)
    has_more: bool = Field(description="Whether there are more changes now.", schema_extra={"examples": [False]})


_PAGED = [entity.snapshot_field for entity in ENTITY_MODELS.values() if entity.in_snapshot is InSnapshot.paged]
_PAGED_AFTER = dict(zip(_PAGED[1:], _PAGED, strict=False))


def _snapshot_field(entity: EntityModels) -> tuple[Any, Any]:
    """Return the type and the description of an entity's member of the snapshot."""
    state: Any = entity.state
    if entity.in_snapshot is InSnapshot.single:
        sentence = "On the first page only; null there if you have not changed a setting. Null on the other pages."
        return state | None, Field(description=sentence)
    if entity.in_snapshot is InSnapshot.complete:
        return list[state], Field(description="All of them, on the first page. Empty on the other pages.")
    before = _PAGED_AFTER.get(entity.snapshot_field)
    return list[state], Field(description=f"On the pages after the last of the `{before}`." if before else None)


_SNAPSHOT_FIELDS: dict[str, Any] = {
    **{entity.snapshot_field: _snapshot_field(entity) for entity in ENTITY_MODELS.values()},
    "revision": (
        int,
        Field(
            description="After the last page, continue with `GET /changes?since=` this revision.",
            schema_extra=_REVISION_EXTRA,
        ),
    ),
    "next_cursor": (
        str | None,
        Field(
            description="Send it as `cursor` to get the next page. Null on the last page.",
            schema_extra={"examples": [None]},
        ),
    ),
}

# Task: T-142
Snapshot = create_model(
    "Snapshot",
    __base__=SQLModel,
    __doc__="A page of all your objects, to start a copy from.",
    __module__=__name__,
    **_SNAPSHOT_FIELDS,
)


# Task: T-143
class HistoryEntry(SQLModel):
    """One change of a task."""

    revision: int = Field(description="The number of the change.", schema_extra=_REVISION_EXTRA)
    operation: Operation = Field(description=_OPERATION, schema_extra=_OPERATION_EXTRA)
    at: datetime = Field(description=_AT, schema_extra=_AT_EXTRA)
    changed: dict[str, FieldChange] = Field(
        description="The fields that changed, with their values before and after.",
        schema_extra={"examples": [{"title": {"before": "Buy milk", "after": "Buy bread"}}]},
    )


# Task: T-143
class History(SQLModel):
    """The changes of a task, the latest first."""

    history: list[HistoryEntry]
    next_before: int | None = Field(
        description="Send it as `before` to get earlier changes. Null if there are none.",
        schema_extra={"examples": [None]},
    )


# Task: T-144
class UndoResult(SQLModel):
    """The result of an undo. The undo is itself a change and can be undone."""

    undone: int = Field(description="The revision that was undone.", schema_extra=_REVISION_EXTRA)
    revision: int = Field(description="The revision of the undo.", schema_extra={"examples": [18]})
    type: str = Field(description=_TYPE, schema_extra=_TYPE_EXTRA)
    id: str = Field(description=_ID, schema_extra=_ID_EXTRA)
    state: EntityState | None = Field(description="The object as it is now. Null if the undo removed it.")


class FeedQuery(SQLModel):
    """Query of ``GET /changes``."""

    since: WholeNumber = Field(default=0, ge=0, le=2**62, description="The last revision that you have.")
    limit: WholeNumber = Field(
        default=100, ge=1, le=MAX_CHANGES, description="The maximum number of changes to return."
    )


class SnapshotQuery(SQLModel):
    """Query of ``GET /changes/snapshot``."""

    cursor: str | None = Field(default=None, max_length=200, description="`next_cursor` of the previous page.")
    limit: WholeNumber = Field(
        default=100, ge=1, le=MAX_CHANGES, description=f"The maximum number of {' or '.join(_PAGED)} to return."
    )


class HistoryQuery(SQLModel):
    """Query of ``GET /tasks/{id}/history``."""

    before: WholeNumber = Field(default=2**62, ge=1, le=2**62, description="`next_before` of the previous page.")
    limit: WholeNumber = Field(default=50, ge=1, le=100, description="The maximum number of entries to return.")


class EventsQuery(SQLModel):
    """Query of ``GET /events``."""

    since: Annotated[
        Annotated[WholeNumber, Ge(0), Le(2**62)] | None,
        WithJsonSchema({"type": "integer", "minimum": 0, "maximum": 2**62}),
    ] = Field(default=None, description="The last revision that you have. Without it, the stream starts now.")
