"""Revisions: the number of a user's latest change. ETags, conditions and the change feed refer to it."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, all_, bindparam, func, literal_column, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlmodel import col

from todo.database import OwnedByCaller, Row, Statement
from todo.kit.etags import Condition
from todo.models.changes import Revision

_own = select(col(Revision.revision)).where(OwnedByCaller(Revision))

CURRENT_REVISION = Statement(_own)
"""The user's counter, ``revision``: the number of the latest change."""

CURRENT_REVISION_ROW = _own.subquery("head")
"""The same, to join with other data: one statement reads both from the same snapshot."""

# Both wait for the user's other writers, and block them until the transaction ends. Take them in this order, as writers
# do: first the advisory lock, then the row lock.
LOCK_USER_WRITES = Statement(select(func.app.lock_user_writes()), repeatable=False)
CURRENT_REVISION_FOR_UPDATE = Statement(_own.with_for_update(), repeatable=False)

# A user who never wrote anything has no row: revision 0.
LATEST_REVISION: ColumnElement[Any] = (
    select(func.coalesce(func.max(Revision.revision), literal_column("0")))
    .where(OwnedByCaller(Revision))
    .scalar_subquery()
)


def revision_from(rows: Sequence[Row]) -> int:
    """Return the revision from the rows of ``CURRENT_REVISION``; 0 if there are none."""
    return rows[0]["revision"] if rows else 0


# Task: T-122
def revision_not_seen() -> ColumnElement[bool]:
    """Match only if the revision in ``CURRENT_REVISION_ROW`` is not in the parameter ``seen``.

    PostgreSQL evaluates this once, before it runs a lateral join.
    """
    return CURRENT_REVISION_ROW.c.revision != all_(bindparam("seen", type_=ARRAY(BigInteger)))


def seen_revisions(condition: Condition) -> list[int]:
    """Return the parameter ``seen`` for ``revision_not_seen``."""
    return sorted(condition.revisions or ())


# Task: T-121
def is_conditional(if_match: Condition | None) -> bool:
    """Return whether a statement must compare revisions. ``*`` only requires an existing object, like every write."""
    return if_match is not None and if_match.revisions is not None


def expected_revisions(if_match: Condition | None) -> dict[str, list[int]]:
    """Return the parameter ``revisions`` of a statement that compares revisions; nothing without a condition."""
    return {} if if_match is None else {"revisions": sorted(if_match.revisions or ())}
