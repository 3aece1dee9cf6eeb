"""The rows of the change log: their columns, and the states that they hold."""

from typing import Any

from sqlalchemy import BigInteger, Integer, bindparam
from sqlmodel import col

from todo.database import OwnedByCaller, Row
from todo.models.changes import Change

owned_by_caller = OwnedByCaller(Change)
COLUMNS = (
    col(Change.revision),
    col(Change.entity),
    col(Change.entity_id),
    col(Change.operation),
    col(Change.changed_at),
    col(Change.state),
    col(Change.before),
)

revision_parameter = bindparam("revision", type_=BigInteger)
limit_parameter = bindparam("limit", type_=Integer)


def before_of(row: Row) -> dict[str, Any]:
    """Return the values before the change: of the changed fields, or of all fields if the object was deleted."""
    return row["before"] or {}


def state_of(row: Row) -> dict[str, Any]:
    """Return the state after the change, with the change's revision; empty if the object was deleted."""
    return {**row["state"], "revision": row["revision"]} if row["state"] else {}
