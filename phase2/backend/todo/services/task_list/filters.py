"""The filters of the task list. Each filter is declared once, in ``REGISTRY``.

A query becomes a tuple of filters, each with one of its variants: one value or several, a date or an instant.
Statements are compiled once for each such tuple, and the values are bind parameters.

The tests and the benchmark read the registry, too. Each variant has an example. They run its list, inspect its
statement and its plan, and measure it.
"""

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Text, bindparam, cast, func, literal_column, select

from todo.database import OwnedByCaller
from todo.models.base import table_of
from todo.models.task_list import NONE, DueFilter, TaskFilter
from todo.models.tasks import TaskCount
from todo.services.task_list.filter_conditions import (
    column_is,
    counted_category_is,
    has_tags,
    is_after,
    is_before,
    is_due,
    is_trashed,
    lacks_tags,
    number_of_tagged,
    reference_is,
    tag_index,
)
from todo.services.task_list.filter_types import (
    DATE,
    DUE_KEYWORD,
    EXCLUDED_TAGS,
    FLAG,
    INSTANT,
    LOCAL,
    MULTI,
    MULTI_VALUE,
    REFERENCE,
    REQUIRED_TAGS,
    SET,
    SINGLE,
    TIME_BOUND,
    AppliedFilter,
    Condition,
    Context,
    DrivingIndex,
    Filter,
    Variant,
)
from todo.services.tasks.statements import not_trashed, tasks

_counts = table_of(TaskCount)

_ID = "0197f0c2-a6b4-7e0b-8d3c-5a1e9f60b7d2"
_NEWEST_FIRST = "ix_tasks_user_id_created_at"
_BY_TAG = "ix_task_tags_user_id_tag_key_created_at"


def _time_filters(
    name: str, column: ColumnElement[Any], *, index: str, default_sort: str = "", non_null_key: str = ""
) -> tuple[Filter, Filter]:
    """Declare the filters for times before and after a bound."""

    def declared(side: str, condition: Callable[[ColumnElement[Any], str], Condition]) -> Filter:
        parameter = f"{name}_{side}"
        examples = {DATE: "2026-03-10", LOCAL: "2026-03-10T09:00:00", INSTANT: "2026-03-10T09:00:00Z"}
        variants = {
            variant: Variant(
                example=f"{parameter}={value}",
                index=index,
                default_sort=(default_sort,) if default_sort else (),
                non_null_keys=frozenset((non_null_key,) if non_null_key else ()),
            )
            for variant, value in examples.items()
        }
        return Filter(parameter, TIME_BOUND, condition(column, parameter), variants)

    return declared("before", is_before), declared("after", is_after)


def _due(keyword: DueFilter, index: str) -> Variant:
    return Variant(
        example=f"due={keyword.value}",
        index=index,
        default_sort=("due_date",),
        non_null_keys=frozenset({"due_date"}),
        is_time_dependent=True,
    )


# Task: T-371
# Task: T-451
# In the order of the conditions in a statement. Of several default sort orders, the first one wins.
REGISTRY: tuple[Filter, ...] = (
    Filter(
        "status",
        MULTI_VALUE,
        column_is(tasks.c.status),
        {
            SINGLE: Variant(example="status=pending", index="ix_tasks_user_id_status_created_at"),
            MULTI: Variant(
                example="status=pending&status=completed",
                index=_NEWEST_FIRST,
                scans="Several of four statuses match many tasks.",
            ),
        },
        alias="status_filter",
        counter=column_is(_counts.c.status),
    ),
    Filter(
        "priority",
        MULTI_VALUE,
        column_is(tasks.c.priority),
        {
            SINGLE: Variant(example="priority=high", index="ix_tasks_user_id_priority_created_at"),
            MULTI: Variant(
                example="priority=high&priority=low",
                index=_NEWEST_FIRST,
                scans="Several of three priorities match many tasks.",
            ),
        },
        counter=column_is(_counts.c.priority),
    ),
    Filter(
        "category_id",
        REFERENCE,
        reference_is(tasks.c.category_id),
        {
            SINGLE: Variant(example=f"category_id={_ID}", index="ix_tasks_user_id_category_id_created_at"),
            NONE: Variant(example="category_id=none", index=_NEWEST_FIRST, scans="Many tasks have no category."),
        },
        counter=counted_category_is,
    ),
    Filter(
        "parent_id",
        REFERENCE,
        reference_is(tasks.c.parent_id),
        {
            SINGLE: Variant(example=f"parent_id={_ID}", index="ix_tasks_user_id_parent_id_created_at"),
            NONE: Variant(example="parent_id=none", index=_NEWEST_FIRST, scans="Most tasks have no parent."),
        },
    ),
    Filter(
        "trashed",
        FLAG,
        is_trashed,
        {SET: Variant(example="trashed=true", index="ix_tasks_user_id_trashed_at", default_sort=("-trashed_at",))},
    ),
    Filter(
        "tag",
        REQUIRED_TAGS,
        has_tags,
        {
            SINGLE: Variant(
                example="tag=a",
                index=_BY_TAG,
                total=number_of_tagged(bindparam("tag_key", type_=Text)).scalar_subquery(),
            ),
            MULTI: Variant(
                example="tag=a&tag=b",
                index=_BY_TAG,
                scans="It reads the tasks with the rarest tag, and the ids of the next rarest at most once.",
            ),
        },
        driving_index=tag_index,
    ),
    Filter(
        "not_tag",
        EXCLUDED_TAGS,
        lacks_tags,
        {SET: Variant(example="not_tag=a", index=_NEWEST_FIRST, scans="Most tasks lack any one tag.")},
    ),
    Filter(
        "due",
        DUE_KEYWORD,
        is_due,
        {
            DueFilter.none.value: Variant(example="due=none", index="ix_tasks_user_id_undated_created_at"),
            DueFilter.today.value: _due(DueFilter.today, "ix_tasks_user_id_due_at"),
            DueFilter.overdue.value: _due(DueFilter.overdue, "ix_tasks_user_id_open_due_at"),
            DueFilter.upcoming.value: _due(DueFilter.upcoming, "ix_tasks_user_id_open_due_at"),
            DueFilter.week.value: _due(DueFilter.week, "ix_tasks_user_id_due_at"),
        },
    ),
    *_time_filters(
        "due", tasks.c.due_at, index="ix_tasks_user_id_due_at", default_sort="due_date", non_null_key="due_date"
    ),
    *_time_filters(
        "completed",
        tasks.c.completed_at,
        index="ix_tasks_user_id_completed_at",
        default_sort="-completed_at",
        non_null_key="completed_at",
    ),
    *_time_filters("created", tasks.c.created_at, index=_NEWEST_FIRST),
    *_time_filters("updated", tasks.c.updated_at, index="ix_tasks_user_id_updated_at", default_sort="-updated_at"),
)

_POSITIONS = {name: number for number, each in enumerate(REGISTRY) for name in each.parameters}
# Every list request reads these.
_READERS = tuple((each.parameter, each.value_of, each.kind.read, each.applied) for each in REGISTRY)
_TRASHED = REGISTRY[_POSITIONS["trashed"]].applied[SET]
COUNTED = frozenset(name for each in REGISTRY if each.counter is not None for name in each.parameters)
"""The parameters of the filters for which the database maintains counters."""


# Task: T-371
def read(query: TaskFilter, *, now: datetime) -> tuple[tuple[AppliedFilter, ...], dict[str, Any]]:
    """Return the filters that the query sets, except ``q``, in the order of the registry, and their bind parameters.

    ``now`` is aware.
    """
    values: dict[str, Any] = {"now": now}
    found = []
    for position in sorted({_POSITIONS[name] for name in query.model_fields_set if name in _POSITIONS}):
        parameter, value_of, read_value, applied = _READERS[position]
        variant = read_value(parameter, value_of(query), values)
        if variant is not None:
            found.append(applied[variant])
    return tuple(found), values


def parameters_like(parameters: AbstractSet[str]) -> set[str]:
    """Return these parameters with the other names of the same filters."""
    positions = {_POSITIONS[name] for name in parameters if name in _POSITIONS}
    return {*parameters, *(name for position in positions for name in REGISTRY[position].parameters)}


# Task: T-371
def default_sort(filters: Sequence[AppliedFilter]) -> tuple[str, ...]:
    """Return the sort keys for a request without ``sort``: those of the index that serves the filters.

    Empty for newest first.
    """
    return next((each.variant.default_sort for each in filters if each.variant.default_sort), ())


# Task: T-371
def non_null_keys(filters: Sequence[AppliedFilter]) -> frozenset[str]:
    """Return the sort keys that are not null in any task that matches the filters."""
    return frozenset().union(*(each.variant.non_null_keys for each in filters))


def is_time_dependent(filters: Sequence[AppliedFilter]) -> bool:
    """Return whether the tasks that match depend on the current time: then they change without a write."""
    return any(each.variant.is_time_dependent for each in filters)


def lists_trash(filters: Sequence[AppliedFilter]) -> bool:
    """Return whether the filters ask for the trash. Every other list excludes it."""
    return _TRASHED in filters


# Task: T-371
def conditions_of(
    filters: Sequence[AppliedFilter], driving_index: DrivingIndex | None = None
) -> list[ColumnElement[bool]]:
    """Return the conditions on a task, except those that the driving index ensures.

    They exclude the trash, unless the filters ask for the trash.
    """
    context = Context(lists_trash(filters), driving_index)
    conditions = [each.filter.condition(each.name, context) for each in filters]
    return [*([] if context.is_trashed else [not_trashed]), *(each for each in conditions if each is not None)]


# Task: T-371
def driving_index_of(filters: Sequence[AppliedFilter], *, is_behind: bool = False) -> DrivingIndex | None:
    """Return the index scan that lists the tasks of a filter, if it is on another table than ``tasks``.

    ``None`` in the trash, because only ``tasks`` has the tasks in the trash. If ``is_behind``, the scan starts at the
    time ``after_0``.
    """
    if lists_trash(filters):
        return None
    drivers = (
        each.filter.driving_index(each.name, is_behind=is_behind) for each in filters if each.filter.driving_index
    )
    return next(drivers, None)


def total_of(filters: Sequence[AppliedFilter]) -> ColumnElement[int] | None:
    """Return the total from the counters of the database; ``None`` if they do not know all the filters.

    Its cost does not depend on the number of tasks.
    """
    if len(filters) == 1 and filters[0].variant.total is not None:
        return filters[0].variant.total
    conditions = [each.filter.counter(each.name, Context()) for each in filters if each.filter.counter]
    if len(conditions) < len(filters):
        return None
    total = cast(func.coalesce(func.sum(_counts.c.tasks), literal_column("0")), BigInteger)
    return select(total).where(OwnedByCaller(_counts), *conditions).scalar_subquery()
