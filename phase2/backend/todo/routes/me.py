"""The current user: the identity in the token, and the settings that define the user's days and weeks."""

from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from todo.database import Row
from todo.dependencies import BulkSessionDep, CurrentUser, SessionDep
from todo.kit.clock import utc_now
from todo.models.profiles import Me, ProfileUpdate
from todo.models.users import Identity
from todo.services import profiles
from todo.web.conditional import IfMatch, IfNoneMatch, response_with_etag
from todo.web.route import Route

router = APIRouter(prefix="/api/v1", tags=["me"], route_class=Route)

_UNCHANGED: dict[int | str, dict[str, Any]] = {304: {"description": "Your settings have not changed."}}


# Task: T-037
# Task: T-302
@router.get("/me", response_model=Me, response_description="The current user.", responses=_UNCHANGED)
async def read_me(user: CurrentUser, session: SessionDep, if_none_match: IfNoneMatch = None) -> Response:
    """Get the current user.

    `name` and `email` come from the token and may be out of date. The `ETag` covers only the settings.
    """
    profile = await profiles.read(session)
    return response_with_etag(_to_public(user, profile), profile["revision"], if_none_match=if_none_match)


# Task: T-302
@router.patch("/me", response_model=Me, response_description="The current user.", responses={409: {}, 412: {}})
async def update_me(
    body: ProfileUpdate, user: CurrentUser, session: BulkSessionDep, if_match: IfMatch = None
) -> Response:
    """Update your settings.

    Only the settings that you send change. A request that changes nothing, such as `{}`, keeps the `revision`.
    """
    profile = await profiles.change(session, body, now=utc_now(), if_match=if_match)
    return response_with_etag(_to_public(user, profile), profile["revision"])


def _to_public(user: Identity, profile: Row) -> Row:
    return {"id": user.user_id, "name": user.name, "email": user.email, **profile}
