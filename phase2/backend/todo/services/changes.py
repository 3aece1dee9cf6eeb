"""The change log: read as feed, snapshot and history, and reverted by undo. Database triggers write it."""

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
    """A kind of object in the log. ``refusal`` maps a violation to the reason why undo cannot restore an object."""

    table: Table
    public: tuple[str, ...]
    refusal: Callable[[DatabaseFault], Conflict | None] = in_the_way_of_undo


# Add each new logged table here, under the entity name from its migration: the feed fails for an unknown name. Then add
# it to ``snapshot`` and to the schemas in ``todo.models.changes``.
_ENTITIES = {
    "task": _Entity(_tasks, TASK_NAMES),
    "category": _Entity(_categories, categories.LOGGED_NAMES, categories.NAMED.as_conflict),
    "view": _Entity(table_of(View), views.PUBLIC_NAMES, views.NAMED.as_conflict),
    "profile": _Entity(_profiles, PROFILE_NAMES),
}
_CURSOR = re.compile(r"([0-9]{1,18})\.([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})")
# Every change sets these columns.
_STAMPS = frozenset({"revision", "updated_at"})
# Counters that the database computes from other rows. Undo does not restore them.
_KEPT = frozenset({"subtasks_total", "subtasks_completed"})
# The columns that change when a task goes to the trash or comes back.
_TRASHING = frozenset({"trashed_at", "trash_id"})
# At most this many conflicts are listed if an undo is refused.
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
# Starts with the change that the client knows, without its contents. If that row is missing, the log does not contain
# the client's revision.
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
# A create or a delete touches all fields.
_touches_the_same = or_(
    _first.c.operation != Operation.update.value,
    _changes.c.operation != Operation.update.value,
    func.jsonb_exists_any(_changes.c.before.op("-")(_kept), _names_in(_first.c.before)),
)
# A change and the later changes of the same fields, in one statement, so that nothing is pruned in between. For an
# object with thousands of changes, it returns the contents of the first change only, and no more rows than the error
# lists.
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
    """Changes in order; whether there are more; the latest revision that was read, maybe one past ``changes``."""

    changes: list[Row]
    has_more: bool
    furthest: int


# Task: T-141
async def since(session: Session, revision: int, *, limit: int) -> Feed:
    """Return at most ``limit`` changes after ``revision``.

    Raises Gone if the log no longer reaches back to ``revision``, or if the user has not reached it yet.
    """
    looking = {"revision": revision, "limit": limit + 2}
    rows = await session.all(_SINCE, **looking)
    known = revision
    if not rows:
        # The user never wrote anything, or all changes were pruned. The second read may find a first change, which was
        # committed in between.
        [heads, rows] = await session.together((HEAD, {}), (_SINCE, looking))
        known = head_of(heads) if not rows else revision
    if rows and rows[0]["revision"] == revision:
        # The client has this change. The row only proves that the log contains it.
        del rows[0]
    # Revisions have no gaps: if the next one is missing, it has been pruned.
    if revision != known or (rows and rows[0]["revision"] != revision + 1):
        raise Gone(
            "The log does not hold what you ask for. Start again from GET /api/v1/changes/snapshot.",
            code="resync_required",
        )
    furthest = rows[-1]["revision"] if rows else revision
    return Feed([public(row) for row in rows[:limit]], has_more=len(rows) > limit, furthest=furthest)


async def latest(session: Session) -> int:
    """Return the user's latest revision; 0 for a user who never wrote anything."""
    return head_of(await session.all(HEAD))


def public(row: Row) -> dict[str, Any]:
    """Return a row of the log in the form of the API."""
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
    """Return the state after the change, with the change's revision; empty if the object was deleted."""
    return {**row["state"], "revision": row["revision"]} if row["state"] else {}


# Task: T-142
async def snapshot(session: Session, cursor: str | None, *, limit: int) -> dict[str, Any]:
    """Return a page of all objects, tasks in id order, and the revision at which the first page was read.

    Writes between two pages have later revisions, so the feed from this revision contains them: tasks created before
    the cursor, changed after they were read, or deleted. Raises Invalid for a cursor that the server did not issue.
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
    """Return the changes of a task before revision ``before``, latest first. The task may be deleted.

    Raises NotFound if the id is neither in the tasks nor in the log.
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
    """Revert one change: delete the object that it created, or restore what it changed or deleted.

    The revert is a new change. Raises NotFound for a revision that the log does not contain, and Conflict if later
    changes touched the same fields; the error lists the first 100 of them.
    """
    looking = (_CHANGE_AND_LATER, {"revision": revision})
    # The locks keep other writers out between reading and undoing.
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
            # Undoing a change of a category can change its tasks, too, and violate their constraints.
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
    """Return the fields that both changes touched; empty if ``later`` is a create or a delete, which touches all."""
    fields = set(orjson.loads(later["fields"] or b"[]")) - _KEPT
    if change["operation"] == Operation.update:
        fields &= _before(change).keys()
    return sorted(fields)


def _reversal(change: Row, *, now: datetime) -> list[tuple[Statement, dict[str, Any]]]:
    """Return the statements that revert a change, with their values. The last one returns the resulting object.

    If a task goes to the trash or comes back, so do its subtasks that were trashed with it.
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
    """Return the statement that sets the named columns to their logged values before the change."""
    table, logged = entity.table, _logged(entity.table)
    values = {name: logged.c[name] for name in names} | {"updated_at": func.greatest(table.c.updated_at, _now)}
    return Statement(update(table).where(*_this(table)).values(values).returning(*_public_columns(entity)))


@cache
def _return(entity: _Entity) -> Statement:
    """Return the statement that inserts the logged row again. The log trigger assigns its revision."""
    table, logged = entity.table, _logged(entity.table)
    own: dict[str, ColumnElement[Any]] = {
        "user_id": bindparam("user_id", type_=Text),
        "updated_at": func.greatest(logged.c.updated_at, _now),
        "revision": literal(0),
    }
    # A row that was logged before a column existed lacks its value, and gets the column's default.
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
    """Return the logged JSON as a row of ``table``. PostgreSQL converts the values to the types of the columns."""
    row = func.jsonb_populate_record(literal_column(f"NULL::{table.name}"), bindparam("before", type_=JSONB))
    return row.table_valued(*(column(c.name, c.type) for c in table.c), name="logged")


def _public_columns(entity: _Entity) -> list[ColumnElement[Any]]:
    return [entity.table.c[name] for name in entity.public]
