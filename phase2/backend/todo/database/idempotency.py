"""Idempotency keys: store the response with the effect in one transaction, and return it for a repeated request.

Three statements precede the effect in the same round trip: an advisory lock on user and key, which serializes equal
requests; the deletion of an expired response; the look-up of a stored response. The effect and the storing of its rows
are one statement. If the key exists already, the insert is a unique violation, which rolls the effect back. If the
effect returns no rows, the response is NULL, and the NOT NULL constraint rolls everything back.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import orjson
from psycopg.pq.abc import PGresult
from sqlalchemy import (
    JSON,
    DateTime,
    LargeBinary,
    Text,
    and_,
    bindparam,
    column,
    delete,
    func,
    insert,
    literal_column,
    select,
    table,
)

from todo.database.connection import Row
from todo.database.errors import DatabaseError, SqlState
from todo.database.statements import USER_ID, OwnedByCaller, Statement
from todo.errors import Conflict, FieldError, Invalid
from todo.kit.rows import instants_in_utc

_keys = table(
    "idempotency_keys",
    column("user_id", Text),
    column("key", Text),
    column("request_digest", LargeBinary),
    column("answer", JSON),
    column("created_at", DateTime(timezone=True)),
)
_user = bindparam(USER_ID, type_=Text)
_key = bindparam("retry_key", type_=Text)
_this_key = and_(OwnedByCaller(_keys), _keys.c.key == _key)
_identified = {
    "user_id": _user,
    "key": _key,
    "request_digest": bindparam("retry_digest", type_=LargeBinary),
    "created_at": func.now(),
}

# The lock has two numbers. The client chooses only the second one, so it cannot lock the key of another user.
_LOCK = Statement(select(func.pg_advisory_xact_lock(func.hashtext(_user), func.hashtext(_key))))
_EXPIRE = Statement(
    delete(_keys).where(_this_key, _keys.c.created_at < func.now() - literal_column("interval '24 hours'"))
)
_digest = func.encode(_keys.c.request_digest, literal_column("'hex'"))
_LOOK_UP = Statement(select(_digest.label("digest"), _keys.c.answer).where(_this_key))
PREAMBLE = (_LOCK, _EXPIRE, _LOOK_UP)
"""Statements that a request with a key sends before its effect. The last one looks up the stored response."""

# For a transaction of several round trips, which knows its response only at the end.
STORE_RESPONSE = Statement(insert(_keys).values(**_identified, answer=bindparam("retry_answer", type_=JSON)))


# Task: T-131
@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """The client's name for its request (``Idempotency-Key``), and a digest of the request."""

    key: str
    digest: bytes

    @property
    def values(self) -> Mapping[str, Any]:
        """The bind parameters of the statements in this module."""
        return {"retry_key": self.key, "retry_digest": self.digest}


@cache
def with_stored_response(statement: Statement) -> Statement:
    """Return a statement that also stores the rows of ``statement`` as the response. ``statement`` must return rows."""
    effect = statement.expression.cte("effect")  # type: ignore[attr-defined]
    answer = select(func.json_agg(func.to_json(literal_column("effect")))).select_from(effect).scalar_subquery()
    kept = insert(_keys).values(**_identified, answer=answer).cte("kept")
    return Statement(select(effect).add_cte(kept), repeatable=statement.repeatable, part_of_write=True)


def stored_response(key_of_request: IdempotencyKey, looked_up: PGresult) -> list[Row] | None:
    """Return the rows that were stored for an equal request; ``None`` if there are none.

    Raises Invalid if the key was used for a different request.
    """
    if not looked_up.ntuples:
        return None
    digest, answer = looked_up.get_value(0, 0) or b"", looked_up.get_value(0, 1) or b"[]"
    if digest.decode() != key_of_request.digest.hex():
        sentence = "This Idempotency-Key was used for another request. Choose a new key for a new request."
        raise Invalid(FieldError("/idempotency-key", sentence), detail=sentence, code="idempotency_key_reused")
    return [instants_in_utc(row, row) for row in orjson.loads(answer)]


def in_use(error: DatabaseError, *, answered: int) -> Conflict | None:
    """Return Conflict if waiting for the lock of the key timed out: an equal request is still running.

    ``answered`` is the number of statements in front of the lock.
    """
    # Either timeout can end the wait. It depends on how long the request itself may take.
    waited = error.sqlstate in {SqlState.query_canceled, SqlState.lock_not_available}
    if waited and len(error.before) == answered:
        return Conflict(
            "A request with this Idempotency-Key is still running. Wait for its answer, then try again.",
            code="idempotency_key_in_use",
        )
    return None


def is_without_effect(error: DatabaseError) -> bool:
    """Return whether storing the response failed because the effect returned no rows."""
    return error.sqlstate == SqlState.not_null_violation and error.table == _keys.name
