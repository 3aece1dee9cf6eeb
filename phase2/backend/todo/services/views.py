"""Saved views: named combinations of filters and a sort order for the task list."""

from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import ARRAY, BigInteger, DateTime, Uuid, and_, any_, bindparam, delete, func, select, update
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlmodel import col

from todo.database import DatabaseError, OwnedByCaller, Row, Session, SqlState, Statement
from todo.errors import Conflict
from todo.kit.etags import Condition
from todo.kit.ids import uuid7
from todo.kit.text import fold_case
from todo.models.base import columns_of, digest_of
from todo.models.views import MAX_VIEWS, View, ViewCreate, ViewPublic, ViewQuery, ViewUpdate
from todo.services.named_resource import NamedResource
from todo.services.revisions import CURRENT_REVISION, is_conditional, revision_from

PUBLIC_NAMES = tuple(ViewPublic.model_fields)

_PUBLIC = columns_of(View, PUBLIC_NAMES)
_owned_by_caller = OwnedByCaller(View)
_by_id = and_(_owned_by_caller, col(View.id) == bindparam("this_id", type_=Uuid))
_revision_matches = col(View.revision) == any_(bindparam("revisions", type_=ARRAY(BigInteger)))
_now = bindparam("now", type_=DateTime(timezone=True))

_READ = Statement(select(*_PUBLIC).where(_by_id))
# The same as part of a write: without a row, a deleted account is reported as Forbidden, not as NotFound.
_READ_FOR_CHANGE = Statement(select(*_PUBLIC).where(_by_id), part_of_write=True)
_READ_WITH_DIGEST = Statement(select(*_PUBLIC, col(View.creation_digest)).where(_by_id))
ALL = Statement(select(*_PUBLIC).where(_owned_by_caller).order_by(col(View.name_key)))
"""All views of the user, by name."""

_CREATE = Statement(
    insert(View)
    .values(
        user_id=bindparam("user_id"),
        id=bindparam("this_id"),
        name=bindparam("name"),
        name_key=bindparam("name_key"),
        query=bindparam("query", type_=JSONB),
        created_at=_now,
        updated_at=_now,
        creation_digest=bindparam("creation_digest"),
    )
    .on_conflict_do_nothing(index_elements=[col(View.user_id), col(View.id)])
    .returning(*_PUBLIC),
    # The id is chosen before sending, so a repetition finds the id taken, with the same digest.
    repeatable=True,
)


def _to_conflict(error: DatabaseError) -> Conflict | None:
    if error.sqlstate == SqlState.limit_exceeded and error.table == View.__tablename__:
        return Conflict(
            f"You have {MAX_VIEWS} views, and more are not possible. Delete one first.", code="too_many_views"
        )
    return None


RESOURCE = NamedResource("view", View, _READ_FOR_CHANGE, _READ_WITH_DIGEST, _to_conflict)


@dataclass(frozen=True, slots=True)
class Views:
    """All views, and the user's revision at which they were read."""

    views: list[Row]
    revision: int


# Task: T-373
async def create(
    session: Session, body: ViewCreate, *, now: datetime, if_none_match: Condition | None = None
) -> tuple[Row, bool]:
    """Create a view at ``now`` (aware, UTC). Return it, and whether it is new.

    If the id exists, an equal body returns the current view, and another body is a Conflict. A name that is taken and
    one view too many are Conflicts, too. If the id exists and ``if_none_match`` is ``*`` or names the current revision,
    raises PreconditionFailed.
    """
    new = {
        **_values_of(body),
        "this_id": body.id or uuid7(now),
        "creation_digest": digest_of(body),
        "now": now,
    }
    return await RESOURCE.create(session, _CREATE, new, chosen_id=body.id, if_none_match=if_none_match)


# Task: T-373
async def read(session: Session, view_id: UUID) -> Row:
    """Return one view. Raises NotFound for an unknown id and for another user's alike."""
    return await session.fetch_one(_READ, this_id=view_id)


# Task: T-373
async def query_of(session: Session, view_id: UUID) -> ViewQuery | None:
    """Return the query of a view; ``None`` if the user has no view with this id."""
    row = await session.fetch_first(_READ, this_id=view_id)
    # Validate as JSON: only then does the strict model convert texts to dates and ids.
    return None if row is None else ViewQuery.model_validate_json(orjson.dumps(row["query"]))


# Task: T-373
async def list_all(session: Session) -> Views:
    """Return the user's views, ordered by name."""
    # The revision is read first: it may be older than the list, never newer.
    heads, rows = await session.execute_many((CURRENT_REVISION, {}), (ALL, {}))
    return Views(rows, revision_from(heads))


# Task: T-373
async def change(
    session: Session, view_id: UUID, body: ViewUpdate, *, now: datetime, if_match: Condition | None = None
) -> Row:
    """Set only the fields that were sent. Raises Conflict for a taken name."""
    values = _values_of(body)
    statement = _change_statement(tuple(values), conditional=is_conditional(if_match))
    return await RESOURCE.write(session, [statement], {**values, "this_id": view_id, "now": now}, if_match=if_match)


# Task: T-373
async def remove(session: Session, view_id: UUID, *, if_match: Condition | None = None) -> None:
    """Permanently delete a view. Raises NotFound if it does not exist."""
    statement = _delete_statement(conditional=is_conditional(if_match))
    await RESOURCE.write(session, [statement], {"this_id": view_id}, if_match=if_match)


def _values_of(body: ViewCreate | ViewUpdate) -> dict[str, Any]:
    values: dict[str, Any] = {}
    if "name" in body.model_fields_set:
        values |= {"name": body.name, "name_key": fold_case(body.name)}
    if "query" in body.model_fields_set:
        values["query"] = orjson.dumps(body.query.stored).decode()
    return values


@cache
def _change_statement(names: tuple[str, ...], *, conditional: bool) -> Statement:
    new = {column.key: bindparam(column.key, type_=column.type) for column in columns_of(View, names)}
    # Never decrease it: machine clocks differ, and a write that waited for another one has an earlier time.
    assignments = {**new, "updated_at": func.greatest(View.updated_at, _now)}
    which = [_by_id, *([_revision_matches] if conditional else [])]
    return Statement(update(View).where(*which).values(assignments).returning(*_PUBLIC))


@cache
def _delete_statement(*, conditional: bool) -> Statement:
    which = [_by_id, *([_revision_matches] if conditional else [])]
    return Statement(delete(View).where(*which).returning(col(View.id)))
