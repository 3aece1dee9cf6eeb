"""Tests of services below HTTP: a user whose round trips are counted, and direct access to the database."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, LiteralString, TypeVar
from uuid import UUID

import psycopg
from psycopg.rows import dict_row

from support.round_trips import Trips, open_watched
from support.users import add_user
from todo.database import Database, Session
from todo.models.tasks import TaskCreate
from todo.services import tasks

NOW = datetime(2026, 3, 10, 9, 0, tzinfo=UTC)


class ServiceHarness:
    """A user with sessions on a connection that counts round trips, and a connection that bypasses the application."""

    def __init__(self, database: Database, trips: Trips, past: psycopg.Connection[Any]) -> None:
        self.user_id = add_user(past, "alice")
        self.trips = trips
        self._past = past
        self._database = database

    @property
    def session(self) -> Session:
        """Return a new session, as each request gets one."""
        return Session(self._database, self.user_id)

    async def add(self, *, title: str = "Buy milk", **fields: Any) -> UUID:
        """Add a task at ``NOW`` and return its id."""
        row, _ = await tasks.create(self.session, TaskCreate(title=title, **fields), now=NOW)
        return UUID(row["id"])

    async def trips_of(self, work: Awaitable[Any]) -> int:
        """Return the number of round trips that ``work`` takes."""
        self.trips.count = 0
        await work
        return self.trips.count

    def before_trips(self, happens: dict[int, Callable[[], object]]) -> None:
        """Restart the count of round trips, and call each function in ``happens`` before the trip of its number."""

        def before(trip: int) -> None:
            if trip in happens:
                happens[trip]()

        self.trips.count = 0
        self.trips.before = before

    def sql(self, statement: LiteralString, **values: Any) -> list[dict[str, Any]]:
        """Run a statement in its own transaction, as a concurrent writer would, and return its rows."""
        with self._past.cursor(row_factory=dict_row) as cursor:
            cursor.execute(statement, {"user": self.user_id, **values})
            return cursor.fetchall() if cursor.description else []


SceneT = TypeVar("SceneT", bound=ServiceHarness)


@asynccontextmanager
async def opened(url: str, kind: type[SceneT]) -> AsyncIterator[Callable[[], SceneT]]:
    """Yield a function that creates harnesses on one open connection."""
    async with open_watched(url) as (database, trips):
        with psycopg.connect(url, autocommit=True) as past:
            yield lambda: kind(database, trips, past)
