"""The change log: its tables and its API schemas."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

from annotated_types import Ge, Le
from pydantic import WithJsonSchema, create_model
from sqlalchemy import JSON, BigInteger, CheckConstraint, Index, LargeBinary
from sqlmodel import Field, SQLModel

from todo.models.entities import ENTITY_MODELS, EntityModels, EntityState, InSnapshot, one_of
from todo.models.fields import BIGINT, DOCUMENT, INSTANT, TASK_ID, TEXT, TIMESTAMP, OwnerId, TextKey, described
from todo.models.values import WholeNumber

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

    user_id: OwnerId
    revision: Annotated[int, BIGINT]


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

    user_id: TextKey
    revision: int = Field(primary_key=True, sa_type=BigInteger, sa_column_kwargs={"autoincrement": False})
    entity: Annotated[str, TEXT]
    entity_id: Annotated[str, TEXT]
    operation: Annotated[Operation, TEXT]
    changed_at: Annotated[datetime, TIMESTAMP]
    # The row after the change, without its revision, which is the one above. Null if the row was deleted.
    state: Annotated[dict[str, Any] | None, DOCUMENT]
    # The previous values of the changed fields. The whole row if it was deleted, null if it was created.
    before: Annotated[dict[str, Any] | None, DOCUMENT]


# Task: T-131
class IdempotencyRecord(SQLModel, table=True):
    """The stored response to a request with an idempotency key, written in the transaction of its effect."""

    __tablename__ = "idempotency_keys"
    __table_args__ = (
        # Finds the expired keys of a user. Without it, many keys of one user could block the deletion of others' keys.
        Index("ix_idempotency_keys_user_id_created_at", "user_id", "created_at"),
    )

    user_id: OwnerId
    key: TextKey
    request_digest: bytes = Field(sa_type=LargeBinary)
    answer: list[dict[str, Any]] = Field(sa_type=JSON)
    created_at: Annotated[datetime, TIMESTAMP]


_EntityType = Annotated[str, described(f"The type of the object: {one_of(ENTITY_MODELS)}.", "task")]
_EntityId = Annotated[str, described("The id of the object; `me` for the profile.", TASK_ID)]
_OfChange = Annotated[Operation, described("The kind of change.", Operation.update)]
_ChangedAt = Annotated[datetime, described("The time of the change, in UTC.", INSTANT)]


class FieldChange(SQLModel):
    """The values of one field before and after a change."""

    before: Any = described("The value before the change. Null also if there was none.", "Buy milk")
    after: Any = described("The value after the change.", "Buy bread")


# Task: T-141
class ChangePublic(SQLModel):
    """A change, as in the change feed and in live events."""

    revision: int = described("The number of the change. The changes of a user are numbered 1, 2, 3, without gaps.", 17)
    type: _EntityType
    id: _EntityId
    operation: _OfChange
    at: _ChangedAt
    fields: list[str] = described("The fields that changed. Empty if the object was created or deleted.", ["title"])
    state: EntityState | None = described("The object after the change. Null if it is permanently deleted (tombstone).")


# Task: T-141
class ChangeFeed(SQLModel):
    """Changes, in order."""

    changes: list[ChangePublic]
    revision: int = described("Send it as `since` in the next request.", 17)
    has_more: bool = described("Whether there are more changes now.", False)


_PAGED = [entity.snapshot_field for entity in ENTITY_MODELS.values() if entity.in_snapshot is InSnapshot.paged]
_PAGED_AFTER = dict(zip(_PAGED[1:], _PAGED, strict=False))


def _snapshot_field(entity: EntityModels) -> tuple[Any, Any]:
    """Return the type and the description of an entity's member of the snapshot."""
    state: Any = entity.state
    if entity.in_snapshot is InSnapshot.single:
        sentence = "On the first page only; null there if you have not changed a setting. Null on the other pages."
        return state | None, described(sentence)
    if entity.in_snapshot is InSnapshot.complete:
        return list[state], described("All of them, on the first page. Empty on the other pages.")
    before = _PAGED_AFTER.get(entity.snapshot_field)
    return list[state], Field(description=f"On the pages after the last of the `{before}`." if before else None)


_SNAPSHOT_FIELDS: dict[str, Any] = {
    **{entity.snapshot_field: _snapshot_field(entity) for entity in ENTITY_MODELS.values()},
    "revision": (
        int,
        described("After the last page, continue with `GET /changes?since=` this revision.", 17),
    ),
    "next_cursor": (
        str | None,
        described("Send it as `cursor` to get the next page. Null on the last page.", None),
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

    revision: int = described("The number of the change.", 17)
    operation: _OfChange
    at: _ChangedAt
    changed: dict[str, FieldChange] = described(
        "The fields that changed, with their values before and after.",
        {"title": {"before": "Buy milk", "after": "Buy bread"}},
    )


# Task: T-143
class History(SQLModel):
    """The changes of a task, the latest first."""

    history: list[HistoryEntry]
    next_before: int | None = described("Send it as `before` to get earlier changes. Null if there are none.", None)


# Task: T-144
class UndoResult(SQLModel):
    """The result of an undo. The undo is itself a change and can be undone."""

    undone: int = described("The revision that was undone.", 17)
    revision: int = described("The revision of the undo.", 18)
    type: _EntityType
    id: _EntityId
    state: EntityState | None = described("The object as it is now. Null if the undo removed it.")


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
