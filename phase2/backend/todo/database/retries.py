"""Requests that may come again: their answer is kept in the transaction of their effect, and given again.

In front of the effect travel, in the same trip: a lock on user and key, which lets equal requests pass one by one; the
removal of an answer that has expired; the look-up. The effect and the keeping of what it returned are one statement. If
the key is there already, keeping it is a unique violation, which takes the effect back. If there was no effect there is
no answer, and the key's NOT NULL takes the whole back.
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
from todo.database.errors import DatabaseFault, SqlState
from todo.database.statements import USER_ID, OwnedByCaller, Statement
from todo.errors import Conflict, Fault, Invalid
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

# By two numbers, of which the user chooses only the second: nobody can write a key that locks another user's.
_LOCK = Statement(select(func.pg_advisory_xact_lock(func.hashtext(_user), func.hashtext(_key))))
_EXPIRE = Statement(
    delete(_keys).where(_this_key, _keys.c.created_at < func.now() - literal_column("interval '24 hours'"))
)
_digest = func.encode(_keys.c.request_digest, literal_column("'hex'"))
_LOOK_UP = Statement(select(_digest.label("digest"), _keys.c.answer).where(_this_key))
IN_FRONT = (_LOCK, _EXPIRE, _LOOK_UP)
"""What a keyed request sends before its effect. The last of them finds the kept answer."""

# For a transaction of several trips, which knows its answer at the end.
KEEP = Statement(insert(_keys).values(**_identified, answer=bindparam("retry_answer", type_=JSON)))


# Task: T-131
@dataclass(frozen=True, slots=True)
class RetryKey:
    """What a client calls its request (``Idempotency-Key``), and a digest of what the request says."""

    key: str
    digest: bytes

    @property
    def values(self) -> Mapping[str, Any]:
        """The parameters of the statements here."""
        return {"retry_key": self.key, "retry_digest": self.digest}


@cache
def keeping(statement: Statement) -> Statement:
    """Return ``statement``, which returns rows, so that it keeps them as the answer in the same step."""
    effect = statement.expression.cte("effect")  # type: ignore[attr-defined]
    answer = select(func.json_agg(func.to_json(literal_column("effect")))).select_from(effect).scalar_subquery()
    kept = insert(_keys).values(**_identified, answer=answer).cte("kept")
    return Statement(select(effect).add_cte(kept), repeatable=statement.repeatable, part_of_write=True)


def kept_answer(retry: RetryKey, looked_up: PGresult) -> list[Row] | None:
    """Return the rows that an equal request returned the first time; ``None`` if there was none.

    Raises Invalid if the key stands for another request.
    """
    if not looked_up.ntuples:
        return None
    digest, answer = looked_up.get_value(0, 0) or b"", looked_up.get_value(0, 1) or b"[]"
    if digest.decode() != retry.digest.hex():
        sentence = "This Idempotency-Key was used for another request. Choose a new key for a new request."
        raise Invalid(Fault("/idempotency-key", sentence), detail=sentence, code="idempotency_key_reused")
    return [instants_in_utc(row, row) for row in orjson.loads(answer)]


def in_use(fault: DatabaseFault, *, answered: int) -> Conflict | None:
    """Return Conflict if the lock was not to be had: an equal request is still running.

    ``answered`` is how many statements are answered when it is the lock's turn.
    """
    # Which of the two depends on how long the request itself may take.
    waited = fault.sqlstate in {SqlState.query_canceled, SqlState.lock_not_available}
    if waited and len(fault.before) == answered:
        return Conflict(
            "A request with this Idempotency-Key is still running. Wait for its answer, then try again.",
            code="idempotency_key_in_use",
        )
    return None


def is_without_effect(fault: DatabaseFault) -> bool:
    """Tell whether it was the keeping that failed, because there was no answer to keep."""
    return fault.sqlstate == SqlState.not_null_violation and fault.table == _keys.name
