"""Categories: your lists, each with a name of its own, in the order that you give them.

You have at most 1,000, and `GET /api/v1/categories` gives all of them at once. `tasks_open` and `tasks_completed` count
the tasks in a category, so that an answer changes when a task does: its `ETag` is the number of your latest change, and
304 means that nothing has changed at all. As `If-Match` it says less: that the category itself has not changed since,
whatever happened to its tasks. The category's own `revision` does as well.
"""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from starlette.responses import Response

from todo.dependencies import LongSessionDep, SessionDep
from todo.kit.clock import utc_now
from todo.models.base import Id
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
from todo.services import categories
from todo.web.conditions import IfMatch, IfNoneMatch, OnlyIfNew, tagged
from todo.web.route import Route

router = APIRouter(prefix="/api/v1/categories", tags=["categories"], route_class=Route)

CategoryId = Annotated[Id, Path(description="The category's id.", examples=["0197f0c2-c1d0-7a55-9b1e-2f6d3c8a4e17"])]

_AS_IT_IS = "The category as it is now."
_CONTENDED: dict[int | str, dict[str, Any]] = {409: {}, 412: {}}
_UNCHANGED: dict[int | str, dict[str, Any]] = {304: {"description": "Nothing has changed."}}
_CREATED: dict[int | str, dict[str, Any]] = {
    200: {"model": CategoryPublic, "description": "The category, which was created before from the same body."},
    409: {},
    412: {},
}


# Task: T-332
@router.post(
    "", status_code=201, response_model=CategoryPublic, response_description="The new category.", responses=_CREATED
)
async def create_category(body: CategoryCreate, session: SessionDep, if_none_match: OnlyIfNew = None) -> Response:
    """Create a category, the last in your order.

    With an ``id`` of your choice it is safe to retry: the same body again answers 200 with the category as it is by
    now, and another body 409 with the code ``id_taken``. With ``If-None-Match: *`` one that is there already is a 412.
    A name that another one has is 409 with the code ``name_taken``, and ``conflicting_id`` says whose it is; one
    category more than 1,000 is 409 with the code ``too_many_categories``.
    """
    category, is_new = await categories.create(session, body, now=utc_now(), unless=if_none_match)
    location = {"Location": f"/api/v1/categories/{category.content['id']}"}
    return tagged(category.content, category.revision, status_code=201 if is_new else 200, headers=location)


# Task: T-332
@router.get("", response_model=CategoryList, response_description="All of them.", responses=_UNCHANGED)
async def list_categories(
    query: Annotated[CategoryQuery, Query()], session: SessionDep, if_none_match: IfNoneMatch = None
) -> Response:
    """List your categories, all at once, in your order."""
    found = await categories.everything(session, archived=query.archived, unless=if_none_match)
    content = {"categories": found.content, "total": len(found.content)}
    return tagged(content, found.revision, unless=if_none_match)


# Task: T-332
@router.get("/{category_id}", response_model=CategoryPublic, response_description=_AS_IT_IS, responses=_UNCHANGED)
async def read_category(category_id: CategoryId, session: SessionDep, if_none_match: IfNoneMatch = None) -> Response:
    """Read one category. Somebody else's is answered as one that does not exist."""
    category = await categories.read(session, category_id)
    return tagged(category.content, category.revision, unless=if_none_match)


# Task: T-332
@router.put("/{category_id}", response_model=CategoryPublic, response_description=_AS_IT_IS, responses=_CONTENDED)
async def replace_category(
    category_id: CategoryId, body: CategoryReplace, session: SessionDep, if_match: IfMatch = None
) -> Response:
    """Replace a category: a field that you leave out gets its default. It keeps its place.

    A name that another one has is 409 with the code ``name_taken``, and ``conflicting_id`` says whose it is.
    """
    category = await categories.replace(session, category_id, body, now=utc_now(), if_match=if_match)
    return tagged(category.content, category.revision)


# Task: T-332
@router.patch("/{category_id}", response_model=CategoryPublic, response_description=_AS_IT_IS, responses=_CONTENDED)
async def update_category(
    category_id: CategoryId, body: CategoryUpdate, session: SessionDep, if_match: IfMatch = None
) -> Response:
    """Change the fields that you send, and no others.

    ``null`` clears the colour; ``{}`` changes nothing. What changes nothing keeps the ``revision``.
    A name that another one has is 409 with the code ``name_taken``, and ``conflicting_id`` says whose it is.
    """
    category = await categories.change(session, category_id, body, now=utc_now(), if_match=if_match)
    return tagged(category.content, category.revision)


# Task: T-333
@router.post("/{category_id}/move", response_model=CategoryPublic, response_description=_AS_IT_IS, responses=_CONTENDED)
async def move_category(
    category_id: CategoryId, body: CategoryMove, session: SessionDep, if_match: IfMatch = None
) -> Response:
    """Put a category right behind another one, or right before it.

    ``{"after_id": null}`` makes it the first, ``{"before_id": null}`` the last. No other category changes. What stands
    there already stays as it is: safe to retry.
    """
    category = await categories.move(session, category_id, body, now=utc_now(), if_match=if_match)
    return tagged(category.content, category.revision)


# Task: T-334
@router.delete("/{category_id}", status_code=204, response_description="It is gone.", responses=_CONTENDED)
async def delete_category(
    category_id: CategoryId,
    query: Annotated[CategoryDeletion, Query()],
    session: LongSessionDep,
    if_match: IfMatch = None,
) -> None:
    """Delete a category. Its tasks stay, in no category, or go to the trash.

    All in one transaction. Undone, the category is back under its id; each task's change is a change of its own.
    """
    await categories.remove(session, category_id, leftover=query.tasks, now=utc_now(), if_match=if_match)
