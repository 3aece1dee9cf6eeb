"""Sort orders of the task list, split into parts: each part is an index scan in order, and can start at any row.

A key with few values becomes one part per value. Rows without a value are the last part. Keyset pagination over the
columns (a, b) continues after the row (x, y) with ``a = x AND b > y``, and then with ``a > x``.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Integer, Text, bindparam, case, cast, literal_column, tuple_

from todo.models.values import Priority, Status
from todo.services.tasks.statements import tasks


class Column(NamedTuple):
    """A sort key. Nulls come last in both directions."""

    expression: ColumnElement[Any]
    descending: bool = False
    nullable: bool = False

    @property
    def ordered(self) -> ColumnElement[Any]:
        """The expression for ORDER BY."""
        direction = self.expression.desc() if self.descending else self.expression.asc()
        # Without nulls, NULLS LAST would only prevent the use of an index.
        return direction.nulls_last() if self.nullable else direction

    @property
    def as_text(self) -> ColumnElement[Any]:
        """The value for a cursor: as text, which is exact for every year."""
        return cast(self.expression, Text)


class Segment(NamedTuple):
    """A part of a list: the tasks that match ``conditions``, in this order. No two are equal in all columns of it."""

    conditions: tuple[ColumnElement[bool], ...]
    order: tuple[Column, ...]


class _Key(NamedTuple):
    name: str
    descending: bool


# In order of rank, not in alphabetical order.
_RANKED: dict[str, list[str]] = {
    "priority": [priority.value for priority in Priority],
    "status": [status.value for status in Status],
}
_COLUMNS: dict[str, ColumnElement[Any]] = {
    "created_at": tasks.c.created_at,
    "updated_at": tasks.c.updated_at,
    "completed_at": tasks.c.completed_at,
    "due_date": tasks.c.due_at,
    "start_date": tasks.c.start_at,
    "trashed_at": tasks.c.trashed_at,
    "title": tasks.c.title_key,
    "position": tasks.c.position,
}
_NULLABLE = frozenset({"completed_at", "due_date", "start_date"})

NEWEST_FIRST = (Column(tasks.c.created_at, descending=True), Column(tasks.c.id, descending=True))


# Task: T-371
def segments_of(
    sort: Sequence[str], *, filled: frozenset[str] = frozenset(), newest_first: tuple[Column, ...] = NEWEST_FIRST
) -> list[Segment]:
    """Return the parts of a list with these sort keys, one after the other.

    Tasks that are equal in all keys are ordered by id. ``filled`` keys are not null in any task of the list. In a part
    that has no sort key left (after a null, or after one of few values), tasks come ``newest_first``.
    """
    keys = [_Key(key.removeprefix("-"), key.startswith("-")) for key in sort]
    return list(_split(keys, filled, newest_first, by_rank=True))


def _split(
    keys: Sequence[_Key], filled: frozenset[str], newest_first: tuple[Column, ...], *, by_rank: bool
) -> Iterator[Segment]:
    if not keys:
        yield Segment((), newest_first)
        return
    first, *others = keys
    if first.name in _RANKED and by_rank:
        values = _RANKED[first.name]
        for value in reversed(values) if first.descending else values:
            is_it = tasks.c[first.name] == _constant(value)
            for part in _split(others, filled, newest_first, by_rank=False):
                yield Segment((is_it, *part.conditions), part.order)
        return
    may_lack_it = first.name in _NULLABLE - filled
    column = _COLUMNS.get(first.name)
    if column is None or not may_lack_it:
        yield Segment((), _order_of(keys, filled))
        return
    yield Segment((column.is_not(None),), _order_of(keys, filled | {first.name}))
    for part in _split(others, filled, newest_first, by_rank=by_rank):
        yield Segment((column.is_(None), *part.conditions), part.order)


def _order_of(keys: Sequence[_Key], filled: frozenset[str]) -> tuple[Column, ...]:
    columns = [Column(_expression(key.name), key.descending, nullable=key.name in _NULLABLE - filled) for key in keys]
    return (*columns, Column(tasks.c.id, keys[-1].descending))


def _expression(name: str) -> ColumnElement[Any]:
    if name in _RANKED:
        ranks = enumerate(_RANKED[name])
        return case(*((tasks.c[name] == _constant(value), literal_column(str(rank), Integer)) for rank, value in ranks))
    return _COLUMNS[name]


def _constant(value: str) -> ColumnElement[str]:
    # Not a bind parameter: with one, a generic plan could not choose the right index.
    return literal_column(f"'{value}'")


# Task: T-372
def following(order: Sequence[Column], are_null: Sequence[bool], *, number: int = 0) -> list[tuple[Any, ...]]:
    """Return the conditions on the rows after a given row, as parts that are read one after the other.

    The row's values are the parameters ``after_0``, ``after_1`` and so on, from ``number`` on. ``are_null`` says which
    of them are null.
    """
    if not order:
        return []
    first, others = order[0], order[1:]
    if not any(column.nullable for column in order) and len({column.descending for column in order}) == 1:
        # One row comparison, at which an index scan can start.
        columns = tuple_(*(column.expression for column in order))
        values = tuple_(*(_value(column, number + index) for index, column in enumerate(order)))
        return [(columns < values if first.descending else columns > values,)]
    deeper = following(others, are_null[1:], number=number + 1)
    if are_null[0]:
        return [(first.expression.is_(None), *conditions) for conditions in deeper]
    value = _value(first, number)
    segments: list[tuple[Any, ...]] = [(first.expression == value, *conditions) for conditions in deeper]
    segments.append((first.expression < value if first.descending else first.expression > value,))
    if first.nullable:
        segments.append((first.expression.is_(None),))
    return segments


def _value(column: Column, number: int) -> ColumnElement[Any]:
    return cast(bindparam(f"after_{number}", type_=Text), column.expression.type)
