"""Idempotent creation: create an object once, under an id that the client may have chosen."""

from collections.abc import Awaitable, Callable
from uuid import UUID

from todo.database import Row
from todo.errors import Conflict, PreconditionFailed
from todo.kit.etags import Condition

MAX_ATTEMPTS = 3
"""The maximum number of attempts of a write, if other writers interfere."""


async def create_once(
    kind: str,
    chosen_id: UUID | None,
    digest: bytes,
    *,
    create: Callable[[], Awaitable[Row | None]],
    look: Callable[[], Awaitable[Row | None]],
    if_none_match: Condition | None,
) -> tuple[Row, bool]:
    """Return the object that ``create`` creates, or the existing one with the same id; and whether it is new.

    ``create`` returns ``None`` if the id is taken. Then ``look`` returns the existing object with its
    ``creation_digest``, or ``None`` if it is deleted by now. Raises PreconditionFailed if ``if_none_match`` names the
    revision of the existing object, and Conflict if its digest is not ``digest``.
    """
    for _ in range(MAX_ATTEMPTS):
        row = await create()
        if row is not None:
            return row, True
        existing = await look()
        if existing is None:
            # The object with this id, or the one with this name, was deleted in between. Try again.
            continue
        existing_digest = existing.pop("creation_digest")
        if chosen_id is None:
            # The server generated this id. Only this same request can have used it: its first response was lost.
            return existing, True
        if if_none_match is not None and if_none_match.names(existing["revision"]):
            raise precondition_failed(existing)
        if existing_digest != digest:
            raise id_taken(kind)
        return existing, False
    raise write_contention(kind)


def precondition_failed(current: Row) -> PreconditionFailed:
    """Return the error for a failed condition. Its ETag is ``latest`` if ``current`` has that, else ``revision``."""
    tag = current.pop("latest", current["revision"])
    return PreconditionFailed(current=current, revision=tag)


def id_taken(kind: str) -> Conflict:
    """Return the error for an id that another object of this kind has."""
    return Conflict(f"You already have another {kind} with this id. Choose a new id.", code="id_taken")


def write_contention(kind: str) -> Conflict:
    """Return the error for a write that failed in every attempt because of other writers."""
    return Conflict(f"Others are changing this {kind} at the same moment. Try again.")
