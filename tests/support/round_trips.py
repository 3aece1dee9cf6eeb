"""Count round trips, and run code between them."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

from psycopg.pq.abc import PGresult

from support.helpers import LONG_TIMEOUTS
from todo.database import Database, DatabaseOptions
from todo.database.connection import Call, Connection


class Trips:
    """The number of round trips since ``count`` was last set. ``before`` and ``after`` each trip are called with it.

    If ``after`` raises, the caller gets the exception instead of the result, although the statement was executed.
    """

    def __init__(self) -> None:
        self.count = 0
        self.before: Callable[[int], None] = _nothing
        self.after: Callable[[int], None] = _nothing


def watched(database_url: str, options: DatabaseOptions | None = None) -> tuple[Database, Trips]:
    """Return a database with a single connection, not yet open, and its round trips."""
    trips = Trips()

    class Watched(Connection):
        async def execute_pipeline(self, calls: Sequence[Call], *, deadline: float) -> list[PGresult]:
            trips.count += 1
            trip = trips.count
            trips.before(trip)
            results = await super().execute_pipeline(calls, deadline=deadline)
            trips.after(trip)
            return results

    database = Database(database_url, replace(options or LONG_TIMEOUTS, pool_size=1))
    database._pool.connection_class = Watched
    return database, trips


@asynccontextmanager
async def open_watched(database_url: str) -> AsyncIterator[tuple[Database, Trips]]:
    """Open a database as ``watched`` does, with a connection, so that the next round trip is the first to count."""
    database, trips = watched(database_url)
    await database.open()
    try:
        await database.ping()
        yield database, trips
    finally:
        await database.close()


def _nothing(_: int) -> None:
    pass
