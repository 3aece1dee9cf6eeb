"""Pruning: delete old tasks in the trash, old changes in the log, and expired idempotency keys."""

import asyncio
import logging
from dataclasses import dataclass

from todo.database import Database, DatabaseError, empty_trash, prune
from todo.errors import Unavailable

log = logging.getLogger(__name__)


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

    Raises Unavailable.
    """
    removed = 0
    for take, kept_days in ((empty_trash, options.trash_kept_days), (prune, options.kept_days)):
        next_user: int | None = 0
        while next_user is not None:
            bite = await take(database, kept_days=kept_days, from_user=next_user)
            removed += bite.removed
            next_user = bite.next_user
            await asyncio.sleep(options.pause_seconds)
    return removed
