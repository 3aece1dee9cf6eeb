"""The change feed: the changes after a revision, in order."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import case, select
from sqlmodel import col

from todo.database import Row, Session, Statement
from todo.errors import Gone
from todo.kit.rows import instants_in_utc
from todo.models.changes import Change, Operation
from todo.services.changes.rows import (
    COLUMNS,
    before_of,
    limit_parameter,
    owned_by_caller,
    revision_parameter,
    state_of,
)
from todo.services.entities import ENTITIES
from todo.services.revisions import CURRENT_REVISION, revision_from

_is_new = col(Change.revision) > revision_parameter
# Starts with the change that the client knows, without its contents. If that row is missing, the log does not contain
# the client's revision.
_SINCE = Statement(
    select(
        *COLUMNS[:-2],
        case((_is_new, col(Change.state))).label("state"),
        case((_is_new, col(Change.before))).label("before"),
    )
    .where(owned_by_caller, col(Change.revision) >= revision_parameter)
    .order_by(col(Change.revision))
    .limit(limit_parameter)
)


@dataclass(frozen=True, slots=True)
class Feed:
    """Changes in order; whether there are more; the latest revision that was read, maybe one past ``changes``."""

    changes: list[Row]
    has_more: bool
    latest_revision: int


# Task: T-141
async def since(session: Session, revision: int, *, limit: int) -> Feed:
    """Return at most ``limit`` changes after ``revision``.

    Raises Gone if the log no longer reaches back to ``revision``, or if the user has not reached it yet.
    """
    looking = {"revision": revision, "limit": limit + 2}
    rows = await session.fetch_all(_SINCE, **looking)
    known = revision
    if not rows:
        # The user never wrote anything, or all changes were pruned. The second read may find a first change, which was
        # committed in between.
        [heads, rows] = await session.execute_many((CURRENT_REVISION, {}), (_SINCE, looking))
        known = revision_from(heads) if not rows else revision
    if rows and rows[0]["revision"] == revision:
        # The client has this change. The row only proves that the log contains it.
        del rows[0]
    # Revisions have no gaps: if the next one is missing, it has been pruned.
    if revision != known or (rows and rows[0]["revision"] != revision + 1):
        raise Gone(
            "The log does not contain this revision. Start again from GET /api/v1/changes/snapshot.",
            code="resync_required",
        )
    latest_revision = rows[-1]["revision"] if rows else revision
    return Feed([_to_public(row) for row in rows[:limit]], has_more=len(rows) > limit, latest_revision=latest_revision)


async def latest(session: Session) -> int:
    """Return the user's latest revision; 0 for a user who never wrote anything."""
    return revision_from(await session.fetch_all(CURRENT_REVISION))


def _to_public(row: Row) -> dict[str, Any]:
    """Return a row of the log in the form of the API."""
    names = ENTITIES[row["entity"]].public_names
    before, state = before_of(row), state_of(row)
    is_update = row["operation"] == Operation.update
    return {
        "revision": row["revision"],
        "type": row["entity"],
        "id": row["entity_id"],
        "operation": row["operation"],
        "at": row["changed_at"],
        "fields": [name for name in names if name in before] if is_update else [],
        "state": instants_in_utc(state, names) if state else None,
    }
