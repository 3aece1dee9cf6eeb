"""Is the process alive, and does the database answer? Both without a token."""

from fastapi import APIRouter, Request

from todo.web.route import Route

router = APIRouter(tags=["health"], route_class=Route)


# Task: T-038
@router.get("/healthz")
async def read_health() -> dict[str, str]:
    """Say that the process lives. Asks nobody else."""
    return {"status": "ok"}


# Task: T-038
@router.get("/readyz")
async def read_readiness(request: Request) -> dict[str, str]:
    """Say that the database answers; 503 while it does not."""
    await request.app.state.database.ping()
    return {"status": "ready"}
