"""The log of changes: read as a feed, a snapshot and a history, and turned back by undo. The database writes it."""

import base64
import re
from collections.abc import Callable, Iterable, Sequence
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
    DefaultClause,
    FromClause,
    Integer,
    Table,
    Text,
    Uuid,
    and_,
    bindparam,
    case,
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

from todo.database import DatabaseFault, OwnedByCaller, Row, Session, Statement
from todo.errors import Conflict, Fault, Gone, Invalid, NotFound
from todo.kit.rows import instants_in_utc
from todo.models.base import table_of
from todo.models.categories import Category
from todo.models.changes import Change, Operation
from todo.models.profiles import Profile
from todo.models.tasks import Task
from todo.models.views import View
from todo.services import categories, views
from todo.services.faults import in_the_way_of_undo
from todo.services.profiles import PUBLIC_NAMES as PROFILE_NAMES
from todo.services.revisions import HEAD, HEAD_HELD, TURN, head_of
from todo.services.task_rows import PUBLIC_NAMES as TASK_NAMES
from todo.services.task_rows import READ, RESTORE, trashing

_changes = table_of(Change)
_categories = table_of(Category)
_profiles = table_of(Profile)
_tasks = table_of(Task)


@dataclass(frozen=True, slots=True)
class _Entity:
    """A kind of thing that the log knows. ``refusal`` says why one of them cannot become again what it was."""

    table: Table
    public: tuple[str, ...]
    refusal: Callable[[DatabaseFault], Conflict | None] = in_the_way_of_undo


# A new table joins here, by the name that its migration gave it. The feed fails at a name that is not here. Then it
# joins ``snapshot``, and the shapes in ``todo.models.changes``.
_ENTITIES = {
    "task": _Entity(_tasks, TASK_NAMES),
    "category": _Entity(_categories, categories.LOGGED_NAMES, categories.NAMED.as_conflict),
    "view": _Entity(table_of(View), views.PUBLIC_NAMES, views.NAMED.as_conflict),
    "profile": _Entity(_profiles, PROFILE_NAMES),
}
_CURSOR = re.compile(r"([0-9]{1,18})\.([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})")
# Every change has these anew.
_STAMPS = frozenset({"revision", "updated_at"})
# The database keeps these: whatever they were, they are what follows from the rest.
_KEPT = frozenset({"subtasks_total", "subtasks_completed"})
# What changes of a task that goes to the trash, or comes back.
_TRASHING = frozenset({"trashed_at", "trash_id"})
# What the refusal of an undo lists at most.
_MOST_CONFLICTS = 100

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
_ALL_CATEGORIES = Statement(
    select(*(_categories.c[name] for name in categories.LOGGED_NAMES))
    .where(OwnedByCaller(_categories))
    .order_by(_categories.c.position)
)
_PROFILE = Statement(select(*(_profiles.c[name] for name in PROFILE_NAMES)).where(OwnedByCaller(_profiles)))
_is_new = _changes.c.revision > _revision
# From the change that the client knows, so that an answer without it tells of a log that does not reach that far. That
# one comes without its contents.
_SINCE = Statement(
    select(
        *_COLUMNS[:-2],
        case((_is_new, _changes.c.state)).label("state"),
        case((_is_new, _changes.c.before)).label("before"),
    )
    .where(_mine, _changes.c.revision >= _revision)
    .order_by(_changes.c.revision)
    .limit(_limit)
)
_first = _changes.alias("first")


def _names_in(state: ColumnElement[Any]) -> ColumnElement[Any]:
    names = func.jsonb_object_keys(state).table_valued("name")
    return select(func.array_agg(names.c.name)).scalar_subquery()


_kept: ColumnElement[Any] = literal_column(f"'{{{','.join(sorted(_KEPT))}}}'::text[]")
_is_first = _changes.c.revision == _first.c.revision
_is_update = _changes.c.operation == Operation.update.value
# Where one of the two is no update, it touched everything.
_touches_the_same = or_(
    _first.c.operation != Operation.update.value,
    _changes.c.operation != Operation.update.value,
    func.jsonb_exists_any(_changes.c.before.op("-")(_kept), _names_in(_first.c.before)),
)
# A change, and whatever touched the same fields later: in one look, so that nothing is forgotten in between. Of a thing
# that was changed thousands of times it brings no contents but the first's, and no more than an answer can list.
_CHANGE_AND_LATER = Statement(
    select(
        _changes.c.revision,
        _changes.c.entity,
        _changes.c.entity_id,
        _changes.c.operation,
        case((_is_first, _changes.c.before)).label("before"),
        case((_is_update, func.to_json(_names_in(_changes.c.before)))).label("fields"),
    )
    .join(
        _first,
        and_(
            _first.c.user_id == _changes.c.user_id,
            _first.c.entity == _changes.c.entity,
            _first.c.entity_id == _changes.c.entity_id,
            _first.c.revision <= _changes.c.revision,
        ),
    )
    .where(_mine, OwnedByCaller(_first), _first.c.revision == _revision, or_(_is_first, _touches_the_same))
    .order_by(_changes.c.revision)
    .limit(1 + _MOST_CONFLICTS)
)


@dataclass(frozen=True, slots=True)
class Feed:
    """Changes in order; whether there are more; the furthest revision that was seen, which may be one more."""

    changes: list[Row]
    has_more: bool
    furthest: int


# Task: T-141
async def since(session: Session, revision: int, *, limit: int) -> Feed:
    """Return the changes after ``revision``, at most ``limit``.

    Raises Gone if the log no longer reaches back to ``revision``, or has not come that far.
    """
    looking = {"revision": revision, "limit": limit + 2}
    rows = await session.all(_SINCE, **looking)
    known = revision
    if not rows:
        # Nothing was ever written, or all of it was forgotten, or, at the second look, the first change came just now.
        [heads, rows] = await session.together((HEAD, {}), (_SINCE, looking))
        known = head_of(heads) if not rows else revision
    if rows and rows[0]["revision"] == revision:
        # The log has come that far, and that is all that the client's last change is here to tell.
        del rows[0]
    # Revisions have no gaps: if the next one is not there, the log has forgotten it.
    if revision != known or (rows and rows[0]["revision"] != revision + 1):
        raise Gone(
            "The log does not hold what you ask for. Start again from GET /api/v1/changes/snapshot.",
            code="resync_required",
        )
    furthest = rows[-1]["revision"] if rows else revision
    return Feed([public(row) for row in rows[:limit]], has_more=len(rows) > limit, furthest=furthest)


async def latest(session: Session) -> int:
    """Return the number of the user's last change; 0 for somebody who never wrote."""
    return head_of(await session.all(HEAD))


def public(row: Row) -> dict[str, Any]:
    """Return a row of the log as the API tells it."""
    names = _ENTITIES[row["entity"]].public
    before, state = _before(row), _state(row)
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


def _before(row: Row) -> dict[str, Any]:
    return row["before"] or {}


def _state(row: Row) -> dict[str, Any]:
    """Return the state after the change, whose revision is the change's own; empty if the thing is gone."""
    return {**row["state"], "revision": row["revision"]} if row["state"] else {}


# Task: T-142
async def snapshot(session: Session, cursor: str | None, *, limit: int) -> dict[str, Any]:
    """Return a page of everything there is, tasks by id, and the revision at which the first page was read.

    Whatever is written meanwhile has a later revision, and is in the feed from there on: made after its place was
    passed, changed after it was read, or gone. Raises Invalid for a cursor that is none of ours.
    """
    started, after = _parsed(cursor) if cursor else (None, UUID(int=0))
    others: list[tuple[Statement, dict[str, Any]]] = (
        [(_ALL_CATEGORIES, {}), (views.ALL, {}), (_PROFILE, {})] if started is None else []
    )
    heads, rows, *lists = await session.together(
        (HEAD, {}), (_PAGE_BY_ID, {"after": after, "limit": limit + 1}), *others
    )
    revision = head_of(heads) if started is None else started
    categories, saved, profiles = lists or ([], [], [])
    page = rows[:limit]
    more = len(rows) > limit
    return {
        "tasks": page,
        "categories": categories,
        "views": saved,
        "profile": profiles[0] if profiles else None,
        "revision": revision,
        "next_cursor": _cursor(revision, page[-1]["id"]) if more else None,
    }


def _cursor(revision: int, last_id: str) -> str:
    return base64.urlsafe_b64encode(f"{revision}.{last_id}".encode()).decode().rstrip("=")


def _parsed(cursor: str) -> tuple[int, UUID]:
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode("ascii")
    except ValueError:
        text = ""
    match = _CURSOR.fullmatch(text)
    if match is None:
        raise Invalid(Fault("/query/cursor", "This is not a cursor that an answer gave. Start without one."))
    return int(match[1]), UUID(match[2])


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
    names = _ENTITIES[row["entity"]].public
    before, after = _before(row), _state(row)
    changed = [name for name in names if name in (before or after) and name not in _STAMPS]
    old, new = instants_in_utc(before, changed), instants_in_utc(after, changed)
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
    the first hundred of them, if later changes touched the same fields.
    """
    looking = (_CHANGE_AND_LATER, {"revision": revision})
    # Nothing can be written between looking and undoing.
    async with session.transaction((TURN, {}), (HEAD_HELD, {}), looking) as (kept, [_, _, found]):
        if kept is not None:
            return kept[0]
        if not found:
            await session.ensure_caller_exists()
        change, conflicting = _only(found[:1]), found[1:]
        _refuse_if_touched(change, conflicting)
        try:
            *_, rows, [head] = await session.together(*_reversal(change, now=now), (HEAD, {}))
        except DatabaseFault as fault:
            refusal = _ENTITIES[change["entity"]].refusal(fault)
            # What is undone may take tasks along.
            raise refusal or in_the_way_of_undo(fault) or fault from None
        thing = _only(rows)
        undone = {
            "undone": revision,
            "revision": head["revision"],
            "type": change["entity"],
            "id": change["entity_id"],
            "state": None if change["operation"] == Operation.create else thing,
        }
        session.keep([undone])
    return undone


def _only(rows: Sequence[Row]) -> Row:
    if not rows:
        raise NotFound
    return rows[0]


def _refuse_if_touched(change: Row, conflicting: Iterable[Row]) -> None:
    conflicts = [
        {"revision": row["revision"], "operation": row["operation"], "fields": _touched_by_both(change, row)}
        for row in conflicting
    ]
    if conflicts:
        raise Conflict(
            "Later changes touched the same fields; see conflicts.",
            code="changed_since",
            conflicts=conflicts,
        )


def _touched_by_both(change: Row, later: Row) -> list[str]:
    """Return the fields that both touched; none of what is new or gone, which is touched as a whole."""
    fields = set(orjson.loads(later["fields"] or b"[]")) - _KEPT
    if change["operation"] == Operation.update:
        fields &= _before(change).keys()
    return sorted(fields)


def _reversal(change: Row, *, now: datetime) -> list[tuple[Statement, dict[str, Any]]]:
    """Return the statements that take a change back, with their values. The last one's row is the thing as it is then.

    What went to the trash comes back with what went there with it, and the other way round.
    """
    entity = _ENTITIES[change["entity"]]
    entity_id = change["entity_id"]
    if change["operation"] == Operation.create:
        return [(_removal(entity), {"entity_id": entity_id})]
    values = {"before": orjson.dumps(change["before"]).decode(), "now": now}
    if change["operation"] == Operation.delete:
        return [(_return(entity), values)]
    names = tuple(sorted(_before(change).keys() - _KEPT))
    if not names:
        raise Conflict("This change followed from another one. Undo that one.", code="derived_change")
    if set(names) == _TRASHING:
        whole = RESTORE if change["before"]["trashed_at"] is None else trashing(conditional=False)
        values = {"task_id": UUID(entity_id), "now": now}
        return [(whole, values), (READ, values)]
    return [(_restoration(entity, names), {"entity_id": entity_id, **values})]


@cache
def _removal(entity: _Entity) -> Statement:
    table = entity.table
    return Statement(delete(table).where(*_this(table)).returning(table.c.id))


@cache
def _restoration(entity: _Entity, names: tuple[str, ...]) -> Statement:
    """Set the named columns to what the log says they were before."""
    table, logged = entity.table, _logged(entity.table)
    values = {name: logged.c[name] for name in names} | {"updated_at": func.greatest(table.c.updated_at, _now)}
    return Statement(update(table).where(*_this(table)).values(values).returning(*_public_columns(entity)))


@cache
def _return(entity: _Entity) -> Statement:
    """Insert the row that the log says there was. Its revision is the log's matter."""
    table, logged = entity.table, _logged(entity.table)
    own: dict[str, ColumnElement[Any]] = {
        "user_id": bindparam("user_id", type_=Text),
        "updated_at": func.greatest(logged.c.updated_at, _now),
        "revision": literal(0),
    }
    # What was logged before a column was there has none of it.
    own |= {
        c.name: func.coalesce(logged.c[c.name], literal_column(f"'{c.server_default.arg}'"))
        for c in table.c
        if isinstance(c.server_default, DefaultClause)
    }
    names = [c.name for c in table.c if c.computed is None]
    return Statement(
        insert(table)
        .from_select(names, select(*(own.get(name, logged.c[name]) for name in names)))
        .returning(*_public_columns(entity))
    )


def _this(table: Table) -> tuple[ColumnElement[bool], ...]:
    return OwnedByCaller(table), table.c.id == bindparam("entity_id", type_=table.c.id.type)


def _logged(table: Table) -> FromClause:
    """Return the logged JSON as a row of ``table``; PostgreSQL turns its values into the columns' types."""
    row = func.jsonb_populate_record(literal_column(f"NULL::{table.name}"), bindparam("before", type_=JSONB))
    return row.table_valued(*(column(c.name, c.type) for c in table.c), name="logged")


def _public_columns(entity: _Entity) -> list[ColumnElement[Any]]:
    return [entity.table.c[name] for name in entity.public]
