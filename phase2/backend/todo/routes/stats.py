"""Statistics: the tasks created and completed per day, and the open tasks."""

from typing import Annotated, Any

from fastapi import APIRouter, Query

from todo.dependencies import SessionDep
from todo.kit.clock import utc_now
from todo.models.stats import Stats, StatsQuery
from todo.services import stats
from todo.web.route import Route

router = APIRouter(prefix="/api/v1/stats", tags=["stats"], route_class=Route)


# Task: T-381
@router.get("", response_model=Stats, response_description="The statistics.")
async def read_stats(query: Annotated[StatsQuery, Query()], session: SessionDep) -> dict[str, Any]:
    """Get statistics.

    Returns the number of tasks created and completed on each of the last days, the open tasks, and your streak. Days
    are in your time zone and start at your `day_start` (`PATCH /api/v1/me`). The response depends on the current time,
    so it has no `ETag`.
    """
    return await stats.read(session, days=query.days, now=utc_now())
