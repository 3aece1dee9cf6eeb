"""1,000 live connections on two workers: each receives every change of its user in order, and none of other users.

No test waits for time to pass. The printed figures (pytest -s) are for people: the delay from commit to event, and the
memory per connection.
"""

import asyncio
import random
import resource
import statistics
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from httpx import AsyncClient, Limits

from support.helpers import eventually
from support.live import LiveEvent, Socket, Stream, websocket
from support.processes import TIMEOUT_SECONDS, Serving, serving
from support.users import SECRET, sign_up, token_of

pytestmark = pytest.mark.slow

USERS = 50
STREAMS_EACH = SOCKETS_EACH = 10
WRITES_EACH = 10
OPENED_AT_ONCE = 40
WRITERS = 8
# One descriptor per client, and one more in the server.
DESCRIPTORS = 4 * USERS * (STREAMS_EACH + SOCKETS_EACH)


@pytest.fixture
def descriptors() -> Iterator[None]:
    """Raise the limit of open files to what this test needs, if the system allows it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(DESCRIPTORS, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def server(database_url: str, tmp_path: Path) -> Iterator[Serving]:
    """Yield a server with two workers."""
    settings = {"DATABASE_URL": database_url, "JWT_SECRET": SECRET, "LOG_LEVEL": "WARNING"}
    with serving(tmp_path, "--workers", "2", **settings) as server:
        yield server


class Follower:
    """One client, the events it received and their delay."""

    def __init__(self, user_id: str, connection: Stream | Socket) -> None:
        self.user_id = user_id
        self.told: list[LiveEvent] = []
        self.late: list[float] = []
        self._connection = connection

    async def follow(self) -> None:
        """Receive events up to the goodbye."""
        while not self.told or self.told[-1].name != "reconnect":
            event = await self._connection.next()
            assert event is not None, self.told
            self.told.append(event)
            if event.name == "change":
                at = datetime.fromisoformat(event.data["at"])
                self.late.append((datetime.now(UTC) - at).total_seconds())


@asynccontextmanager
async def followers(
    opened: Callable[[int, str], AbstractAsyncContextManager[Stream | Socket]],
    port: int,
    user_ids: list[str],
    each: int,
) -> AsyncIterator[list[Follower]]:
    """Open ``each`` connections for each user, many at once."""
    turns = asyncio.Semaphore(OPENED_AT_ONCE)
    async with AsyncExitStack() as stack:

        async def open_one(user_id: str) -> Follower:
            async with turns:
                connection = await stack.enter_async_context(opened(port, token_of(user_id)))
                assert await connection.next() == LiveEvent("ready", 0, {"revision": 0})
            return Follower(user_id, connection)

        yield await asyncio.gather(*(open_one(user_id) for _ in range(each) for user_id in user_ids))


async def write(client: AsyncClient, user_id: str, chance: random.Random) -> None:
    """Create, change and delete tasks, ``WRITES_EACH`` times."""
    headers = {"Authorization": f"Bearer {token_of(user_id)}"}
    paths: list[str] = []
    for number in range(WRITES_EACH):
        what = chance.choice(["POST", "PATCH", "DELETE"]) if paths else "POST"
        path = "/api/v1/tasks" if what == "POST" else chance.choice(paths)
        body = None if what == "DELETE" else {"title": f"{user_id} {number}"}
        response = await client.request(what, path, json=body, headers=headers)
        assert response.is_success, response.text
        if what == "POST":
            paths.append(response.headers["location"])
        elif what == "DELETE":
            paths.remove(path)


async def write_for_all(address: str, user_ids: list[str]) -> dict[str, list[Any]]:
    """Write for all users concurrently; return the feed of each."""
    chance = random.Random(17)
    turns = asyncio.Semaphore(WRITERS)
    async with AsyncClient(
        base_url=address, timeout=TIMEOUT_SECONDS, limits=Limits(max_connections=WRITERS), trust_env=False
    ) as client:

        async def write_one(user_id: str) -> None:
            async with turns:
                await write(client, user_id, chance)

        await asyncio.gather(*map(write_one, user_ids))
        feeds = {}
        for user_id in user_ids:
            headers = {"Authorization": f"Bearer {token_of(user_id)}"}
            feeds[user_id] = (await client.get("/api/v1/changes", headers=headers)).json()["changes"]
        return feeds


@asynccontextmanager
async def measured(parent: int) -> AsyncIterator[int]:
    """Yield the memory of the workers of a server, in KiB."""
    command = ["ps", "-e", "-o", "ppid=,rss="]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=True)
    yield sum(int(rss) for ppid, rss in map(str.split, done.stdout.splitlines()) if int(ppid) == parent)


def listening_workers(database_url: str) -> int:
    """Count the processes that listen for signals; each one does while it has live connections."""
    with psycopg.connect(database_url) as connection:
        [[count]] = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE query = 'LISTEN todo_changes' AND datname = current_database()"
        ).fetchall()
    return int(count)


# Task: T-174
@pytest.mark.usefixtures("descriptors")
class TestThousandConnections:
    async def test_1000_connections_receive_every_change_of_their_user_in_order_and_nothing_else(
        self, server: Serving, database_url: str
    ) -> None:
        user_ids = [sign_up(database_url, f"user-{n}") for n in range(USERS)]
        port, pid = urlsplit(server.address).port or 0, server.process.pid
        async with (
            # The first connections create all channels; the others show the cost of a connection alone.
            followers(Stream, port, user_ids, 1) as first,
            measured(pid) as before,
            followers(Stream, port, user_ids, STREAMS_EACH - 1) as others,
            measured(pid) as between,
            followers(websocket, port, user_ids, SOCKETS_EACH) as sockets,
            measured(pid) as after,
        ):
            everybody = [*first, *others, *sockets]
            workers = listening_workers(database_url)
            following = asyncio.gather(*(follower.follow() for follower in everybody))

            feeds = await write_for_all(server.address, user_ids)
            expected = {
                user_id: [LiveEvent("change", c["revision"], c) for c in feed] for user_id, feed in feeds.items()
            }
            await eventually(lambda: all(len(follower.told) >= WRITES_EACH for follower in everybody))
            # Events of other users would arrive before the goodbye.
            server.interrupt()
            async with asyncio.timeout(TIMEOUT_SECONDS):
                await following

        goodbye = LiveEvent("reconnect", WRITES_EACH, {"since": WRITES_EACH})
        wrong = [follower for follower in everybody if follower.told != [*expected[follower.user_id], goodbye]]
        assert wrong == []
        assert {len(feed) for feed in feeds.values()} == {WRITES_EACH}
        assert (len(everybody), workers) == (USERS * (STREAMS_EACH + SOCKETS_EACH), 2)
        late = statistics.quantiles([1000 * s for follower in everybody for s in follower.late], n=100)
        print(  # noqa: T201  For people to read.
            f"\ncommit to event: p50 {late[49]:.0f} ms, p99 {late[98]:.0f} ms;"
            f" memory: {(between - before) / len(others):.0f} KiB per event stream,"
            f" {(after - between) / len(sockets):.0f} KiB per WebSocket"
        )
