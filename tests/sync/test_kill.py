"""``kill -9`` during a thousand writes: every confirmed write has exactly one effect, and no write is partial."""

import asyncio
import os
import signal
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest

from support.helpers import eventually
from support.invariants import violations
from support.processes import TIMEOUT_SECONDS, port_to_keep, serving, until
from support.sync import Copy, read_everything, whole_log
from support.users import SECRET, sign_up, token_of

pytestmark = pytest.mark.slow

CLIENTS = 20
# Per client: tasks that are created and changed twice, and whose second change is undone.
TASKS_EACH = 14
KILLS_AFTER = (150, 500, 800)
# Per client: how often a series is completed, and a tree is created by a batch, trashed and restored.
ROUNDS = 5
TREE_KILLS_AFTER = (40, 150, 250)


@dataclass
class Server:
    """A ``todo serve`` that can be killed and restarted on the same port."""

    directory: Path
    url: str
    port: int
    workers: int
    kills: int = 0
    _stack: ExitStack = field(default_factory=ExitStack)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/api/v1"

    def start(self) -> None:
        arguments = ("--port", str(self.port), "--workers", str(self.workers))
        self._running = self._stack.enter_context(
            serving(self.directory, *arguments, DATABASE_URL=self.url, JWT_SECRET=SECRET)
        )

    def kill(self) -> None:
        """Kill all processes of the server, and start it again."""
        os.killpg(self._running.process.pid, signal.SIGKILL)
        assert self._running.process.wait(TIMEOUT_SECONDS) == -signal.SIGKILL
        self.kills += 1
        until(self._port_is_free)
        self.start()

    def close(self) -> None:
        self._stack.close()

    def _port_is_free(self) -> bool:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", self.port))
            except OSError:
                return False
        return True


@pytest.fixture(params=[1, 2])
def server(request: pytest.FixtureRequest, tmp_path: Path, database_url: str) -> Iterator[Server]:
    """A running server on the shared database."""
    server = Server(tmp_path, database_url, port_to_keep(), request.param)
    server.start()
    yield server
    server.close()


@dataclass
class Answers:
    """The confirmed writes of all clients: the id of the task, and its state in the response."""

    given: list[tuple[str, dict[str, Any] | None]] = field(default_factory=list)
    repeated: int = 0

    async def reach(self, count: int, writers: "asyncio.Future[Any]") -> None:
        """Wait until ``count`` writes are confirmed or the writers have ended."""
        await eventually(lambda: len(self.given) >= count or writers.done())


async def send(client: httpx.AsyncClient, answers: Answers, method: str, path: str, **body: Any) -> Any:
    """Send a write with the same key until it is answered, and return the response."""
    headers = {"Idempotency-Key": str(uuid4())}
    while True:
        try:
            response = await client.request(method, path, headers=headers, **body)
        except httpx.TransportError:
            answers.repeated += 1
            await asyncio.sleep(0.05)
            continue
        if response.status_code >= 500:
            await asyncio.sleep(0.05)
            continue
        return response


async def work(address: str, token: str, answers: Answers) -> None:
    async with httpx.AsyncClient(
        base_url=address, headers={"Authorization": f"Bearer {token}"}, timeout=TIMEOUT_SECONDS
    ) as client:
        for n in range(TASKS_EACH):
            task_id = str(uuid4())
            response = await send(client, answers, "POST", "/tasks", json={"id": task_id, "title": str(n)})
            # Without the key, a repetition would get 200: a task with this id and body exists.
            assert response.status_code == 201
            answers.given.append((task_id, response.json()))
            for change in ({"title": f"{n}!"}, {"priority": "high"}):
                response = await send(client, answers, "PATCH", f"/tasks/{task_id}", json=change)
                assert response.status_code == 200
                answers.given.append((task_id, response.json()))
            response = await send(client, answers, "POST", f"/changes/{response.json()['revision']}/undo")
            assert response.status_code == 200
            answers.given.append((task_id, response.json()["state"]))


async def work_on_trees(address: str, token: str, answers: Answers) -> None:
    """Complete a series occurrence by occurrence, and create, trash and restore trees."""
    async with httpx.AsyncClient(
        base_url=address, headers={"Authorization": f"Bearer {token}"}, timeout=TIMEOUT_SECONDS
    ) as client:
        recurrence = {"rule": "FREQ=DAILY", "missed": "keep"}
        new = {"title": "Water the plants", "due_date": "2026-03-01", "recurrence": recurrence, "tags": ["home"]}
        series = (await send(client, answers, "POST", "/tasks", json=new)).json()
        below = {"title": "Fill the can", "parent_id": series["id"]}
        assert (await send(client, answers, "POST", "/tasks", json=below)).status_code == 201
        for _ in range(ROUNDS):
            body = {"occurrence": series["due_date"]}
            response = await send(client, answers, "POST", f"/tasks/{series['id']}/complete", json=body)
            assert response.status_code == 200
            series = response.json()
            response = await send(client, answers, "POST", "/tasks/batch", json=A_TREE)
            assert [result["status"] for result in response.json()["results"]] == [201, 201, 201, 200, 200]
            top = response.json()["results"][0]["id"]
            answers.given.append((series["id"], series))
            for method, path, status in (
                ("DELETE", f"/tasks/{top}", 204),
                ("POST", f"/tasks/{top}/restore", 200),
                ("DELETE", f"/tasks/{top}", 204),
            ):
                assert (await send(client, answers, method, path)).status_code == status
                answers.given.append((top, None))
        assert series["due_date"] == f"2026-03-{1 + ROUNDS:02}"


A_TREE: dict[str, Any] = {
    "operations": [
        {"op": "create", "ref": "top", "task": {"title": "Party", "tags": ["home", "fun"]}},
        {"op": "create", "ref": "milk", "task": {"title": "Buy milk", "parent_id": "$top"}},
        {"op": "create", "task": {"title": "Find a shop", "parent_id": "$milk"}},
        {"op": "complete", "id": "$milk"},
        {"op": "update", "id": "$top", "changes": {"priority": "high"}},
    ]
}


# Task: T-173
# Task: T-325
class TestKill:
    async def test_confirmed_writes_survive_kill_9_and_happen_once(self, server: Server, database_url: str) -> None:
        user_id = sign_up(database_url, "alice")
        token = token_of(user_id)
        answers = Answers()
        writers = asyncio.gather(*(work(server.address, token, answers) for _ in range(CLIENTS)))

        for count in KILLS_AFTER:
            await answers.reach(count, writers)
            await asyncio.to_thread(server.kill)
        await writers

        headers = {"Authorization": f"Bearer {token}"}
        async with httpx.AsyncClient(base_url=server.address, headers=headers, timeout=TIMEOUT_SECONDS) as client:
            log = await whole_log(client)
            now = await read_everything(client)
            copy = Copy(client)
            await copy.catch_up(limit=100)
        assert (server.kills, answers.repeated > 0) == (len(KILLS_AFTER), True)
        # Every write was confirmed in the end, and is in the log once.
        assert len(log) == len(answers.given) == CLIENTS * TASKS_EACH * 4
        logged = {(change["id"], change["revision"]): change["state"] for change in log}
        assert [logged[task_id, state["revision"]] for task_id, state in answers.given if state] == [
            state for _, state in answers.given if state
        ]
        assert now == copy.objects == {(change["type"], change["id"]): change["state"] for change in log}
        assert {(task["title"][-1], task["priority"]) for task in now.values()} == {("!", "medium")}

    async def test_kill_9_leaves_no_partial_write(self, server: Server, database_url: str) -> None:
        user_id = sign_up(database_url, "alice")
        token = token_of(user_id)
        answers = Answers()
        writers = asyncio.gather(*(work_on_trees(server.address, token, answers) for _ in range(CLIENTS)))

        for count in TREE_KILLS_AFTER:
            await answers.reach(count, writers)
            await asyncio.to_thread(server.kill)
        await writers

        headers = {"Authorization": f"Bearer {token}"}
        async with httpx.AsyncClient(base_url=server.address, headers=headers, timeout=TIMEOUT_SECONDS) as client:
            copy = Copy(client)
            await copy.catch_up(limit=100)
            assert copy.objects == await read_everything(client)
        assert (server.kills, answers.repeated > 0) == (len(TREE_KILLS_AFTER), True)
        with psycopg.connect(database_url, autocommit=True) as connection:
            assert violations(connection, user_id) == {}
            # Each series has as many closed occurrences as it has advanced, all with different dates.
            assert self.series_of(connection, user_id) == [(1 + ROUNDS, ROUNDS, ROUNDS)] * CLIENTS
        kept = Counter((task["title"], task["status"], task["trashed_at"] is None) for task in copy.tasks.values())
        assert kept == {
            ("Water the plants", "pending", True): CLIENTS,
            ("Water the plants", "completed", True): CLIENTS * ROUNDS,
            ("Fill the can", "pending", True): CLIENTS,
            ("Party", "pending", False): CLIENTS * ROUNDS,
            ("Buy milk", "completed", False): CLIENTS * ROUNDS,
            ("Find a shop", "completed", False): CLIENTS * ROUNDS,
        }

    @staticmethod
    def series_of(connection: psycopg.Connection[Any], user_id: str) -> list[tuple[int, int, int]]:
        """Return the number of the open occurrence, of closed ones, and of their different dates for each series."""
        return connection.execute(
            "SELECT t.recurrence_number, count(*)::int, count(DISTINCT closed.due_date)::int FROM tasks AS t"
            " JOIN tasks AS closed ON closed.user_id = t.user_id AND closed.series_id = t.id AND closed.id <> t.id"
            " WHERE t.user_id = %s AND t.recurrence IS NOT NULL GROUP BY t.id, t.recurrence_number",
            (user_id,),
        ).fetchall()
