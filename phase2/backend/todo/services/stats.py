"""Statistics: counted by the database in one statement, by the days of the user.

A day is a range of an index, so its cost depends only on the tasks created and completed on it. Counters of open tasks
are maintained by the database.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Date,
    DateTime,
    FromClause,
    Integer,
    Time,
    bindparam,
    case,
    cast,
    func,
    literal_column,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlmodel import col

from todo.database import OwnedByCaller, Session, Statement
from todo.models.profiles import Profile
from todo.models.stats import MAX_STREAK_DAYS
from todo.models.tasks import Task, TaskCount
from todo.models.values import Priority
from todo.services.tasks.statements import OPEN, not_trashed, now, owned_by_caller

_NO_CATEGORY = str(UUID(int=0))
_zero, _one = literal_column("0", Integer), literal_column("1", Integer)
# Constants, so that a generic plan can use the partial index of open tasks.
_open: list[ColumnElement[str]] = [literal_column(f"'{status.value}'") for status in OPEN]


# Task: T-381
async def read(session: Session, *, days: int, now: datetime) -> dict[str, Any]:
    """Return the statistics at ``now`` (aware), with the tasks created and completed on each of the last ``days`` days.

    Today is the last of these days.
    """
    row = await session.fetch_one(_READ, days=days, now=now)
    return {
        "days": [{"date": day, "created": created, "completed": done} for day, created, done in row["days"]],
        "open": _open_stats(row["open"] or ()),
        "overdue": row["overdue"],
        "streak": row["streak"],
    }


def _open_stats(counts: Sequence[tuple[str, str, str, int]]) -> dict[str, Any]:
    """Sum up the counts of open tasks, which come per category, status and priority."""
    statuses, priorities, categories = Counter[str](), Counter[str](), Counter[str]()
    for category_id, status, priority, number in counts:
        statuses[status] += number
        priorities[priority] += number
        categories[category_id] += number
    return {
        "total": statuses.total(),
        "by_status": {status.value: statuses[status.value] for status in OPEN},
        "by_priority": {priority.value: priorities[priority.value] for priority in Priority},
        "by_category": [
            {"category_id": None if category_id == _NO_CATEGORY else category_id, "tasks": number}
            for category_id, number in sorted(categories.items(), key=lambda each: (-each[1], each[0]))
        ],
    }


def _setting(column: Any, default: str) -> ColumnElement[Any]:
    # A user who never changed a setting has no row: use the defaults.
    return func.coalesce(func.max(column), literal_column(f"'{default}'"))


_clock = (
    select(
        _setting(Profile.time_zone, "UTC").label("zone"),
        cast(_setting(Profile.day_start, "00:00"), Time).label("day_start"),
    )
    .where(OwnedByCaller(Profile))
    .cte("clock")
)
_today = select(_clock, func.app.local_day(now, _clock.c.zone, _clock.c.day_start, type_=Date).label("day")).cte(
    "today"
)


def _end_of(day: ColumnElement[Any], clock: FromClause) -> ColumnElement[datetime]:
    """Return the last moment of a day of the user."""
    return func.app.day_end(day, clock.c.zone, clock.c.day_start, type_=DateTime(timezone=True))


def _number(*conditions: ColumnElement[bool]) -> ColumnElement[int]:
    return (
        select(func.count())
        .select_from(Task)
        .where(owned_by_caller, not_trashed, *conditions)
        .correlate_except(Task)
        .scalar_subquery()
    )


def _days() -> ColumnElement[Any]:
    """Return the days with the numbers of created and completed tasks. A day starts at the end of the day before."""
    back = (
        func.generate_series(_zero, bindparam("days", type_=Integer)).table_valued("days").render_derived(name="back")
    )
    a_day = (_today.c.day - back.c.days).label("day")
    ends = select(a_day, _end_of(_today.c.day - back.c.days, _today).label("end")).join_from(_today, back, true())
    ended = ends.subquery("ended")
    day = select(ended, func.lag(ended.c.end).over(order_by=ended.c.day).label("start")).subquery("day")
    # A completed occurrence is a copy and has the ``created_at`` of its task. So these are subtracted.
    created = _number(col(Task.created_at) > day.c.start, col(Task.created_at) <= day.c.end) - _number(
        col(Task.created_at) > day.c.start, col(Task.created_at) <= day.c.end, col(Task.series_id) != col(Task.id)
    )
    completed = _number(col(Task.completed_at) > day.c.start, col(Task.completed_at) <= day.c.end)
    counted = func.jsonb_build_array(day.c.day, created, completed)
    return (
        select(func.jsonb_agg(aggregate_order_by(counted, day.c.day))).where(day.c.start.is_not(None)).scalar_subquery()
    )


def _streak() -> ColumnElement[int]:
    """Count consecutive days with a completed task, backwards from today, or from yesterday if today has none yet."""
    clock = (_today.c.zone, _today.c.day_start)
    ends = [_end_of(_today.c.day - literal_column(str(back)), _today).label(f"end_{back}") for back in range(3)]
    edge = select(*clock, _today.c.day, *ends).subquery("edge")
    now_done = _is_something_completed(edge.c.end_1, edge.c.end_0)
    latest = select(edge, now_done.label("is_done")).subquery("latest")
    run = select(
        latest.c.zone,
        latest.c.day_start,
        (latest.c.day - _one + cast(latest.c.is_done, Integer)).label("day"),
        case((latest.c.is_done, latest.c.end_1), else_=latest.c.end_2).label("start"),
        case((latest.c.is_done, latest.c.end_0), else_=latest.c.end_1).label("end"),
        _zero.label("length"),
    ).cte("run", recursive=True)
    before = select(
        run.c.zone,
        run.c.day_start,
        run.c.day - _one,
        _end_of(run.c.day - literal_column("2"), run),
        run.c.start,
        run.c.length + _one,
    ).where(run.c.length < literal_column(str(MAX_STREAK_DAYS)), _is_something_completed(run.c.start, run.c.end))
    return select(func.max(run.union_all(before).c.length)).scalar_subquery()


def _is_something_completed(start: ColumnElement[Any], end: ColumnElement[Any]) -> ColumnElement[bool]:
    # A scalar subquery, which PostgreSQL evaluates per day. It would turn EXISTS into a join.
    within = (col(Task.completed_at) > start, col(Task.completed_at) <= end)
    found = (
        select(_one).select_from(Task).where(owned_by_caller, not_trashed, *within).limit(_one).correlate_except(Task)
    )
    return found.scalar_subquery().is_not(None)


def _open_counts() -> ColumnElement[Any]:
    each = func.jsonb_build_array(TaskCount.category_id, TaskCount.status, TaskCount.priority, TaskCount.tasks)
    return (
        select(func.jsonb_agg(each))
        .where(OwnedByCaller(TaskCount), col(TaskCount.status).in_(_open), col(TaskCount.tasks) > _zero)
        .scalar_subquery()
    )


_READ = Statement(
    select(
        _days().label("days"),
        _open_counts().label("open"),
        _number(col(Task.due_at) < now, col(Task.status).in_(_open)).label("overdue"),
        _streak().label("streak"),
    )
)
