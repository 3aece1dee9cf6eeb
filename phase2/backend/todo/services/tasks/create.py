"""Create a task, alone or in a batch. The same request again returns the existing task."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import bindparam, select
from sqlalchemy.dialects.postgresql import insert

from todo.database import DatabaseError, Row, Session, Statement
from todo.kit.etags import Condition
from todo.kit.ids import uuid7
from todo.models.base import digest_of
from todo.models.tasks import TaskCreate
from todo.models.values import Status
from todo.services.idempotent_create import create_once, id_taken
from todo.services.recurrence import series
from todo.services.tasks.errors import to_user_error
from todo.services.tasks.statements import PUBLIC, WRITABLE, TaskRow, by_id, column_parameters, now, tasks, to_columns
from todo.services.tasks.unit_of_work import Command, TaskUnitOfWork, as_read

CREATE = Statement(
    insert(tasks)
    .values(
        user_id=bindparam("user_id"),
        id=bindparam("task_id"),
        **column_parameters((*WRITABLE, "tag_keys", *series.COLUMNS)),
        created_at=now,
        updated_at=now,
        **column_parameters(("completed_at", "creation_digest")),
    )
    .on_conflict_do_nothing(index_elements=[tasks.c.user_id, tasks.c.id])
    .returning(*PUBLIC),
    # The id is chosen before sending, so a repetition finds the id taken, with the same digest.
    repeatable=True,
)
_READ_WITH_DIGEST = Statement(select(*PUBLIC, tasks.c.creation_digest).where(by_id))


# Task: T-031
async def create(
    session: Session, body: TaskCreate, *, now: datetime, if_none_match: Condition | None = None
) -> tuple[TaskRow, bool]:
    """Create a task at ``now`` (aware, UTC). Return it, and whether it is new.

    If the id exists, an equal body returns the current task, and another body is a Conflict. If the id exists and
    ``if_none_match`` is ``*`` or names the current revision, raises PreconditionFailed. Raises Invalid for an unknown
    category, parent or zone, and for a due date that the rule does not produce.
    """
    task_id = body.id or uuid7(now)
    digest = digest_of(body)
    new = _columns(body, await series.initial_columns_for(session, body, task_id), digest, now)

    async def try_to_create() -> TaskRow | None:
        try:
            return await session.fetch_first(CREATE, task_id=task_id, now=now, **new)
        except DatabaseError as error:
            raise to_user_error(error) or error from None

    return await create_once(
        "task",
        body.id,
        digest,
        create=try_to_create,
        look=lambda: session.fetch_first(_READ_WITH_DIGEST, task_id=task_id),
        if_none_match=if_none_match,
    )


def _columns(body: TaskCreate, series_columns: dict[str, Any], digest: bytes, now: datetime) -> dict[str, Any]:
    """Return the columns of a new task."""
    return {
        **to_columns(body, WRITABLE),
        **series_columns,
        "completed_at": now if body.status is Status.completed else None,
        "creation_digest": digest,
    }


@dataclass(slots=True)
class CreateTask(Command):
    """Create a task in a batch, unless it exists already and was created from an equal body."""

    body: TaskCreate

    def apply(self, unit: TaskUnitOfWork, task_id: UUID) -> None:
        # As a plain TaskCreate, so that the digest equals that of a single request: a client may retry without the
        # batch.
        body = TaskCreate.model_construct(self.body.model_fields_set, **dict(self.body))
        digest = digest_of(body)
        new = _columns(body, series.initial_columns(body, unit.user_time, task_id), digest, unit.now)
        existing = unit.rows.get(str(task_id))
        if existing is not None:
            if existing["digest"] != digest.hex():
                raise id_taken("task")
            return
        unit.refuse_references(task_id, body)
        row: Row = {
            **dict.fromkeys(tasks.c.keys()),
            **as_read(new),
            "id": str(task_id),
            "tags": body.tags,
            "recurrence": None if body.recurrence is None else body.recurrence.stored(),
            "digest": digest.hex(),
        }
        unit.add(CREATE, row, **new)
        unit.add_row(row)
