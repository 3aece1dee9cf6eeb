"""Stories that Hypothesis makes up: what they share, and how they are told."""

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

from support.helpers import PATIENT
from support.people import SECRET
from todo.database import Database
from todo.main import create_app
from todo.services.authentication import SecretVerifier
from todo.settings import Settings

T = TypeVar("T")

DEEPER = os.environ.get("TODO_SYNC_EXAMPLES")
STEPS = 40


@dataclass
class StatefulApp:
    """What the stories of one run share: an application on a loop of its own, which runs while a step is made."""

    url: str
    # The superuser, outside of any transaction.
    admin: psycopg.Connection[Any]
    loop: asyncio.AbstractEventLoop
    app: Any
    # How often which kind of write was answered how.
    outcomes: Counter[str] = field(default_factory=Counter)
    # How many changes of each type there were.
    changed: Counter[str] = field(default_factory=Counter)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)


@dataclass(frozen=True)
class Write:
    """A request, whole: sent again it is the same to the byte."""

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
        """What it is called in the count of outcomes."""
        if self.path.endswith("?permanent=true"):
            return "remove"
        verb = self.path.rpartition("/")[2]
        return verb if verb == "batch" or (self.path.count("/") == 3 and verb.isalpha()) else self.method

    @property
    def digested(self) -> tuple[str, str, Any]:
        """What a key stands for."""
        return self.method, self.path, self.body

    async def send(self, client: AsyncClient) -> Response:
        body = {} if self.body is None else {"json": self.body}
        return await client.request(self.method, self.path, headers=self.headers, **body)


@contextmanager
def open_world(database_url: str) -> Iterator[StatefulApp]:
    """The application as shipped, open."""
    with (
        psycopg.connect(database_url, autocommit=True) as admin,
        asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner,
    ):
        # A busy machine must not add stories of its own: a 503 for want of time would be one.
        database = Database(database_url, PATIENT)
        app = create_app(Settings(), database, SecretVerifier(SECRET))
        runner.run(database.open())
        yield StatefulApp(database_url, admin, runner.get_loop(), app)
        runner.run(database.close())


def tell(story: type[RuleBasedStateMachine], *, stories: int) -> None:
    """Tell so many stories: always the same ones, or with ``TODO_SYNC_EXAMPLES`` so many others."""
    run_state_machine_as_test(
        story,
        settings=settings(
            max_examples=int(DEEPER or stories),
            stateful_step_count=STEPS,
            derandomize=DEEPER is None,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            report_multiple_bugs=False,
        ),
    )
