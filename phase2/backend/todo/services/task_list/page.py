"""The task list: a page for any filters and sort order, and the total.

The most common list is newest first, with no filter other than those with counters: status, priority and category. It
has its own statements, so it does not pay for the general case.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache, lru_cache
from time import perf_counter
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

from todo.database import MAX_CACHED_STATEMENTS, DatabaseError, Session, Statement
from todo.errors import FieldError, Invalid
from todo.kit import cursors
from todo.kit.cursors import Cursor
from todo.kit.etags import Condition
from todo.kit.queries import Query, parse
from todo.models.task_list import FILTERS, MAX_COUNTED, MAX_TASKS, TaskFilter, TaskQuery
from todo.services import views
from todo.services.revisions import CURRENT_REVISION_ROW, LATEST_REVISION, revision_not_seen, seen_revisions
from todo.services.task_list import filters, search
from todo.services.task_list.filter_types import AppliedFilter
from todo.services.task_list.sorting import Column, Segment, following, segments_of
from todo.services.tasks.statements import PUBLIC, PUBLIC_NAMES, TaskRow, owned_by_caller, tasks

_PLAIN = filters.COUNTED | {"skip", "limit"}
# The largest page, plus one row that shows whether there are more.
_FULL_PAGE = MAX_TASKS + 1
# The event loop runs other requests after this time. One excerpt takes up to 3 ms.
_MAX_SECONDS_AT_ONCE = 0.005
# SQLSTATE class 22, data exception: a value is invalid for its type.
_DATA_EXCEPTION = "22"


@dataclass(frozen=True, slots=True)
class Page:
    """A page of the list, and the total of matching tasks.

    ``revision`` is the user's revision at which the page was read; ``None`` if the list also depends on the time.
    ``offset`` is the number of rows before the page.
    """

    tasks: list[TaskRow]
    total: int
    revision: int | None
    total_is_exact: bool = True
    offset: int = 0
    next_cursor: str | None = None


class QueryShape(NamedTuple):
    """A query without its values. ``after``: the part of the list where the page begins, and which keys are null."""

    filters: tuple[AppliedFilter, ...]
    sort: tuple[str, ...]
    search: search.SearchShape | None
    after: tuple[int, tuple[bool, ...]] | None
    skips: bool
    if_none_match: bool


# Task: T-033
# Task: T-371
async def page(session: Session, query: TaskQuery, *, now: datetime, if_none_match: Condition | None = None) -> Page:
    """Return a page of the tasks that match ``query``, and the total, as of ``now`` (aware).

    One round trip; two with a saved view, which is read first.

    If ``if_none_match`` names the user's revision, and the result does not depend on the time, the list is not read
    and the page is empty. Raises Invalid for a cursor that the server did not issue, or that belongs to another query.
    """
    if query.view is not None:
        query = await _with_view(session, query, query.view)
    if query.model_fields_set <= _PLAIN:
        return await _plain_page(session, query, now, if_none_match)
    return await _any_page(session, query, now, if_none_match)


async def _with_view(session: Session, query: TaskQuery, view_id: UUID) -> TaskQuery:
    """Return the query with the filters and the order of its view. The query's own parameters take precedence."""
    view = await views.query_of(session, view_id)
    if view is None:
        raise Invalid(FieldError("/view", "You have no such view."))
    own = {name: getattr(query, name) for name in query.model_fields_set - {"view"}}
    kept = {name: getattr(view, name) for name in view.model_fields_set - filters.parameters_like(own.keys())}
    return TaskQuery.model_construct(**{**kept, **own})


async def _plain_page(session: Session, query: TaskQuery, now: datetime, if_none_match: Condition | None) -> Page:
    """Return a page of the newest tasks."""
    asked, values = filters.read(query, now=now)
    # One extra row shows whether there are more.
    place = {"skip": query.skip, "limit": query.limit + 1}
    if if_none_match is not None:
        rows = await session.fetch_all(
            _page_statement_if_changed(asked), **values, **place, seen=seen_revisions(if_none_match)
        )
        rows, total, revision = _split_page_rows(rows)
    else:
        counting, listing = _page_statements(asked)
        # The revision is read with the total, before the list: it may be older than the list, never newer.
        [count], rows = await session.execute_many((counting, values), (listing, {**values, **place}))
        total, revision = count["total"], count["revision"]
    next_cursor = None
    if len(rows) > query.limit:
        del rows[query.limit :]
        end = Cursor(query.skip + query.limit, 0, (rows[-1]["created_at"], rows[-1]["id"]))
        next_cursor = cursors.encode(end, _digest_of(query))
    return Page(rows, total, revision, offset=query.skip, next_cursor=next_cursor)


def _split_page_rows(rows: list[TaskRow]) -> tuple[list[TaskRow], int, int]:
    """Split the rows of ``_page_statement_if_changed``: return the tasks, the total and the revision."""
    if not rows:
        return [], 0, 0
    total, revision = rows[0]["total"], rows[0]["latest"]
    if rows[0]["id"] is None:
        return [], total, revision
    for row in rows:
        del row["total"], row["latest"]
    return rows, total, revision


async def _any_page(session: Session, query: TaskQuery, now: datetime, if_none_match: Condition | None) -> Page:
    digest = _digest_of(query)
    cursor = _cursor_of(query, digest)
    searched = parse(query.q) if query.q is not None else None
    asked, filter_values = filters.read(query, now=now)
    is_time_dependent = filters.is_time_dependent(asked)
    if_none_match = None if is_time_dependent else if_none_match
    shape = shape_of(query, asked, searched, cursor, if_none_match=if_none_match is not None)
    values = {
        **filter_values,
        **_search_values(searched, cursor),
        **({f"after_{index}": value for index, value in enumerate(cursor.values)} if cursor else {}),
        "skip": query.skip,
        "limit": query.limit + 1,
        "seen": [] if if_none_match is None else seen_revisions(if_none_match),
    }
    try:
        counting, listing = _statements(shape)
        [count], rows = await session.execute_many((counting, values), (listing, values))
    except (DatabaseError, LookupError) as error:
        if cursor is None or (isinstance(error, DatabaseError) and not error.sqlstate.startswith(_DATA_EXCEPTION)):
            raise
        raise _not_ours() from None
    offset = (cursor.offset if cursor else 0) + query.skip
    end = _end_of(rows, query.limit, offset)
    total, is_exact = count["total"], count.get("examined", 0) <= MAX_COUNTED
    if not is_exact:
        # A lower bound of the total.
        total = max(min(total, MAX_COUNTED), offset + len(rows) if rows else 0)
    return Page(
        await _to_public(rows[: query.limit], searched),
        total,
        None if is_time_dependent else count["revision"],
        total_is_exact=is_exact,
        offset=offset,
        next_cursor=None if end is None else cursors.encode(end, digest),
    )


def shape_of(
    query: TaskQuery,
    asked: tuple[AppliedFilter, ...],
    searched: Query | None = None,
    cursor: Cursor | None = None,
    *,
    if_none_match: bool = False,
) -> QueryShape:
    """Return the query without its values.

    ``asked`` are its filters, ``searched`` is the parsed ``q``, ``cursor`` the decoded cursor.
    """
    return QueryShape(
        filters=asked,
        sort=tuple(query.sort) or (() if searched else filters.default_sort(asked)),
        search=None if searched is None else search.shape_of(searched, chosen=cursor.word if cursor else None),
        after=None if cursor is None else (cursor.part, tuple(value is None for value in cursor.values)),
        skips=query.skip > 0,
        if_none_match=if_none_match,
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
        raise Invalid(FieldError("/cursor", str(error))) from None


def _not_ours() -> Invalid:
    return Invalid(FieldError("/cursor", cursors.UNKNOWN_CURSOR))


def _search_values(searched: Query | None, cursor: Cursor | None) -> Mapping[str, Any]:
    if searched is None:
        return {}
    try:
        return search.values_of(searched, chosen=cursor.word if cursor else None)
    except ValueError:
        raise _not_ours() from None


def _end_of(rows: list[TaskRow], limit: int, offset: int) -> Cursor | None:
    """Return the cursor of the last row of the page; ``None`` if there are no more rows."""
    if len(rows) <= limit:
        return None
    last = rows[limit - 1]
    values = [last[f"key_{index}"] for index in range(last["keys"])]
    return Cursor(offset + limit, last["part"], tuple(values), last["word"])


async def _to_public(rows: Sequence[TaskRow], searched: Query | None) -> list[TaskRow]:
    """Return tasks without the columns for the cursor, and with an excerpt if they were found by a search.

    Other requests run in between: the excerpts of a page with long texts can take a quarter of a second.
    """
    found = [{name: row[name] for name in PUBLIC_NAMES} for row in rows]
    if searched is not None:
        resumed = perf_counter()
        for task in found:
            task["excerpt"] = search.excerpt_of(searched, task)
            if perf_counter() - resumed > _MAX_SECONDS_AT_ONCE:
                await asyncio.sleep(0)
                resumed = perf_counter()
    return found


# Task: T-371
@lru_cache(maxsize=MAX_CACHED_STATEMENTS)
def _statements(shape: QueryShape) -> tuple[Statement, Statement]:
    """Return the statement for the total (and the revision), and the one for the rows.

    A row has the number of its ``part`` of the list, the number of ``keys`` that order this part, their values
    ``key_0``, ``key_1`` and so on, and the ``word`` that was scanned. Raises LookupError if ``after`` is not a place in
    this list.
    """
    source = _source_of(shape)
    segments = _segments_after(source, shape)
    most = max(len(part.order) for _, part in segments)
    # With a constant limit, the planner prefers an index scan to a sort. PostgreSQL reads the parts in order, and stops
    # when the page is full. It never reads them in parallel, because app.uid() is PARALLEL UNSAFE.
    enough: ColumnElement[int] = _limit + _skip if shape.skips else literal_column(str(_FULL_PAGE))
    lists = [_segment_rows(source, number, part, most).limit(enough) for number, part in segments]
    found = lists[0].subquery("found") if len(lists) == 1 else union_all(*lists).subquery("found")
    return Statement(_counting(source, shape)), Statement(select(found).limit(_limit).offset(_skip))


class _Source(NamedTuple):
    """The table or join that tasks come from.

    ``index_conditions`` are the conditions of the index scan.
    ``residual_conditions`` are the conditions on each row that it returns.
    ``rank`` is the order of the scanned index, if that is not an index of ``tasks``.
    """

    table: FromClause
    index_conditions: list[ColumnElement[bool]]
    residual_conditions: list[ColumnElement[bool]]
    segments: list[Segment]
    rank: tuple[Column, ...]
    word: ColumnElement[Any]


# BigInteger, because their sum may exceed the range of Integer.
_limit = bindparam("limit", type_=BigInteger)
_skip = bindparam("skip", type_=BigInteger)


def _source_of(shape: QueryShape) -> _Source:
    if_none_match = [_unseen] if shape.if_none_match else []
    non_null_keys = filters.non_null_keys(shape.filters)
    # Without ``sort``, the list is in the order of the scanned index, so the scan can start at the cursor.
    is_behind = shape.after is not None and not shape.sort
    if shape.search is not None:
        found = search.fragments(shape.search, trashed=filters.lists_trash(shape.filters), is_behind=is_behind)
        residual_conditions = [*found.conditions, *filters.conditions_of(shape.filters)]
        rank = tuple(_ranked(expression) for expression in found.rank)
        segments = segments_of(shape.sort, filled=non_null_keys) if shape.sort else [Segment((), rank)]
        word = _nothing if found.word is None else found.word
        table = found.hits.join(tasks, found.on)
        return _Source(
            table, [owned_by_caller, *found.index_conditions, *if_none_match], residual_conditions, segments, rank, word
        )
    index = filters.driving_index_of(shape.filters, is_behind=is_behind)
    conditions = filters.conditions_of(shape.filters, index)
    if index is None:
        return _Source(
            tasks,
            [owned_by_caller, *conditions, *if_none_match],
            [],
            segments_of(shape.sort, filled=non_null_keys),
            (),
            _nothing,
        )
    newest = (Column(index.created_at, descending=True), Column(index.id, descending=True))
    segments = segments_of(shape.sort, filled=non_null_keys, newest_first=newest)
    table = index.table.join(tasks, index.on)
    return _Source(table, [owned_by_caller, *index.conditions, *if_none_match], conditions, segments, newest, _nothing)


_nothing: ColumnElement[Any] = cast(null(), Text)


def _ranked(expression: ColumnElement[Any]) -> Column:
    """Convert an ORDER BY expression of a search to a ``Column``."""
    descending = getattr(expression, "modifier", None) is operators.desc_op
    return Column(expression.element if descending else expression, descending)


# PostgreSQL evaluates this once, before the rest of the statement.
_unseen: ColumnElement[bool] = LATEST_REVISION != all_(bindparam("seen", type_=ARRAY(BigInteger)))  # noqa: SIM300  A column.


def _segments_after(source: _Source, shape: QueryShape) -> list[tuple[int, Segment]]:
    """Return the parts of the list after the cursor, each with its number in the whole list."""
    numbered = list(enumerate(source.segments))
    if shape.after is None:
        return numbered
    number, are_null = shape.after
    if number < 0 or number >= len(source.segments) or len(source.segments[number].order) != len(are_null):
        raise LookupError
    order = source.segments[number].order
    rest = following(order, are_null)
    begun = [(number, Segment((*source.segments[number].conditions, *conditions), order)) for conditions in rest]
    return [*begun, *numbered[number + 1 :]]


def _segment_rows(source: _Source, number: int, part: Segment, most: int) -> Select[Any]:
    keys = [column.as_text for column in part.order]
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
        .where(*source.index_conditions, *source.residual_conditions, *part.conditions)
        .order_by(*(column.ordered for column in part.order))
    )


def _counting(source: _Source, shape: QueryShape) -> Select[Any]:
    total = filters.total_of(shape.filters) if shape.search is None else None
    if total is not None:
        return select(total.label("total"), LATEST_REVISION.label("revision"))
    # In the order of the scanned index, PostgreSQL reads no more rows than the limit.
    some = (
        select(and_(true(), *source.residual_conditions).label("fits"))
        .select_from(source.table)
        .where(*source.index_conditions)
        .order_by(*(column.ordered for column in source.rank))
        .limit(literal_column(str(MAX_COUNTED + 1)))
        .cte("some")
    )
    number = func.count()
    return select(
        select(number).select_from(some).where(some.c.fits).scalar_subquery().label("total"),
        select(number).select_from(some).scalar_subquery().label("examined"),
        LATEST_REVISION.label("revision"),
    )


@cache
def _page_statements(asked: tuple[AppliedFilter, ...]) -> tuple[Statement, Statement]:
    """Return the statement for the total (and the revision), and the one for the rows."""
    counting = select(_total(asked).label("total"), LATEST_REVISION.label("revision"))
    return Statement(counting), Statement(_listing(asked))


# Task: T-122
@cache
def _page_statement_if_changed(asked: tuple[AppliedFilter, ...]) -> Statement:
    """Return one statement for revision, total and rows. If the revision is in ``seen``, it reads only that.

    Each row has the total and the revision; without tasks there is one row with only these. A full page costs more than
    with two statements, an empty one costs less.
    """
    listed = _listing(asked, revision_not_seen()).lateral("listed")
    return Statement(
        select(
            CURRENT_REVISION_ROW.c.revision.label("latest"),
            case((revision_not_seen(), _total(asked)), else_=literal_column("0")).label("total"),
            listed,
        )
        .outerjoin_from(CURRENT_REVISION_ROW, listed, true())
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
        .where(owned_by_caller, *filters.conditions_of(asked), *conditions)
        .order_by(*_newest_first(tasks))
        .limit(_limit)
        .offset(_skip)
    )


def _newest_first(tasks: FromClause) -> tuple[ColumnElement[Any], ...]:
    return tasks.c.created_at.desc(), tasks.c.id.desc()
