"""Revisions: the number of a user's last change, which everything else is measured by."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, all_, bindparam, func, literal_column, select
from sqlalchemy.dialects.postgresql import ARRAY

from todo.database import OwnedByCaller, Row, Statement
from todo.kit.etags import Condition
from todo.models.base import table_of
from todo.models.changes import Revision

_revisions = table_of(Revision)
_own = select(_revisions.c.revision).where(OwnedByCaller(_revisions))

HEAD = Statement(_own)
"""The user's counter, ``revision``: the number of the last change."""

HEAD_ROW = _own.subquery("head")
"""The same, to join with what is read beside it: in one statement all of it is seen at one moment."""

# The two wait for the user's other writers, and keep them waiting until the transaction ends: in the writers' order.
TURN = Statement(select(func.app.lock_user_writes()), repeatable=False)
HEAD_HELD = Statement(_own.with_for_update(), repeatable=False)

# Somebody who never wrote has no row, and is at revision 0.
LATEST: ColumnElement[Any] = (
    select(func.coalesce(func.max(_revisions.c.revision), literal_column("0")))
    .where(OwnedByCaller(_revisions))
    .scalar_subquery()
)


def head_of(rows: Sequence[Row]) -> int:
    """Return the counter out of the rows of ``HEAD``."""
    return rows[0]["revision"] if rows else 0


# Task: T-122
def not_seen() -> ColumnElement[bool]:
    """Hold only if the revision in ``HEAD_ROW`` is none of the ``seen``.

    PostgreSQL looks once, before it runs what is joined to it laterally.
    """
    return HEAD_ROW.c.revision != all_(bindparam("seen", type_=ARRAY(BigInteger)))


def seen(condition: Condition) -> list[int]:
    """Return the revisions for ``not_seen``."""
    return sorted(condition.revisions or ())


# Task: T-121
def is_conditional(if_match: Condition | None) -> bool:
    """Tell whether a statement itself has to look: ``*`` asks only that there is something, as every write does."""
    return if_match is not None and if_match.revisions is not None


def expected(if_match: Condition | None) -> dict[str, list[int]]:
    """Return the parameter ``revisions`` of a statement that looks."""
    return {} if if_match is None else {"revisions": sorted(if_match.revisions or ())}
