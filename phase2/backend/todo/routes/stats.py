"""Statistics: what you created and completed, day by day, and what there is to do."""

from typing import Annotated, Any

from fastapi import APIRouter, Query

from todo.dependencies import SessionDep
from todo.kit.clock import utc_now
from todo.models.stats import Stats, StatsQuery
from todo.services import stats
from todo.web.route import Route

router = APIRouter(prefix="/api/v1/stats", tags=["stats"], route_class=Route)


# Task: T-381
@router.get("", response_model=Stats, response_description="How it goes.")
async def read_stats(query: Annotated[StatsQuery, Query()], session: SessionDep) -> dict[str, Any]:
    """Tell how it goes: what was created and completed on each of the last days, what is open, and your streak.

    Days are yours: in your zone, from your start of day on (`PATCH /api/v1/me`). It depends on the time, so it has no
    `ETag`.
    """
    return await stats.read(session, days=query.days, now=utc_now())
