"""Maintenance for all users. Database functions do the work; the role that serves requests calls them."""

import asyncio
from dataclasses import dataclass

from todo.database.connection import Call, Connection
from todo.database.errors import ConnectionLost, DatabaseError, as_unavailable
from todo.database.pool import Database
from todo.database.statements import CompiledText, raw
from todo.errors import Unavailable

# Parameters are sent as text; the function expects numbers.
_BATCH_SIZE = "SELECT removed, next_user FROM app.{}($1::text::integer, $2::text::bigint)"
_PRUNE = raw(_BATCH_SIZE.format("prune"), "kept_days", "from_user")
_EMPTY_TRASH = raw(_BATCH_SIZE.format("empty_trash"), "kept_days", "from_user")
_NOBODY = ""


@dataclass(frozen=True, slots=True)
class PruneBatch:
    """Number of deleted rows, and the ``from_user`` of the next call; ``None`` if all users are done."""

    removed: int
    next_user: int | None


# Task: T-113
async def prune(database: Database, *, kept_days: int, from_user: int) -> PruneBatch:
    """Delete one batch of change log rows older than ``kept_days`` days, and of expired idempotency keys.

    Users are addressed by their number in id order: the first ``from_user`` of them are skipped. Does nothing while
    another process prunes. Raises Unavailable.
    """
    return await _prune_batch(database, _PRUNE, kept_days=kept_days, from_user=from_user)


# Task: T-352
async def empty_trash(database: Database, *, kept_days: int, from_user: int) -> PruneBatch:
    """Permanently delete one batch of tasks that have been in the trash for more than ``kept_days`` days.

    Parameters and errors as in ``prune``. Skips users who are writing at the moment.
    """
    return await _prune_batch(database, _EMPTY_TRASH, kept_days=kept_days, from_user=from_user)


async def _prune_batch(database: Database, statement: CompiledText, *, kept_days: int, from_user: int) -> PruneBatch:
    deadline = asyncio.get_running_loop().time() + database.options.budget_seconds
    values = {"kept_days": str(kept_days), "from_user": str(from_user)}

    async def run_batch(connection: Connection) -> PruneBatch:
        identity = database.caller_context.statement_for(_NOBODY, is_pooled=connection.is_pooled)
        calls: list[Call] = [identity, (statement, connection.encode(statement, values))]
        _, result = await connection.execute_pipeline(calls, deadline=deadline)
        [row] = connection.rows(result, statement)
        return PruneBatch(**row)

    try:
        return await database.run(run_batch, deadline=deadline)
    except DatabaseError as error:
        raise as_unavailable(error) or error from None
    except (ConnectionLost, TimeoutError):
        raise Unavailable(code="database_unavailable") from None
