"""The types that declare a filter of the task list: its kind, its variants, its condition.

``services/task_list/filters.py`` declares the filters.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, NamedTuple, Protocol

from sqlalchemy import ColumnElement, FromClause, Select

from todo.kit.text import fold_case
from todo.models.task_list import NONE, DueFilter, TaskFilter

# The names of variants: whether a flag is set, the number of values, or the kind of time.
SET = "set"
SINGLE, MULTI = "single", "multi"
DATE, LOCAL, INSTANT = "date", "local", "instant"


# Task: T-371
class DrivingIndex(NamedTuple):
    """A table to scan instead of ``tasks``. Its ``created_at`` and ``id`` are those of the task, in index order.

    With several tags, it scans the rarest one. ``past_probe_limit`` is true for rows after those that are looked up
    one by one. ``next_rarest_ids`` selects the ids of the tasks with the second rarest tag.
    """

    table: FromClause
    on: ColumnElement[bool]
    conditions: tuple[ColumnElement[bool], ...]
    created_at: ColumnElement[Any]
    id: ColumnElement[Any]
    past_probe_limit: ColumnElement[bool]
    next_rarest_ids: Select[Any]


class Context(NamedTuple):
    """The statement that a condition is for: whether it lists the trash, and which index drives it."""

    is_trashed: bool = False
    driving_index: DrivingIndex | None = None


class MakeDrivingIndex(Protocol):
    """Return the driving index of a variant, given its name. If ``is_behind``, the scan starts after the cursor."""

    def __call__(self, variant: str, *, is_behind: bool) -> DrivingIndex: ...


Condition = Callable[[str, Context], ColumnElement[bool] | None]
"""Return the condition of a variant, given its name; ``None`` if the driving index ensures it."""


@dataclass(frozen=True, slots=True, eq=False)
class Kind:
    """How a parameter's value becomes a variant and bind parameters.

    ``read`` takes the parameter, its value and the bind parameters, and adds to these. It returns the name of the
    variant, one of ``variants``; ``None`` if the value sets no filter.
    """

    variants: tuple[str, ...]
    read: Callable[[str, Any, dict[str, Any]], str | None]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Variant:
    """A filter without its value.

    ``example``: a query string that has this variant.
    ``index``: the index that the list of the example scans, in order.
    ``scans``: if the scan also reads tasks that do not match, the reason why that is good enough.
    ``default_sort``: the sort keys for a request without ``sort``: those of the index.
    ``non_null_keys``: the sort keys that are not null in any matching task.
    ``is_time_dependent``: whether the result depends on the current time. Then it changes without a write.
    ``total``: the number of matching tasks from a counter that the database maintains for this filter alone.
    """

    example: str
    index: str
    scans: str | None = None
    default_sort: tuple[str, ...] = ()
    non_null_keys: frozenset[str] = frozenset()
    is_time_dependent: bool = False
    total: ColumnElement[int] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class AppliedFilter:
    """A filter with one of its variants, as a query applies it. There is one object of each, so it is its own key."""

    filter: "Filter"
    name: str
    variant: Variant

    def __str__(self) -> str:
        return f"{self.filter.parameter} {self.name}"


# Task: T-451
@dataclass(frozen=True, slots=True, eq=False)
class Filter:
    """A filter of the task list.

    ``parameter``: the field of ``TaskFilter``. ``alias``: another field whose values are added to it.
    ``variants``: one for each name that the kind has.
    ``counter``: the condition on the counters by category, status and priority; ``None`` if they do not know it.
    ``driving_index``: makes the index scan that lists the matching tasks, instead of an index of ``tasks``.
    """

    parameter: str
    kind: Kind
    condition: Condition
    variants: Mapping[str, Variant]
    alias: str | None = None
    counter: Callable[[str, Context], ColumnElement[bool]] | None = None
    driving_index: MakeDrivingIndex | None = None
    value_of: Callable[[TaskFilter], Any] = field(init=False)
    applied: Mapping[str, AppliedFilter] = field(init=False)

    def __post_init__(self) -> None:
        applied = {name: AppliedFilter(self, name, variant) for name, variant in self.variants.items()}
        object.__setattr__(self, "applied", applied)
        object.__setattr__(self, "value_of", attrgetter(self.parameter) if self.alias is None else self._values)

    @property
    def parameters(self) -> tuple[str, ...]:
        """All names of the filter."""
        return (self.parameter,) if self.alias is None else (self.parameter, self.alias)

    def _values(self, query: TaskFilter) -> Any:
        return [*getattr(query, self.parameter), *getattr(query, self.alias or "")]


def _read_flag(_: str, value: bool, __: dict[str, Any]) -> str | None:  # noqa: FBT001  The value of a flag.
    return SET if value else None


def _read_single(parameter: str, value: Any, values: dict[str, Any]) -> str | None:
    values[parameter] = value
    return None if value is None else SINGLE


def _read_multi(parameter: str, value: list[Any], values: dict[str, Any]) -> str | None:
    if len(value) == 1:
        values[parameter] = value[0]
        return SINGLE
    values[parameter] = value
    return MULTI if value else None


def _read_reference(parameter: str, value: str | None, values: dict[str, Any]) -> str | None:
    return NONE if value == NONE else _read_single(parameter, value, values)


def _read_required_tags(_: str, tags: list[str], values: dict[str, Any]) -> str | None:
    if not tags:
        return None
    keys = values["tag_keys"] = _keys_of(tags)
    values["tag_key"] = keys[0]
    return MULTI if len(keys) > 1 else SINGLE


def _read_excluded_tags(_: str, tags: list[str], values: dict[str, Any]) -> str | None:
    values["unwanted_tag_keys"] = _keys_of(tags)
    return SET if tags else None


def _keys_of(tags: list[str]) -> list[str]:
    return list(dict.fromkeys(fold_case(tag) for tag in tags))


def _read_due(_: str, due: DueFilter | None, __: dict[str, Any]) -> str | None:
    return None if due is None else due.value


def _read_time_bound(parameter: str, text: str | None, values: dict[str, Any]) -> str | None:
    values[parameter] = text
    if text is None:
        return None
    if len(text) == len("2026-03-10"):
        return DATE
    return INSTANT if text.endswith("Z") else LOCAL


FLAG = Kind((SET,), _read_flag)
SINGLE_VALUE = Kind((SINGLE,), _read_single)
MULTI_VALUE = Kind((SINGLE, MULTI), _read_multi)
REFERENCE = Kind((SINGLE, NONE), _read_reference)
REQUIRED_TAGS = Kind((SINGLE, MULTI), _read_required_tags)
EXCLUDED_TAGS = Kind((SET,), _read_excluded_tags)
DUE_KEYWORD = Kind(tuple(due.value for due in DueFilter), _read_due)
TIME_BOUND = Kind((DATE, LOCAL, INSTANT), _read_time_bound)
