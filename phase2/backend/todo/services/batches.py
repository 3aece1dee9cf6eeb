"""Batches: many operations on tasks, thought through in order and written at once. Two trips, however many."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import ARRAY, Text, Uuid, any_, bindparam, cast, func, literal_column, select
from sqlalchemy.dialects.postgresql import JSONB

from todo.database import DatabaseFault, OwnedByCaller, Row, Session, Statement
from todo.errors import Conflict, Fault, Invalid, PreconditionFailed, TodoError
from todo.kit.ids import uuid7
from todo.kit.rows import instants_in_utc
from todo.models.base import digest_of, table_of
from todo.models.batches import (
    Batch,
    CompleteOperation,
    CreateOperation,
    DeleteOperation,
    MoveOperation,
    Operation,
    ReopenOperation,
    UpdateOperation,
)
from todo.models.categories import Category
from todo.models.tasks import Status, TaskCreate
from todo.services import plans, series
from todo.services.faults import CIRCLE, MOST_LEVELS, NO_SUCH_NEIGHBOUR, TOO_DEEP, UNDER_TRASH, UNKNOWN, seen_by_users
from todo.services.revisions import TURN
from todo.services.task_rows import (
    CREATE,
    FAMILIES,
    PUBLIC,
    PUBLIC_NAMES,
    WRITABLE,
    deleting,
    id_taken,
    mine,
    moving,
    stored,
    tasks,
    trashing,
)

_categories = table_of(Category)
_CATEGORIES = Statement(
    select(_categories.c.id).where(
        OwnedByCaller(_categories), _categories.c.id == any_(bindparam("category_ids", type_=ARRAY(Uuid)))
    )
)
_found = select(*PUBLIC).where(mine, tasks.c.id == any_(bindparam("ids", type_=ARRAY(Uuid)))).subquery("found")
_OUTCOME = Statement(
    select(
        cast(bindparam("outcomes", type_=Text), JSONB).label("outcomes"),
        select(func.jsonb_agg(func.to_jsonb(literal_column("found"))))
        .select_from(_found)
        .scalar_subquery()
        .label("tasks"),
    ),
    part_of_write=True,
)


@dataclass(frozen=True, slots=True)
class _Named:
    """An operation with every reference replaced, and the id of its task."""

    operation: Operation
    task_id: UUID
    # Set where a task is created.
    new: TaskCreate | None = None


# Task: T-353
async def run(session: Session, batch: Batch, *, now: datetime) -> list[dict[str, Any]]:
    """Do what a batch says, in order and in one transaction; return what became of each operation.

    An atomic batch raises what the first operation that fails would raise by itself, with a pointer to it, and does
    nothing. Of another, what fails is told, and the rest is done.
    """
    named = _named(batch.operations, now)
    try:
        async with session.transaction(*_looking(named)) as (kept, [_, rows, profiles, categories]):
            if kept is not None:
                return _results(kept)
            plan = plans.Plan({row["id"]: row for row in rows}, series.Clock.of(profiles), now)
            known = frozenset(row["id"] for row in categories)
            outcomes = [
                _outcome(plan, known, each, index=index if batch.atomic else None) for index, each in enumerate(named)
            ]
            values = {"outcomes": orjson.dumps(outcomes).decode(), "ids": sorted({each.task_id for each in named})}
            return _results(await session.finish(*plan.requests, (_OUTCOME, values)))
    except DatabaseFault as fault:
        raise seen_by_users(fault) or fault from None


def _looking(named: Sequence[_Named]) -> tuple[tuple[Statement, Mapping[str, Any]], ...]:
    """Return the requests for everything that the operations can ask about."""
    beside: set[UUID] = set()
    categories: set[UUID] = set()
    for each in named:
        part = _fields_of(each)
        beside |= {value for name in ("parent_id", "after_id", "before_id") if (value := getattr(part, name, None))}
        categories |= {value for value in (getattr(part, "category_id", None),) if value}
    ids = sorted({each.task_id for each in named})
    return (
        (TURN, {}),
        (FAMILIES, {"ids": ids, "others": sorted(beside)}),
        (series.PROFILE, {}),
        (_CATEGORIES, {"category_ids": sorted(categories)}),
    )


def _named(operations: Sequence[Operation], now: datetime) -> list[_Named]:
    """Choose the ids of what is created, and put them where the operations refer to it."""
    ids: dict[str, UUID] = {}
    named = []
    for operation in operations:
        if isinstance(operation, CreateOperation):
            new = TaskCreate.model_construct(
                operation.task.model_fields_set, **{**dict(operation.task), **_resolved(operation.task, ids)}
            )
            task_id = new.id or uuid7(now)
            if operation.ref is not None:
                ids[f"${operation.ref}"] = task_id
            named.append(_Named(operation, task_id, new))
            continue
        known = operation.model_copy(update=_resolved(operation, ids))
        if isinstance(known, UpdateOperation):
            known = known.model_copy(update={"changes": known.changes.model_copy(update=_resolved(known.changes, ids))})
        named.append(_Named(known, known.id))
    return named


def _resolved(part: Any, ids: Mapping[str, UUID]) -> dict[str, Any]:
    names = ("id", "parent_id", "after_id", "before_id")
    return {name: ids[value] for name in names if isinstance(value := getattr(part, name, None), str)}


def _fields_of(each: _Named) -> Any:
    """Return the part of an operation that says what the task is to be."""
    if each.new is not None:
        return each.new
    return each.operation.changes if isinstance(each.operation, UpdateOperation) else each.operation


def _outcome(plan: plans.Plan, categories: frozenset[str], each: _Named, *, index: int | None) -> dict[str, Any]:
    """Plan one operation and say what becomes of it. With an ``index``, what fails is raised and points there."""
    told: dict[str, Any] = {"op": each.operation.op, "id": str(each.task_id), "status": 200, "error": None}
    try:
        _refuse_references(plan, categories, each)
        if each.new is not None:
            return {**told, "status": 201 if _create(plan, each.new, each.task_id) else 200}
        _refuse_if_stale(plan, each)
        _STEPS[type(each.operation)](plan, each)
    except TodoError as error:
        if index is not None:
            raise _pointed(error, each, f"/operations/{index}") from None
        return {**told, "status": error.status, "error": _told(_pointed(error, each, ""))}
    return {**told, "status": 204 if isinstance(each.operation, DeleteOperation) else 200}


def _refuse_if_stale(plan: plans.Plan, each: _Named) -> None:
    row = plan.task(each.task_id)
    expected = each.operation.revision
    if expected is not None and row["revision"] != expected:
        raise PreconditionFailed(current={name: row.get(name) for name in PUBLIC_NAMES}, revision=row["revision"] or 0)


def _refuse_references(plan: plans.Plan, categories: frozenset[str], each: _Named) -> None:
    """Refuse what the database would, before anything is sent."""
    part = _fields_of(each)
    category_id = getattr(part, "category_id", None)
    if category_id is not None and str(category_id) not in categories:
        raise Invalid(UNKNOWN["category_id"])
    parent_id = getattr(part, "parent_id", None)
    if parent_id is not None:
        _refuse_parent(plan, str(each.task_id), str(parent_id))


def _refuse_parent(plan: plans.Plan, task_id: str, parent_id: str) -> None:
    parent = plan.rows.get(parent_id)
    if parent is None:
        raise Invalid(UNKNOWN["parent_id"])
    if parent["trashed_at"] is not None:
        raise Conflict(UNDER_TRASH, code="under_trash")
    above = [parent_id]
    while (row := plan.rows.get(plan.rows[above[-1]]["parent_id"] or "")) is not None and len(above) <= MOST_LEVELS:
        above.append(row["id"])
    if task_id in above:
        raise Conflict(CIRCLE, code="circle")
    if len(above) + plan.height(task_id) > MOST_LEVELS:
        raise Invalid(TOO_DEEP)


def _create(plan: plans.Plan, new: TaskCreate, task_id: UUID) -> bool:
    """Plan a new task. Returns False if it is there already, from the same body."""
    digest = digest_of(new)
    existing = plan.rows.get(str(task_id))
    if existing is not None:
        if existing["digest"] != digest.hex():
            raise id_taken()
        return False
    opened = series.opened(new, plan.clock, task_id)
    row: Row = dict.fromkeys((c.name for c in tasks.c))
    done_at = plan.now if new.status is Status.completed else None
    plan.add(
        CREATE,
        {"id": str(task_id)},
        **{**stored(new, WRITABLE), **opened, "completed_at": done_at, "creation_digest": digest},
    )
    plan.rows[str(task_id)] = row | {
        **{name: getattr(new, name) for name in WRITABLE},
        **opened,
        "id": str(task_id),
        "parent_id": None if new.parent_id is None else str(new.parent_id),
        "recurrence": None if new.recurrence is None else new.recurrence.stored(),
        "completed_at": done_at,
        "digest": digest.hex(),
    }
    return True


def _update(plan: plans.Plan, each: _Named) -> None:
    changes = each.operation.changes
    sent = tuple(name for name in WRITABLE if name in changes.model_fields_set)
    plans.Edit(changes, sent, changes.scope).plan(plan, each.task_id)


def _complete(plan: plans.Plan, each: _Named) -> None:
    at = each.operation.instant
    if at is not None and at > plan.now:
        raise Invalid(Fault("/completed_at", "This is in the future. Send the time at which it was done."))
    plans.Completion(at=at, occurrence=each.operation.occurrence).plan(plan, each.task_id)


def _reopen(plan: plans.Plan, each: _Named) -> None:
    plans.Reopening().plan(plan, each.task_id)


def _move(plan: plans.Plan, each: _Named) -> None:
    move = each.operation
    row = plan.alive(each.task_id)
    neighbour = None if move.neighbour_id is None else str(move.neighbour_id)
    if neighbour is not None and (neighbour not in plan.rows or neighbour == row["id"]):
        raise Invalid(Fault(f"/{'after_id' if move.is_behind else 'before_id'}", NO_SUCH_NEIGHBOUR))
    statement, values = moving(move)
    plan.add(statement, row, **values)
    belongs = {name: values[name] for name in ("category_id", "parent_id") if name in values}
    row |= {name: None if value is None else str(value) for name, value in belongs.items()}


def _delete(plan: plans.Plan, each: _Named) -> None:
    row = plan.task(each.task_id)
    if each.operation.permanent:
        plan.add(deleting(conditional=False), row)
        for gone in [*plan.below(row, also_trashed=True), row]:
            del plan.rows[gone["id"]]
    elif row["trashed_at"] is None:
        plan.add(trashing(conditional=False), row)
        for gone in [*plan.below(row), row]:
            gone |= {"trashed_at": plan.now, "trash_id": row["id"]}


_STEPS = {
    UpdateOperation: _update,
    CompleteOperation: _complete,
    MoveOperation: _move,
    DeleteOperation: _delete,
    ReopenOperation: _reopen,
}
_PARTS = {CreateOperation: "/task", UpdateOperation: "/changes"}


def _pointed(error: TodoError, each: _Named, place: str) -> TodoError:
    """Return the error with its pointers leading into the batch, and with a pointer if it had none."""
    part = f"{place}{_PARTS.get(type(each.operation), '')}"
    if isinstance(error, Invalid):
        faults = [Fault(f"{part}{fault.pointer}", fault.detail) for fault in error.faults]
        return Invalid(*faults, detail=error.detail, code=error.code)
    error.pointer = place or None
    return error


def _told(error: TodoError) -> dict[str, Any]:
    return {
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
        "code": error.code,
        **error.members,
    }


def _results(answer: Sequence[Row]) -> list[dict[str, Any]]:
    [row] = answer
    found = {each["id"]: instants_in_utc(each, PUBLIC_NAMES) for each in row["tasks"] or ()}
    return [{**outcome, "task": None if outcome["error"] else found.get(outcome["id"])} for outcome in row["outcomes"]]
