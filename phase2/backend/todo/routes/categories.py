"""Categories: lists of tasks. Each has a unique name, and you choose their order.

You can have up to 1,000 categories. `GET /api/v1/categories` returns all of them at once.

`tasks_open` and `tasks_completed` count the tasks in a category, so a response changes when a task changes. Therefore
the `ETag` is the revision of your latest change, and 304 means that none of your data has changed. In `If-Match`, the
same `ETag` only requires that the category itself has not changed since, whatever happened to its tasks. You can send
the `revision` of the category there as well.
"""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from starlette.responses import Response

from todo.dependencies import BulkSessionDep, SessionDep
from todo.kit.clock import utc_now
from todo.models.categories import (
    CategoryCreate,
    CategoryDeletion,
    CategoryList,
    CategoryMove,
    CategoryPublic,
    CategoryQuery,
    CategoryReplace,
    CategoryUpdate,
)
from todo.models.values import Id
from todo.services import categories
from todo.web.conditional import IfMatch, IfNoneMatch, OnlyIfNew, response_with_etag
from todo.web.route import Route

router = APIRouter(prefix="/api/v1/categories", tags=["categories"], route_class=Route)

CategoryId = Annotated[Id, Path(description="The category's id.", examples=["0197f0c2-c1d0-7a55-9b1e-2f6d3c8a4e17"])]

_AS_IT_IS = "The category as it is now."
_CONTENDED: dict[int | str, dict[str, Any]] = {409: {}, 412: {}}
_UNCHANGED: dict[int | str, dict[str, Any]] = {304: {"description": "None of your data has changed."}}
_CREATED: dict[int | str, dict[str, Any]] = {
    200: {"model": CategoryPublic, "description": "The category, which an earlier request with the same body created."},
    409: {},
    412: {},
}


# Task: T-332
@router.post(
    "", status_code=201, response_model=CategoryPublic, response_description="The new category.", responses=_CREATED
)
async def create_category(body: CategoryCreate, session: SessionDep, if_none_match: OnlyIfNew = None) -> Response:
    """Create a category.

    The new category is the last one in your order.

    Choose the `id` yourself to make the request safe to repeat: the same body again returns 200 with the category as it
    is now, and another body returns 409 with the code `id_taken`. With `If-None-Match: *`, a category that exists
    already returns 412.

    A name that is in use returns 409 with the code `name_taken`, and `conflicting_id` is the id of the category that
    has it. More than 1,000 categories are refused: 409 with the code `too_many_categories`.
    """
    category, is_new = await categories.create(session, body, now=utc_now(), if_none_match=if_none_match)
    location = {"Location": f"/api/v1/categories/{category.content['id']}"}
    return response_with_etag(category.content, category.revision, status_code=201 if is_new else 200, headers=location)


# Task: T-332
@router.get("", response_model=CategoryList, response_description="All categories.", responses=_UNCHANGED)
async def list_categories(
    query: Annotated[CategoryQuery, Query()], session: SessionDep, if_none_match: IfNoneMatch = None
) -> Response:
    """List categories.

    Returns all of them at once, in your order.
    """
    found = await categories.list_all(session, archived=query.archived, if_none_match=if_none_match)
    content = {"categories": found.content, "total": len(found.content)}
    return response_with_etag(content, found.revision, if_none_match=if_none_match)


# Task: T-332
@router.get("/{category_id}", response_model=CategoryPublic, response_description=_AS_IT_IS, responses=_UNCHANGED)
async def read_category(category_id: CategoryId, session: SessionDep, if_none_match: IfNoneMatch = None) -> Response:
    """Get a category.

    The category of another user returns 404, as if it did not exist.
    """
    category = await categories.read(session, category_id)
    return response_with_etag(category.content, category.revision, if_none_match=if_none_match)


# Task: T-332
@router.put("/{category_id}", response_model=CategoryPublic, response_description=_AS_IT_IS, responses=_CONTENDED)
async def replace_category(
    category_id: CategoryId, body: CategoryReplace, session: SessionDep, if_match: IfMatch = None
) -> Response:
    """Replace a category.

    A field that you leave out gets its default. The place in your order does not change. A name that is in use returns
    409 with the code `name_taken`, and `conflicting_id` is the id of the category that has it.
    """
    category = await categories.replace(session, category_id, body, now=utc_now(), if_match=if_match)
    return response_with_etag(category.content, category.revision)


# Task: T-332
@router.patch("/{category_id}", response_model=CategoryPublic, response_description=_AS_IT_IS, responses=_CONTENDED)
async def update_category(
    category_id: CategoryId, body: CategoryUpdate, session: SessionDep, if_match: IfMatch = None
) -> Response:
    """Update a category.

    Only the fields that you send change. `null` clears the color. A request that changes nothing, such as `{}`, keeps
    the `revision`. A name that is in use returns 409 with the code `name_taken`, and `conflicting_id` is the id of the
    category that has it.
    """
    category = await categories.change(session, category_id, body, now=utc_now(), if_match=if_match)
    return response_with_etag(category.content, category.revision)


# Task: T-333
@router.post("/{category_id}/move", response_model=CategoryPublic, response_description=_AS_IT_IS, responses=_CONTENDED)
async def move_category(
    category_id: CategoryId, body: CategoryMove, session: SessionDep, if_match: IfMatch = None
) -> Response:
    """Move a category.

    The category moves directly after or before another one. `{"after_id": null}` makes it the first,
    `{"before_id": null}` the last. No other category changes. A category that is already in this place stays as it is,
    so the request is safe to repeat.
    """
    category = await categories.move(session, category_id, body, now=utc_now(), if_match=if_match)
    return response_with_etag(category.content, category.revision)


# Task: T-334
@router.delete("/{category_id}", status_code=204, response_description="The category is deleted.", responses=_CONTENDED)
async def delete_category(
    category_id: CategoryId,
    query: Annotated[CategoryDeletion, Query()],
    session: BulkSessionDep,
    if_match: IfMatch = None,
) -> None:
    """Delete a category.

    Its tasks stay, without a category; with `tasks=trash`, they move to the trash. Everything happens in one
    transaction. Undoing the deletion restores the category with its id. Each task has a change of its own, to be undone
    separately.
    """
    await categories.remove(session, category_id, leftover=query.tasks, now=utc_now(), if_match=if_match)
