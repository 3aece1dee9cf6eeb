"""The filters of the task list: each one is a condition on a task row, all together are one statement.

The database computes what depends on the user's zone or day, in the same statement. So a filter has only a name and a
form, and its values are bind parameters.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import (
    ARRAY,
    TIMESTAMP,
    BigInteger,
    ColumnElement,
    Date,
    DateTime,
    FromClause,
    Integer,
    Select,
    Text,
    Time,
    Uuid,
    and_,
    any_,
    bindparam,
    cast,
    func,
    literal_column,
    select,
)

from todo.database import OwnedByCaller
from todo.kit.text import folded
from todo.models.base import table_of
from todo.models.finding import NONE, Due, TaskFilter
from todo.models.profiles import Profile, Weekday
from todo.models.tasks import TagCount, TaskTag
from todo.services import meeting
from todo.services.task_rows import OPEN, alive, now, tasks

_profiles = table_of(Profile)
_task_tags = table_of(TaskTag)
_tag_counts = table_of(TagCount)

_TIMES = {
    "due": tasks.c.due_at,
    "completed": tasks.c.completed_at,
    "created": tasks.c.created_at,
    "updated": tasks.c.updated_at,
}
_SIDES = tuple(f"{name}_{side}" for name in _TIMES for side in ("before", "after"))

# One look-up by primary key takes as long as reading and hashing this many ids.
_READ_PER_LOOK_UP = 32

# The forms of a filter: the number of values, or the kind of time.
ONE, SEVERAL, YES = "one", "several", "yes"
DATE, LOCAL, INSTANT = "date", "local", "instant"
# These depend on the current time: the result changes without a write.
MOVING = frozenset({Due.today, Due.overdue, Due.upcoming, Due.week})


class Filter(NamedTuple):
    """A filter without its value. Statements are compiled once for each combination of filters."""

    name: str
    form: str


TRASHED = Filter("trashed", YES)
TAGGED = Filter("tag", ONE)


# Task: T-371
def filters_of(query: TaskFilter) -> tuple[Filter, ...]:
    """Return the filters that are set, except ``q``, in a fixed order."""
    found = []
    for name, texts in (("status", query.statuses), ("priority", query.priority)):
        if texts:
            found.append(Filter(name, SEVERAL if len(texts) > 1 else ONE))
    references = (("category_id", query.category_id), ("parent_id", query.parent_id))
    found += [Filter(name, NONE if value == NONE else ONE) for name, value in references if value is not None]
    if query.trashed:
        found.append(TRASHED)
    if query.tag:
        found.append(Filter("tag", SEVERAL if len(_keys_of(query.tag)) > 1 else ONE))
    if query.not_tag:
        found.append(Filter("not_tag", YES))
    if query.due is not None:
        found.append(Filter("due", query.due.value))
    found += [Filter(name, _form_of(text)) for name, text in _times_of(query).items() if text is not None]
    return tuple(found)


def _times_of(query: TaskFilter) -> dict[str, str | None]:
    return {name: getattr(query, name) for name in _SIDES}


def _form_of(text: str) -> str:
    if len(text) == len("2026-03-10"):
        return DATE
    return INSTANT if text.endswith("Z") else LOCAL


# Task: T-371
def values_of(query: TaskFilter, *, now: datetime) -> dict[str, Any]:
    """Return the bind parameters of all filters. A statement uses those that it names. ``now`` is aware."""
    tags = _keys_of(query.tag)
    return {
        "status": _one_or_list(query.statuses),
        "priority": _one_or_list(query.priority),
        "category_id": query.category_id,
        "parent_id": query.parent_id,
        "tag_key": tags[0] if tags else None,
        "tag_keys": tags,
        "unwanted_tag_keys": [folded(tag) for tag in query.not_tag],
        "now": now,
        **_times_of(query),
    }


def _keys_of(tags: list[str]) -> list[str]:
    return list(dict.fromkeys(folded(tag) for tag in tags))


def _one_or_list(values: list[Any]) -> Any:
    return values[0] if len(values) == 1 else values


# Task: T-371
def default_sort(filters: tuple[Filter, ...]) -> tuple[str, ...]:
    """Return the sort keys for a request without ``sort``: those of the index that serves the filters.

    Empty for newest first.
    """
    names = {each.name for each in filters}
    if "trashed" in names:
        return ("-trashed_at",)
    for name, key in (("due", "due_date"), ("completed", "-completed_at"), ("updated", "-updated_at")):
        if {f"{name}_before", f"{name}_after"} & names or (name in names and Filter("due", NONE) not in filters):
            return (key,)
    return ()


# Task: T-371
def filled_by(filters: tuple[Filter, ...]) -> frozenset[str]:
    """Return the sort keys that are not null in any task that matches the filters."""
    names = {each.name for each in filters}
    is_due = {"due_before", "due_after"} & names or ("due" in names and Filter("due", NONE) not in filters)
    is_completed = {"completed_before", "completed_after"} & names
    return frozenset((["due_date"] if is_due else []) + (["completed_at"] if is_completed else []))


# Task: T-371
def conditions_of(filters: tuple[Filter, ...], driver: "Driver | None" = None) -> list[ColumnElement[bool]]:
    """Return the conditions on a task. They exclude the trash, unless the filters ask for the trash.

    The condition on a single tag, or on one of several tags, is left out if the ``driver`` ensures it.
    """
    is_trashed = TRASHED in filters
    found: list[ColumnElement[bool]] = [] if is_trashed else [alive]
    for name, form in filters:
        side = name.rpartition("_")[2]
        if side in ("before", "after"):
            found.append(_beyond(name, side, form))
        elif driver is None or (name, form) != TAGGED:
            found.append(_CONDITIONS[name](form, is_trashed=is_trashed, driver=driver))
    return found


def _one_of(name: str) -> Callable[..., ColumnElement[bool]]:
    def condition(form: str, **_: Any) -> ColumnElement[bool]:
        column: ColumnElement[str] = tasks.c[name]
        # A single value is compared with ``=``: only then do the next columns of the index give the order of the list.
        several = form == SEVERAL
        return column == (any_(bindparam(name, type_=ARRAY(Text))) if several else bindparam(name, type_=Text))

    return condition


def _reference(name: str) -> Callable[..., ColumnElement[bool]]:
    def condition(form: str, **_: Any) -> ColumnElement[bool]:
        return tasks.c[name].is_(None) if form == NONE else tasks.c[name] == bindparam(name, type_=Uuid)

    return condition


def _trashed(_: str, **__: Any) -> ColumnElement[bool]:
    return tasks.c.trashed_at.is_not(None)


def _tagged(form: str, *, is_trashed: bool, driver: "Driver | None") -> ColumnElement[bool]:
    """Match tasks that have all of the tags. Tasks in the trash have their tags only in their own row."""
    keys = bindparam("tag_keys", type_=ARRAY(Text))
    if is_trashed:
        return func.jsonb_exists_all(tasks.c.tag_keys, keys)
    if form == ONE:
        return _number_of_tags(keys, driver) == literal_column("1")
    if driver is None:
        return _number_of_tags(keys) == func.cardinality(keys)
    # Without the tag that the driver scans. The cast makes ANY take an array, not a set of rows.
    more = cast(select(func.array_remove(keys, _rarest(0))).scalar_subquery(), ARRAY(Text))
    has_all = _number_of_tags(more, driver) == func.cardinality(keys) - literal_column("1")
    return meeting.often_or_seldom(driver.id, has_all, driver.far, driver.others)


def _not_tagged(_: str, *, is_trashed: bool, driver: "Driver | None") -> ColumnElement[bool]:
    keys = bindparam("unwanted_tag_keys", type_=ARRAY(Text))
    if is_trashed:
        return func.jsonb_exists_any(tasks.c.tag_keys, keys).is_(False)
    return _number_of_tags(keys, driver) == literal_column("0")


def _number_of_tags(keys: ColumnElement[Any], driver: "Driver | None" = None) -> ColumnElement[int]:
    # A scalar subquery, which PostgreSQL evaluates per row. It would turn EXISTS into a join, and might start with it.
    own = _task_tags.alias("own_tags")
    task_id = tasks.c.id if driver is None else driver.id
    return (
        select(func.count())
        .select_from(own)
        .where(OwnedByCaller(own), own.c.task_id == task_id, own.c.tag_key == any_(keys))
        .correlate_except(own)
        .scalar_subquery()
    )


def _due(form: str, **_: Any) -> ColumnElement[bool]:
    due_at = tasks.c.due_at
    if form == Due.none:
        return due_at.is_(None)
    if form == Due.overdue:
        return and_(due_at < now, _is_open)
    if form == Due.upcoming:
        return and_(due_at > _end_of(_today.c.day), _is_open)
    first = _today.c.day if form == Due.today else _today.c.day - _days_into_week()
    last = _today.c.day if form == Due.today else first + literal_column("6")
    return and_(due_at > _end_of(first - literal_column("1")), due_at <= _end_of(last))


_CONDITIONS: Mapping[str, Callable[..., ColumnElement[bool]]] = {
    "status": _one_of("status"),
    "priority": _one_of("priority"),
    "category_id": _reference("category_id"),
    "parent_id": _reference("parent_id"),
    "trashed": _trashed,
    "tag": _tagged,
    "not_tag": _not_tagged,
    "due": _due,
}

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


def _beyond(name: str, side: str, form: str) -> ColumnElement[bool]:
    column = _TIMES[name.rpartition("_")[0]]
    if form == INSTANT:
        bound: ColumnElement[Any] = bindparam(name, type_=DateTime(timezone=True))
    elif form == LOCAL:
        bound = select(
            func.app.resolve_local(cast(bindparam(name, type_=Text), TIMESTAMP), _clock.c.zone)
        ).scalar_subquery()
    else:
        day = cast(bindparam(name, type_=Text), Date)
        day_before = day - literal_column("1")
        ends = func.app.day_end(day_before if side == "before" else day, _clock.c.zone, _clock.c.day_start)
        bound = select(ends).scalar_subquery()
        if side == "before":
            return column <= bound
    return column < bound if side == "before" else column > bound


# Task: T-371
class Driver(NamedTuple):
    """A table to scan instead of ``tasks``. Its ``created_at`` and ``id`` are those of the task, in index order.

    With several tags, it scans the rarest one. ``far`` is true for rows after those that are looked up
    one by one. ``others`` selects the ids of the tasks with the second rarest tag.
    """

    table: FromClause
    on: ColumnElement[bool]
    conditions: tuple[ColumnElement[bool], ...]
    created_at: ColumnElement[Any]
    id: ColumnElement[Any]
    far: ColumnElement[bool]
    others: Select[Any]


# Task: T-371
def driver_of(filters: tuple[Filter, ...], *, is_behind: bool = False) -> Driver | None:
    """Return the table that finds the tasks of a tag, or of the rarest of several tags.

    ``None`` without a tag, and in the trash. If ``is_behind``, the scan starts at the time ``after_0``.
    """
    if TRASHED in filters:
        return None
    form = next((each.form for each in filters if each.name == "tag"), None)
    if form is None:
        return None
    tagged, ahead, others = (_task_tags.alias(name) for name in ("tagged", "ahead", "others"))
    key = bindparam("tag_key", type_=Text) if form == ONE else _rarest(0)
    begun = [ahead.c.created_at <= cast(bindparam("after_0", type_=Text), DateTime(timezone=True))] if is_behind else []
    place = (
        select(ahead.c.created_at)
        .where(OwnedByCaller(ahead), ahead.c.tag_key == key, *begun)
        .order_by(ahead.c.created_at.desc(), ahead.c.task_id.desc())
        .offset(meeting.far_from(_of_ranked("number", 1), per_look_up=_READ_PER_LOOK_UP))
        .limit(literal_column("1"))
        .scalar_subquery()
    )
    return Driver(
        tagged,
        tagged.c.task_id == tasks.c.id,
        (OwnedByCaller(tagged), tagged.c.tag_key == key),
        tagged.c.created_at,
        tagged.c.task_id,
        tagged.c.created_at <= place,
        select(others.c.task_id).where(OwnedByCaller(others), others.c.tag_key == _rarest(1)),
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
