"""Tags by themselves: which there are, and what happens to one on all its tasks at once."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Text, and_, bindparam, cast, func, or_, select, update
from sqlalchemy.dialects.postgresql import JSONB

from todo.database import OwnedByCaller, Row, Session, Statement
from todo.errors import NotFound
from todo.kit.text import folded
from todo.models.base import table_of
from todo.models.tasks import TaskTag
from todo.services.revisions import HEAD, head_of
from todo.services.task_rows import mine, now, tasks

_task_tags = table_of(TaskTag)
_name = func.min(_task_tags.c.tag).label("name")
_count = func.count().label("tasks")
_old_key = bindparam("old_key", type_=Text)
_new_key = bindparam("new_key", type_=Text)
_new_name = bindparam("new_name", type_=Text)

_ALL = Statement(
    select(_name, _count).where(OwnedByCaller(_task_tags)).group_by(_task_tags.c.tag_key).order_by(_task_tags.c.tag_key)
)
_ONE = Statement(
    select(_name, _count)
    .where(OwnedByCaller(_task_tags), _task_tags.c.tag_key == _new_key)
    .group_by(_task_tags.c.tag_key)
)
# What is in the trash has its tags in its own row only.
_tagged = or_(
    tasks.c.id.in_(select(_task_tags.c.task_id).where(OwnedByCaller(_task_tags), _task_tags.c.tag_key == _old_key)),
    and_(tasks.c.trashed_at.is_not(None), func.jsonb_exists(tasks.c.tag_keys, _old_key)),
)
_RENAME = Statement(
    update(tasks)
    .where(mine, _tagged)
    .values(
        tags=cast(func.app.renamed(tasks.c.tags, tasks.c.tag_keys, _old_key, _new_key, _new_name), JSONB),
        tag_keys=cast(func.app.renamed(tasks.c.tag_keys, tasks.c.tag_keys, _old_key, _new_key, _new_key), JSONB),
        updated_at=func.greatest(tasks.c.updated_at, now),
    )
    .returning(tasks.c.id)
)


@dataclass(frozen=True, slots=True)
class Tags:
    """All tags, and the user's revision at which they were read."""

    tags: list[Row]
    revision: int


# Task: T-341
async def all_of_them(session: Session) -> Tags:
    """Return the tags that tasks have, the trash aside, by their folded names."""
    heads, rows = await session.together((HEAD, {}), (_ALL, {}))
    return Tags(rows, head_of(heads))


# Task: T-341
async def rename(session: Session, name: str, new_name: str, *, now: datetime) -> Row:
    """Call a tag otherwise on all its tasks, also in the trash, and return it; another tag of that name takes it up.

    Raises NotFound if no task has it.
    """
    changed = await _run(session, name, new_name, now=now)
    if not changed:
        raise NotFound
    found = await session.first(_ONE, new_key=folded(new_name))
    return found or {"name": new_name, "tasks": 0}


# Task: T-341
async def remove(session: Session, name: str, *, now: datetime) -> None:
    """Take a tag off all its tasks, also in the trash. Raises NotFound if none has it."""
    if not await _run(session, name, None, now=now):
        raise NotFound


async def _run(session: Session, name: str, new_name: str | None, *, now: datetime) -> list[Row]:
    new_key = None if new_name is None else folded(new_name)
    rows = await session.all(_RENAME, old_key=folded(name), new_key=new_key, new_name=new_name, now=now)
    if not rows:
        await session.ensure_caller_exists()
    return rows
