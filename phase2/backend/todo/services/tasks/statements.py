"""Columns, conditions and parts of statements that several commands on tasks share."""

from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from typing import Any

import orjson
from sqlalchemy import (
    ARRAY,
    BigInteger,
    Column,
    ColumnElement,
    DateTime,
    Select,
    Uuid,
    and_,
    any_,
    bindparam,
    case,
    func,
    literal_column,
    or_,
    select,
    true,
    union,
    update,
)
from sqlalchemy.sql.selectable import LateralFromClause

from todo.database import MAX_CACHED_STATEMENTS, OwnedByCaller, Row, Statement
from todo.kit.text import fold_case
from todo.models.base import table_of
from todo.models.recurrence import Recurrence
from todo.models.tasks import Task, TaskBase, TaskPublic, TaskUpdate
from todo.models.values import Status

TaskRow = Row

tasks = table_of(Task)
PUBLIC_NAMES = tuple(TaskPublic.model_fields)
PUBLIC = tuple(tasks.c[name] for name in PUBLIC_NAMES)
WRITABLE = tuple(TaskBase.model_fields)
OPEN = (Status.pending, Status.in_progress)

owned_by_caller = OwnedByCaller(tasks)
this_id = bindparam("task_id", type_=Uuid)
is_this = tasks.c.id == this_id
by_id = and_(owned_by_caller, is_this)
not_trashed = tasks.c.trashed_at.is_(None)
now = bindparam("now", type_=DateTime(timezone=True))
is_simple = and_(tasks.c.recurrence.is_(None), tasks.c.subtasks_total == 0)
revision_matches = tasks.c.revision == any_(bindparam("revisions", type_=ARRAY(BigInteger)))


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


def revision_matches_if(*, conditional: bool) -> list[ColumnElement[bool]]:
    """Match the expected revisions if the request is conditional; otherwise return no condition."""
    return [revision_matches] if conditional else []


def editable(*, conditional: bool) -> list[ColumnElement[bool]]:
    """Match the task unless it is in the trash or, if the request is conditional, has another revision."""
    return [by_id, not_trashed, *revision_matches_if(conditional=conditional)]


def is_open(status: ColumnElement[Any]) -> ColumnElement[bool]:
    """Match an open status."""
    return or_(*(status == open_status.value for open_status in OPEN))


def update_statement(
    which: Sequence[ColumnElement[bool]], new: Mapping[str, Any], *, returning: Sequence[Column[Any]] = PUBLIC
) -> Statement:
    """Return the statement that sets ``new``, and ``completed_at`` with the status.

    If no value differs, the log trigger leaves the row unchanged.
    """
    # Never decrease it: machine clocks differ, and a write that waited for another one has an earlier time.
    assignments = {**new, "updated_at": func.greatest(tasks.c.updated_at, now)}
    if "status" in new and "completed_at" not in new:
        assignments["completed_at"] = case(
            (new["status"] == Status.completed.value, func.coalesce(tasks.c.completed_at, now))
        )
    return Statement(update(tasks).where(*which).values(assignments).returning(*returning))


def column_parameters(names: Collection[str]) -> dict[str, ColumnElement[Any]]:
    """Return a bind parameter for each named column."""
    return {name: bindparam(name, type_=tasks.c[name].type) for name in names}


@lru_cache(maxsize=MAX_CACHED_STATEMENTS)
def set_columns_statement(names: tuple[str, ...]) -> Statement:
    """Return the statement that sets the named columns of one task. The caller must have checked the task before."""
    return update_statement([by_id], column_parameters(names))


def id_in(*ids: Select[Any]) -> ColumnElement[bool]:
    """Match the tasks with these ids: PostgreSQL computes the array first, then it looks up the rows by primary key."""
    return tasks.c.id == any_(func.array(union(*ids).scalar_subquery(), type_=ARRAY(Uuid)))


def descendant_ids(start: ColumnElement[bool]) -> Select[Any]:
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
