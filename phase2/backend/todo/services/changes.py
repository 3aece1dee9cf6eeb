"""The log of changes: read as a feed, a snapshot and a history, and turned back by undo. The database writes it."""

import base64
import binascii
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    DateTime,
    FromClause,
    Integer,
    Table,
    Text,
    Uuid,
    and_,
    bindparam,
    column,
    delete,
    exists,
    func,
    insert,
    literal,
    literal_column,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB

from todo.database import OwnedByCaller, Row, Session, Statement
from todo.errors import Conflict, Fault, Gone, Invalid, NotFound
from todo.kit.rows import instants_in_utc
from todo.models.base import table_of
from todo.models.changes import Change, Operation
from todo.models.tasks import Task
from todo.services.revisions import HEAD, HEAD_HELD, head_of
from todo.services.tasks import PUBLIC_NAMES as TASK_NAMES

_changes = table_of(Change)
_tasks = table_of(Task)


@dataclass(frozen=True, slots=True)
class _Entity:
    """A kind of thing that the log knows."""

    table: Table
    public: tuple[str, ...]


_ENTITIES = {"task": _Entity(_tasks, TASK_NAMES)}
_EVERYTHING = frozenset({"*"})

_COLUMNS = (
    _changes.c.revision,
    _changes.c.entity,
    _changes.c.entity_id,
    _changes.c.operation,
    _changes.c.changed_at,
    _changes.c.state,
    _changes.c.before,
)
_mine = OwnedByCaller(_changes)
_revision = bindparam("revision", type_=BigInteger)
_limit = bindparam("limit", type_=Integer)
_now = bindparam("now", type_=DateTime(timezone=True))

_SINCE = Statement(
    select(*_COLUMNS).where(_mine, _changes.c.revision > _revision).order_by(_changes.c.revision).limit(_limit)
)
_HISTORY = Statement(
    select(*_COLUMNS)
    .where(
        _mine,
        _changes.c.entity == "task",
        _changes.c.entity_id == bindparam("entity_id", type_=Text),
        _changes.c.revision < _revision,
    )
    .order_by(_changes.c.revision.desc())
    .limit(_limit)
)



_KNOWN = Statement(
    select(literal(1)).where(
        or_(
            exists().where(OwnedByCaller(_tasks), _tasks.c.id == bindparam("task_id", type_=Uuid)),
            exists().where(
                _mine,
                _changes.c.entity == "task",
                _changes.c.entity_id == bindparam("entity_id", type_=Text),
            ),
        )
    )
)
_PAGE_BY_ID = Statement(
    select(*(_tasks.c[name] for name in TASK_NAMES))
    .where(OwnedByCaller(_tasks), _tasks.c.id > bindparam("after", type_=Uuid))
    .order_by(_tasks.c.id)
    .limit(_limit)
)
_ONE = Statement(select(*_COLUMNS).where(_mine, _changes.c.revision == _revision))
_undone = _changes.alias("undone")
_LATER = Statement(
    select(_changes.c.revision, _changes.c.operation, _changes.c.before)
    .join(
        _undone,
        and_(
            _undone.c.user_id == _changes.c.user_id,
            _undone.c.entity == _changes.c.entity,
            _undone.c.entity_id == _changes.c.entity_id,
        ),
    )
    .where(_mine, _undone.c.revision == _revision, _changes.c.revision > _revision)
    .order_by(_changes.c.revision)
)


@dataclass(frozen=True, slots=True)
class Feed:
    """Changes in order; whether there are more; the latest revision when they were read."""

    changes: list[Row]
    has_more: bool
    latest: int


# Task: T-141
async def since(session: Session, revision: int, *, limit: int) -> Feed:
    """Return the changes after ``revision``, at most ``limit``.

    Raises Gone if the log no longer reaches back to ``revision``, or has not come that far.
    """
    heads, rows = await session.together((HEAD, {}), (_SINCE, {"revision": revision, "limit": limit + 1}))
    head = head_of(heads)
    if not head["forgotten"] <= revision <= head["revision"]:
        raise Gone(
            "The log does not hold what you ask for. Start again from GET /api/v1/changes/snapshot.",
            code="resync_required",
        )
    return Feed([public(row) for row in rows[:limit]], len(rows) > limit, head["revision"])


async def latest(session: Session) -> int:
    """Return the number of the user's last change; 0 for somebody who never wrote."""
    revision: int = head_of(await session.all(HEAD))["revision"]
    return revision


def public(row: Row) -> dict[str, Any]:
    """Return a row of the log as the API tells it."""
    state = orjson.loads(row["state"]) if row["state"] else None
    before = orjson.loads(row["before"]) if row["before"] else {}
    names = _ENTITIES[row["entity"]].public
    is_update = row["operation"] == Operation.update
    return {
        "revision": row["revision"],
        "type": row["entity"],
        "id": row["entity_id"],
        "operation": row["operation"],
        "at": row["changed_at"],
        "fields": [name for name in names if name in before] if is_update else [],
        "state": instants_in_utc(state, names) if state else None,
    }


# Task: T-142
async def snapshot(session: Session, cursor: str | None, *, limit: int) -> dict[str, Any]:
    """Return a page of everything there is, by id, and the revision at which the first page was read.

    Whatever is written meanwhile has a later revision, and is in the feed from there on: made after its place was
    passed, changed after it was read, or gone. Raises Invalid for a cursor that is none of ours.
    """
    started, after = _parsed(cursor) if cursor else (None, UUID(int=0))
    heads, rows = await session.together((HEAD, {}), (_PAGE_BY_ID, {"after": after, "limit": limit + 1}))
    revision = head_of(heads)["revision"] if started is None else started
    page = rows[:limit]
    more = len(rows) > limit
    return {
        "tasks": page,
        "revision": revision,
        "next_cursor": _cursor(revision, page[-1]["id"]) if more else None,
    }


def _cursor(revision: int, last_id: str) -> str:
    return base64.urlsafe_b64encode(f"{revision}.{last_id}".encode()).decode().rstrip("=")


def _parsed(cursor: str) -> tuple[int, UUID]:
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode("ascii")
        revision, _, last_id = text.partition(".")
        if not revision.isdecimal():
            raise ValueError
        return int(revision), UUID(last_id)
    except (ValueError, binascii.Error):
        raise Invalid(Fault("/query/cursor", "This is not a cursor that an answer gave. Start without one.")) from None


# Task: T-143
async def history(session: Session, task_id: UUID, *, before: int, limit: int) -> dict[str, Any]:
    """Return what happened to a task before revision ``before``, the latest first. It may be gone by now.

    Raises NotFound if neither the task nor the log knows it.
    """
    rows, found = await session.together(
        (_HISTORY, {"entity_id": str(task_id), "revision": before, "limit": limit + 1}),
        (_KNOWN, {"task_id": task_id, "entity_id": str(task_id)}),
    )
    if not found:
        raise NotFound
    page = rows[:limit]
    return {
        "history": [_entry(row) for row in page],
        "next_before": page[-1]["revision"] if len(rows) > limit else None,
    }


def _entry(row: Row) -> dict[str, Any]:
    state = orjson.loads(row["state"]) if row["state"] else {}
    before = orjson.loads(row["before"]) if row["before"] else {}
    names = _ENTITIES[row["entity"]].public
    old, new = instants_in_utc(before, names), instants_in_utc(state, names)
    changed = [name for name in names if name in before] if before else list(names)
    return {
        "revision": row["revision"],
        "operation": row["operation"],
        "at": row["changed_at"],
        "changed": {name: {"before": old[name], "after": new[name]} for name in changed},
    }


# Task: T-144
async def undo(session: Session, revision: int, *, now: datetime) -> dict[str, Any]:
    """Put back what one change did: what it made is removed, what it changed or removed is as it was before.

    That is a change of its own. Raises NotFound for a revision that the log does not hold, and Conflict, which lists
    them, if later changes touched the same fields.
    """
    async with session.transaction() as kept:
        if kept is not None:
            return kept[0]
        # The counter first: nothing can be written between looking and undoing.
        _, found, later = await session.together(
            (HEAD_HELD, {}), (_ONE, {"revision": revision}), (_LATER, {"revision": revision})
        )
        if not found:
            raise NotFound
        [change] = found
        _refuse_if_touched(change, later)
        state = await _apply(session, change, now=now)
        [head] = await session.all(HEAD)
        undone = {
            "undone": revision,
            "revision": head["revision"],
            "type": change["entity"],
            "id": change["entity_id"],
            "state": state,
        }
        await session.keep([undone])
    return undone


def _touched(change: Row) -> frozenset[str]:
    if change["operation"] == Operation.update:
        return frozenset(orjson.loads(change["before"]))
    return _EVERYTHING


def _refuse_if_touched(change: Row, later: Iterable[Row]) -> None:
    mine = _touched(change)
    conflicts = [
        {"revision": row["revision"], "operation": row["operation"], "fields": sorted(_overlap(mine, _touched(row)))}
        for row in later
        if _overlap(mine, _touched(row))
    ]
    if conflicts:
        raise Conflict(
            "Later changes touched the same fields; see conflicts. Undo those first.",
            code="changed_since",
            conflicts=conflicts,
        )


def _overlap(one: frozenset[str], other: frozenset[str]) -> frozenset[str]:
    if one == _EVERYTHING:
        return other
    return one if other == _EVERYTHING else one & other


async def _apply(session: Session, change: Row, *, now: datetime) -> Row | None:
    entity = _ENTITIES[change["entity"]]
    which = {"entity_id": UUID(change["entity_id"])}
    if change["operation"] == Operation.create:
        await session.one(_removal(entity), **which)
        return None
    values = {"before": change["before"], "now": now}
    if change["operation"] == Operation.delete:
        return await session.one(_return(entity), **values)
    names = tuple(sorted(orjson.loads(change["before"])))
    return await session.one(_restoration(entity, names), **which, **values)


@cache
def _removal(entity: _Entity) -> Statement:
    table = entity.table
    return Statement(delete(table).where(*_this(table)).returning(table.c.id))


@cache
def _restoration(entity: _Entity, names: tuple[str, ...]) -> Statement:
    """Set the named columns to what the log says they were before."""
    table, logged = entity.table, _logged(entity.table)
    values = {name: logged.c[name] for name in names} | {"updated_at": _now}
    return Statement(update(table).where(*_this(table)).values(values).returning(*_public_columns(entity)))


@cache
def _return(entity: _Entity) -> Statement:
    """Insert the row that the log says there was."""
    table, logged = entity.table, _logged(entity.table)
    fixed = {"user_id": bindparam("user_id", type_=Text), "updated_at": _now}
    names = [c.name for c in table.c]
    return Statement(
        insert(table)
        .from_select(names, select(*(fixed.get(name, logged.c[name]) for name in names)))
        .returning(*_public_columns(entity))
    )


def _this(table: Table) -> tuple[ColumnElement[bool], ...]:
    return OwnedByCaller(table), table.c.id == bindparam("entity_id", type_=Uuid)


def _logged(table: Table) -> FromClause:
    """Return the logged JSON as a row of ``table``; PostgreSQL turns its values into the columns' types."""
    row = func.jsonb_populate_record(literal_column(f"NULL::{table.name}"), bindparam("before", type_=JSONB))
    return row.table_valued(*(column(c.name, c.type) for c in table.c), name="logged")


def _public_columns(entity: _Entity) -> list[ColumnElement[Any]]:
    return [entity.table.c[name] for name in entity.public]
