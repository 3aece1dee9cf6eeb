"""Changes: the log of everything that changed, in order. With it, a device keeps a copy in sync and can undo.

**Keep a copy in sync.** Read all pages of `GET /api/v1/changes/snapshot`, until `next_cursor` is null, and store each
object by its type and `id`. Then request `GET /api/v1/changes?since=` with the `revision` of the snapshot, and continue
with the `revision` of each response: at once if `has_more` is true, otherwise later, or when `GET /api/v1/events`
reports a change.

For each change, `state` replaces your object with that `id`, unless yours has a higher `revision`. A `state` of null
deletes it. Others can write at the same time: no change is left out or returned twice. On 410 with the code
`resync_required`, start again with the snapshot.
"""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from starlette.responses import Response

from todo.dependencies import BulkSessionDep, SessionDep
from todo.kit.clock import utc_now
from todo.models.changes import ChangeFeed, FeedQuery, Snapshot, SnapshotQuery, UndoResult
from todo.services import changes
from todo.web.conditional import IfNoneMatch, response_with_etag
from todo.web.route import Route

router = APIRouter(prefix="/api/v1/changes", tags=["changes"], route_class=Route)

RevisionId = Annotated[int, Path(description="The revision of the change.", ge=1, le=2**62, examples=[17])]

_FEED: dict[int | str, dict[str, Any]] = {304: {"description": "There is nothing new."}, 410: {}}


# Task: T-141
@router.get("", response_model=ChangeFeed, response_description="The changes.", responses=_FEED)
async def list_changes(
    query: Annotated[FeedQuery, Query()], session: SessionDep, if_none_match: IfNoneMatch = None
) -> Response:
    """List changes.

    Returns the changes after a revision, in order. A change of a permanently deleted object is a tombstone: its `state`
    is null. If `since` is not in the log, because it is too old or in the future, the response is 410 with the code
    `resync_required`.
    """
    feed = await changes.since(session, query.since, limit=query.limit)
    revision = feed.changes[-1]["revision"] if feed.changes else query.since
    content = {"changes": feed.changes, "revision": revision, "has_more": feed.has_more}
    return response_with_etag(content, feed.latest_revision, if_none_match=if_none_match)


# Task: T-142
@router.get("/snapshot", response_model=Snapshot, response_description="A page of all your objects.")
async def read_snapshot(query: Annotated[SnapshotQuery, Query()], session: SessionDep) -> dict[str, Any]:
    """Get a snapshot.

    Returns all your objects, page by page, to start a copy from. Then follow the changes after `revision`.
    """
    return await changes.snapshot(session, query.cursor, limit=query.limit)


# Task: T-144
@router.post(
    "/{revision}/undo",
    response_model=UndoResult,
    response_description="The change is undone.",
    responses={409: {}},
)
async def undo_change(revision: RevisionId, session: BulkSessionDep) -> dict[str, Any]:
    """Undo a change.

    If the change created an object, the object is deleted. If it updated one, the changed fields get their previous
    values. If it deleted one, the object is restored.

    If later changes touched the same fields, the response is 409 with the code `changed_since`, and `conflicts` lists
    them. An undo is itself a change and can be undone. To repeat the request safely, send an `Idempotency-Key`.
    """
    return await changes.undo(session, revision, now=utc_now())
