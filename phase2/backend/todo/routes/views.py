"""Saved views: combinations of filters and a sort order, stored under a name.

You can have up to 200 views. `GET /api/v1/views` returns all of them at once. `GET /api/v1/tasks?view=` uses one.
"""

from typing import Annotated, Any

from fastapi import APIRouter, Path
from starlette.responses import Response

from todo.dependencies import SessionDep
from todo.kit.clock import utc_now
from todo.models.values import Id
from todo.models.views import ViewCreate, ViewList, ViewPublic, ViewUpdate
from todo.services import views
from todo.web.conditional import IfMatch, IfNoneMatch, OnlyIfNew, response_with_etag
from todo.web.route import Route

router = APIRouter(prefix="/api/v1/views", tags=["views"], route_class=Route)

ViewId = Annotated[Id, Path(description="The view's id.", examples=["0197f0c2-d2e3-7b66-8c2f-3a7e4d9b5f28"])]

_CONTENDED: dict[int | str, dict[str, Any]] = {409: {}, 412: {}}
_UNCHANGED: dict[int | str, dict[str, Any]] = {304: {"description": "Nothing has changed."}}
_CREATED: dict[int | str, dict[str, Any]] = {
    200: {"model": ViewPublic, "description": "The view, which an earlier request with the same body created."},
    409: {},
    412: {},
}


# Task: T-373
@router.post("", status_code=201, response_model=ViewPublic, response_description="The new view.", responses=_CREATED)
async def create_view(body: ViewCreate, session: SessionDep, if_none_match: OnlyIfNew = None) -> Response:
    """Create a view.

    Choose the `id` yourself to make the request safe to repeat: the same body again returns 200 with the view as it is
    now, and another body returns 409 with the code `id_taken`. With `If-None-Match: *`, a view that exists already
    returns 412.

    A name that is in use returns 409 with the code `name_taken`, and `conflicting_id` is the id of the view that has
    it. More than 200 views are refused: 409 with the code `too_many_views`.
    """
    view, is_new = await views.create(session, body, now=utc_now(), if_none_match=if_none_match)
    location = {"Location": f"/api/v1/views/{view['id']}"}
    return response_with_etag(view, view["revision"], status_code=201 if is_new else 200, headers=location)


# Task: T-373
@router.get("", response_model=ViewList, response_description="All views.", responses=_UNCHANGED)
async def list_views(session: SessionDep, if_none_match: IfNoneMatch = None) -> Response:
    """List views.

    Returns all of them at once, sorted by name.
    """
    found = await views.list_all(session)
    return response_with_etag(
        {"views": found.views, "total": len(found.views)}, found.revision, if_none_match=if_none_match
    )


# Task: T-373
@router.get("/{view_id}", response_model=ViewPublic, response_description="The view.", responses=_UNCHANGED)
async def read_view(view_id: ViewId, session: SessionDep, if_none_match: IfNoneMatch = None) -> Response:
    """Get a view.

    The view of another user returns 404, as if it did not exist.
    """
    view = await views.read(session, view_id)
    return response_with_etag(view, view["revision"], if_none_match=if_none_match)


# Task: T-373
@router.patch(
    "/{view_id}", response_model=ViewPublic, response_description="The view as it is now.", responses=_CONTENDED
)
async def update_view(view_id: ViewId, body: ViewUpdate, session: SessionDep, if_match: IfMatch = None) -> Response:
    """Update a view.

    Only the fields that you send change. `query` is replaced as a whole. A request that changes nothing keeps the
    `revision`. A name that is in use returns 409 with the code `name_taken`, and `conflicting_id` is the id of the view
    that has it.
    """
    view = await views.change(session, view_id, body, now=utc_now(), if_match=if_match)
    return response_with_etag(view, view["revision"])


# Task: T-373
@router.delete("/{view_id}", status_code=204, response_description="The view is deleted.", responses=_CONTENDED)
async def delete_view(view_id: ViewId, session: SessionDep, if_match: IfMatch = None) -> None:
    """Delete a view.

    It is deleted permanently. A repeated request returns 404.
    """
    await views.remove(session, view_id, if_match=if_match)
