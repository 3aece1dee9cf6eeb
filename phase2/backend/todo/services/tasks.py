"""Tasks: create, read, list, change, complete, delete. One statement, one trip each."""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    DateTime,
    Integer,
    Text,
    and_,
    any_,
    bindparam,
    case,
    delete,
    func,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert

from todo.database import OwnedByCaller, Row, Session, Statement
from todo.errors import Conflict, Fault, Invalid
from todo.kit.ids import uuid7
from todo.models.base import table_of
from todo.models.tasks import Priority, Status, Task, TaskBase, TaskCreate, TaskReplace, TaskUpdate

TaskRow = Row

_tasks = table_of(Task)
_PUBLIC = (
    _tasks.c.id,
    _tasks.c.title,
    _tasks.c.description,
    _tasks.c.status,
    _tasks.c.priority,
    _tasks.c.due_date,
    _tasks.c.created_at,
    _tasks.c.updated_at,
    _tasks.c.completed_at,
)
_mine = OwnedByCaller(_tasks)
_this_one = and_(_mine, _tasks.c.id == bindparam("task_id"))
_now = bindparam("now", type_=DateTime(timezone=True))

_OPEN = (Status.pending, Status.in_progress)
_MOST_ATTEMPTS = 3
_WRITABLE = tuple(TaskBase.model_fields)

_READ = Statement(select(*_PUBLIC).where(_this_one))
# The same, where a miss belongs to a write: a deleted account is told apart from a missing task.
_READ_FOR_CHANGE = Statement(select(*_PUBLIC).where(_this_one), part_of_write=True)
_READ_WITH_DIGEST = Statement(select(*_PUBLIC, _tasks.c.creation_digest).where(_this_one))
_CREATE = Statement(
    insert(_tasks)
    .values(
        user_id=bindparam("user_id"),
        id=bindparam("task_id"),
        **{name: bindparam(name) for name in _WRITABLE},
        created_at=_now,
        updated_at=_now,
        completed_at=bindparam("completed_at"),
        creation_digest=bindparam("creation_digest"),
    )
    .on_conflict_do_nothing(index_elements=[_tasks.c.user_id, _tasks.c.id])
    .returning(*_PUBLIC),
    # The id is chosen before it is sent: the second time it is found taken, by the same digest.
    repeatable=True,
)
_DELETE = Statement(delete(_tasks).where(_this_one).returning(_tasks.c.id))


# Task: T-031
async def create(session: Session, body: TaskCreate, *, now: datetime) -> tuple[TaskRow, bool]:
    """Create a task at ``now`` (aware, UTC). Returns it, and whether it is new.

    The same body under the same id again gives the task as it is today; another body is a Conflict.
    """
    task_id = body.id or uuid7(now)
    digest = _digest_of(body)
    new = {
        **_values_of(body, _WRITABLE),
        "completed_at": now if body.status is Status.completed else None,
        "creation_digest": digest,
    }
    for _ in range(_MOST_ATTEMPTS):
        row = await session.first(_CREATE, task_id=task_id, now=now, **new)
        if row is not None:
            return row, True
        existing = await session.first(_READ_WITH_DIGEST, task_id=task_id)
        if existing is None:
            # Deleted in between: the id is free again.
            continue
        if existing.pop("creation_digest") != digest:
            raise Conflict("You already have another task with this id. Choose a new id.", code="id_taken")
        # An id that was made here can only be taken by this very request, sent again after its answer was lost.
        return existing, body.id is None
    raise _contended()


# Task: T-032
async def read(session: Session, task_id: UUID) -> TaskRow:
    """Return one task. Raises NotFound for an unknown id and for somebody else's alike."""
    return await session.one(_READ, task_id=task_id)


# Task: T-033
async def page(
    session: Session, *, skip: int, limit: int, statuses: Sequence[Status], priorities: Sequence[Priority]
) -> tuple[list[TaskRow], int]:
    """Return the tasks from ``skip`` on, at most ``limit``, newest first, and how many match in all."""
    listing, counting = _page_statements(by_status=bool(statuses), by_priority=bool(priorities))
    filters = {"statuses": list(statuses), "priorities": list(priorities)}
    rows, [count] = await session.together((listing, {"skip": skip, "limit": limit, **filters}), (counting, filters))
    return rows, count["total"]


# Task: T-034
async def replace(session: Session, task_id: UUID, body: TaskReplace, *, now: datetime) -> TaskRow:
    """Set every field to what ``body`` says; absent ones have their defaults."""
    return await _change(session, task_id, _values_of(body, _WRITABLE), now=now)


# Task: T-034
async def change(session: Session, task_id: UUID, body: TaskUpdate, *, now: datetime) -> TaskRow:
    """Set the fields that were sent, and no others."""
    sent = [name for name in _WRITABLE if name in body.model_fields_set]
    return await _change(session, task_id, _values_of(body, sent), now=now)


# Task: T-035
async def complete(session: Session, task_id: UUID, *, now: datetime) -> TaskRow:
    """Mark a task completed at ``now`` (aware, UTC) and return it.

    Completing twice changes nothing: clients retry, and the first time is the true one.
    Raises NotFound for an unknown id and for somebody else's alike, Invalid for a cancelled task.
    """
    return await _change(session, task_id, {"status": Status.completed}, now=now)


# Task: T-035
async def reopen(session: Session, task_id: UUID, *, now: datetime) -> TaskRow:
    """Make a completed or cancelled task pending again. An open task stays as it is."""
    return await session.one(_REOPEN, task_id=task_id, now=now)


# Task: T-036
async def remove(session: Session, task_id: UUID) -> None:
    """Delete a task for good. Raises NotFound when there is none."""
    await session.one(_DELETE, task_id=task_id)


async def _change(session: Session, task_id: UUID, values: Mapping[str, Any], *, now: datetime) -> TaskRow:
    if not values:
        return await session.one(_READ_FOR_CHANGE, task_id=task_id)
    statement = _change_statement(tuple(values))
    for _ in range(_MOST_ATTEMPTS):
        row = await session.first(statement, task_id=task_id, now=now, **values)
        if row is not None:
            return row
        # The update passed over the row, or there is none. Look which; if the row changed in between, try again.
        current = await session.one(_READ_FOR_CHANGE, task_id=task_id)
        if "status" in values and not _may_become(Status(current["status"]), values["status"]):
            sentence = f"A {current['status']} task cannot become {values['status']}. Reopen it first."
            raise Invalid(Fault("/status", sentence), detail=sentence, code="invalid_status_transition")
    raise _contended()


def _may_become(current: Status, new: Status) -> bool:
    return current in _OPEN or new in _OPEN or current is new


def _contended() -> Conflict:
    return Conflict("Others are changing this task at the same moment. Try again.")


@cache
def _change_statement(names: tuple[str, ...]) -> Statement:
    new: dict[str, ColumnElement[Any]] = {name: bindparam(name, type_=Text) for name in names}
    which = _this_one
    if "status" in new:
        status = new["status"]
        which = and_(_this_one, or_(_is_open(_tasks.c.status), _is_open(status), _tasks.c.status == status))
    return _update_statement(which, new)


def _is_open(status: ColumnElement[Any]) -> ColumnElement[bool]:
    return or_(*(status == open_status.value for open_status in _OPEN))


def _update_statement(which: ColumnElement[bool], new: Mapping[str, ColumnElement[Any]]) -> Statement:
    """Set ``new``, and ``completed_at`` with the status; ``updated_at`` moves if something differs, and never back."""
    assignments = dict(new)
    if "status" in new:
        assignments["completed_at"] = case(
            (new["status"] == Status.completed.value, func.coalesce(_tasks.c.completed_at, _now))
        )
    differs = or_(*(_tasks.c[name].is_distinct_from(value) for name, value in new.items()))
    # Clocks differ between machines, and a change that waited for another's brings an earlier time.
    assignments["updated_at"] = case((differs, func.greatest(_tasks.c.updated_at, _now)), else_=_tasks.c.updated_at)
    return Statement(update(_tasks).where(which).values(assignments).returning(*_PUBLIC))


_REOPEN = _update_statement(
    _this_one, {"status": case((_is_open(_tasks.c.status), _tasks.c.status), else_=Status.pending.value)}
)


@cache
def _page_statements(*, by_status: bool, by_priority: bool) -> tuple[Statement, Statement]:
    which: list[ColumnElement[bool]] = [_mine]
    if by_status:
        which.append(_tasks.c.status == any_(bindparam("statuses", type_=ARRAY(Text))))
    if by_priority:
        which.append(_tasks.c.priority == any_(bindparam("priorities", type_=ARRAY(Text))))
    listing = (
        select(*_PUBLIC)
        .where(*which)
        .order_by(_tasks.c.created_at.desc(), _tasks.c.id.desc())
        .limit(bindparam("limit", type_=Integer))
        .offset(bindparam("skip", type_=Integer))
    )
    counting = select(func.count().label("total")).select_from(_tasks).where(*which)
    return Statement(listing), Statement(counting)


def _values_of(body: TaskBase | TaskUpdate, names: Sequence[str]) -> dict[str, Any]:
    return {name: getattr(body, name) for name in names}


def _digest_of(body: TaskCreate) -> bytes:
    # Without the defaults, so that a field that a later version adds leaves the digests of older tasks as they are.
    canonical = body.model_dump_json(exclude={"id"}, exclude_defaults=True)
    return hashlib.blake2b(canonical.encode(), digest_size=16).digest()
