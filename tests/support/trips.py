"""Round trips: count them, and let something happen between them."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from psycopg.pq.abc import PGresult

from support.helpers import UNHURRIED
from todo.database import Database, DatabaseOptions
from todo.database.connection import Call, Connection


class Trips:
    """The round trips of one database since ``count`` was last set. ``before`` and ``after`` are called with its value.

    What ``after`` raises comes to the caller in the place of the answer: the statement was executed all the same.
    """

    def __init__(self) -> None:
        self.count = 0
        self.before: Callable[[int], None] = _nothing
        self.after: Callable[[int], None] = _nothing


def watched(database_url: str, options: DatabaseOptions | None = None) -> tuple[Database, Trips]:
    """A database of a single connection, not yet open, and its trips."""
    trips = Trips()

    class Watched(Connection):
        async def execute_pipeline(self, calls: Sequence[Call], *, deadline: float) -> list[PGresult]:
            trips.count += 1
            trip = trips.count
            trips.before(trip)
            results = await super().execute_pipeline(calls, deadline=deadline)
            trips.after(trip)
            return results

    database = Database(database_url, replace(options or UNHURRIED, pool_size=1))
    database._pool.connection_class = Watched
    return database, trips


def _nothing(_: int) -> None:
    pass
