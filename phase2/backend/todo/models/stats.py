"""Statistics: the API schemas. All days are days of the user."""

import datetime as dt
from uuid import UUID

from pydantic import Field
from sqlmodel import SQLModel

from todo.models.fields import TASK_ID, described
from todo.models.values import Priority, Status, WholeNumber

MAX_DAYS = 366
MAX_STREAK_DAYS = 3_660
"""In days: ten years. No request looks further back."""


# Task: T-381
class StatsQuery(SQLModel):
    """Query of ``GET /stats``."""

    days: WholeNumber = Field(
        default=30, ge=1, le=MAX_DAYS, description="The number of days, up to and including today."
    )


# Task: T-381
class DayStats(SQLModel):
    """One day of the user: in their time zone, starting at their `day_start`."""

    date: dt.date = described("The day.", "2026-03-10")
    created: int = described("The number of tasks created.", 4)
    completed: int = described("The number of tasks completed. Each occurrence of a recurring task counts.", 3)


# Task: T-381
class CategoryStats(SQLModel):
    """The open tasks of a category."""

    category_id: UUID | None = described("The category. Null for tasks without a category.", TASK_ID)
    tasks: int = described("The number of open tasks.", 5)


# Task: T-381
class OpenStats(SQLModel):
    """The number of open tasks."""

    total: int = described("The number of all open tasks.", 7)
    by_status: dict[Status, int] = described("The number by status.", {"pending": 5, "in_progress": 2})
    by_priority: dict[Priority, int] = described("The number by priority.", {"low": 1, "medium": 4, "high": 2})
    by_category: list[CategoryStats] = described(
        "The number by category, the largest first, without categories that have no open tasks.",
        [{"category_id": TASK_ID, "tasks": 7}],
    )


# Task: T-381
class Stats(SQLModel):
    """Statistics of a user. Tasks in the trash do not count."""

    days: list[DayStats] = Field(description="Each of the days, today last.")
    open: OpenStats
    overdue: int = described("The number of open tasks past their due date.", 1)
    streak: int = described(
        f"The number of consecutive days with completed tasks, up to today or yesterday: {MAX_STREAK_DAYS:,} at most.",
        12,
    )
