"""Changes: everything that happened to your things, in order, so that a device can catch up, look back, and undo.

**To keep a copy in step.** Page through `GET /api/v1/changes/snapshot` until `next_cursor` is null, and keep each
thing by its `id`. Then ask `GET /api/v1/changes?since=` the snapshot's `revision`, and go on from each answer's
`revision`, at once while `has_more`, else when you like, or when `GET /api/v1/events` says that there is something
new. For each change: `state` replaces what you have under that `id`, unless yours has a higher `revision`; a `state`
of null removes it. Others may write all the while: nothing is left out and nothing comes twice. On 410
`resync_required` start again with the snapshot.
"""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from starlette.responses import Response

from todo.dependencies import LongSessionDep, SessionDep
from todo.kit.clock import utc_now
from todo.models.changes import ChangeFeed, FeedQuery, Snapshot, SnapshotQuery, Undone
from todo.services import changes
from todo.web.conditions import IfNoneMatch, tagged
from todo.web.route import Route

router = APIRouter(prefix="/api/v1/changes", tags=["changes"], route_class=Route)

RevisionId = Annotated[int, Path(description="A revision.", ge=1, le=2**62, examples=[17])]

_FEED: dict[int | str, dict[str, Any]] = {304: {"description": "There is nothing new."}, 410: {}}


# Task: T-141
@router.get("", response_model=ChangeFeed, response_description="The changes.", responses=_FEED)
async def list_changes(
    query: Annotated[FeedQuery, Query()], session: SessionDep, if_none_match: IfNoneMatch = None
) -> Response:
    """Tell what changed since a revision, in order.

    What is gone comes as a tombstone, with a ``state`` of null. A ``since`` that the log does not hold, because it is
    too old or from the future, is 410 with the code ``resync_required``.
    """
    feed = await changes.since(session, query.since, limit=query.limit)
    revision = feed.changes[-1]["revision"] if feed.changes else query.since
    content = {"changes": feed.changes, "revision": revision, "has_more": feed.has_more}
    return tagged(content, feed.furthest, unless=if_none_match)


# Task: T-142
@router.get("/snapshot", response_model=Snapshot, response_description="A page of all your things.")
async def read_snapshot(query: Annotated[SnapshotQuery, Query()], session: SessionDep) -> dict[str, Any]:
    """Page through everything you have, to start from. Then follow the feed from ``revision`` on."""
    return await changes.snapshot(session, query.cursor, limit=query.limit)


# Task: T-144
@router.post(
    "/{revision}/undo",
    response_model=Undone,
    response_description="It is undone.",
    responses={409: {}},
)
async def undo_change(revision: RevisionId, session: LongSessionDep) -> dict[str, Any]:
    """Undo one change: what it made is removed, what it changed or removed is as it was before.

    If later changes touched the same fields it is 409 with the code ``changed_since``, and ``conflicts`` lists them.
    An undo is a change of its own, and can be undone. Send an ``Idempotency-Key`` to retry it safely.
    """
    return await changes.undo(session, revision, now=utc_now())
