"""Tasks: create, read, list, change, complete, delete. One statement, one trip each."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    DateTime,
    FromClause,
    Integer,
    Select,
    Table,
    Text,
    and_,
    any_,
    bindparam,
    case,
    cast,
    delete,
    func,
    literal_column,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import insert

from todo.database import OwnedByCaller, Row, Session, Statement
from todo.errors import Conflict, Fault, Invalid, PreconditionFailed
from todo.kit.etags import Condition
from todo.kit.ids import uuid7
from todo.models.base import table_of
from todo.models.tasks import (
    Priority,
    Status,
    Task,
    TaskBase,
    TaskCount,
    TaskCreate,
    TaskPublic,
    TaskReplace,
    TaskUpdate,
)
from todo.services.revisions import HEAD_ROW, LATEST, not_seen, seen

TaskRow = Row

_tasks = table_of(Task)
_counts = table_of(TaskCount)
PUBLIC_NAMES = tuple(TaskPublic.model_fields)
_PUBLIC = tuple(_tasks.c[name] for name in PUBLIC_NAMES)
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
_still = _tasks.c.revision == any_(bindparam("revisions", type_=ARRAY(BigInteger)))


@dataclass(frozen=True, slots=True)
class Page:
    """A part of the list, how many tasks match in all, and the user's revision at which it was read."""

    tasks: list[TaskRow]
    total: int
    revision: int


# Task: T-031
async def create(
    session: Session, body: TaskCreate, *, now: datetime, unless: Condition | None = None
) -> tuple[TaskRow, bool]:
    """Create a task at ``now`` (aware, UTC). Returns it, and whether it is new.

    The same body under the same id again gives the task as it is today; another body is a Conflict. With ``unless``
    (``*``, or the revision that the client knows) a task that is there already is PreconditionFailed.
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
        existing_digest = existing.pop("creation_digest")
        if body.id is None:
            # An id that was made here can only be taken by this very request, sent again after its answer was lost.
            return existing, True
        if unless is not None and unless.names(existing["revision"]):
            raise PreconditionFailed(current=existing, revision=existing["revision"])
        if existing_digest != digest:
            raise Conflict("You already have another task with this id. Choose a new id.", code="id_taken")
        return existing, False
    raise _contended()


# Task: T-032
async def read(session: Session, task_id: UUID) -> TaskRow:
    """Return one task. Raises NotFound for an unknown id and for somebody else's alike."""
    return await session.one(_READ, task_id=task_id)


# Task: T-033
async def page(
    session: Session,
    *,
    skip: int,
    limit: int,
    statuses: Sequence[Status],
    priorities: Sequence[Priority],
    unless: Condition | None = None,
) -> Page:
    """Return the tasks from ``skip`` on, at most ``limit``, newest first, and how many match in all.

    Where ``unless`` names the user's revision the list is not run, and the page is empty.
    """
    filters = {name: values for name, values in (("status", statuses), ("priority", priorities)) if values}
    shape = tuple((name, len(wanted) > 1) for name, wanted in filters.items())
    values: dict[str, Any] = {name: list(wanted) if len(wanted) > 1 else wanted[0] for name, wanted in filters.items()}
    place = {"skip": skip, "limit": limit}
    if unless is not None:
        return _page_of(await session.all(_page_unless(shape), **values, **place, seen=seen(unless)))
    counting, listing = _page_statements(shape)
    # The revision comes with the count, before the list: it can be older than what is listed, never newer.
    [count], rows = await session.together((counting, values), (listing, {**values, **place}))
    return Page(rows, count["total"], count["revision"])


def _page_of(rows: list[Row]) -> Page:
    """Return the page out of the rows of ``_page_unless``."""
    if not rows:
        return Page([], 0, 0)
    total, revision = rows[0]["total"], rows[0]["latest"]
    if rows[0]["id"] is None:
        return Page([], total, revision)
    for row in rows:
        del row["total"], row["latest"]
    return Page(rows, total, revision)


# Task: T-034
async def replace(
    session: Session, task_id: UUID, body: TaskReplace, *, now: datetime, if_match: Condition | None = None
) -> TaskRow:
    """Set every field to what ``body`` says; absent ones have their defaults."""
    return await _change(session, task_id, _values_of(body, _WRITABLE), now=now, if_match=if_match)


# Task: T-034
async def change(
    session: Session, task_id: UUID, body: TaskUpdate, *, now: datetime, if_match: Condition | None = None
) -> TaskRow:
    """Set the fields that were sent, and no others."""
    sent = [name for name in _WRITABLE if name in body.model_fields_set]
    return await _change(session, task_id, _values_of(body, sent), now=now, if_match=if_match)


# Task: T-035
async def complete(session: Session, task_id: UUID, *, now: datetime, if_match: Condition | None = None) -> TaskRow:
    """Mark a task completed at ``now`` (aware, UTC) and return it.

    Completing twice changes nothing: clients retry, and the first time is the true one.
    Raises NotFound for an unknown id and for somebody else's alike, Invalid for a cancelled task.
    """
    return await _change(session, task_id, {"status": Status.completed}, now=now, if_match=if_match)


# Task: T-035
async def reopen(session: Session, task_id: UUID, *, now: datetime, if_match: Condition | None = None) -> TaskRow:
    """Make a completed or cancelled task pending again. An open task stays as it is."""
    statement = _reopen_statement(conditional=_is_conditional(if_match))
    return await _write(session, statement, {"task_id": task_id, "now": now}, if_match=if_match)


# Task: T-036
async def remove(session: Session, task_id: UUID, *, if_match: Condition | None = None) -> None:
    """Delete a task for good. Raises NotFound when there is none."""
    await _write(
        session, _delete_statement(conditional=_is_conditional(if_match)), {"task_id": task_id}, if_match=if_match
    )


async def _change(
    session: Session, task_id: UUID, values: Mapping[str, Any], *, now: datetime, if_match: Condition | None
) -> TaskRow:
    statement = _change_statement(tuple(values), conditional=_is_conditional(if_match))
    return await _write(session, statement, {"task_id": task_id, "now": now, **values}, if_match=if_match)


async def _write(
    session: Session, statement: Statement, values: Mapping[str, Any], *, if_match: Condition | None
) -> TaskRow:
    """Run a statement on one task and return its row.

    Raises NotFound if there is no such task, PreconditionFailed if it is not as ``if_match`` says, and Invalid if its
    status may not become what ``values`` say.
    """
    conditions = {} if if_match is None else {"revisions": sorted(if_match.revisions or ())}
    for _ in range(_MOST_ATTEMPTS):
        row = await session.first(statement, **values, **conditions)
        if row is not None:
            return row
        # The statement passed over the task, or there is none. Look which; if it changed in between, try again.
        current = await session.one(_READ_FOR_CHANGE, task_id=values["task_id"])
        _refuse_if_stale(current, if_match)
        if "status" in values:
            _refuse_transition(Status(current["status"]), values["status"])
    raise _contended()


def _is_conditional(if_match: Condition | None) -> bool:
    """Tell whether the statement itself has to look: ``*`` asks only that there is a task, as every write does."""
    return if_match is not None and if_match.revisions is not None


def _refuse_if_stale(current: TaskRow, if_match: Condition | None) -> None:
    if if_match is not None and not if_match.names(current["revision"]):
        raise PreconditionFailed(current=current, revision=current["revision"])


def _refuse_transition(current: Status, new: Status) -> None:
    if not _may_become(current, new):
        sentence = f"A {current} task cannot become {new}. Reopen it first."
        raise Invalid(Fault("/status", sentence), detail=sentence, code="invalid_status_transition")


def _may_become(current: Status, new: Status) -> bool:
    return current in _OPEN or new in _OPEN or current is new


def _contended() -> Conflict:
    return Conflict("Others are changing this task at the same moment. Try again.")


@cache
def _change_statement(names: tuple[str, ...], *, conditional: bool) -> Statement:
    new: dict[str, ColumnElement[Any]] = {name: bindparam(name, type_=Text) for name in names}
    which = [_this_one, *([_still] if conditional else [])]
    if "status" in new:
        status = new["status"]
        which.append(or_(_is_open(_tasks.c.status), _is_open(status), _tasks.c.status == status))
    return _update_statement(which, new)


@cache
def _reopen_statement(*, conditional: bool) -> Statement:
    pending_unless_open = case((_is_open(_tasks.c.status), _tasks.c.status), else_=Status.pending.value)
    return _update_statement([_this_one, *([_still] if conditional else [])], {"status": pending_unless_open})


@cache
def _delete_statement(*, conditional: bool) -> Statement:
    return Statement(delete(_tasks).where(_this_one, *([_still] if conditional else [])).returning(_tasks.c.id))


def _is_open(status: ColumnElement[Any]) -> ColumnElement[bool]:
    return or_(*(status == open_status.value for open_status in _OPEN))


def _update_statement(which: Sequence[ColumnElement[bool]], new: Mapping[str, ColumnElement[Any]]) -> Statement:
    """Set ``new``, and ``completed_at`` with the status. The log's trigger takes back what makes no difference."""
    # Clocks differ between machines, and a change that waited for another's brings an earlier time: never back.
    assignments = {**new, "updated_at": func.greatest(_tasks.c.updated_at, _now)}
    if "status" in new:
        assignments["completed_at"] = case(
            (new["status"] == Status.completed.value, func.coalesce(_tasks.c.completed_at, _now))
        )
    return Statement(update(_tasks).where(*which).values(assignments).returning(*_PUBLIC))


@cache
def _page_statements(filters: tuple[tuple[str, bool], ...]) -> tuple[Statement, Statement]:
    """Return the statement for the total (and the revision), and the one for the rows.

    ``filters`` names columns, and whether several values are wanted of each.
    """
    counting = select(_total(filters).label("total"), LATEST.label("revision"))
    return Statement(counting), Statement(_listing(filters))


# Task: T-122
@cache
def _page_unless(filters: tuple[tuple[str, bool], ...]) -> Statement:
    """Return one statement for all of it, which stops at the revision if that is one of the ``seen``.

    Total and revision come with each row, or, where there are none, alone. For a whole page that costs more than
    two statements do, for none less.
    """
    listed = _listing(filters, not_seen()).lateral("listed")
    return Statement(
        select(
            HEAD_ROW.c.revision.label("latest"),
            case((not_seen(), _total(filters)), else_=literal_column("0")).label("total"),
            listed,
        )
        .outerjoin_from(HEAD_ROW, listed, true())
        .order_by(*_newest_first(listed))
    )


def _total(filters: tuple[tuple[str, bool], ...]) -> ColumnElement[int]:
    """Count the tasks. The database keeps the total: a page costs the same however many there are."""
    total = cast(func.coalesce(func.sum(_counts.c.tasks), literal_column("0")), BigInteger)
    return select(total).where(OwnedByCaller(_counts), *(_wanted(_counts, *each) for each in filters)).scalar_subquery()


def _listing(filters: tuple[tuple[str, bool], ...], *conditions: ColumnElement[bool]) -> Select[Any]:
    return (
        select(*_PUBLIC)
        .where(_mine, *(_wanted(_tasks, *each) for each in filters), *conditions)
        .order_by(*_newest_first(_tasks))
        .limit(bindparam("limit", type_=Integer))
        .offset(bindparam("skip", type_=Integer))
    )


def _newest_first(tasks: FromClause) -> tuple[ColumnElement[Any], ...]:
    return tasks.c.created_at.desc(), tasks.c.id.desc()


def _wanted(table: Table, name: str, several: bool) -> ColumnElement[bool]:  # noqa: FBT001
    column: ColumnElement[str] = table.c[name]
    # One value by equality: only so is an index that goes on behind it in the order of the list.
    return column == (any_(bindparam(name, type_=ARRAY(Text))) if several else bindparam(name, type_=Text))


def _values_of(body: TaskBase | TaskUpdate, names: Sequence[str]) -> dict[str, Any]:
    return {name: getattr(body, name) for name in names}


def _digest_of(body: TaskCreate) -> bytes:
    # Without the defaults, so that a field that a later version adds leaves the digests of older tasks as they are.
    canonical = body.model_dump_json(exclude={"id"}, exclude_defaults=True)
    return hashlib.blake2b(canonical.encode(), digest_size=16).digest()
