"""The caller, under ``/api/v1/me``."""

from fastapi import APIRouter

from todo.dependencies import CurrentUser
from todo.models.users import Me
from todo.web.route import Route

router = APIRouter(prefix="/api/v1", tags=["me"], route_class=Route)


# Task: T-037
@router.get("/me", response_model=Me)
async def read_me(user: CurrentUser) -> dict[str, str | None]:
    """Say who the token speaks for."""
    return {"id": user.user_id, "name": user.name, "email": user.email}
