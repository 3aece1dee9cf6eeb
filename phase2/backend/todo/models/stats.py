"""Statistics: how it goes, in the user's own days."""

import datetime as dt
from typing import Any
from uuid import UUID

from sqlmodel import Field, SQLModel

from todo.models.base import WholeNumber
from todo.models.tasks import Priority, Status

MOST_DAYS = 366
LONGEST_STREAK = 3_660
"""Ten years: no request looks further back."""


def _how_many(number: int) -> dict[str, Any]:
    return {"examples": [number]}


# Task: T-381
class StatsQuery(SQLModel):
    """Query of ``GET /stats``."""

    days: WholeNumber = Field(default=30, ge=1, le=MOST_DAYS, description="How many days to tell of, up to today.")


# Task: T-381
class DayStats(SQLModel):
    """One of the user's days: in their zone, from their start of day on."""

    date: dt.date = Field(description="The day.", schema_extra={"examples": ["2026-03-10"]})
    created: int = Field(description="How many tasks were created.", schema_extra=_how_many(4))
    completed: int = Field(
        description="How many were completed; of what repeats, each occurrence.", schema_extra=_how_many(3)
    )


# Task: T-381
class CategoryStats(SQLModel):
    """How much is open in a category."""

    category_id: UUID | None = Field(
        description="The category; null for the tasks that are in none.",
        schema_extra={"examples": ["0197f0c2-a6b4-7e0b-8d3c-5a1e9f60b7d2"]},
    )
    tasks: int = Field(description="How many open tasks it has.", schema_extra=_how_many(5))


# Task: T-381
class OpenStats(SQLModel):
    """What there is to do."""

    total: int = Field(description="How many tasks are open.", schema_extra=_how_many(7))
    by_status: dict[Status, int] = Field(
        description="The same by status.", schema_extra={"examples": [{"pending": 5, "in_progress": 2}]}
    )
    by_priority: dict[Priority, int] = Field(
        description="The same by priority.", schema_extra={"examples": [{"low": 1, "medium": 4, "high": 2}]}
    )
    by_category: list[CategoryStats] = Field(
        description="The same by category, where there are any, the most first.",
        schema_extra={"examples": [[{"category_id": "0197f0c2-a6b4-7e0b-8d3c-5a1e9f60b7d2", "tasks": 7}]]},
    )


# Task: T-381
class Stats(SQLModel):
    """How it goes. What is in the trash does not count."""

    days: list[DayStats] = Field(description="Every day that was asked for, today last.")
    open: OpenStats
    overdue: int = Field(description="How many open tasks are past their due date.", schema_extra=_how_many(1))
    streak: int = Field(
        description=f"On how many days in a row, up to today or yesterday, something was completed; {LONGEST_STREAK:,}"
        " at most.",
        schema_extra=_how_many(12),
    )
