"""Full-text search: the part of a list statement that finds tasks by their words, best match first.

Under row-level security only leakproof operators can use an index, and the operators of PostgreSQL's own full-text
search are not leakproof. So a search scans the rows of one word in ``task_words`` in result order, or the user's newest
tasks. It checks the rest of the query for each row, and stops when the page is full.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import (
    ARRAY,
    CTE,
    ColumnElement,
    FromClause,
    Text,
    all_,
    and_,
    any_,
    bindparam,
    case,
    cast,
    func,
    literal_column,
    not_,
    or_,
    select,
    true,
    union_all,
)

from todo.database import OwnedByCaller, Row
from todo.kit.excerpts import excerpt
from todo.kit.queries import Query
from todo.models.base import table_of
from todo.models.search_index import TaskWord
from todo.models.tasks import Task
from todo.services.task_list import intersection

_tasks = table_of(Task)
_task_words = table_of(TaskWord)

# Up to this many matching rows are counted or sorted. The fewer rows match, the more other rows an ordered scan reads.
_FEW = 2_000
# As in ``todo.services.task_list.filters``, but lower: counts of frequent words stop at ``_FEW``, and a few times as
# many rows may have to be read.
_READ_PER_LOOK_UP = 8
_BEHIND_EVERY_LETTER = "\U0010ffff"


class SearchShape(NamedTuple):
    """The kinds of terms in a query, without the words. Statements are compiled once for each shape."""

    words: bool
    several_words: bool
    chosen: bool
    more_prefixes: bool
    phrases: bool
    unwanted_words: bool
    unwanted_prefixes: bool
    unwanted_phrases: bool


# Task: T-363
@dataclass(frozen=True, slots=True)
class Search:
    """The fragments that a statement on ``tasks`` needs for a search.

    FROM: ``hits``, joined by ``on`` (each task at most once).
    WHERE: ``index_conditions``, the conditions of the index scan, and ``conditions``, which are checked for each hit.
    ORDER BY: ``rank``, columns of ``hits`` that together are unique. With a word, the rank is title before tags before
    description, then newest first. With several words, it is the rank of the rarest one. With prefixes only, it is
    newest first.

    ``word`` is the scanned word, if any. The rarest word can change between two pages, so the cursor contains it, and
    the next page passes it as ``chosen``.
    """

    hits: FromClause
    on: ColumnElement[bool]
    index_conditions: tuple[ColumnElement[bool], ...]
    conditions: tuple[ColumnElement[bool], ...]
    rank: tuple[ColumnElement[Any], ...]
    word: ColumnElement[str] | None


# Task: T-363
def shape_of(query: Query, *, chosen: str | None = None) -> SearchShape:
    """Return which kinds of terms a query has."""
    required, excluded = query.required, query.excluded
    return SearchShape(
        words=bool(required.words),
        several_words=len(required.words) > 1,
        chosen=chosen is not None,
        # Without words, the scan itself ensures one of the prefixes.
        more_prefixes=len(required.prefixes) > (0 if required.words else 1),
        phrases=bool(required.phrases),
        unwanted_words=bool(excluded.words),
        unwanted_prefixes=bool(excluded.prefixes),
        unwanted_phrases=bool(excluded.phrases),
    )


# Task: T-363
def values_of(query: Query, *, chosen: str | None = None) -> Mapping[str, Any]:
    """Return the bind parameters for the query's shape. A statement uses those that it names.

    Raises ValueError if ``chosen`` is not a word of the query.
    """
    required, excluded = query.required, query.excluded
    if chosen is not None and chosen not in required.words:
        raise ValueError("the chosen word is not a word of this search")
    return {
        "search_word": chosen or next(iter(required.words), ""),
        "search_words": list(required.words),
        "search_prefix": max(required.prefixes, key=len, default=""),
        "search_prefixes": list(required.prefixes),
        "search_phrases": [f"%{phrase}%" for phrase in required.phrases],
        "search_unwanted_words": list(excluded.words),
        "search_unwanted_prefixes": list(excluded.prefixes),
        "search_unwanted_phrases": [f"%{phrase}%" for phrase in excluded.phrases],
    }


# Task: T-363
def excerpt_of(query: Query, row: Row) -> str:
    """Return the part of a task's title, tags or description that matches the query, as HTML."""
    return excerpt(query.required, [row["title"], ", ".join(row["tags"]), row["description"] or ""])


# Task: T-363
@cache
def fragments(shape: SearchShape, *, trashed: bool = False, is_behind: bool = False) -> Search:
    """Return the fragments for queries of this shape, for the tasks in the trash or for all others.

    If ``is_behind``, the scan of a word starts at the row with the rank ``after_0``, ``after_1`` and so on.
    """
    return _by_word(shape, is_behind=is_behind) if shape.words else _by_prefix(shape, trashed=trashed)


def _by_word(shape: SearchShape, *, is_behind: bool) -> Search:
    """Scan the rows of one word; with several words, those of the rarest."""
    hits = _task_words.alias("hits")
    finds_rarest = shape.several_words and not shape.chosen
    word = _rarest(0) if finds_rarest else bindparam("search_word", type_=Text)
    return Search(
        hits,
        hits.c.task_id == _tasks.c.id,
        (OwnedByCaller(hits), hits.c.word == word),
        _conditions(shape, hits.c.task_id, _has_all(hits, word, shape, is_behind=is_behind)),
        _rank(hits),
        hits.c.word,
    )


def _rank(words: FromClause) -> tuple[ColumnElement[Any], ...]:
    return words.c.weight, words.c.created_at.desc(), words.c.task_id.desc()


def _has_all(hits: FromClause, word: ColumnElement[str], shape: SearchShape, *, is_behind: bool) -> ColumnElement[bool]:
    """Match hits that have all of several words."""
    typed, others = _texts("search_words"), _task_words.alias("next_rarest")
    has_all = _number_of(hits.c.task_id, typed) == func.cardinality(typed)
    place = _place(word, is_behind=is_behind)
    weight, created_at = (select(place.c[name]).scalar_subquery() for name in ("weight", "created_at"))
    far = or_(hits.c.weight > weight, and_(hits.c.weight == weight, hits.c.created_at <= created_at))
    another = _rarest(0, but=word) if shape.chosen else _rarest(1)
    ids = select(others.c.task_id).where(OwnedByCaller(others), others.c.word == another)
    return intersection.probe_then_hash(hits.c.task_id, has_all, far, ids)


def _place(word: ColumnElement[str], *, is_behind: bool) -> CTE:
    """Return the rank after which hits are past the probe limit, counted from the start of the scan; else no row."""
    ahead = _task_words.alias("ahead")
    hits = select(ahead.c.weight, ahead.c.created_at).where(
        OwnedByCaller(ahead), ahead.c.word == word, _hashing_is_cheaper()
    )
    most = intersection.probe_limit(_of_ranked("number", 1), per_look_up=_READ_PER_LOOK_UP)
    if not is_behind:
        return hits.order_by(*_rank(ahead)).offset(most).limit(literal_column("1")).cte("place")
    weight, created_at = (
        cast(bindparam(f"after_{index}", type_=Text), column.type)
        for index, column in enumerate((ahead.c.weight, ahead.c.created_at))
    )
    # Each part starts at its place in the index, and the parts are read one after the other.
    parts = [
        part.order_by(*_rank(ahead)).limit(most + literal_column("1"))
        for part in (
            hits.where(ahead.c.weight == weight, ahead.c.created_at <= created_at),
            hits.where(ahead.c.weight > weight),
        )
    ]
    rest = union_all(*parts).subquery("rest")
    return select(rest).offset(most).limit(literal_column("1")).cte("place")


def _by_prefix(shape: SearchShape, *, trashed: bool) -> Search:
    """If few words have the longest prefix, collect and sort their tasks. Otherwise scan all tasks, newest first."""
    prefix = bindparam("search_prefix", type_=Text)
    words, newest = _task_words.alias("words"), _tasks.alias("newest")
    begins = and_(OwnedByCaller(words), _begins_with(words, prefix))
    some = (
        select(literal_column("1").label("one"))
        .select_from(words)
        .where(begins)
        .limit(literal_column(str(_FEW + 1)))
        .subquery("some")
    )
    counted = select(func.count().label("number")).select_from(some).cte("counted")
    are_few = select(counted.c.number <= literal_column(str(_FEW))).scalar_subquery()
    collected = (
        select(words.c.task_id, words.c.created_at)
        .where(begins, are_few)
        .distinct()
        .order_by(words.c.created_at.desc(), words.c.task_id.desc())
    )
    passed = (
        select(newest.c.id, newest.c.created_at)
        .where(
            OwnedByCaller(newest),
            newest.c.trashed_at.is_not(None) if trashed else newest.c.trashed_at.is_(None),
            not_(are_few),
            _has_prefix(newest.c.id, prefix),
        )
        .order_by(newest.c.created_at.desc(), newest.c.id.desc())
    )
    # Both are sorted, so PostgreSQL merges them, and stops when the page is full.
    hits = union_all(collected, passed).subquery("hits")
    return Search(
        hits,
        hits.c.task_id == _tasks.c.id,
        (),
        _conditions(shape, hits.c.task_id, true()),
        (hits.c.created_at.desc(), hits.c.task_id.desc()),
        None,
    )


def _rarest(place: int, *, but: ColumnElement[str] | None = None) -> ColumnElement[Any]:
    """Return the rarest word (``place`` 0), or one of the following. Words with ``_FEW`` tasks or more rank equal."""
    return _of_ranked("word", place, *([] if but is None else [_ranked().c.word != but]))


def _hashing_is_cheaper() -> ColumnElement[bool]:
    # False if only the rarest word has fewer than ``_FEW`` tasks. Counts stop there, so the real number of rows of the
    # next word is not known.
    most: ColumnElement[int] = literal_column(str(_FEW))
    return or_(_of_ranked("number", 0) >= most, _of_ranked("number", 1) < most)


def _of_ranked(name: str, place: int, *conditions: ColumnElement[bool]) -> ColumnElement[Any]:
    there = select(_ranked().c[name]).where(*conditions)
    return there.offset(literal_column(str(place))).limit(literal_column("1")).scalar_subquery()


@cache
def _ranked() -> CTE:
    typed = func.unnest(_texts("search_words")).table_valued("word", name="typed").render_derived()
    words = _task_words.alias("counted")
    some = (
        select(literal_column("1").label("one"))
        .select_from(words)
        .where(OwnedByCaller(words), words.c.word == typed.c.word)
        .limit(literal_column(str(_FEW)))
        .correlate(typed)
        .subquery("some")
    )
    number = select(func.count()).select_from(some).correlate(typed).scalar_subquery().label("number")
    return select(typed.c.word, number).order_by(number).cte("ranked")


def _conditions(
    shape: SearchShape, task_id: ColumnElement[Any], has_all: ColumnElement[bool]
) -> tuple[ColumnElement[bool], ...]:
    """Return the further conditions on a hit.

    They count in scalar subqueries: PostgreSQL would turn EXISTS into a join, and might start with it.
    """
    excluded = _texts("search_unwanted_words")
    prefixes, unwanted_prefixes = _texts("search_prefixes"), _texts("search_unwanted_prefixes")
    text = _searched_text()
    conditions = (
        (shape.several_words, has_all),
        (shape.unwanted_words, _number_of(task_id, excluded) == 0),
        (shape.more_prefixes, _number_of_prefixes(task_id, prefixes) == func.cardinality(prefixes)),
        (shape.unwanted_prefixes, _number_of_prefixes(task_id, unwanted_prefixes) == 0),
        (shape.phrases, _of_hits(task_id, text.like(all_(_texts("search_phrases"))))),
        (shape.unwanted_phrases, _of_hits(task_id, text.not_like(all_(_texts("search_unwanted_phrases"))))),
    )
    return tuple(condition for holds, condition in conditions if holds)


def _of_hits(task_id: ColumnElement[Any], condition: ColumnElement[bool]) -> ColumnElement[bool]:
    # The CASE refers to both sides of the join, so it is evaluated after the join. Otherwise PostgreSQL might read the
    # texts of all tasks first.
    return case((task_id == _tasks.c.id, condition))


def _number_of(task_id: ColumnElement[Any], names: ColumnElement[Any]) -> ColumnElement[Any]:
    words = _task_words.alias("others")
    return (
        select(func.count())
        .select_from(words)
        .where(OwnedByCaller(words), words.c.task_id == task_id, words.c.word == any_(names))
        .correlate_except(words)
        .scalar_subquery()
    )


def _number_of_prefixes(task_id: ColumnElement[Any], names: ColumnElement[Any]) -> ColumnElement[Any]:
    beginnings = func.unnest(names).table_valued("prefix", name="beginnings").render_derived()
    return (
        select(func.count())
        .select_from(beginnings)
        .where(_has_prefix(task_id, beginnings.c.prefix))
        .correlate_except(beginnings)
        .scalar_subquery()
    )


def _has_prefix(task_id: ColumnElement[Any], prefix: ColumnElement[str]) -> ColumnElement[bool]:
    words = _task_words.alias("others")
    one = (
        select(literal_column("1"))
        .select_from(words)
        .where(OwnedByCaller(words), words.c.task_id == task_id, _begins_with(words, prefix))
        .limit(literal_column("1"))
        .correlate_except(words)
        .scalar_subquery()
    )
    return one.is_not(None)


def _begins_with(words: FromClause, prefix: ColumnElement[str]) -> ColumnElement[bool]:
    # Words are compared byte by byte, and no character sorts after the last code point.
    return and_(words.c.word >= prefix, words.c.word < func.concat(prefix, _BEHIND_EVERY_LETTER))


def _searched_text() -> ColumnElement[str]:
    title, description = (func.app.normalize_for_search(_tasks.c[name]) for name in ("title", "description"))
    tags = func.app.normalize_array_for_search(_tasks.c.tags)
    return func.concat_ws(literal_column("'|'"), title, tags, description)


def _texts(name: str) -> ColumnElement[Any]:
    return bindparam(name, type_=ARRAY(Text))
