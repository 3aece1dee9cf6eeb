"""Creating something under an id that the client may have chosen: once, however often it is asked for."""

from collections.abc import Awaitable, Callable
from uuid import UUID

from todo.database import Row
from todo.errors import Conflict, PreconditionFailed
from todo.kit.etags import Condition

MOST_ATTEMPTS = 3
"""How often a write begins anew where others come in between."""


async def created(
    kind: str,
    chosen_id: UUID | None,
    digest: bytes,
    *,
    create: Callable[[], Awaitable[Row | None]],
    look: Callable[[], Awaitable[Row | None]],
    unless: Condition | None,
) -> tuple[Row, bool]:
    """Return what ``create`` makes, or what is there already under its id; and whether it is new.

    ``create`` returns ``None`` where the id is taken, and ``look`` then brings what has it, with its
    ``creation_digest``. Raises Conflict if that is another one than what ``digest`` stands for, and PreconditionFailed
    if it is what ``unless`` names.
    """
    for _ in range(MOST_ATTEMPTS):
        row = await create()
        if row is not None:
            return row, True
        existing = await look()
        if existing is None:
            # Deleted in between, it or its namesake: what was taken is free again.
            continue
        existing_digest = existing.pop("creation_digest")
        if chosen_id is None:
            # An id that was made here can only be taken by this very request, sent again after its answer was lost.
            return existing, True
        if unless is not None and unless.names(existing["revision"]):
            raise stale(existing)
        if existing_digest != digest:
            raise id_taken(kind)
        return existing, False
    raise contended(kind)


def stale(current: Row) -> PreconditionFailed:
    """Return the refusal of a write to what is not as its condition says. ``latest``, if it is there, is the tag's."""
    tag = current.pop("latest", current["revision"])
    return PreconditionFailed(current=current, revision=tag)


def id_taken(kind: str) -> Conflict:
    """Return the refusal of an id that stands for another one of this kind."""
    return Conflict(f"You already have another {kind} with this id. Choose a new id.", code="id_taken")


def contended(kind: str) -> Conflict:
    """Return the refusal of a write that others have come before, again and again."""
    return Conflict(f"Others are changing this {kind} at the same moment. Try again.")
