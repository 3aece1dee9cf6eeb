"""The history of a task: its changes, latest first, with the values before and after."""

from typing import Any
from uuid import UUID

from sqlalchemy import Text, Uuid, bindparam, exists, literal, or_, select
from sqlmodel import col

from todo.database import OwnedByCaller, Row, Session, Statement
from todo.errors import NotFound
from todo.kit.rows import instants_in_utc
from todo.models.changes import Change
from todo.services.changes.rows import (
    COLUMNS,
    before_of,
    limit_parameter,
    owned_by_caller,
    revision_parameter,
    state_of,
)
from todo.services.entities import ENTITIES

_TASK = ENTITIES["task"]
# Every change sets these columns.
_STAMPS = frozenset({"revision", "updated_at"})

_is_of_task = (
    col(Change.entity) == _TASK.name,
    col(Change.entity_id) == bindparam("entity_id", type_=Text),
)
_HISTORY = Statement(
    select(*COLUMNS)
    .where(owned_by_caller, *_is_of_task, col(Change.revision) < revision_parameter)
    .order_by(col(Change.revision).desc())
    .limit(limit_parameter)
)
_KNOWN = Statement(
    select(literal(1)).where(
        or_(
            exists().where(OwnedByCaller(_TASK.table), _TASK.table.c.id == bindparam("task_id", type_=Uuid)),
            exists().where(owned_by_caller, *_is_of_task),
        )
    )
)


# Task: T-143
async def history(session: Session, task_id: UUID, *, before: int, limit: int) -> dict[str, Any]:
    """Return the changes of a task before revision ``before``, latest first. The task may be deleted.

    Raises NotFound if the id is neither in the tasks nor in the log.
    """
    rows, found = await session.execute_many(
        (_HISTORY, {"entity_id": str(task_id), "revision": before, "limit": limit + 1}),
        (_KNOWN, {"task_id": task_id, "entity_id": str(task_id)}),
    )
    if not found:
        raise NotFound
    page = rows[:limit]
    return {
        "history": [_to_entry(row) for row in page],
        "next_before": page[-1]["revision"] if len(rows) > limit else None,
    }


def _to_entry(row: Row) -> dict[str, Any]:
    before, after = before_of(row), state_of(row)
    changed = [name for name in _TASK.public_names if name in (before or after) and name not in _STAMPS]
    old, new = instants_in_utc(before, changed), instants_in_utc(after, changed)
    return {
        "revision": row["revision"],
        "operation": row["operation"],
        "at": row["changed_at"],
        "changed": {name: {"before": old[name], "after": new[name]} for name in changed},
    }
