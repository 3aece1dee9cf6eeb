"""Health checks of the process and of the database, for monitors and load balancers. They need no token."""

from fastapi import APIRouter, Request

from todo.models.health import Health, Readiness
from todo.web.route import Route

router = APIRouter(tags=["health"], route_class=Route)


# Task: T-038
@router.get("/healthz", response_model=Health, response_description="The process runs.")
async def read_health() -> dict[str, str]:
    """Check liveness.

    Returns 200 as long as the process runs. The database is not checked, so that a process is not restarted because its
    database is unavailable.
    """
    return {"status": "ok"}


# Task: T-038
@router.get("/readyz", response_model=Readiness, response_description="The database answers.", responses={503: {}})
async def read_readiness(request: Request) -> dict[str, str]:
    """Check readiness.

    Returns 200 if the database answers. Otherwise it returns 503, and requests should go to another process.
    """
    await request.app.state.database.ping()
    return {"status": "ready"}
