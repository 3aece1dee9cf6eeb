"""Upkeep: what is done for all users at once. The database does it; the role of all requests sets it going."""

import asyncio
from dataclasses import dataclass

from todo.database.connection import Call, Connection
from todo.database.errors import ConnectionLost, DatabaseFault, as_unavailable
from todo.database.pool import Database
from todo.database.statements import CompiledText, raw
from todo.errors import Unavailable

# As text, as the wire has it; the function takes both as numbers.
_BITE = "SELECT removed, next_user FROM app.{}($1::text::integer, $2::text::bigint)"
_PRUNE = raw(_BITE.format("prune"), "kept_days", "from_user")
_EMPTY_TRASH = raw(_BITE.format("empty_trash"), "kept_days", "from_user")
_NOBODY = ""


@dataclass(frozen=True, slots=True)
class Bite:
    """How many rows went, and where to go on; ``None`` at the end."""

    removed: int
    next_user: int | None


# Task: T-113
async def prune(database: Database, *, kept_days: int, from_user: int) -> Bite:
    """Delete some of what is older than ``kept_days`` in the log, and idempotency keys that have expired.

    Users are counted: ``from_user`` of them are passed over. Where another process is at it, nothing is done. Raises
    Unavailable.
    """
    return await _bite(database, _PRUNE, kept_days=kept_days, from_user=from_user)


# Task: T-352
async def empty_trash(database: Database, *, kept_days: int, from_user: int) -> Bite:
    """Delete for good some of the tasks that have been in the trash for more than ``kept_days``, as ``prune`` does.

    A user who is writing at the moment is passed over.
    """
    return await _bite(database, _EMPTY_TRASH, kept_days=kept_days, from_user=from_user)


async def _bite(database: Database, statement: CompiledText, *, kept_days: int, from_user: int) -> Bite:
    deadline = asyncio.get_running_loop().time() + database.options.budget_seconds
    values = {"kept_days": str(kept_days), "from_user": str(from_user)}

    async def bite(connection: Connection) -> Bite:
        identity = database.identities.of(_NOBODY, is_pooled=connection.is_pooled)
        calls: list[Call] = [identity, (statement, connection.encode(statement, values))]
        _, result = await connection.exchange(calls, deadline=deadline)
        [row] = connection.rows(result, statement)
        return Bite(**row)

    try:
        return await database.run(bite, deadline=deadline)
    except DatabaseFault as fault:
        raise as_unavailable(fault) or fault from None
    except (ConnectionLost, TimeoutError):
        raise Unavailable(code="database_unavailable") from None
