"""Tags: labels of tasks. `Work` and `work` are the same tag; each task keeps the spelling that was typed."""

from typing import Annotated, Any

from fastapi import APIRouter, Path
from starlette.responses import Response

from todo.dependencies import BulkSessionDep, SessionDep
from todo.kit.clock import utc_now
from todo.models.tags import TagList, TagPublic, TagRename
from todo.models.values import Tag
from todo.services import tags
from todo.web.conditional import IfNoneMatch, response_with_etag
from todo.web.route import Route, UserText

router = APIRouter(prefix="/api/v1/tags", tags=["tags"], route_class=Route)

TagName = Annotated[Tag, Path(description="The tag, in upper or lower case.", examples=["errand"]), UserText()]

_UNCHANGED: dict[int | str, dict[str, Any]] = {304: {"description": "None of your data has changed."}}


# Task: T-341
@router.get("", response_model=TagList, response_description="All tags.", responses=_UNCHANGED)
async def list_tags(session: SessionDep, if_none_match: IfNoneMatch = None) -> Response:
    """List tags.

    Returns the tags of your tasks, with the number of tasks that have each. Tasks in the trash do not count.
    """
    found = await tags.list_all(session, if_none_match=if_none_match)
    return response_with_etag(
        {"tags": found.tags, "total": len(found.tags)}, found.revision, if_none_match=if_none_match
    )


# Task: T-341
@router.patch("/{name}", response_model=TagPublic, response_description="The tag as it is now.")
async def rename_tag(name: TagName, body: TagRename, session: BulkSessionDep) -> dict[str, Any]:
    """Rename a tag.

    The tag is renamed on all its tasks, including those in the trash. If a tag with the new name exists, the two are
    merged: a task that has both keeps the one with the new name as it is. Each task has a change of its own, which can
    be undone separately. A tag that no task has returns 404.
    """
    return await tags.rename(session, name, body.name, now=utc_now())


# Task: T-341
@router.delete("/{name}", status_code=204, response_description="No task has the tag any more.", responses={409: {}})
async def delete_tag(name: TagName, session: BulkSessionDep) -> None:
    """Delete a tag.

    The tag is removed from all its tasks, including those in the trash. The tasks stay. A tag that no task has returns
    404.
    """
    await tags.remove(session, name, now=utc_now())
