"""The snapshot: all objects of a user, in pages, and the revision from which the feed continues.

The first page contains all objects of the entities of which a user has few. Each page contains objects of one paged
entity, ordered by id: first the pages of tasks, then the pages of the next paged entity.
"""

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import bindparam, select

from todo.database import OwnedByCaller, Row, Session, Statement
from todo.errors import FieldError, Invalid
from todo.models.entities import InSnapshot
from todo.services.changes.rows import limit_parameter
from todo.services.entities import ENTITIES, Entity
from todo.services.revisions import CURRENT_REVISION, revision_from

_FIRST_ID = UUID(int=0)
_CURSOR = re.compile(r"([0-9]{1,18})\.([a-z_]+)\.([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})")


@dataclass(frozen=True, slots=True)
class _Cursor:
    """Where the next page starts: at an object of ``entity``, or at the first one with a greater id.

    ``revision`` is the revision of the snapshot.
    """

    revision: int
    entity: str
    first_id: UUID

    def encode(self) -> str:
        text = f"{self.revision}.{self.entity}.{self.first_id}"
        return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


# Task: T-142
async def snapshot(
    session: Session, cursor: str | None, *, limit: int, entities: Mapping[str, Entity] = ENTITIES
) -> dict[str, Any]:
    """Return a page of all objects, and the revision at which the first page was read.

    Writes between two pages have later revisions, so the feed from this revision contains them: objects created before
    the cursor, changed after they were read, or deleted. Raises Invalid for a cursor that the server did not issue.
    """
    paged = [name for name, entity in entities.items() if entity.is_paged]
    start = _decode(cursor, paged) if cursor else _Cursor(0, paged[0], _FIRST_ID)
    complete = [] if cursor else [name for name in entities if name not in paged]
    heads, rows, *lists = await session.execute_many(
        (CURRENT_REVISION, {}),
        (_read_statement(entities[start.entity]), {"first_id": start.first_id, "limit": limit + 1}),
        *((_read_statement(entities[name]), {}) for name in complete),
    )
    revision = start.revision if cursor else revision_from(heads)
    found = dict(zip(complete, lists, strict=True)) | {start.entity: rows[:limit]}
    following = _following(start.entity, rows[limit:], paged)
    return {
        **{entity.models.snapshot_field: _content(entity, found.get(name, [])) for name, entity in entities.items()},
        "revision": revision,
        "next_cursor": _Cursor(revision, *following).encode() if following else None,
    }


def _content(entity: Entity, rows: list[Row]) -> Any:
    if entity.models.in_snapshot is not InSnapshot.single:
        return rows
    return rows[0] if rows else None


def _following(name: str, rest: list[Row], paged: list[str]) -> tuple[str, UUID] | None:
    """Return where the next page starts: at the rest of this entity, or at the next one; ``None`` after the last."""
    if rest:
        return name, UUID(rest[0]["id"])
    later = paged[paged.index(name) + 1 :]
    return (later[0], _FIRST_ID) if later else None


def _decode(cursor: str, paged: list[str]) -> _Cursor:
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode("ascii")
    except ValueError:
        text = ""
    match = _CURSOR.fullmatch(text)
    if match is None or match[2] not in paged:
        raise Invalid(FieldError("/query/cursor", "This is not a cursor of a snapshot. Start without one."))
    return _Cursor(int(match[1]), match[2], UUID(match[3]))


@cache
def _read_statement(entity: Entity) -> Statement:
    """Return the statement that reads all objects; those of a paged entity from the id ``first_id`` on."""
    table = entity.table
    rows = select(*entity.public_columns).where(OwnedByCaller(table))
    if not entity.is_paged:
        return Statement(rows.order_by(*(table.c[name] for name in entity.order)))
    is_on_page = table.c.id >= bindparam("first_id", type_=table.c.id.type)
    return Statement(rows.where(is_on_page).order_by(table.c.id).limit(limit_parameter))
