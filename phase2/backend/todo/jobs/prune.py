"""Pruning: delete old tasks in the trash, old changes in the log, and expired idempotency keys."""

import asyncio
import logging
from dataclasses import dataclass

from todo.database import Database, DatabaseError, empty_trash, prune
from todo.database.maintenance import MAX_ROWS, MAX_USERS, PruneFunction
from todo.errors import Unavailable

log = logging.getLogger(__name__)

_BATCH_DIVISOR = 8
_MAX_FAILED_USERS = 10


@dataclass(frozen=True, slots=True)
class PruneOptions:
    """The retention of the change log and of the trash, and the pace of the deletion.

    Each round wakes a suspended database.
    """

    kept_days: int = 90
    trash_kept_days: int = 30
    first_after_seconds: float = 60.0
    every_seconds: float = 3600.0
    pause_seconds: float = 0.1


# Task: T-113
async def keep_pruning(database: Database, options: PruneOptions) -> None:
    """Prune the data of all users in rounds, until cancelled. After a failed round, the next one continues."""
    await asyncio.sleep(options.first_after_seconds)
    while True:
        try:
            removed = await prune_all(database, options)
        except (Unavailable, DatabaseError) as error:
            log.warning("old data could not be deleted: %s", type(error).__name__)
        else:
            log.info("deleted %d rows of old data", removed)
        await asyncio.sleep(options.every_seconds)


# Task: T-113
# Task: T-352
async def prune_all(database: Database, options: PruneOptions) -> int:
    """Prune the data of all users once, in small batches with pauses. Return the number of deleted rows.

    If the trash cannot be emptied, the log and the keys are pruned all the same. Raises Unavailable or DatabaseError.
    """
    removed = 0
    failure: Exception | None = None
    for take, kept_days in ((empty_trash, options.trash_kept_days), (prune, options.kept_days)):
        try:
            removed += await _prune_users(database, take, kept_days, options)
        except (Unavailable, DatabaseError) as error:
            failure = error
    if failure is not None:
        raise failure
    return removed


# Task: T-502
async def _prune_users(database: Database, take: PruneFunction, kept_days: int, options: PruneOptions) -> int:
    """Delete one kind of old rows of all users. A batch that fails is repeated with fewer rows, of one user.

    If not even one row of a user can be deleted, the user is skipped. Raises the last error if this happens to
    ``_MAX_FAILED_USERS`` users in a row: then the database is not available.
    """
    removed = failed_users = 0
    max_rows = MAX_ROWS
    from_user: int | None = 0
    while from_user is not None:
        max_users = MAX_USERS if max_rows == MAX_ROWS else 1
        try:
            batch = await take(
                database, kept_days=kept_days, from_user=from_user, max_rows=max_rows, max_users=max_users
            )
        except (Unavailable, DatabaseError) as error:
            if max_rows > 1:
                max_rows = max(1, max_rows // _BATCH_DIVISOR)
            else:
                failed_users += 1
                if failed_users == _MAX_FAILED_USERS:
                    raise
                log.warning("old data of one user could not be deleted: %s", type(error).__name__)
                from_user, max_rows = from_user + 1, MAX_ROWS
        else:
            removed += batch.removed
            failed_users = 0
            if batch.next_user != from_user:
                max_rows = MAX_ROWS
            from_user = batch.next_user
        await asyncio.sleep(options.pause_seconds)
    return removed
