"""Full-text search: the part of a list's statement that finds tasks by their words, best first.

Row-level security lets only leakproof operators use an index, and those of PostgreSQL's own full-text search are not.
So a search is a walk along one word's rows of ``task_words`` in the order of the answer, or along the user's newest
tasks, which looks up the rest of the query row by row and ends when the page is full.
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
    Integer,
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

from todo.database import OwnedByCaller, Row, Statement
from todo.kit.excerpts import excerpt
from todo.kit.queries import Query
from todo.models.base import table_of
from todo.models.tasks import Task
from todo.models.words import TaskWord
from todo.services import meeting

_tasks = table_of(Task)
_task_words = table_of(TaskWord)

# How many rows are rather counted, or sorted, than passed by: the fewer there are, the more a walk passes by.
_FEW = 2_000
# As in filters, but fewer: of a word that many tasks have, a few times as many rows may be read as were counted.
_READ_PER_LOOK_UP = 8
_BEHIND_EVERY_LETTER = "\U0010ffff"


class Shape(NamedTuple):
    """What a query has, whatever its words: statements are compiled once for each."""

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
    """What a statement on ``tasks`` needs in order to search.

    FROM gets ``hits``, joined by ``on`` (each task at most once), WHERE gets ``walked``, which is what the index finds,
    and ``conditions``, which are looked up for each hit; and ORDER BY gets ``rank``, columns of ``hits`` which no two
    tasks share. By a word that is: the title before the tags before the description, then the newest; of several words
    it is the rarest one's. Where there are only prefixes, the newest.

    ``word`` is the word that was walked along, if any. Which one is the rarest may change: who goes on behind a row
    later gives it back, as ``chosen``.
    """

    hits: FromClause
    on: ColumnElement[bool]
    walked: tuple[ColumnElement[bool], ...]
    conditions: tuple[ColumnElement[bool], ...]
    rank: tuple[ColumnElement[Any], ...]
    word: ColumnElement[str] | None


# Task: T-363
def shape_of(query: Query, *, chosen: str | None = None) -> Shape:
    """Return what kinds of terms a query has."""
    wanted, unwanted = query.wanted, query.unwanted
    return Shape(
        words=bool(wanted.words),
        several_words=len(wanted.words) > 1,
        chosen=chosen is not None,
        # One of them may be what is walked along.
        more_prefixes=len(wanted.prefixes) > (0 if wanted.words else 1),
        phrases=bool(wanted.phrases),
        unwanted_words=bool(unwanted.words),
        unwanted_prefixes=bool(unwanted.prefixes),
        unwanted_phrases=bool(unwanted.phrases),
    )


# Task: T-363
def values_of(query: Query, *, chosen: str | None = None) -> Mapping[str, Any]:
    """Return the values of the fragments of the query's shape; a statement takes those that it names.

    Raises ValueError if ``chosen`` is not a word of the query.
    """
    wanted, unwanted = query.wanted, query.unwanted
    if chosen is not None and chosen not in wanted.words:
        raise ValueError("Another search began there.")
    return {
        "search_word": chosen or next(iter(wanted.words), ""),
        "search_words": list(wanted.words),
        "search_prefix": max(wanted.prefixes, key=len, default=""),
        "search_prefixes": list(wanted.prefixes),
        "search_phrases": [f"%{phrase}%" for phrase in wanted.phrases],
        "search_unwanted_words": list(unwanted.words),
        "search_unwanted_prefixes": list(unwanted.prefixes),
        "search_unwanted_phrases": [f"%{phrase}%" for phrase in unwanted.phrases],
    }


# Task: T-363
def excerpt_of(query: Query, row: Row) -> str:
    """Return the part of a found task's title, tags or description that shows why, as HTML."""
    return excerpt(query.wanted, [row["title"], ", ".join(row["tags"]), row["description"] or ""])


# Task: T-363
@cache
def fragments(shape: Shape, *, trashed: bool = False, is_behind: bool = False) -> Search:
    """Return what finds the tasks of a query of this shape, best first: those in the trash, or all others.

    Where it ``is_behind``, the walk along a word begins at a row of the rank ``after_0`` and on.
    """
    return _by_word(shape, is_behind=is_behind) if shape.words else _by_prefix(shape, trashed=trashed)


# Task: T-363
@cache
def first_page(shape: Shape) -> Statement:
    """Return the statement for the best ``limit`` tasks of a search without any other filter."""
    search = fragments(shape)
    return Statement(
        select(_tasks.c.id, _tasks.c.title)
        .select_from(search.hits.join(_tasks, search.on))
        .where(OwnedByCaller(_tasks), *search.walked, *search.conditions)
        .order_by(*search.rank)
        .limit(bindparam("limit", type_=Integer))
    )


def _by_word(shape: Shape, *, is_behind: bool) -> Search:
    """Walk along the rows of one word, of several the rarest."""
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


def _has_all(hits: FromClause, word: ColumnElement[str], shape: Shape, *, is_behind: bool) -> ColumnElement[bool]:
    """Hold for a hit that has all of several words."""
    typed, others = _texts("search_words"), _task_words.alias("next_rarest")
    has_all = _number_of(hits.c.task_id, typed) == func.cardinality(typed)
    place = _place(word, is_behind=is_behind)
    weight, created_at = (select(place.c[name]).scalar_subquery() for name in ("weight", "created_at"))
    far = or_(hits.c.weight > weight, and_(hits.c.weight == weight, hits.c.created_at <= created_at))
    another = _rarest(0, but=word) if shape.chosen else _rarest(1)
    ids = select(others.c.task_id).where(OwnedByCaller(others), others.c.word == another)
    return meeting.often_or_seldom(hits.c.task_id, has_all, far, ids)


def _place(word: ColumnElement[str], *, is_behind: bool) -> CTE:
    """Return where hits are far, if there are so many: counted from the first, or from where the walk begins."""
    ahead = _task_words.alias("ahead")
    walked = select(ahead.c.weight, ahead.c.created_at).where(
        OwnedByCaller(ahead), ahead.c.word == word, _reading_pays()
    )
    most = meeting.far_from(_of_ranked("number", 1), per_look_up=_READ_PER_LOOK_UP)
    if not is_behind:
        return walked.order_by(*_rank(ahead)).offset(most).limit(literal_column("1")).cte("place")
    weight, created_at = (
        cast(bindparam(f"after_{index}", type_=Text), column.type)
        for index, column in enumerate((ahead.c.weight, ahead.c.created_at))
    )
    # Each from where it begins in the index, and one after the other.
    parts = [
        part.order_by(*_rank(ahead)).limit(most + literal_column("1"))
        for part in (
            walked.where(ahead.c.weight == weight, ahead.c.created_at <= created_at),
            walked.where(ahead.c.weight > weight),
        )
    ]
    rest = union_all(*parts).subquery("rest")
    return select(rest).offset(most).limit(literal_column("1")).cte("place")


def _by_prefix(shape: Shape, *, trashed: bool) -> Search:
    """Where there are few words with the longest prefix collect their tasks, else walk along all tasks."""
    prefix = bindparam("search_prefix", type_=Text)
    words, walked = _task_words.alias("words"), _tasks.alias("walked")
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
        select(walked.c.id, walked.c.created_at)
        .where(
            OwnedByCaller(walked),
            walked.c.trashed_at.is_not(None) if trashed else walked.c.trashed_at.is_(None),
            not_(are_few),
            _has_prefix(walked.c.id, prefix),
        )
        .order_by(walked.c.created_at.desc(), walked.c.id.desc())
    )
    # Each in order: so PostgreSQL merges them, and stops when the page is full.
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
    """Return the word that the fewest tasks have, or one that comes after it; those that many have are alike."""
    return _of_ranked("word", place, *([] if but is None else [_ranked().c.word != but]))


def _reading_pays() -> ColumnElement[bool]:
    # Nobody knows how many times as many tasks have a word that many have.
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
    shape: Shape, task_id: ColumnElement[Any], has_all: ColumnElement[bool]
) -> tuple[ColumnElement[bool], ...]:
    """Return what else has to hold of a hit.

    Each counts, in a subquery that stands for a value: PostgreSQL would make a join of EXISTS, and might begin with it.
    """
    unwanted = _texts("search_unwanted_words")
    prefixes, unwanted_prefixes = _texts("search_prefixes"), _texts("search_unwanted_prefixes")
    text = _searched_text()
    conditions = (
        (shape.several_words, has_all),
        (shape.unwanted_words, _number_of(task_id, unwanted) == 0),
        (shape.more_prefixes, _number_of_prefixes(task_id, prefixes) == func.cardinality(prefixes)),
        (shape.unwanted_prefixes, _number_of_prefixes(task_id, unwanted_prefixes) == 0),
        (shape.phrases, _of_hits(task_id, text.like(all_(_texts("search_phrases"))))),
        (shape.unwanted_phrases, _of_hits(task_id, text.not_like(all_(_texts("search_unwanted_phrases"))))),
    )
    return tuple(condition for holds, condition in conditions if holds)


def _of_hits(task_id: ColumnElement[Any], condition: ColumnElement[bool]) -> ColumnElement[bool]:
    # It names both sides of the join: PostgreSQL might otherwise read the texts of all tasks, and then join.
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
    # Words are compared byte by byte: no letter is behind the last one there is.
    return and_(words.c.word >= prefix, words.c.word < func.concat(prefix, _BEHIND_EVERY_LETTER))


def _searched_text() -> ColumnElement[str]:
    title, description = (func.app.normalize_for_search(_tasks.c[name]) for name in ("title", "description"))
    tags = func.app.normalize_array_for_search(_tasks.c.tags)
    return func.concat_ws(literal_column("'|'"), title, tags, description)


def _texts(name: str) -> ColumnElement[Any]:
    return bindparam(name, type_=ARRAY(Text))
