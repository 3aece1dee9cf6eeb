"""Statements on task rows, shared by all operations that read or write tasks."""

from collections.abc import Collection, Mapping, Sequence
from functools import cache
from typing import Any

import orjson
from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    ColumnElement,
    DateTime,
    Select,
    Text,
    Uuid,
    and_,
    any_,
    bindparam,
    case,
    delete,
    func,
    literal_column,
    null,
    or_,
    select,
    true,
    union,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.sql.selectable import LateralFromClause

from todo.database import OwnedByCaller, Row, Statement
from todo.kit.text import fold_case
from todo.models.base import table_of
from todo.models.recurrence import Recurrence
from todo.models.task_actions import TaskMove
from todo.models.tasks import Status, Task, TaskBase, TaskPublic, TaskUpdate

TaskRow = Row

tasks = table_of(Task)
PUBLIC_NAMES = tuple(TaskPublic.model_fields)
PUBLIC = tuple(tasks.c[name] for name in PUBLIC_NAMES)
WRITABLE = tuple(TaskBase.model_fields)
SERIES = (
    "recurrence_anchor",
    "recurrence_number",
    "recurrence_due",
    "recurrence_start",
    "series_id",
    "next_occurrences",
)
OPEN = (Status.pending, Status.in_progress)

owned_by_caller = OwnedByCaller(tasks)
by_id = and_(owned_by_caller, tasks.c.id == bindparam("task_id"))
not_trashed = tasks.c.trashed_at.is_(None)
now = bindparam("now", type_=DateTime(timezone=True))
is_simple = and_(tasks.c.recurrence.is_(None), tasks.c.subtasks_total == 0)
revision_matches = tasks.c.revision == any_(bindparam("revisions", type_=ARRAY(BigInteger)))

READ = Statement(select(*PUBLIC).where(by_id))
READ_WITH_DIGEST = Statement(select(*PUBLIC, tasks.c.creation_digest).where(by_id))

_creation = insert(tasks).values(
    user_id=bindparam("user_id"),
    id=bindparam("task_id"),
    **{name: bindparam(name, type_=tasks.c[name].type) for name in (*WRITABLE, "tag_keys", *SERIES)},
    created_at=now,
    updated_at=now,
    completed_at=bindparam("completed_at", type_=DateTime(timezone=True)),
    creation_digest=bindparam("creation_digest"),
)
CREATE = Statement(
    _creation.on_conflict_do_nothing(index_elements=[tasks.c.user_id, tasks.c.id]).returning(*PUBLIC),
    # The id is chosen before sending, so a repetition finds the id taken, with the same digest.
    repeatable=True,
)


def to_columns(body: TaskBase | TaskUpdate, names: Collection[str]) -> dict[str, Any]:
    """Return the named fields of a body as columns, with the values that statements take."""
    values: dict[str, Any] = {name: getattr(body, name) for name in names}
    if "tags" in values:
        values["tag_keys"] = _json([fold_case(tag) for tag in values["tags"]])
        values["tags"] = _json(values["tags"])
    if "recurrence" in values:
        values["recurrence"] = recurrence_column(values["recurrence"])
    return values


def recurrence_column(recurrence: Recurrence | None) -> str | None:
    """Return the column value of a recurrence."""
    return None if recurrence is None else _json(recurrence.stored())


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()


def is_open(status: ColumnElement[Any]) -> ColumnElement[bool]:
    """Match an open status."""
    return or_(*(status == open_status.value for open_status in OPEN))


def update_statement(which: Sequence[ColumnElement[bool]], new: Mapping[str, Any]) -> Statement:
    """Return the statement that sets ``new``, and ``completed_at`` with the status.

    If no value differs, the log trigger leaves the row unchanged.
    """
    # Never decrease it: machine clocks differ, and a write that waited for another one has an earlier time.
    assignments = {**new, "updated_at": func.greatest(tasks.c.updated_at, now)}
    if "status" in new and "completed_at" not in new:
        assignments["completed_at"] = case(
            (new["status"] == Status.completed.value, func.coalesce(tasks.c.completed_at, now))
        )
    return Statement(update(tasks).where(*which).values(assignments).returning(*PUBLIC))


def column_parameters(names: Collection[str]) -> dict[str, ColumnElement[Any]]:
    """Return a bind parameter for each named column."""
    return {name: bindparam(name, type_=tasks.c[name].type) for name in names}


@cache
def set_columns_statement(names: tuple[str, ...]) -> Statement:
    """Return the statement that sets the named columns of one task without a condition. The caller has checked it."""
    return update_statement([by_id], column_parameters(names))


def _id_in(*ids: Select[Any]) -> ColumnElement[bool]:
    # PostgreSQL computes the array first. Then it looks up the rows by primary key, whatever their number.
    return tasks.c.id == any_(func.array(union(*ids).scalar_subquery(), type_=ARRAY(Uuid)))


def _descendant_ids(start: ColumnElement[bool]) -> Select[Any]:
    """Return the ids of the tasks that match ``start``, and of all their descendants, including the trash."""
    below = select(tasks.c.id).where(owned_by_caller, start).cte("below", recursive=True)
    child = children_of(below.c.id)
    return select(below.union(select(child.c.id).select_from(below.join(child, true()))).c.id)


# The children inside the lateral subquery. Outside, the subquery is called ``child``.
CHILD = tasks.alias("one")


def children_of(parent_id: ColumnElement[Any], *which: ColumnElement[bool]) -> LateralFromClause:
    """Return a lateral subquery ``child``: the children of each parent that match ``which``, conditions on ``CHILD``.

    OFFSET 0 keeps PostgreSQL from merging the subquery into the join, where it would compare each child with every
    parent.
    """
    found = select(CHILD.c.id, CHILD.c.trash_id).where(OwnedByCaller(CHILD), CHILD.c.parent_id == parent_id, *which)
    return found.offset(literal_column("0")).lateral("child")


_ids, _others = (bindparam(name, type_=ARRAY(Uuid)) for name in ("ids", "others"))
_some = tasks.c.id == any_(_ids)
# One array, so that PostgreSQL looks up its ids. For an OR of two arrays, it would scan all tasks of the user.
_named = tasks.c.id == any_(func.array_cat(_ids, _others, type_=ARRAY(Uuid)))


def _ancestor_ids() -> Select[Any]:
    above = select(tasks.c.id, tasks.c.parent_id).where(owned_by_caller, _named).cte("above", recursive=True)
    parent = tasks.alias("parent")
    found = select(parent.c.id, parent.c.parent_id).where(OwnedByCaller(parent), parent.c.id == above.c.parent_id)
    return select(above.union(found).c.id)


MAX_SUBTREE_ROWS = 20_000
"""At most this many tasks are loaded into the process at once: about 50 MB."""

_everything = tuple(
    c for c in tasks.c if c.name not in ("user_id", "creation_digest", "next_occurrences", "description")
)
# Descriptions are long, and not needed for ancestors and descendants.
_description = case((_named, tasks.c.description)).label("description")
LOAD_SUBTREES = Statement(
    select(*_everything, _description, func.encode(tasks.c.creation_digest, "hex").label("digest"))
    .where(owned_by_caller, _id_in(_ancestor_ids(), _descendant_ids(_some)))
    .limit(literal_column(str(MAX_SUBTREE_ROWS + 1)))
)
"""Load the tasks with these ``ids`` and their subtrees, the tasks ``others``, and the ancestors of all these.

``description`` is null unless the task is one of ``ids`` or ``others``.
"""

_this = tasks.c.id == bindparam("task_id", type_=Uuid)


@cache
def trash_statement(*, conditional: bool) -> Statement:
    """Return the statement that moves a task to the trash, and its subtree except for tasks that are already there.

    Take the user write lock before.
    """
    start = and_(_this, not_trashed, *([revision_matches] if conditional else []))
    return Statement(
        update(tasks)
        .where(owned_by_caller, not_trashed, _id_in(_descendant_ids(start)))
        .values(
            trashed_at=now,
            trash_id=bindparam("task_id", type_=Uuid),
            updated_at=func.greatest(tasks.c.updated_at, now),
        )
        .returning(tasks.c.id)
    )


def _trashed_together() -> Select[Any]:
    """Return the ids of a task in the trash, and of the tasks that were trashed with it."""
    fallen = select(tasks.c.id, tasks.c.trash_id).where(owned_by_caller, _this).cte("fallen", recursive=True)
    child = children_of(fallen.c.id, CHILD.c.trash_id == fallen.c.trash_id)
    found = select(child.c.id, child.c.trash_id).select_from(fallen.join(child, true()))
    return select(fallen.union(found).c.id)


RESTORE = Statement(
    update(tasks)
    .where(owned_by_caller, _id_in(_trashed_together()))
    .values(trashed_at=null(), trash_id=null(), updated_at=func.greatest(tasks.c.updated_at, now))
    .returning(tasks.c.id)
)
"""Restore a task from the trash, with the tasks that were trashed with it. Take the user write lock before."""

_under_this = _id_in(_descendant_ids(_this))
COMPLETE_BELOW = Statement(
    update(tasks)
    .where(
        owned_by_caller,
        not_trashed,
        _under_this,
        tasks.c.id != bindparam("task_id", type_=Uuid),
        is_open(tasks.c.status),
    )
    .values(
        status=Status.completed.value,
        completed_at=bindparam("completed_at", type_=DateTime(timezone=True)),
        last_completed_at=case(
            (tasks.c.recurrence.is_not(None), bindparam("completed_at", type_=DateTime(timezone=True))),
            else_=tasks.c.last_completed_at,
        ),
        updated_at=func.greatest(tasks.c.updated_at, now),
    )
    .returning(tasks.c.id)
)
"""Complete the open descendants of a task. Recurring ones do not advance to a next occurrence."""

REOPEN_BELOW = Statement(
    update(tasks)
    .where(
        owned_by_caller,
        not_trashed,
        _under_this,
        tasks.c.id != bindparam("task_id", type_=Uuid),
        tasks.c.recurrence.is_(None),
        tasks.c.status == Status.completed.value,
    )
    .values(status=Status.pending.value, completed_at=null(), updated_at=func.greatest(tasks.c.updated_at, now))
    .returning(tasks.c.id)
)
"""Make the completed descendants of a task pending again, except for recurring ones."""


def move_statement(body: TaskMove, *, conditional: bool = False) -> tuple[Statement, dict[str, Any]]:
    """Return the statement that moves one task to the place in ``body``, and its values."""
    names = tuple(name for name in ("category_id", "parent_id") if name in body.model_fields_set)
    columns: dict[str, Any] = {name: getattr(body, name) for name in names}
    place = {"neighbour": body.neighbour_id, "is_behind": body.is_behind} if body.has_place else {}
    statement = _build_move_statement(names, has_place=body.has_place, conditional=conditional)
    return statement, {**columns, **place}


@cache
def _build_move_statement(names: tuple[str, ...], *, has_place: bool, conditional: bool) -> Statement:
    new: dict[str, ColumnElement[Any]] = column_parameters(names)
    if has_place:
        new["position"] = func.app.position_in_tasks(
            bindparam("user_id", type_=Text),
            tasks.c.id,
            bindparam("neighbour", type_=Uuid),
            bindparam("is_behind", type_=Boolean),
        )
    return update_statement([by_id, not_trashed, *([revision_matches] if conditional else [])], new)


@cache
def delete_statement(*, conditional: bool) -> Statement:
    """Return the statement that permanently deletes one task. The foreign key deletes its subtree."""
    return Statement(delete(tasks).where(by_id, *([revision_matches] if conditional else [])).returning(tasks.c.id))
