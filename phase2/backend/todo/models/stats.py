"""Statistics: the API schemas. All days are days of the user."""

import datetime as dt
from typing import Any
from uuid import UUID

from sqlmodel import Field, SQLModel

from todo.models.base import WholeNumber
from todo.models.tasks import Priority, Status

MAX_DAYS = 366
LONGEST_STREAK = 3_660
"""In days: ten years. No request looks further back."""


def _how_many(number: int) -> dict[str, Any]:
    return {"examples": [number]}


# Task: T-381
class StatsQuery(SQLModel):
    """Query of ``GET /stats``."""

    days: WholeNumber = Field(
        default=30, ge=1, le=MAX_DAYS, description="The number of days, up to and including today."
    )


# Task: T-381
class DayStats(SQLModel):
    """One day of the user: in their time zone, starting at their `day_start`."""

    date: dt.date = Field(description="The day.", schema_extra={"examples": ["2026-03-10"]})
    created: int = Field(description="The number of tasks created.", schema_extra=_how_many(4))
    completed: int = Field(
        description="The number of tasks completed. Each occurrence of a recurring task counts.",
        schema_extra=_how_many(3),
    )


# Task: T-381
class CategoryStats(SQLModel):
    """The open tasks of a category."""

    category_id: UUID | None = Field(
        description="The category. Null for tasks without a category.",
        schema_extra={"examples": ["0197f0c2-a6b4-7e0b-8d3c-5a1e9f60b7d2"]},
    )
    tasks: int = Field(description="The number of open tasks.", schema_extra=_how_many(5))


# Task: T-381
class OpenStats(SQLModel):
    """The number of open tasks."""

    total: int = Field(description="The number of all open tasks.", schema_extra=_how_many(7))
    by_status: dict[Status, int] = Field(
        description="The number by status.", schema_extra={"examples": [{"pending": 5, "in_progress": 2}]}
    )
    by_priority: dict[Priority, int] = Field(
        description="The number by priority.", schema_extra={"examples": [{"low": 1, "medium": 4, "high": 2}]}
    )
    by_category: list[CategoryStats] = Field(
        description="The number by category, the largest first, without categories that have no open tasks.",
        schema_extra={"examples": [[{"category_id": "0197f0c2-a6b4-7e0b-8d3c-5a1e9f60b7d2", "tasks": 7}]]},
    )


# Task: T-381
class Stats(SQLModel):
    """Statistics of a user. Tasks in the trash do not count."""

    days: list[DayStats] = Field(description="Each of the days, today last.")
    open: OpenStats
    overdue: int = Field(description="The number of open tasks past their due date.", schema_extra=_how_many(1))
    streak: int = Field(
        description=f"The number of consecutive days with completed tasks, up to today or yesterday: {LONGEST_STREAK:,}"
        " at most.",
        schema_extra=_how_many(12),
    )
