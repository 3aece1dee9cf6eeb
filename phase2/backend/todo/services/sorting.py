"""The orders of a list, taken apart so that each part of it is a walk along an index, and so that any place is a start.

A list that is sorted by something few-valued is the lists of each value, one after the other; what has no value comes
last, and so is a list of its own. What follows a row in an order of several columns is what has the same first column
and follows in the others, and then what has a later one.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Integer, Text, bindparam, case, cast, literal_column, tuple_

from todo.models.tasks import Priority, Status
from todo.services.task_rows import tasks


class Column(NamedTuple):
    """Something to sort by. What has no value comes last, whatever the direction."""

    expression: ColumnElement[Any]
    descending: bool = False
    nullable: bool = False

    @property
    def ordered(self) -> ColumnElement[Any]:
        """Give it as ORDER BY takes it."""
        direction = self.expression.desc() if self.descending else self.expression.asc()
        # Where there are no nulls the words would only keep an index from being used.
        return direction.nulls_last() if self.nullable else direction

    @property
    def told(self) -> ColumnElement[Any]:
        """Give it as a cursor keeps it: as text, which is exact whatever the year."""
        return cast(self.expression, Text)


class Part(NamedTuple):
    """A part of a list: the tasks for which ``conditions`` hold, in this order. No two are alike in all of it."""

    conditions: tuple[ColumnElement[bool], ...]
    order: tuple[Column, ...]


class _Key(NamedTuple):
    name: str
    descending: bool


# As people rank them, not as they are spelled.
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
def parts_of(
    sort: Sequence[str], *, filled: frozenset[str] = frozenset(), newest_first: tuple[Column, ...] = NEWEST_FIRST
) -> list[Part]:
    """Return the parts of a list that is sorted by these keys, one after the other.

    What is alike in all of them comes in the order of the ids. ``filled`` keys have a value in every task that is
    looked for. Tasks that only have in common that they lack a value, or share one of few, come ``newest_first``.
    """
    keys = [_Key(key.removeprefix("-"), key.startswith("-")) for key in sort]
    return list(_split(keys, filled, newest_first, by_rank=True))


def _split(
    keys: Sequence[_Key], filled: frozenset[str], newest_first: tuple[Column, ...], *, by_rank: bool
) -> Iterator[Part]:
    if not keys:
        yield Part((), newest_first)
        return
    first, *others = keys
    if first.name in _RANKED and by_rank:
        values = _RANKED[first.name]
        for value in reversed(values) if first.descending else values:
            is_it = tasks.c[first.name] == _constant(value)
            for part in _split(others, filled, newest_first, by_rank=False):
                yield Part((is_it, *part.conditions), part.order)
        return
    may_lack_it = first.name in _NULLABLE - filled
    column = _COLUMNS.get(first.name)
    if column is None or not may_lack_it:
        yield Part((), _order_of(keys, filled))
        return
    yield Part((column.is_not(None),), _order_of(keys, filled | {first.name}))
    for part in _split(others, filled, newest_first, by_rank=by_rank):
        yield Part((column.is_(None), *part.conditions), part.order)


def _order_of(keys: Sequence[_Key], filled: frozenset[str]) -> tuple[Column, ...]:
    columns = [Column(_expression(key.name), key.descending, nullable=key.name in _NULLABLE - filled) for key in keys]
    return (*columns, Column(tasks.c.id, keys[-1].descending))


def _expression(name: str) -> ColumnElement[Any]:
    if name in _RANKED:
        ranks = enumerate(_RANKED[name])
        return case(*((tasks.c[name] == _constant(value), literal_column(str(rank), Integer)) for rank, value in ranks))
    return _COLUMNS[name]


def _constant(value: str) -> ColumnElement[str]:
    # Not a parameter: a plan that is made before it has a value could not tell which index is right.
    return literal_column(f"'{value}'")


# Task: T-372
def following(order: Sequence[Column], are_null: Sequence[bool], *, number: int = 0) -> list[tuple[Any, ...]]:
    """Return what holds for the rows behind one row, in parts, one after the other.

    The row's values are parameters, ``after_0`` and on; ``are_null`` says which of them are null.
    """
    if not order:
        return []
    first, others = order[0], order[1:]
    if not any(column.nullable for column in order) and len({column.descending for column in order}) == 1:
        # Compared as a whole, which an index can begin at.
        columns = tuple_(*(column.expression for column in order))
        values = tuple_(*(_value(column, number + index) for index, column in enumerate(order)))
        return [(columns < values if first.descending else columns > values,)]
    deeper = following(others, are_null[1:], number=number + 1)
    if are_null[0]:
        return [(first.expression.is_(None), *conditions) for conditions in deeper]
    value = _value(first, number)
    parts: list[tuple[Any, ...]] = [(first.expression == value, *conditions) for conditions in deeper]
    parts.append((first.expression < value if first.descending else first.expression > value,))
    if first.nullable:
        parts.append((first.expression.is_(None),))
    return parts


def _value(column: Column, number: int) -> ColumnElement[Any]:
    return cast(bindparam(f"after_{number}", type_=Text), column.expression.type)
