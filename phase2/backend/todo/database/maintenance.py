"""Maintenance for all users. Database functions do the work; the role that serves requests calls them."""

import asyncio
from dataclasses import dataclass
from typing import Protocol

from todo.database.connection import Call, Connection
from todo.database.errors import ConnectionLost, DatabaseError, as_unavailable
from todo.database.pool import Database
from todo.database.statements import CompiledText, raw
from todo.errors import Unavailable

# Parameters are sent as text; the function expects numbers.
_CALL = "SELECT removed, next_user FROM app.{}($1::text::integer, $2::text::bigint, $3::text::bigint, $4::text::bigint)"
_PARAMETERS = ("kept_days", "from_user", "max_rows", "max_users")
_PRUNE = raw(_CALL.format("prune"), *_PARAMETERS)
_EMPTY_TRASH = raw(_CALL.format("empty_trash"), *_PARAMETERS)
_NOBODY = ""

MAX_ROWS = 500
MAX_USERS = 100


@dataclass(frozen=True, slots=True)
class PruneBatch:
    """Number of deleted rows, and the ``from_user`` of the next call; ``None`` if all users are done."""

    removed: int
    next_user: int | None


class PruneFunction(Protocol):
    """``prune`` or ``empty_trash``."""

    async def __call__(
        self, database: Database, *, kept_days: int, from_user: int, max_rows: int, max_users: int
    ) -> PruneBatch: ...


# Task: T-113
async def prune(
    database: Database, *, kept_days: int, from_user: int, max_rows: int = MAX_ROWS, max_users: int = MAX_USERS
) -> PruneBatch:
    """Delete one batch of change log rows older than ``kept_days`` days, and of expired idempotency keys.

    Users are addressed by their number in id order: the first ``from_user`` of them are skipped, and at most
    ``max_users`` are visited. Ends after ``max_rows`` rows. Does nothing while another process prunes. Raises
    Unavailable, also if the batch takes too long.
    """
    return await _prune_batch(database, _PRUNE, kept_days, from_user, max_rows, max_users)


# Task: T-352
async def empty_trash(
    database: Database, *, kept_days: int, from_user: int, max_rows: int = MAX_ROWS, max_users: int = MAX_USERS
) -> PruneBatch:
    """Permanently delete one batch of tasks that have been in the trash for more than ``kept_days`` days.

    Parameters and errors as in ``prune``. Skips users who are writing at the moment.
    """
    return await _prune_batch(database, _EMPTY_TRASH, kept_days, from_user, max_rows, max_users)


async def _prune_batch(database: Database, statement: CompiledText, *values: int) -> PruneBatch:
    deadline = asyncio.get_running_loop().time() + database.options.budget_seconds
    texts = dict(zip(_PARAMETERS, map(str, values), strict=True))

    async def run_batch(connection: Connection) -> PruneBatch:
        identity = database.caller_context.statement_for(_NOBODY, is_pooled=connection.is_pooled)
        calls: list[Call] = [identity, (statement, connection.encode(statement, texts))]
        _, result = await connection.execute_pipeline(calls, deadline=deadline)
        [row] = connection.rows(result, statement)
        return PruneBatch(**row)

    try:
        return await database.run(run_batch, deadline=deadline)
    except DatabaseError as error:
        raise as_unavailable(error) or error from None
    except (ConnectionLost, TimeoutError):
        raise Unavailable(code="database_unavailable") from None
