"""Finding tasks: the list, a page of it, and how many there are."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    FromClause,
    Integer,
    Select,
    Table,
    Text,
    any_,
    bindparam,
    case,
    cast,
    func,
    literal_column,
    select,
    true,
)

from todo.database import OwnedByCaller, Session, Statement
from todo.kit.etags import Condition
from todo.models.base import table_of
from todo.models.tasks import Priority, Status, TaskCount
from todo.services.revisions import HEAD_ROW, LATEST, not_seen, seen
from todo.services.task_rows import PUBLIC, TaskRow, alive, mine, tasks

_counts = table_of(TaskCount)


@dataclass(frozen=True, slots=True)
class Page:
    """A part of the list, how many tasks match in all, and the user's revision at which it was read."""

    tasks: list[TaskRow]
    total: int
    revision: int


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


def _page_of(rows: list[TaskRow]) -> Page:
    """Return the page out of the rows of ``_page_unless``."""
    if not rows:
        return Page([], 0, 0)
    total, revision = rows[0]["total"], rows[0]["latest"]
    if rows[0]["id"] is None:
        return Page([], total, revision)
    for row in rows:
        del row["total"], row["latest"]
    return Page(rows, total, revision)


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
        select(*PUBLIC)
        .where(mine, alive, *(_wanted(tasks, *each) for each in filters), *conditions)
        .order_by(*_newest_first(tasks))
        .limit(bindparam("limit", type_=Integer))
        .offset(bindparam("skip", type_=Integer))
    )


def _newest_first(tasks: FromClause) -> tuple[ColumnElement[Any], ...]:
    return tasks.c.created_at.desc(), tasks.c.id.desc()


def _wanted(table: Table, name: str, several: bool) -> ColumnElement[bool]:  # noqa: FBT001
    column: ColumnElement[str] = table.c[name]
    # One value by equality: only so is an index that goes on behind it in the order of the list.
    return column == (any_(bindparam(name, type_=ARRAY(Text))) if several else bindparam(name, type_=Text))
