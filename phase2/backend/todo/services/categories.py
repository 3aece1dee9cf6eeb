"""Categories: create, read, list, change, move, delete. One round trip each; every response includes task counts.

A task count changes without a new revision of its category. So the ``ETag`` is the user's latest revision: it shows
whether a whole response is still current. ``If-Match`` accepts the ``ETag`` or the category's own revision, and checks
whether the category itself has changed since.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache, lru_cache
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    ColumnElement,
    DateTime,
    Uuid,
    and_,
    bindparam,
    cast,
    delete,
    exists,
    func,
    literal_column,
    null,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import distinct_on, insert
from sqlmodel import col

from todo.database import MAX_CACHED_STATEMENTS, DatabaseError, OwnedByCaller, Row, Session, SqlState, Statement
from todo.errors import Conflict, FieldError, Invalid
from todo.kit.etags import Condition
from todo.kit.ids import uuid7
from todo.kit.text import fold_case
from todo.models.base import columns_of, digest_of
from todo.models.categories import (
    MAX_CATEGORIES,
    Category,
    CategoryBase,
    CategoryCreate,
    CategoryMove,
    CategoryReplace,
    CategoryState,
    CategoryUpdate,
    TaskDisposition,
)
from todo.models.tasks import Task, TaskCount
from todo.models.values import Status
from todo.services.named_resource import NamedResource
from todo.services.revisions import (
    CURRENT_REVISION,
    LATEST_REVISION,
    is_conditional,
    revision_from,
    revision_not_seen,
    seen_revisions,
)
from todo.services.tasks.statements import CHILD, children_of

LOGGED_NAMES = tuple(CategoryState.model_fields)

_owned_by_caller = OwnedByCaller(Category)
_by_id = and_(_owned_by_caller, col(Category.id) == bindparam("this_id", type_=Uuid))
_its_tasks = and_(OwnedByCaller(Task), col(Task.category_id) == bindparam("this_id", type_=Uuid))
_now = bindparam("now", type_=DateTime(timezone=True))

_OPEN = (Status.pending, Status.in_progress)
_WRITABLE = tuple(CategoryBase.model_fields)


def _tasks_of(*statuses: Status) -> ColumnElement[int]:
    """Return the number of a category's tasks that have one of these statuses, without the trash."""
    return (
        select(cast(func.coalesce(func.sum(TaskCount.tasks), 0), BigInteger))
        .where(
            OwnedByCaller(TaskCount),
            col(TaskCount.category_id) == col(Category.id),
            or_(*(col(TaskCount.status) == status.value for status in statuses)),
        )
        .correlate(Category)
        .scalar_subquery()
    )


_logged = columns_of(Category, LOGGED_NAMES)
# A write assigns a new revision, which the statement's own snapshot of the counter does not contain. Hence greatest().
_latest = func.greatest(LATEST_REVISION, Category.revision).label("latest")
_COUNTED = (*_logged, _tasks_of(*_OPEN).label("tasks_open"), _tasks_of(Status.completed).label("tasks_completed"))
_ANSWERED = (*_COUNTED, _latest)
_none: ColumnElement[int] = literal_column("0::bigint")

_READ = Statement(select(*_ANSWERED).where(_by_id))
# The same as part of a write: without a row, a deleted account is reported as Forbidden, not as NotFound.
_READ_FOR_CHANGE = Statement(select(*_ANSWERED).where(_by_id), part_of_write=True)
_READ_WITH_DIGEST = Statement(select(*_ANSWERED, col(Category.creation_digest)).where(_by_id))
_CREATE = Statement(
    insert(Category)
    .values(
        user_id=bindparam("user_id"),
        id=bindparam("this_id"),
        **{name: bindparam(name) for name in (*_WRITABLE, "name_key")},
        created_at=_now,
        updated_at=_now,
        creation_digest=bindparam("creation_digest"),
    )
    .on_conflict_do_nothing(index_elements=[col(Category.user_id), col(Category.id)])
    .returning(*_logged, _none.label("tasks_open"), _none.label("tasks_completed"), _latest),
    # The id is chosen before sending, so a repetition finds the id taken, with the same digest.
    repeatable=True,
)
_known = func.unnest(bindparam("revisions", type_=ARRAY(BigInteger))).column_valued("known")
# True if the category has not changed since the newest of these revisions. Revisions above the user's latest one are
# ignored, because the server has not issued them.
_revision_matches = (
    col(Category.revision) <= select(func.max(_known)).where(_known <= LATEST_REVISION).scalar_subquery()
)


def _to_conflict(error: DatabaseError) -> Conflict | None:
    if error.sqlstate == SqlState.limit_exceeded:
        sentence = f"You have {MAX_CATEGORIES:,} categories, and more are not possible. Delete one first."
        return Conflict(sentence, code="too_many_categories")
    if error.sqlstate == SqlState.position_exhausted:
        return Conflict(
            "There is no position left in this place. Move the category elsewhere, then back.",
            code="position_exhausted",
        )
    return None


def _matches(if_match: Condition, current: Row) -> bool:
    """Evaluate ``If-Match`` in Python, with the same result as ``_revision_matches``."""
    if if_match.revisions is None:
        return True
    return any(current["revision"] <= known <= current["latest"] for known in if_match.revisions)


RESOURCE = NamedResource("category", Category, _READ_FOR_CHANGE, _READ_WITH_DIGEST, _to_conflict, _matches)


@dataclass(frozen=True, slots=True)
class Answer:
    """One category or a list, and the user's revision that it reflects."""

    content: Any
    revision: int


# Task: T-332
async def create(
    session: Session, body: CategoryCreate, *, now: datetime, if_none_match: Condition | None = None
) -> tuple[Answer, bool]:
    """Create a category at ``now`` (aware, UTC), after all others. Return it, and whether it is new.

    If the id exists, an equal body returns the current category, and another body is a Conflict. A name that is taken
    and one category too many are Conflicts, too. If the id exists and ``if_none_match`` is ``*`` or names the current
    revision, raises PreconditionFailed.
    """
    new = {
        **_values_of(body, _WRITABLE),
        "this_id": body.id or uuid7(now),
        "creation_digest": digest_of(body),
        "now": now,
    }
    row, is_new = await RESOURCE.create(session, _CREATE, new, chosen_id=body.id, if_none_match=if_none_match)
    return _answer(row), is_new


# Task: T-332
async def read(session: Session, category_id: UUID) -> Answer:
    """Return one category. Raises NotFound for an unknown id and for another user's alike."""
    return _answer(await session.fetch_one(_READ, this_id=category_id))


# Task: T-332
async def list_all(session: Session, *, archived: bool | None, if_none_match: Condition | None = None) -> Answer:
    """Return the user's categories by position: all, or only those with the given value of ``archived``.

    If ``if_none_match`` names the user's revision, the list is not read, and the result is empty.
    """
    statement = _list_statement(filtered=archived is not None, if_none_match=if_none_match is not None)
    # The revision is read first: it may be older than the list, never newer.
    already = {} if if_none_match is None else {"seen": seen_revisions(if_none_match)}
    heads, rows = await session.execute_many((CURRENT_REVISION, {}), (statement, {"archived": archived, **already}))
    return Answer(rows, revision_from(heads))


# Task: T-332
async def replace(
    session: Session, category_id: UUID, body: CategoryReplace, *, now: datetime, if_match: Condition | None = None
) -> Answer:
    """Set every field to its value in ``body``; absent fields get their defaults. Raises Conflict for a taken name."""
    return await _change(session, category_id, _values_of(body, _WRITABLE), now=now, if_match=if_match)


# Task: T-332
async def change(
    session: Session, category_id: UUID, body: CategoryUpdate, *, now: datetime, if_match: Condition | None = None
) -> Answer:
    """Set only the fields that were sent. Raises Conflict for a taken name."""
    sent = [name for name in _WRITABLE if name in body.model_fields_set]
    return await _change(session, category_id, _values_of(body, sent), now=now, if_match=if_match)


# Task: T-333
async def move(
    session: Session, category_id: UUID, body: CategoryMove, *, now: datetime, if_match: Condition | None = None
) -> Answer:
    """Move a category next to another one, or to the start or the end. The other categories do not change.

    Raises Invalid if the other category does not exist, or is the same one.
    """
    values = {"this_id": category_id, "neighbour": body.neighbour_id, "is_behind": body.is_behind, "now": now}
    statement = _move_statement(conditional=is_conditional(if_match))
    try:
        return _answer(await RESOURCE.write(session, [statement], values, if_match=if_match))
    except DatabaseError as error:
        if error.sqlstate != SqlState.unknown_neighbour:
            raise
        name = "after_id" if body.is_behind else "before_id"
        raise Invalid(FieldError(f"/{name}", "Expected the id of another category of yours.")) from None


# Task: T-334
async def remove(
    session: Session, category_id: UUID, *, leftover: TaskDisposition, now: datetime, if_match: Condition | None = None
) -> None:
    """Delete a category. Its tasks lose their category, or go to the trash with their subtrees.

    Each of these tasks gets its own change in the log. Raises NotFound if the category does not exist.
    """
    statements = _delete_statements(leftover, conditional=is_conditional(if_match))
    await RESOURCE.write(session, statements, {"this_id": category_id, "now": now}, if_match=if_match)


async def _change(
    session: Session, category_id: UUID, values: Mapping[str, Any], *, now: datetime, if_match: Condition | None
) -> Answer:
    statement = _change_statement(tuple(values), conditional=is_conditional(if_match))
    values = {"this_id": category_id, "now": now, **values}
    return _answer(await RESOURCE.write(session, [statement], values, if_match=if_match))


def _answer(row: Row) -> Answer:
    latest = row.pop("latest")
    return Answer(row, latest)


@cache
def _list_statement(*, filtered: bool, if_none_match: bool) -> Statement:
    which: list[ColumnElement[bool]] = [_owned_by_caller]
    if filtered:
        which.append(col(Category.archived) == bindparam("archived", type_=Boolean))
    if if_none_match:
        which.append(revision_not_seen())
    return Statement(select(*_COUNTED).where(*which).order_by(col(Category.position), col(Category.id)))


@lru_cache(maxsize=MAX_CACHED_STATEMENTS)
def _change_statement(names: tuple[str, ...], *, conditional: bool) -> Statement:
    new = {column.key: bindparam(column.key, type_=column.type) for column in columns_of(Category, names)}
    return _update_statement(new, conditional=conditional)


@cache
def _move_statement(*, conditional: bool) -> Statement:
    place = func.app.position_in_categories(
        col(Category.user_id),
        col(Category.id),
        bindparam("neighbour", type_=Uuid),
        bindparam("is_behind", type_=Boolean),
    )
    return _update_statement({"position": place}, conditional=conditional)


def _update_statement(new: Mapping[str, ColumnElement[Any]], *, conditional: bool) -> Statement:
    """Return the statement that sets ``new``. If no value differs, the log trigger leaves the row unchanged."""
    # Never decrease it: machine clocks differ, and a write that waited for another one has an earlier time.
    assignments = {**new, "updated_at": func.greatest(Category.updated_at, _now)}
    return Statement(update(Category).where(*_which(conditional=conditional)).values(assignments).returning(*_ANSWERED))


@cache
def _delete_statements(leftover: TaskDisposition, *, conditional: bool) -> Sequence[Statement]:
    """Return the statements that update the tasks, if the category will be deleted, and then delete the category."""
    which = _which(conditional=conditional)
    category_will_be_deleted = exists().where(*which).correlate(None)
    clear_category = (
        update(Task)
        .where(_its_tasks, category_will_be_deleted)
        .values(category_id=null(), updated_at=func.greatest(Task.updated_at, _now))
        .returning(col(Task.id))
    )
    delete_category = Statement(delete(Category).where(*which).returning(col(Category.id)))
    # Tasks that are in the trash already only lose their category.
    return [
        *([_trash(category_will_be_deleted)] if leftover is TaskDisposition.trash else []),
        Statement(clear_category),
        delete_category,
    ]


def _trash(category_will_be_deleted: ColumnElement[bool]) -> Statement:
    """Return the statement that moves the category's tasks and their subtrees to the trash.

    ``trash_id`` of a task is the topmost task of this category among the task itself and its ancestors.
    """
    subtree_to_trash = (
        select(col(Task.id), col(Task.id).label("root"), literal_column("0").label("depth"))
        .where(_its_tasks, col(Task.trashed_at).is_(None), category_will_be_deleted)
        .cte("subtree_to_trash", recursive=True)
    )
    child = children_of(subtree_to_trash.c.id, CHILD.c.trashed_at.is_(None))
    below = select(child.c.id, subtree_to_trash.c.root, subtree_to_trash.c.depth + 1).select_from(
        subtree_to_trash.join(child, true())
    )
    subtree_to_trash = subtree_to_trash.union_all(below)
    topmost = (
        select(subtree_to_trash.c.id, subtree_to_trash.c.root)
        .ext(distinct_on(subtree_to_trash.c.id))
        .order_by(subtree_to_trash.c.id, subtree_to_trash.c.depth.desc())
        .subquery("topmost")
    )
    return Statement(
        update(Task)
        .where(OwnedByCaller(Task), col(Task.id) == topmost.c.id)
        .values(
            trashed_at=_now,
            trash_id=topmost.c.root,
            category_id=func.nullif(col(Task.category_id), bindparam("this_id", type_=Uuid)),
            updated_at=func.greatest(Task.updated_at, _now),
        )
        .returning(col(Task.id))
    )


def _which(*, conditional: bool) -> list[ColumnElement[bool]]:
    return [_by_id, *([_revision_matches] if conditional else [])]


def _values_of(body: CategoryBase | CategoryUpdate, names: Sequence[str]) -> dict[str, Any]:
    values = {name: getattr(body, name) for name in names}
    return {**values, "name_key": fold_case(body.name)} if "name" in values else values
