"""Is the process alive, and does the database answer? For monitors and load balancers, without a token."""

from fastapi import APIRouter, Request

from todo.models.health import Health, Readiness
from todo.web.route import Route

router = APIRouter(tags=["health"], route_class=Route)


# Task: T-038
@router.get("/healthz", response_model=Health, response_description="It lives.")
async def read_health() -> dict[str, str]:
    """Say that the process lives. It asks nobody else: a process is not restarted because its database is away."""
    return {"status": "ok"}


# Task: T-038
@router.get("/readyz", response_model=Readiness, response_description="It answers.", responses={503: {}})
async def read_readiness(request: Request) -> dict[str, str]:
    """Say that the database answers. While it does not, this is a 503, and requests had better go elsewhere."""
    await request.app.state.database.ping()
    return {"status": "ready"}
