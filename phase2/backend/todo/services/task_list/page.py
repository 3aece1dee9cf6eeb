"""The task list: a page for any filters and sort order, and the total.

The most common list is newest first, with no filter other than those with counters: status, priority and category. It
has its own statements, so it does not pay for the general case.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache, lru_cache
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    FromClause,
    Select,
    Text,
    all_,
    and_,
    bindparam,
    case,
    cast,
    func,
    literal_column,
    null,
    select,
    true,
    union_all,
)
from sqlalchemy.sql import operators

from todo.database import DatabaseFault, Session, Statement
from todo.errors import Fault, Invalid
from todo.kit import cursors
from todo.kit.cursors import Cursor
from todo.kit.etags import Condition
from todo.kit.queries import Query, parse
from todo.models.task_list import FILTERS, MOST_COUNTED, MOST_TASKS, TaskFilter, TaskQuery
from todo.services import views
from todo.services.task_list import filters
from todo.services.task_list import search
from todo.services.task_list.filter_types import AppliedFilter
from todo.services.revisions import HEAD_ROW, LATEST, not_seen, seen
from todo.services.task_list.sorting import Column, Part, following, parts_of
from todo.services.tasks.statements import PUBLIC, PUBLIC_NAMES, TaskRow, mine, tasks

_PLAIN = filters.COUNTED | {"skip", "limit"}
_MOST_SHAPES = 500
# The largest page, plus one row that shows whether there are more.
_FULL_PAGE = MOST_TASKS + 1
# SQLSTATE class 22, data exception: a value is invalid for its type.
_DATA_EXCEPTION = "22"


@dataclass(frozen=True, slots=True)
class Page:
    """A page of the list, and the total of matching tasks.

    ``revision`` is the user's revision at which the page was read; ``None`` if the list also depends on the time.
    ``passed`` is the number of rows before the page.
    """

    tasks: list[TaskRow]
    total: int
    revision: int | None
    total_is_exact: bool = True
    passed: int = 0
    next_cursor: str | None = None


class Shape(NamedTuple):
    """A query without its values. ``after``: the part of the list where the page begins, and which keys are null."""

    filters: tuple[AppliedFilter, ...]
    sort: tuple[str, ...]
    search: search.Shape | None
    after: tuple[int, tuple[bool, ...]] | None
    skips: bool
    unless: bool


# Task: T-033
# Task: T-371
async def page(session: Session, query: TaskQuery, *, now: datetime, unless: Condition | None = None) -> Page:
    """Return a page of the tasks that match ``query``, and the total, as of ``now`` (aware).

    One round trip; two with a saved view, which is read first.

    If ``unless`` names the user's revision, and the result does not depend on the time, the list is not read
    and the page is empty. Raises Invalid for a cursor that the server did not issue, or that belongs to another query.
    """
    if query.view is not None:
        query = await _with_view(session, query, query.view)
    if query.model_fields_set <= _PLAIN:
        return await _plain_page(session, query, now, unless)
    return await _any_page(session, query, now, unless)


async def _with_view(session: Session, query: TaskQuery, view_id: UUID) -> TaskQuery:
    """Return the query with the filters and the order of its view. The query's own parameters take precedence."""
    view = await views.query_of(session, view_id)
    if view is None:
        raise Invalid(Fault("/view", "You have no such view."))
    own = {name: getattr(query, name) for name in query.model_fields_set - {"view"}}
    kept = {name: getattr(view, name) for name in view.model_fields_set - filters.parameters_like(own.keys())}
    return TaskQuery.model_construct(**{**kept, **own})


async def _plain_page(session: Session, query: TaskQuery, now: datetime, unless: Condition | None) -> Page:
    """Return a page of the newest tasks."""
    asked, values = filters.read(query, now=now)
    # One extra row shows whether there are more.
    place = {"skip": query.skip, "limit": query.limit + 1}
    if unless is not None:
        rows = await session.all(_page_unless(asked), **values, **place, seen=seen(unless))
        rows, total, revision = _apart(rows)
    else:
        counting, listing = _page_statements(asked)
        # The revision is read with the total, before the list: it may be older than the list, never newer.
        [count], rows = await session.together((counting, values), (listing, {**values, **place}))
        total, revision = count["total"], count["revision"]
    next_cursor = None
    if len(rows) > query.limit:
        del rows[query.limit :]
        end = Cursor(query.skip + query.limit, 0, (rows[-1]["created_at"], rows[-1]["id"]))
        next_cursor = cursors.encode(end, _digest_of(query))
    return Page(rows, total, revision, passed=query.skip, next_cursor=next_cursor)


def _apart(rows: list[TaskRow]) -> tuple[list[TaskRow], int, int]:
    """Split the rows of ``_page_unless``: return the tasks, the total and the revision."""
    if not rows:
        return [], 0, 0
    total, revision = rows[0]["total"], rows[0]["latest"]
    if rows[0]["id"] is None:
        return [], total, revision
    for row in rows:
        del row["total"], row["latest"]
    return rows, total, revision


async def _any_page(session: Session, query: TaskQuery, now: datetime, unless: Condition | None) -> Page:
    digest = _digest_of(query)
    cursor = _cursor_of(query, digest)
    searched = parse(query.q) if query.q is not None else None
    asked, filter_values = filters.read(query, now=now)
    is_time_dependent = filters.is_time_dependent(asked)
    unless = None if is_time_dependent else unless
    shape = shape_of(query, asked, searched, cursor, unless=unless is not None)
    values = {
        **filter_values,
        **_search_values(searched, cursor),
        **({f"after_{index}": value for index, value in enumerate(cursor.values)} if cursor else {}),
        "skip": query.skip,
        "limit": query.limit + 1,
        "seen": [] if unless is None else seen(unless),
    }
    try:
        counting, listing = _statements(shape)
        [count], rows = await session.together((counting, values), (listing, values))
    except (DatabaseFault, LookupError) as error:
        if cursor is None or (isinstance(error, DatabaseFault) and not error.sqlstate.startswith(_DATA_EXCEPTION)):
            raise
        raise _not_ours() from None
    passed = (cursor.passed if cursor else 0) + query.skip
    end = _end_of(rows, query.limit, passed)
    total, is_exact = count["total"], count.get("examined", 0) <= MOST_COUNTED
    if not is_exact:
        # A lower bound of the total.
        total = max(min(total, MOST_COUNTED), passed + len(rows) if rows else 0)
    return Page(
        [_shown(row, searched) for row in rows[: query.limit]],
        total,
        None if is_time_dependent else count["revision"],
        total_is_exact=is_exact,
        passed=passed,
        next_cursor=None if end is None else cursors.encode(end, digest),
    )


def shape_of(
    query: TaskQuery,
    asked: tuple[AppliedFilter, ...],
    searched: Query | None = None,
    cursor: Cursor | None = None,
    *,
    unless: bool = False,
) -> Shape:
    """Return the query without its values.

    ``asked`` are its filters, ``searched`` is the parsed ``q``, ``cursor`` the decoded cursor.
    """
    return Shape(
        filters=asked,
        sort=tuple(query.sort) or (() if searched else filters.default_sort(asked)),
        search=None if searched is None else search.shape_of(searched, chosen=cursor.word if cursor else None),
        after=None if cursor is None else (cursor.part, tuple(value is None for value in cursor.values)),
        skips=query.skip > 0,
        unless=unless,
    )


def _digest_of(query: TaskFilter) -> str:
    """Return a digest that identifies the query, independent of where the page begins and ends."""
    return cursors.digest_of(query.model_dump(mode="json", include=set(FILTERS), exclude_defaults=True))


def _cursor_of(query: TaskQuery, digest: str) -> Cursor | None:
    if query.cursor is None:
        return None
    try:
        return cursors.decode(query.cursor, digest)
    except ValueError as error:
        raise Invalid(Fault("/cursor", str(error))) from None


def _not_ours() -> Invalid:
    return Invalid(Fault("/cursor", cursors.NOT_OURS))


def _search_values(searched: Query | None, cursor: Cursor | None) -> Mapping[str, Any]:
    if searched is None:
        return {}
    try:
        return search.values_of(searched, chosen=cursor.word if cursor else None)
    except ValueError:
        raise _not_ours() from None


def _end_of(rows: list[TaskRow], limit: int, passed: int) -> Cursor | None:
    """Return the cursor of the last row of the page; ``None`` if there are no more rows."""
    if len(rows) <= limit:
        return None
    last = rows[limit - 1]
    values = [last[f"key_{index}"] for index in range(last["keys"])]
    return Cursor(passed + limit, last["part"], tuple(values), last["word"])


def _shown(row: TaskRow, searched: Query | None) -> TaskRow:
    """Return a task without the columns for the cursor, and with an excerpt if it was found by a search."""
    shown = {name: row[name] for name in PUBLIC_NAMES}
    return shown if searched is None else {**shown, "excerpt": search.excerpt_of(searched, row)}


# Task: T-371
@lru_cache(maxsize=_MOST_SHAPES)
def _statements(shape: Shape) -> tuple[Statement, Statement]:
    """Return the statement for the total (and the revision), and the one for the rows.

    A row has the number of its ``part`` of the list, the number of ``keys`` that order this part, their values
    ``key_0``, ``key_1`` and so on, and the ``word`` that was scanned. Raises LookupError if ``after`` is not a place in
    this list.
    """
    source = _source_of(shape)
    parts = _parts_after(source, shape)
    most = max(len(part.order) for _, part in parts)
    # With a constant limit, the planner prefers an index scan to a sort. PostgreSQL reads the parts in order, and stops
    # when the page is full. It never reads them in parallel, because app.uid() is PARALLEL UNSAFE.
    enough: ColumnElement[int] = _limit + _skip if shape.skips else literal_column(str(_FULL_PAGE))
    lists = [_part_list(source, number, part, most).limit(enough) for number, part in parts]
    found = lists[0].subquery("found") if len(lists) == 1 else union_all(*lists).subquery("found")
    return Statement(_counting(source, shape)), Statement(select(found).limit(_limit).offset(_skip))


class _Source(NamedTuple):
    """The table or join that tasks come from.

    ``walked`` are the conditions of the index scan.
    ``checks`` are the conditions on each row that it returns.
    ``rank`` is the order of the scanned index, if that is not an index of ``tasks``.
    """

    table: FromClause
    walked: list[ColumnElement[bool]]
    checks: list[ColumnElement[bool]]
    parts: list[Part]
    rank: tuple[Column, ...]
    word: ColumnElement[Any]


# BigInteger, because their sum may exceed the range of Integer.
_limit = bindparam("limit", type_=BigInteger)
_skip = bindparam("skip", type_=BigInteger)


def _source_of(shape: Shape) -> _Source:
    unless = [_unseen] if shape.unless else []
    non_null_keys = filters.non_null_keys(shape.filters)
    # Without ``sort``, the list is in the order of the scanned index, so the scan can start at the cursor.
    is_behind = shape.after is not None and not shape.sort
    if shape.search is not None:
        found = search.fragments(shape.search, trashed=filters.lists_trash(shape.filters), is_behind=is_behind)
        checks = [*found.conditions, *filters.conditions_of(shape.filters)]
        rank = tuple(_ranked(expression) for expression in found.rank)
        parts = parts_of(shape.sort, filled=non_null_keys) if shape.sort else [Part((), rank)]
        word = _nothing if found.word is None else found.word
        table = found.hits.join(tasks, found.on)
        return _Source(table, [mine, *found.walked, *unless], checks, parts, rank, word)
    index = filters.driving_index_of(shape.filters, is_behind=is_behind)
    conditions = filters.conditions_of(shape.filters, index)
    if index is None:
        return _Source(
            tasks, [mine, *conditions, *unless], [], parts_of(shape.sort, filled=non_null_keys), (), _nothing
        )
    newest = (Column(index.created_at, descending=True), Column(index.id, descending=True))
    parts = parts_of(shape.sort, filled=non_null_keys, newest_first=newest)
    table = index.table.join(tasks, index.on)
    return _Source(table, [mine, *index.conditions, *unless], conditions, parts, newest, _nothing)


_nothing: ColumnElement[Any] = cast(null(), Text)


def _ranked(expression: ColumnElement[Any]) -> Column:
    """Convert an ORDER BY expression of a search to a ``Column``."""
    descending = getattr(expression, "modifier", None) is operators.desc_op
    return Column(expression.element if descending else expression, descending)


# PostgreSQL evaluates this once, before the rest of the statement.
_unseen: ColumnElement[bool] = LATEST != all_(bindparam("seen", type_=ARRAY(BigInteger)))  # noqa: SIM300  A column.


def _parts_after(source: _Source, shape: Shape) -> list[tuple[int, Part]]:
    """Return the parts of the list after the cursor, each with its number in the whole list."""
    numbered = list(enumerate(source.parts))
    if shape.after is None:
        return numbered
    number, are_null = shape.after
    if number < 0 or number >= len(source.parts) or len(source.parts[number].order) != len(are_null):
        raise LookupError
    order = source.parts[number].order
    rest = following(order, are_null)
    begun = [(number, Part((*source.parts[number].conditions, *conditions), order)) for conditions in rest]
    return [*begun, *numbered[number + 1 :]]


def _part_list(source: _Source, number: int, part: Part, most: int) -> Select[Any]:
    keys = [column.told for column in part.order]
    keys += [cast(null(), Text)] * (most - len(keys))
    return (
        select(
            *PUBLIC,
            literal_column(str(number)).label("part"),
            literal_column(str(len(part.order))).label("keys"),
            source.word.label("word"),
            *(key.label(f"key_{index}") for index, key in enumerate(keys)),
        )
        .select_from(source.table)
        .where(*source.walked, *source.checks, *part.conditions)
        .order_by(*(column.ordered for column in part.order))
    )


def _counting(source: _Source, shape: Shape) -> Select[Any]:
    total = filters.total_of(shape.filters) if shape.search is None else None
    if total is not None:
        return select(total.label("total"), LATEST.label("revision"))
    # In the order of the scanned index, PostgreSQL reads no more rows than the limit.
    some = (
        select(and_(true(), *source.checks).label("fits"))
        .select_from(source.table)
        .where(*source.walked)
        .order_by(*(column.ordered for column in source.rank))
        .limit(literal_column(str(MOST_COUNTED + 1)))
        .cte("some")
    )
    number = func.count()
    return select(
        select(number).select_from(some).where(some.c.fits).scalar_subquery().label("total"),
        select(number).select_from(some).scalar_subquery().label("examined"),
        LATEST.label("revision"),
    )


@cache
def _page_statements(asked: tuple[AppliedFilter, ...]) -> tuple[Statement, Statement]:
    """Return the statement for the total (and the revision), and the one for the rows."""
    counting = select(_total(asked).label("total"), LATEST.label("revision"))
    return Statement(counting), Statement(_listing(asked))


# Task: T-122
@cache
def _page_unless(asked: tuple[AppliedFilter, ...]) -> Statement:
    """Return one statement for revision, total and rows. If the revision is in ``seen``, it reads only that.

    Each row has the total and the revision; without tasks there is one row with only these. A full page costs more than
    with two statements, an empty one costs less.
    """
    listed = _listing(asked, not_seen()).lateral("listed")
    return Statement(
        select(
            HEAD_ROW.c.revision.label("latest"),
            case((not_seen(), _total(asked)), else_=literal_column("0")).label("total"),
            listed,
        )
        .outerjoin_from(HEAD_ROW, listed, true())
        .order_by(*_newest_first(listed))
    )


def _total(asked: tuple[AppliedFilter, ...]) -> ColumnElement[int]:
    total = filters.total_of(asked)
    if total is None:
        raise LookupError(asked)
    return total


def _listing(asked: tuple[AppliedFilter, ...], *conditions: ColumnElement[bool]) -> Select[Any]:
    return (
        select(*PUBLIC)
        .where(mine, *filters.conditions_of(asked), *conditions)
        .order_by(*_newest_first(tasks))
        .limit(_limit)
        .offset(_skip)
    )


def _newest_first(tasks: FromClause) -> tuple[ColumnElement[Any], ...]:
    return tasks.c.created_at.desc(), tasks.c.id.desc()
