"""The SQL conditions of the filters of the task list, and the index scan on tags that can drive a list.

The database computes what depends on the user's zone or day, in the same statement. The values are bind parameters.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ARRAY,
    TIMESTAMP,
    BigInteger,
    ColumnElement,
    Date,
    DateTime,
    Integer,
    Select,
    Text,
    Time,
    and_,
    any_,
    bindparam,
    cast,
    func,
    literal_column,
    select,
)

from todo.database import OwnedByCaller
from todo.models.base import table_of
from todo.models.profiles import Profile
from todo.models.task_list import NONE, DueFilter
from todo.models.tasks import TagCount, TaskCount, TaskTag
from todo.models.values import Weekday
from todo.services.task_list import intersection
from todo.services.task_list.filter_types import DATE, INSTANT, MULTI, SINGLE, Condition, Context, DrivingIndex
from todo.services.tasks.statements import OPEN, now, tasks

_profiles = table_of(Profile)
_task_tags = table_of(TaskTag)
_tag_counts = table_of(TagCount)
_counts = table_of(TaskCount)

# One look-up by primary key takes as long as reading and hashing this many ids.
_READ_PER_LOOK_UP = 32
_NO_CATEGORY = "00000000-0000-0000-0000-000000000000"


def column_is(column: ColumnElement[Any]) -> Callable[[str, Context], ColumnElement[bool]]:
    """Compare a column with one value, or with several. The bind parameter has the name of the column."""

    def condition(variant: str, _: Context) -> ColumnElement[bool]:
        # A single value is compared with ``=``: only then do the next columns of the index give the order of the list.
        if variant == MULTI:
            return column == any_(bindparam(column.key, type_=ARRAY(column.type)))
        return column == bindparam(column.key, type_=column.type)

    return condition


def reference_is(column: ColumnElement[Any]) -> Condition:
    """Compare a nullable reference with an id, or match the rows without one."""
    compared = column_is(column)

    def condition(variant: str, context: Context) -> ColumnElement[bool]:
        return column.is_(None) if variant == NONE else compared(variant, context)

    return condition


def counted_category_is(variant: str, context: Context) -> ColumnElement[bool]:
    """Compare the category of a counter. The zero UUID means "no category"."""
    if variant == NONE:
        return _counts.c.category_id == literal_column(f"'{_NO_CATEGORY}'::uuid")
    return column_is(_counts.c.category_id)(variant, context)


def is_trashed(_: str, __: Context) -> ColumnElement[bool]:
    """Match the tasks in the trash."""
    return tasks.c.trashed_at.is_not(None)


def has_tags(variant: str, context: Context) -> ColumnElement[bool] | None:
    """Match tasks that have all of the tags. Tasks in the trash have their tags only in their own row."""
    keys = bindparam("tag_keys", type_=ARRAY(Text))
    index = context.driving_index
    if context.is_trashed:
        return func.jsonb_exists_all(tasks.c.tag_keys, keys)
    if index is None:
        return _number_of_tags(keys) == (literal_column("1") if variant == SINGLE else func.cardinality(keys))
    if variant == SINGLE:
        return None
    # Without the tag that the index scan is on. The cast makes ANY take an array, not a set of rows.
    more = cast(select(func.array_remove(keys, _rarest(0))).scalar_subquery(), ARRAY(Text))
    has_all = _number_of_tags(more, index) == func.cardinality(keys) - literal_column("1")
    return intersection.probe_then_hash(index.id, has_all, index.past_probe_limit, index.next_rarest_ids)


def lacks_tags(_: str, context: Context) -> ColumnElement[bool]:
    """Match tasks that have none of the tags."""
    keys = bindparam("unwanted_tag_keys", type_=ARRAY(Text))
    if context.is_trashed:
        return func.jsonb_exists_any(tasks.c.tag_keys, keys).is_(False)
    return _number_of_tags(keys, context.driving_index) == literal_column("0")


def _number_of_tags(keys: ColumnElement[Any], index: DrivingIndex | None = None) -> ColumnElement[int]:
    # A scalar subquery, which PostgreSQL evaluates per row. It would turn EXISTS into a join, and might start with it.
    own = _task_tags.alias("own_tags")
    task_id = tasks.c.id if index is None else index.id
    return (
        select(func.count())
        .select_from(own)
        .where(OwnedByCaller(own), own.c.task_id == task_id, own.c.tag_key == any_(keys))
        .correlate_except(own)
        .scalar_subquery()
    )


def is_due(variant: str, _: Context) -> ColumnElement[bool]:
    """Compare the due date with the user's day or week, or with the current time."""
    due_at = tasks.c.due_at
    if variant == DueFilter.none:
        return due_at.is_(None)
    if variant == DueFilter.overdue:
        return and_(due_at < now, _is_open)
    if variant == DueFilter.upcoming:
        return and_(due_at > _end_of(_today.c.day), _is_open)
    first = _today.c.day if variant == DueFilter.today else _today.c.day - _days_into_week()
    last = _today.c.day if variant == DueFilter.today else first + literal_column("6")
    return and_(due_at > _end_of(first - literal_column("1")), due_at <= _end_of(last))


# Constants, so that a generic plan can use the partial index of open tasks.
_is_open: ColumnElement[bool] = tasks.c.status.in_([literal_column(f"'{status.value}'") for status in OPEN])


def _setting(name: str, default: str) -> ColumnElement[Any]:
    return func.coalesce(func.max(_profiles.c[name]), literal_column(f"'{default}'"))


# A user who never changed a setting has no row: use the defaults.
_clock = (
    select(
        _setting("time_zone", "UTC").label("zone"),
        cast(_setting("day_start", "00:00"), Time).label("day_start"),
        _setting("week_start", Weekday.monday).label("week_start"),
    )
    .where(OwnedByCaller(_profiles))
    .cte("clock")
)
_today = select(_clock, func.app.local_day(now, _clock.c.zone, _clock.c.day_start, type_=Date).label("day")).cte(
    "today"
)


def _end_of(day: ColumnElement[Any]) -> ColumnElement[datetime]:
    """Return the last moment of a day of the user, as a subquery that is evaluated once."""
    return select(
        func.app.day_end(day, _today.c.zone, _today.c.day_start, type_=DateTime(timezone=True))
    ).scalar_subquery()


def _days_into_week() -> ColumnElement[int]:
    weekdays: ColumnElement[Any] = literal_column("ARRAY[" + ", ".join(f"'{day.value}'" for day in Weekday) + "]")
    number = cast(func.extract("isodow", _today.c.day), Integer)
    first = func.array_position(weekdays, _today.c.week_start, type_=Integer)
    return (number - first + literal_column("7")) % literal_column("7")


def is_before(column: ColumnElement[Any], parameter: str) -> Condition:
    """Compare a time with an upper bound. A date stands for the beginning of that day of the user."""

    def condition(variant: str, _: Context) -> ColumnElement[bool]:
        if variant == DATE:
            return column <= _day_end(cast(bindparam(parameter, type_=Text), Date) - literal_column("1"))
        return column < _time_bound(variant, parameter)

    return condition


def is_after(column: ColumnElement[Any], parameter: str) -> Condition:
    """Compare a time with a lower bound. A date stands for the end of that day of the user."""

    def condition(variant: str, _: Context) -> ColumnElement[bool]:
        if variant == DATE:
            return column > _day_end(cast(bindparam(parameter, type_=Text), Date))
        return column > _time_bound(variant, parameter)

    return condition


def _time_bound(variant: str, parameter: str) -> ColumnElement[Any]:
    if variant == INSTANT:
        return bindparam(parameter, type_=DateTime(timezone=True))
    local = cast(bindparam(parameter, type_=Text), TIMESTAMP)
    return select(func.app.resolve_local(local, _clock.c.zone)).scalar_subquery()


def _day_end(day: ColumnElement[Any]) -> ColumnElement[Any]:
    return select(func.app.day_end(day, _clock.c.zone, _clock.c.day_start)).scalar_subquery()


# Task: T-371
def tag_index(variant: str, *, is_behind: bool) -> DrivingIndex:
    """Return the index scan that finds the tasks of a tag, or of the rarest of several tags.

    If ``is_behind``, the scan starts at the time ``after_0``.
    """
    tagged, ahead, next_rarest = (_task_tags.alias(name) for name in ("tagged", "ahead", "others"))
    key = bindparam("tag_key", type_=Text) if variant == SINGLE else _rarest(0)
    begun = [ahead.c.created_at <= cast(bindparam("after_0", type_=Text), DateTime(timezone=True))] if is_behind else []
    place = (
        select(ahead.c.created_at)
        .where(OwnedByCaller(ahead), ahead.c.tag_key == key, *begun)
        .order_by(ahead.c.created_at.desc(), ahead.c.task_id.desc())
        .offset(intersection.probe_limit(_of_ranked("number", 1), per_look_up=_READ_PER_LOOK_UP))
        .limit(literal_column("1"))
        .scalar_subquery()
    )
    return DrivingIndex(
        tagged,
        tagged.c.task_id == tasks.c.id,
        (OwnedByCaller(tagged), tagged.c.tag_key == key),
        tagged.c.created_at,
        tagged.c.task_id,
        tagged.c.created_at <= place,
        select(next_rarest.c.task_id).where(OwnedByCaller(next_rarest), next_rarest.c.tag_key == _rarest(1)),
    )


_asked = func.unnest(bindparam("tag_keys", type_=ARRAY(Text))).table_valued("key", name="asked").render_derived()


def _rarest(place: int) -> ColumnElement[Any]:
    """Return the rarest tag (``place`` 0), or one of the following."""
    return _of_ranked("key", place)


def _of_ranked(name: str, place: int) -> ColumnElement[Any]:
    return select(_ranked.c[name]).offset(literal_column(str(place))).limit(literal_column("1")).scalar_subquery()


# Task: T-375
def number_of_tagged(key: ColumnElement[str]) -> Select[Any]:
    """Return the query for the number of tasks with a tag, in any spelling, without the trash."""
    number = cast(func.coalesce(func.sum(_tag_counts.c.tasks), literal_column("0")), BigInteger)
    return select(number).where(OwnedByCaller(_tag_counts), _tag_counts.c.tag_key == key)


_number = number_of_tagged(_asked.c.key).correlate(_asked).scalar_subquery().label("number")
_ranked = select(_asked.c.key, _number).order_by(_number).cte("ranked")
