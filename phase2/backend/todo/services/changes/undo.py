"""Undo: revert one change, unless later changes touched the same fields. The revert is a change of its own."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import cache, lru_cache
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import (
    ColumnElement,
    DateTime,
    DefaultClause,
    FromClause,
    Table,
    Text,
    and_,
    bindparam,
    case,
    column,
    delete,
    func,
    insert,
    literal,
    literal_column,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import aliased
from sqlmodel import col

from todo.database import MAX_CACHED_STATEMENTS, DatabaseError, OwnedByCaller, Row, Session, Statement
from todo.errors import Conflict, NotFound
from todo.models.changes import Change, Operation
from todo.services.changes.rows import before_of, owned_by_caller, revision_parameter
from todo.services.entities import ENTITIES, Entity
from todo.services.revisions import CURRENT_REVISION, CURRENT_REVISION_FOR_UPDATE, LOCK_USER_WRITES
from todo.services.tasks.errors import to_undo_conflict
from todo.services.tasks.read import READ
from todo.services.tasks.trash import RESTORE, trash_statement

# The columns that change when a task goes to the trash or comes back.
_TRASH_COLUMNS = frozenset({"trashed_at", "trash_id"})
# Undo does not restore these columns: the database computes them from other rows.
_COMPUTED = frozenset().union(*(entity.computed for entity in ENTITIES.values()))
# At most this many conflicts are listed if an undo is refused.
_MAX_CONFLICTS = 100

_now = bindparam("now", type_=DateTime(timezone=True))
_first = aliased(Change, name="first")


def _names_in(state: Any) -> ColumnElement[Any]:
    names = func.jsonb_object_keys(state).table_valued("name")
    return select(func.array_agg(names.c.name)).scalar_subquery()


_computed: ColumnElement[Any] = literal_column(f"'{{{','.join(sorted(_COMPUTED))}}}'::text[]")
_is_first = col(Change.revision) == col(_first.revision)
_is_update = col(Change.operation) == Operation.update.value
# A create or a delete touches all fields.
_touches_the_same = or_(
    col(_first.operation) != Operation.update.value,
    col(Change.operation) != Operation.update.value,
    func.jsonb_exists_any(col(Change.before).op("-")(_computed), _names_in(_first.before)),
)
# A change and the later changes of the same fields, in one statement, so that nothing is pruned in between. For an
# object with thousands of changes, it returns the contents of the first change only, and no more rows than the error
# lists.
_CHANGE_AND_LATER = Statement(
    select(
        col(Change.revision),
        col(Change.entity),
        col(Change.entity_id),
        col(Change.operation),
        case((_is_first, col(Change.before))).label("before"),
        case((_is_update, func.to_json(_names_in(Change.before)))).label("fields"),
    )
    .join(
        _first,
        and_(
            col(_first.user_id) == col(Change.user_id),
            col(_first.entity) == col(Change.entity),
            col(_first.entity_id) == col(Change.entity_id),
            col(_first.revision) <= col(Change.revision),
        ),
    )
    .where(
        owned_by_caller,
        OwnedByCaller(_first),
        col(_first.revision) == revision_parameter,
        or_(_is_first, _touches_the_same),
    )
    .order_by(col(Change.revision))
    .limit(1 + _MAX_CONFLICTS)
)


# Task: T-144
async def undo(session: Session, revision: int, *, now: datetime) -> dict[str, Any]:
    """Revert one change: delete the object that it created, or restore what it changed or deleted.

    The revert is a new change. Raises NotFound for a revision that the log does not contain, and Conflict if later
    changes touched the same fields; the error lists the first 100 of them.
    """
    looking = (_CHANGE_AND_LATER, {"revision": revision})
    # The locks keep other writers out between reading and undoing.
    async with session.transaction((LOCK_USER_WRITES, {}), (CURRENT_REVISION_FOR_UPDATE, {}), looking) as (
        kept,
        [_, _, found],
    ):
        if kept is not None:
            return kept[0]
        if not found:
            await session.ensure_caller_exists()
        change, conflicting = _only(found[:1]), found[1:]
        _refuse_if_touched(change, conflicting)
        try:
            *_, rows, [head] = await session.execute_many(*_revert_requests(change, now=now), (CURRENT_REVISION, {}))
        except DatabaseError as error:
            conflict = ENTITIES[change["entity"]].to_conflict(error)
            # Undoing a change of a category can change its tasks, too, and violate their constraints.
            raise conflict or to_undo_conflict(error) or error from None
        thing = _only(rows)
        undone = {
            "undone": revision,
            "revision": head["revision"],
            "type": change["entity"],
            "id": change["entity_id"],
            "state": None if change["operation"] == Operation.create else thing,
        }
        session.store_response([undone])
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
            "Later changes touched the same fields; see conflicts. Undo those first.",
            code="changed_since",
            conflicts=conflicts,
        )


def _touched_by_both(change: Row, later: Row) -> list[str]:
    """Return the fields that both changes touched; empty if ``later`` is a create or a delete, which touches all."""
    fields = set(orjson.loads(later["fields"] or b"[]")) - _COMPUTED
    if change["operation"] == Operation.update:
        fields &= before_of(change).keys()
    return sorted(fields)


def _revert_requests(change: Row, *, now: datetime) -> list[tuple[Statement, dict[str, Any]]]:
    """Return the statements that revert a change, with their values. The last one returns the resulting object.

    If a task goes to the trash or comes back, so do its subtasks that were trashed with it.
    """
    entity = ENTITIES[change["entity"]]
    entity_id = change["entity_id"]
    if change["operation"] == Operation.create:
        return [(_delete_statement(entity), {"entity_id": entity_id})]
    values = {"before": orjson.dumps(change["before"]).decode(), "now": now}
    if change["operation"] == Operation.delete:
        return [(_reinsert_statement(entity), values)]
    names = tuple(sorted(before_of(change).keys() - _COMPUTED))
    if not names:
        raise Conflict("This change followed from another one. Undo that one.", code="not_undoable")
    if entity.name == "task" and set(names) == _TRASH_COLUMNS:
        whole = RESTORE if change["before"]["trashed_at"] is None else trash_statement(conditional=False)
        values = {"task_id": UUID(entity_id), "now": now}
        return [(whole, values), (READ, values)]
    return [(_restore_statement(entity, names), {"entity_id": entity_id, **values})]


@cache
def _delete_statement(entity: Entity) -> Statement:
    table = entity.table
    return Statement(delete(table).where(*_by_id(table)).returning(table.c.id))


@lru_cache(maxsize=MAX_CACHED_STATEMENTS)
def _restore_statement(entity: Entity, names: tuple[str, ...]) -> Statement:
    """Return the statement that sets the named columns to their logged values before the change."""
    table, logged = entity.table, _logged_row(entity.table)
    values = {name: logged.c[name] for name in names} | {"updated_at": func.greatest(table.c.updated_at, _now)}
    return Statement(update(table).where(*_by_id(table)).values(values).returning(*entity.public_columns))


@cache
def _reinsert_statement(entity: Entity) -> Statement:
    """Return the statement that inserts the logged row again. The log trigger assigns its revision."""
    table, logged = entity.table, _logged_row(entity.table)
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
        .returning(*entity.public_columns)
    )


def _by_id(table: Table) -> tuple[ColumnElement[bool], ...]:
    return OwnedByCaller(table), table.c.id == bindparam("entity_id", type_=table.c.id.type)


def _logged_row(table: Table) -> FromClause:
    """Return the logged JSON as a row of ``table``. PostgreSQL converts the values to the types of the columns."""
    row = func.jsonb_populate_record(literal_column(f"NULL::{table.name}"), bindparam("before", type_=JSONB))
    return row.table_valued(*(column(c.name, c.type) for c in table.c), name="logged")
