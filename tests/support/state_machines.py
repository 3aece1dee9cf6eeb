"""Stateful tests with Hypothesis: the application that the runs share, writes, and the runner."""

import asyncio
import os
from collections import Counter
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import psycopg
from httpx import AsyncClient, Response
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from support.helpers import VERY_LONG_TIMEOUTS
from support.sync import Copy
from support.users import SECRET, client_of, sign_up
from todo.database import Database
from todo.main import create_app
from todo.services.authentication import SecretVerifier
from todo.settings import Settings

T = TypeVar("T")

RANDOM_RUNS = os.environ.get("TODO_SYNC_EXAMPLES")
STEPS = 40


@dataclass
class StatefulApp:
    """The application that all runs of a test share. Its event loop runs only during a step."""

    url: str
    # The superuser, in autocommit mode.
    admin: psycopg.Connection[Any]
    loop: asyncio.AbstractEventLoop
    app: Any
    # How often each kind of write got each status.
    outcomes: Counter[str] = field(default_factory=Counter)
    # Number of changes of each entity.
    changed: Counter[str] = field(default_factory=Counter)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)


@dataclass(frozen=True)
class Write:
    """A write request. Sent again, it is identical."""

    method: str
    path: str
    body: Any = None
    key: str | None = None
    if_match: str | None = None

    @property
    def headers(self) -> dict[str, str]:
        headers = {"Idempotency-Key": self.key, "If-Match": self.if_match}
        return {name: value for name, value in headers.items() if value is not None}

    @property
    def kind(self) -> str:
        """The name of the kind of write in ``outcomes``."""
        if self.path.endswith("?permanent=true"):
            return "remove"
        verb = self.path.rpartition("/")[2]
        return verb if verb == "batch" or (self.path.count("/") == 3 and verb.isalpha()) else self.method

    @property
    def digested(self) -> tuple[str, str, Any]:
        """The parts of the request that its idempotency key stands for."""
        return self.method, self.path, self.body

    async def send(self, client: AsyncClient) -> Response:
        body = {} if self.body is None else {"json": self.body}
        return await client.request(self.method, self.path, headers=self.headers, **body)


@contextmanager
def open_stateful_app(database_url: str) -> Iterator[StatefulApp]:
    """Open the application as shipped."""
    with (
        psycopg.connect(database_url, autocommit=True) as admin,
        asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner,
    ):
        # Timeouts that a busy machine does not reach: a 503 would be an unexpected outcome.
        database = Database(database_url, VERY_LONG_TIMEOUTS)
        app = create_app(Settings(), database, SecretVerifier(SECRET))
        runner.run(database.open())
        yield StatefulApp(database_url, admin, runner.get_loop(), app)
        runner.run(database.close())


class DeviceMachine(RuleBasedStateMachine):
    """Devices of one user, each with a copy of the user's data."""

    world: StatefulApp
    device_count: int

    def __init__(self) -> None:
        super().__init__()
        self.user_id = sign_up(self.world.url, "alice")
        self.clients = [client_of(self.world.app, self.user_id) for _ in range(self.device_count)]
        self.copies = [Copy(client) for client in self.clients]
        # Follows the feed after every step, so it has the current state.
        self.witness = Copy(self.clients[0])
        self.witness.revision = 0
        self.lost: list[Write] = []
        self.has_written = False

    def teardown(self) -> None:
        for client in self.clients:
            self.world.run(client.aclose())


def run_machine(machine: type[DeviceMachine], world: StatefulApp, *, runs: int) -> None:
    """Run a state machine ``runs`` times with fixed steps, or ``TODO_SYNC_EXAMPLES`` times with random ones."""
    machine_in_world = type(machine.__name__, (machine,), {"world": world})
    run_state_machine_as_test(
        machine_in_world,
        settings=settings(
            max_examples=int(RANDOM_RUNS or runs),
            stateful_step_count=STEPS,
            derandomize=RANDOM_RUNS is None,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            report_multiple_bugs=False,
        ),
    )
