"""Tags: list them, and rename or remove one tag on all of its tasks."""

from dataclasses import dataclass
from datetime import datetime
from functools import cache

from sqlalchemy import BigInteger, Text, bindparam, cast, func, literal_column, select, union_all, update
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import col

from todo.database import OwnedByCaller, Row, Session, Statement
from todo.errors import NotFound
from todo.kit.etags import Condition
from todo.kit.text import fold_case
from todo.models.tasks import TagCount, Task, TaskTag
from todo.services.revisions import CURRENT_REVISION, LOCK_USER_WRITES, revision_from, revision_not_seen, seen_revisions
from todo.services.tasks.statements import now, owned_by_caller

_own = OwnedByCaller(TaskTag)
_counted = OwnedByCaller(TagCount)
# The smallest spelling by code points, so that it is the same one on every machine.
_name = func.min(TagCount.tag)
_number = cast(func.sum(TagCount.tasks), BigInteger)
_old_key = bindparam("old_key", type_=Text)
_new_key = bindparam("new_key", type_=Text)
_new_name = bindparam("new_name", type_=Text)

# A tag that only tasks in the trash have is returned with the name that was sent.
_ANSWER = Statement(
    select(
        func.coalesce(_name, _new_name).label("name"), func.coalesce(_number, literal_column("0")).label("tasks")
    ).where(_counted, col(TagCount.tag_key) == _new_key)
)
# Tasks in the trash have their tags only in their own row.
_tagged = union_all(
    select(col(TaskTag.task_id).label("id")).where(_own, col(TaskTag.tag_key) == _old_key),
    select(col(Task.id)).where(
        owned_by_caller, col(Task.trashed_at).is_not(None), func.jsonb_exists(Task.tag_keys, _old_key)
    ),
).subquery("tagged")
_IS_THERE = Statement(select(_tagged.c.id).limit(1))
_RENAME = Statement(
    update(Task)
    .where(owned_by_caller, col(Task.id).in_(select(_tagged.c.id)))
    .values(
        tags=cast(func.app.replace_tag(Task.tags, Task.tag_keys, _old_key, _new_key, _new_name), JSONB),
        tag_keys=cast(func.app.replace_tag(Task.tag_keys, Task.tag_keys, _old_key, _new_key, _new_key), JSONB),
        updated_at=func.greatest(Task.updated_at, now),
    )
    .returning(col(Task.id))
)


@dataclass(frozen=True, slots=True)
class Tags:
    """All tags, and the user's revision at which they were read."""

    tags: list[Row]
    revision: int


# Task: T-341
async def list_all(session: Session, *, if_none_match: Condition | None = None) -> Tags:
    """Return the tags of all tasks outside of the trash, ordered by their folded names.

    If ``if_none_match`` names the user's revision, the list is not read, and the result is empty.
    """
    # The revision is read first: it may be older than the list, never newer.
    already = {} if if_none_match is None else {"seen": seen_revisions(if_none_match)}
    heads, rows = await session.execute_many(
        (CURRENT_REVISION, {}), (_list_statement(if_none_match=if_none_match is not None), already)
    )
    return Tags(rows, revision_from(heads))


# Task: T-341
async def rename(session: Session, name: str, new_name: str, *, now: datetime) -> Row:
    """Rename a tag on all of its tasks, including the trash, and return it. Raises NotFound if no task has the tag.

    If there is already a tag with the new name, the two are merged.
    """
    old_key, new_key = fold_case(name), fold_case(new_name)
    async with session.transaction((LOCK_USER_WRITES, {}), (_IS_THERE, {"old_key": old_key})) as (kept, [_, found]):
        if kept is not None:
            return kept[0]
        if not found:
            await session.ensure_caller_exists()
            raise NotFound
        new = {"old_key": old_key, "new_key": new_key, "new_name": new_name, "now": now}
        rows = await session.finish((_RENAME, new), (_ANSWER, {"new_key": new_key, "new_name": new_name}))
        return rows[0]


# Task: T-341
async def remove(session: Session, name: str, *, now: datetime) -> None:
    """Remove a tag from all of its tasks, including the trash. Raises NotFound if no task has it."""
    values = {"old_key": fold_case(name), "new_key": None, "new_name": None, "now": now}
    # Under the lock, the statement sees the tags of earlier writers.
    _, rows = await session.execute_many((LOCK_USER_WRITES, {}), (_RENAME, values))
    if not rows:
        await session.ensure_caller_exists()
        raise NotFound


@cache
def _list_statement(*, if_none_match: bool) -> Statement:
    which = [_counted, *([revision_not_seen()] if if_none_match else [])]
    return Statement(
        select(_name.label("name"), _number.label("tasks"))
        .where(*which)
        .group_by(col(TagCount.tag_key))
        .order_by(col(TagCount.tag_key))
    )
