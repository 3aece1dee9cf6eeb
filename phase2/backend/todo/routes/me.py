"""The caller, as the token describes them."""

from fastapi import APIRouter

from todo.dependencies import CurrentUser
from todo.models.users import Me
from todo.web.route import Route

router = APIRouter(prefix="/api/v1", tags=["me"], route_class=Route)


# Task: T-037
@router.get("/me", response_model=Me, response_description="The caller.")
async def read_me(user: CurrentUser) -> dict[str, str | None]:
    """Say who the token speaks for. Name and e-mail address are those in the token, which may be out of date."""
    return {"id": user.user_id, "name": user.name, "email": user.email}
