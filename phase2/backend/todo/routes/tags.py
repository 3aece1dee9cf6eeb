"""Tags: the words on your tasks. `Work` and `work` are one tag, and each task keeps it as it was typed."""

from typing import Annotated, Any

from fastapi import APIRouter, Path
from starlette.responses import Response

from todo.dependencies import LongSessionDep, SessionDep
from todo.kit.clock import utc_now
from todo.models.tags import Tag, TagList, TagPublic, TagRename
from todo.services import tags
from todo.web.conditions import IfNoneMatch, tagged
from todo.web.route import Route, UserText

router = APIRouter(prefix="/api/v1/tags", tags=["tags"], route_class=Route)

TagName = Annotated[Tag, Path(description="The tag, in any case.", examples=["errand"]), UserText()]

_UNCHANGED: dict[int | str, dict[str, Any]] = {304: {"description": "Nothing has changed."}}


# Task: T-341
@router.get("", response_model=TagList, response_description="All tags.", responses=_UNCHANGED)
async def list_tags(session: SessionDep, if_none_match: IfNoneMatch = None) -> Response:
    """List the tags that your tasks have, with how many. The trash does not count."""
    found = await tags.everything(session, unless=if_none_match)
    return tagged({"tags": found.tags, "total": len(found.tags)}, found.revision, unless=if_none_match)


# Task: T-341
@router.patch("/{name}", response_model=TagPublic, response_description="The tag as it is now.")
async def rename_tag(name: TagName, body: TagRename, session: LongSessionDep) -> dict[str, Any]:
    """Rename a tag on all its tasks, also in the trash. If there is a tag of the new name, the two become one.

    A task that has both keeps the one of the new name as it is. Each task's change is a change of its own, and can be
    undone by itself. A tag that no task has is a 404.
    """
    return await tags.rename(session, name, body.name, now=utc_now())


# Task: T-341
@router.delete("/{name}", status_code=204, response_description="No task has it any more.", responses={409: {}})
async def delete_tag(name: TagName, session: LongSessionDep) -> None:
    """Take a tag off all its tasks, also in the trash. The tasks stay. A tag that no task has is a 404."""
    await tags.remove(session, name, now=utc_now())
