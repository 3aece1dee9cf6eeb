"""The operations that are measured, and the cost of one turn of them."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import cycle, islice
from typing import Any

import orjson
import psycopg

from benchmarks import data, load
from benchmarks.load import Load, Request
from benchmarks.servers import PEERS, Server, database_cpu, used

ROOT = "/api/v1/tasks"
_BODY = orjson.dumps({"title": "Buy milk", "description": "Two litres.", "priority": "high", "due_date": "2026-03-10"})

Target = tuple[str, str]
"""A user, and the id of a task of theirs."""


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation of a client. ``fresh`` ones need a new task for each request; ``peers`` support it."""

    name: str
    make: Callable[[str, Target, int], Request]
    fresh: bool = False
    writes: bool = False
    peers: Sequence[str] = PEERS


def _patched(token: str, target: Target, turn: int) -> Request:
    # A different title each time, so that each request changes the task.
    return Request("PATCH", f"{ROOT}/{target[1]}", token, orjson.dumps({"title": f"Buy milk, {turn} litres"}))


OPERATIONS = (
    Operation("read one", lambda token, target, _: Request("GET", f"{ROOT}/{target[1]}", token)),
    Operation("list 50, total", lambda token, *_: Request("GET", ROOT, token)),
    Operation("list by status", lambda token, *_: Request("GET", f"{ROOT}?status=pending", token)),
    Operation("create", lambda token, *_: Request("POST", ROOT, token, _BODY), writes=True),
    Operation("patch", _patched, writes=True),
    Operation(
        "complete",
        lambda token, target, _: Request("POST", f"{ROOT}/{target[1]}/complete", token),
        fresh=True,
        writes=True,
    ),
    Operation(
        "delete", lambda token, target, _: Request("DELETE", f"{ROOT}/{target[1]}", token), fresh=True, writes=True
    ),
    Operation(
        "list, 304",
        lambda token, target, _: Request("GET", ROOT, token, headers={"If-None-Match": target[1]}),
        peers=("ours",),
    ),
    Operation(
        "feed, nothing new",
        lambda token, target, _: Request("GET", f"/api/v1/changes?since={target[1]}", token),
        peers=("ours",),
    ),
)


@dataclass(frozen=True, slots=True)
class Figures:
    """The cost of a request: CPU in microseconds, response time in milliseconds."""

    per_second: float
    p50_ms: float
    p99_ms: float
    app_us: float
    database_us: float

    @property
    def cpu_us(self) -> float:
        """CPU of the application and of PostgreSQL together."""
        return self.app_us + self.database_us


class Bench:
    """The database of the benchmark, and the users whose requests are sent."""

    def __init__(self, connection: psycopg.Connection[Any], postmaster: int, size: data.Size, users: list[str]) -> None:
        self.size = size
        self.postmaster = postmaster
        self._connection = connection
        half = len(users) // 2
        # Readers and writers are different users, so that writes do not lengthen the lists of readers.
        self._readers, self._writers = users[:half][:64], users[half:][:64]
        self._tokens = {user: data.token_of(user) for user in users}

    def requests(self, operation: Operation, count: int | None = None) -> list[Request]:
        """Return requests for one turn: ``count``, or by default a few that can be sent repeatedly."""
        users = self._writers if operation.writes else self._readers
        if operation.fresh:
            targets = data.new_tasks(self._connection, users, count or self.size.fresh)
        elif operation.name in ("list, 304", "feed, nothing new"):
            quoted = '"{}"' if operation.name == "list, 304" else "{}"
            rows = self._connection.execute("SELECT user_id, revision FROM revisions WHERE user_id = ANY(%s)", [users])
            targets = [(user, quoted.format(revision)) for user, revision in rows]
        else:
            targets = data.some_tasks(self._connection, users, 4)
        # Two different requests for each target, so that each repetition changes something.
        times = 1 if operation.fresh else 2
        made = [operation.make(self._tokens[user], (user, key), n) for n, (user, key) in enumerate(targets * times)]
        return made if count is None else list(islice(cycle(made), count))

    def some_tasks(self, user: str) -> list[Target]:
        return data.some_tasks(self._connection, [user], 64)

    def some_places(self, user: str) -> tuple[str, str]:
        """Return the ids of a category of a user, and of a task with subtasks."""
        return data.some_places(self._connection, user)

    def execute(self, sql: str) -> None:
        self._connection.execute(sql)

    async def warm(self, server: Server, operation: Operation) -> None:
        """Send requests so that statements are prepared and caches filled on every connection."""
        await load.drive_once(server.port, self.requests(operation, self.size.warm))

    async def turn(self, server: Server, operation: Operation) -> Figures:
        """Measure one turn of a server."""
        requests = self.requests(operation)
        if operation.writes:
            # Before each turn, so that it does not happen during one.
            self.execute("VACUUM tasks, revisions")
        return await self.figures(server, requests, once=operation.fresh)

    async def figures(
        self, server: Server, requests: Sequence[Request], *, once: bool = False, connections: int = load.CONNECTIONS
    ) -> Figures:
        """Send requests, and measure the CPU that they use."""
        app, database = server.cpu, database_cpu(self.postmaster)
        done: Load = (
            await load.drive_once(server.port, requests, connections=connections)
            if once
            else await load.drive(server.port, requests, seconds=self.size.seconds)
        )
        app, spent = server.cpu - app, used(database, database_cpu(self.postmaster))
        each = 1e6 / done.requests
        return Figures(done.requests / done.seconds, done.p50 * 1e3, done.p99 * 1e3, app * each, spent * each)


def median(figures: Sequence[Figures]) -> Figures:
    """Return the median of each figure."""
    names = Figures.__dataclass_fields__
    return replace(figures[0], **{name: statistics.median(getattr(one, name) for one in figures) for name in names})
