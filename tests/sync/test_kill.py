"""``kill -9`` in the middle of a thousand writes: what was answered is there, once, and the feed is whole."""

import asyncio
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from support.people import SECRET, sign_up, token_of
from support.processes import PATIENCE_SECONDS, serving, until
from support.scratch import eventually
from support.sync import Copy, everything, whole_log

CLIENTS = 20
# Of each client: a task is made and changed twice, and the second change is undone.
TASKS_EACH = 14
KILLS_AFTER = (150, 500, 800)


@dataclass
class Server:
    """A ``todo serve`` that can be killed; it comes back on the same port, which its clients know."""

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
        """Kill every process of it, and start it again."""
        os.killpg(self._running.process.pid, signal.SIGKILL)
        assert self._running.process.wait(PATIENCE_SECONDS) == -signal.SIGKILL
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
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = Server(tmp_path, database_url, port, request.param)
    server.start()
    yield server
    server.close()


@dataclass
class Answers:
    """What the clients were told: for each write that was answered, what it made of which task."""

    given: list[tuple[str, dict[str, Any] | None]] = field(default_factory=list)
    repeated: int = 0

    async def reach(self, count: int) -> None:
        """Wait until so many were given."""
        await eventually(lambda: len(self.given) >= count, seconds=PATIENCE_SECONDS)


async def send(client: httpx.AsyncClient, answers: Answers, method: str, path: str, **body: Any) -> Any:
    """Send a write until it is answered, always under the same key. The answer is the first one, or equal to it."""
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
        base_url=address, headers={"Authorization": f"Bearer {token}"}, timeout=PATIENCE_SECONDS
    ) as client:
        for n in range(TASKS_EACH):
            task_id = str(uuid4())
            response = await send(client, answers, "POST", "/tasks", json={"id": task_id, "title": str(n)})
            # Without its key it would be 200: this id is taken, by the same body.
            assert response.status_code == 201
            answers.given.append((task_id, response.json()))
            for change in ({"title": f"{n}!"}, {"priority": "high"}):
                response = await send(client, answers, "PATCH", f"/tasks/{task_id}", json=change)
                assert response.status_code == 200
                answers.given.append((task_id, response.json()))
            response = await send(client, answers, "POST", f"/changes/{response.json()['revision']}/undo")
            assert response.status_code == 200
            answers.given.append((task_id, response.json()["state"]))


# Task: T-173
class TestKill:
    async def test_loses_nothing_that_was_answered_and_does_nothing_twice(
        self, server: Server, database_url: str
    ) -> None:
        user_id = sign_up(database_url, "alice")
        token = token_of(user_id)
        answers = Answers()
        writers = asyncio.gather(*(work(server.address, token, answers) for _ in range(CLIENTS)))

        for count in KILLS_AFTER:
            await answers.reach(count)
            await asyncio.to_thread(server.kill)
        await writers

        headers = {"Authorization": f"Bearer {token}"}
        async with httpx.AsyncClient(base_url=server.address, headers=headers, timeout=PATIENCE_SECONDS) as client:
            log = await whole_log(client)
            now = await everything(client)
            copy = Copy(client)
            await copy.catch_up(limit=100)
        assert (server.kills, answers.repeated > 0) == (len(KILLS_AFTER), True)
        # Every write was answered in the end, and each is in the log once.
        assert len(log) == len(answers.given) == CLIENTS * TASKS_EACH * 4
        told = {(change["id"], change["revision"]): change["state"] for change in log}
        assert [told[task_id, state["revision"]] for task_id, state in answers.given if state] == [
            state for _, state in answers.given if state
        ]
        assert now == copy.things == {change["id"]: change["state"] for change in log}
        assert {(task["title"][-1], task["priority"]) for task in now.values()} == {("!", "medium")}
