"""Nobody sees or touches another user's data, nor learns that it exists: every operation of the API, wall by wall.

A new operation fails ``test_has_a_row_for_every_operation`` until it says here how strangers may meet it.
"""

import asyncio
import json
import random
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest
from fastapi import FastAPI
from httpx import AsyncClient

from support.categories import add_category
from support.people import token_of
from support.pgbouncer import POOL_SIZE, pgbouncer
from support.scratch import sql
from support.streams import told_over_websocket
from support.tasks import add_task, without_request_id
from support.walls import NO_WALLS, WALLS, Walled, app_behind
from todo.database import Database, DatabaseOptions, Session
from todo.database.statements import raw

Request = Mapping[str, Any]

_METHODS = frozenset({"get", "put", "post", "delete", "options", "head", "patch", "trace"})
_PREPARED = raw("SELECT name::text FROM pg_catalog.pg_prepared_statements WHERE name LIKE 'todo\\_%'")
# As shipped, but for a machine that is busy with other things.
_PATIENT = DatabaseOptions(budget_seconds=20, statement_timeout_milliseconds=20_000)
_WHO = sql("SELECT app.uid() AS id, pg_sleep(0.002)::text", repeatable=True)
_JSON = {"Content-Type": "application/json"}

# What a stranger may put around any request, to learn something by it.
_CONDITIONS: tuple[Request, ...] = (
    {"headers": {"If-Match": "*"}},
    {"headers": {"If-Match": '"1"'}},
    {"headers": {"If-None-Match": "*"}},
    {"headers": {"If-None-Match": '"1"', "If-Modified-Since": "Mon, 01 Jan 2001 00:00:00 GMT"}},
    {"headers": {"If-Unmodified-Since": "Mon, 01 Jan 2001 00:00:00 GMT"}},
    {"headers": {"Range": "bytes=0-0", "Prefer": "return=minimal"}},
    {"params": {"fields": "id"}},
)

# Bodies that no operation takes.
_BAD_BODIES: tuple[Request, ...] = (
    {"content": b""},
    {"content": b"{", "headers": _JSON},
    {"content": b'{"title": "\\ud800"}', "headers": _JSON},
    {"content": b'{"title": "Mine"}', "headers": {"Content-Type": "text/plain"}},
    {"content": b'{"title": "Mine"}'},
    {"json": None},
    {"json": []},
    {"json": {"user_id": "somebody", "title": "Mine"}},
    {"json": {"title": ""}},
    {"json": {"title": "x" * 201}},
    {"json": {"title": "nul \x00"}},
    {"json": {"title": None, "status": "no such status", "due_date": "2026-02-30"}},
    {"content": b'{"title": "%s"}' % (b"x" * 1_100_000), "headers": _JSON},
)

_TASK_CHANGES: tuple[Request, ...] = (
    {"json": {"title": "Mine now"}},
    {"json": {"title": "Mine now", "status": "completed"}},
    {"json": {"title": "Mine now", "status": "cancelled", "priority": "high", "due_date": None}},
)


@dataclass(frozen=True)
class Resource:
    """Things that users have. ``add`` makes some and returns their ids, which paths call ``key``."""

    table: str
    key: str
    add: Callable[[AsyncClient], Awaitable[list[str]]]


@dataclass(frozen=True)
class ById:
    """An operation on one row, which belongs to somebody else: there is no such row, whatever is sent."""

    of: Resource
    bodies: tuple[Request, ...] = ()
    reads: bool = False

    @property
    def requests(self) -> Iterator[Request]:
        """Good ones first, which have to be answered 404; then everything that a stranger may try."""
        plain = self.bodies or ({},)
        yield from plain
        for condition in _CONDITIONS:
            yield {**plain[0], **condition}
        if self.bodies:
            yield from _BAD_BODIES
            for condition in _CONDITIONS:
                yield {**_BAD_BODIES[-4], **condition}


@dataclass(frozen=True)
class Listing:
    """An operation that gives many rows: the caller's only, whatever the filters. ``ids`` finds whose they are."""

    of: Resource
    queries: tuple[Mapping[str, Any], ...]
    ids: Callable[[Any], list[str]]


@dataclass(frozen=True)
class Creating:
    """An operation that makes a row, under an id that somebody else may have. ``other`` makes it another row."""

    of: Resource
    body: Mapping[str, Any]
    other: Mapping[str, Any]


@dataclass(frozen=True)
class OfOwnLog:
    """An operation on a change, by its number: everybody's count from 1, so that a stranger's is one's own or none."""


@dataclass(frozen=True)
class OfOwnProfile:
    """An operation on the caller's profile, of which everybody has one or none. ``body`` changes it."""

    body: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Following:
    """A stream of the caller's own changes."""


@dataclass(frozen=True)
class OfNobody:
    """An operation that tells of no user's rows."""

    status: int = 200


async def _add_tasks(client: AsyncClient) -> list[str]:
    """Tasks in every status, since some answers depend on it."""
    return [
        (await add_task(client, title=f"Secret {status}", status=status))["id"]
        for status in ("pending", "in_progress", "completed", "cancelled")
    ]


async def _add_category(client: AsyncClient) -> list[str]:
    return [(await add_category(client, name="Secret"))["id"]]


async def _add_things(client: AsyncClient) -> list[str]:
    """One of each kind and more, each of which is one change."""
    return [*await _add_tasks(client), *await _add_category(client)]


TASKS = Resource("tasks", "task_id", _add_tasks)
CATEGORIES = Resource("categories", "category_id", _add_category)
THINGS = Resource("changes", "id", _add_things)


def _tasks_in(page: Any) -> list[str]:
    return [task["id"] for task in page["tasks"]]


def _categories_in(page: Any) -> list[str]:
    return [category["id"] for category in page["categories"]]


def _things_in(page: Any) -> list[str]:
    return [*_tasks_in(page), *_categories_in(page)]


def _changed_in(feed: Any) -> list[str]:
    return [change["id"] for change in feed["changes"]]


ROWS: Mapping[str, ById | Listing | Creating | OfOwnLog | OfOwnProfile | Following | OfNobody] = {
    "GET /healthz": OfNobody(),
    "GET /readyz": OfNobody(),
    "GET /api/v1/me": OfOwnProfile(),
    "PATCH /api/v1/me": OfOwnProfile({"time_zone": "Europe/Berlin"}),
    "GET /api/v1/tasks": Listing(
        TASKS,
        (
            {},
            {"limit": 100},
            {"status": "pending"},
            {"status_filter": ["completed", "cancelled", "in_progress", "pending"]},
            {"priority": "medium", "status": "completed"},
            {"skip": 1, "limit": 1},
        ),
        _tasks_in,
    ),
    "GET /api/v1/changes": Listing(THINGS, ({}, {"since": 0, "limit": 500}, {"since": 3}, {"since": 4}), _changed_in),
    "GET /api/v1/changes/snapshot": Listing(THINGS, ({}, {"limit": 500}, {"limit": 1}), _things_in),
    "POST /api/v1/changes/{revision}/undo": OfOwnLog(),
    "GET /api/v1/events": Following(),
    "POST /api/v1/tasks": Creating(TASKS, {"title": "Mine"}, other={"title": "Another"}),
    "GET /api/v1/tasks/{task_id}": ById(TASKS, reads=True),
    "PUT /api/v1/tasks/{task_id}": ById(TASKS, _TASK_CHANGES),
    "PATCH /api/v1/tasks/{task_id}": ById(TASKS, (*_TASK_CHANGES, {"json": {}}, {"json": {"description": None}})),
    "DELETE /api/v1/tasks/{task_id}": ById(TASKS),
    "POST /api/v1/tasks/{task_id}/complete": ById(TASKS),
    "POST /api/v1/tasks/{task_id}/reopen": ById(TASKS),
    "GET /api/v1/tasks/{task_id}/history": ById(TASKS, reads=True),
    "GET /api/v1/categories": Listing(CATEGORIES, ({}, {"archived": "false"}), _categories_in),
    "POST /api/v1/categories": Creating(CATEGORIES, {"name": "Mine"}, other={"name": "Another"}),
    "GET /api/v1/categories/{category_id}": ById(CATEGORIES, reads=True),
    "PUT /api/v1/categories/{category_id}": ById(CATEGORIES, ({"json": {"name": "Mine now"}},)),
    "PATCH /api/v1/categories/{category_id}": ById(
        CATEGORIES, ({"json": {"name": "Mine now"}}, {"json": {}}, {"json": {"color": None, "archived": True}})
    ),
    "DELETE /api/v1/categories/{category_id}": ById(CATEGORIES, ({}, {"params": {"tasks": "trash"}})),
    "POST /api/v1/categories/{category_id}/move": ById(
        CATEGORIES, ({"json": {"before_id": None}}, {"json": {"after_id": str(uuid4())}})
    ),
}


def operations_of(description: Mapping[str, Any]) -> set[str]:
    """Every operation of an OpenAPI document, as ``METHOD /path``."""
    return {
        f"{method.upper()} {path}"
        for path, item in description["paths"].items()
        for method in item
        if method in _METHODS
    }


def _rows(kind: type) -> list[str]:
    return [operation for operation, row in ROWS.items() if isinstance(row, kind)]


async def _send(client: AsyncClient, operation: str, row_id: str, request: Request) -> Any:
    method, path = operation.split(" ")
    assert path.count("{") <= 1, "an operation on two ids needs a row that says which of them is foreign"
    url = "http://todo.test" + (path[: path.index("{")] + row_id + path[path.index("}") + 1 :] if "{" in path else path)
    return await client.request(method, url, **request)


@pytest.fixture(scope="session")
def pooled_url(database_url: str) -> Iterator[str]:
    """The shared database through a pooler in transaction mode."""
    with pgbouncer(database_url) as url:
        yield url


@pytest.fixture(scope="module", params=[(name, way) for way in ("direct", "pooled") for name in WALLS], ids="-".join)
async def walled(request: pytest.FixtureRequest, database_url: str) -> AsyncIterator[Walled]:
    """The application behind both walls, and behind each alone; directly, and through the pooler."""
    name, way = request.param
    url = request.getfixturevalue("pooled_url") if way == "pooled" else database_url
    async with app_behind(WALLS[name], url=url, direct_url=database_url) as walled:
        yield walled


@pytest.fixture
async def alice(walled: Walled) -> AsyncIterator[AsyncClient]:
    async with walled.client(walled.sign_up("alice")) as client:
        yield client


@pytest.fixture
async def bob(walled: Walled) -> AsyncIterator[AsyncClient]:
    async with walled.client(walled.sign_up("bob")) as client:
        yield client


@pytest.fixture
async def charlie(walled: Walled) -> AsyncIterator[AsyncClient]:
    async with walled.client(f"charlie-{uuid4().hex}") as client:
        yield client


async def _user_of(client: AsyncClient) -> str:
    user_id: str = (await client.get("/me")).json()["id"]
    return user_id


# Task: T-060
class TestMatrix:
    async def test_has_a_row_for_every_operation(self, app: FastAPI) -> None:
        assert operations_of(app.openapi()) == set(ROWS)

    def test_knows_of_each_path_what_its_id_is_of(self) -> None:
        found = {operation: row.of.key for operation, row in ROWS.items() if isinstance(row, ById)}

        assert [operation for operation, key in found.items() if f"{{{key}}}" not in operation] == []

    @pytest.mark.parametrize("operation", _rows(ById))
    async def test_answers_about_a_strangers_row_as_about_none(
        self, walled: Walled, alice: AsyncClient, bob: AsyncClient, operation: str
    ) -> None:
        row = ROWS[operation]
        assert isinstance(row, ById)
        foreign_ids = await row.of.add(alice)
        before = walled.rows_of(await _user_of(alice))
        good = len(row.bodies) or 1

        for number, request in enumerate(row.requests):
            unknown = await _send(bob, operation, str(uuid4()), request)
            for foreign_id in foreign_ids:
                foreign = await _send(bob, operation, foreign_id, request)
                assert without_request_id(foreign) == without_request_id(unknown), request
            shouted = await _send(bob, operation, foreign_ids[0].upper(), request)
            assert without_request_id(shouted) == without_request_id(unknown), request
            assert 400 <= unknown.status_code < 500, request
            assert number >= good or unknown.status_code == 404, request

        assert len(before[row.of.table]) == len(foreign_ids)
        assert walled.rows_of(await _user_of(alice)) == before
        # They are ids that this operation finds, if it is asked by whom they belong to.
        own = [await _send(alice, operation, foreign_id, next(row.requests)) for foreign_id in foreign_ids]
        assert [answer.status_code for answer in own if answer.status_code == 404] == []

    @pytest.mark.parametrize("operation", _rows(Listing))
    async def test_lists_only_the_callers_rows(
        self, walled: Walled, alice: AsyncClient, bob: AsyncClient, operation: str
    ) -> None:
        row = ROWS[operation]
        assert isinstance(row, Listing)
        foreign_ids = await row.of.add(alice)
        own = await row.of.add(bob)
        before = walled.rows_of(await _user_of(alice))

        answers = [await _send(bob, operation, "", {"params": query}) for query in row.queries]

        assert [answer.status_code for answer in answers] == [200] * len(row.queries)
        assert not [answer.text for answer in answers if any(foreign_id in answer.text for foreign_id in foreign_ids)]
        first = answers[0].json()
        assert (first.get("total", len(own)), sorted(row.ids(first))) == (len(own), sorted(own))
        assert len(before[row.of.table]) == len(foreign_ids)
        assert walled.rows_of(await _user_of(alice)) == before

    @pytest.mark.parametrize("operation", _rows(Listing))
    async def test_lists_nothing_to_a_caller_who_has_nothing(
        self, alice: AsyncClient, bob: AsyncClient, operation: str
    ) -> None:
        row = ROWS[operation]
        assert isinstance(row, Listing)
        nobodys = [without_request_id(await _send(bob, operation, "", {"params": query})) for query in row.queries]

        await row.of.add(alice)

        with_alices = [without_request_id(await _send(bob, operation, "", {"params": query})) for query in row.queries]
        assert with_alices == nobodys

    @pytest.mark.parametrize("operation", _rows(Listing))
    async def test_says_of_a_strangers_revision_what_it_says_of_none(
        self, alice: AsyncClient, bob: AsyncClient, operation: str
    ) -> None:
        await _add_tasks(alice)
        conditions: list[Request] = [{"headers": {"If-None-Match": tag}} for tag in ('"4"', '"4711"')]

        answers = [without_request_id(await _send(bob, operation, "", condition)) for condition in conditions]

        assert answers[0] == answers[1]
        assert answers[0][0] == 200

    async def test_pages_by_a_strangers_cursor_through_the_callers_own(
        self, alice: AsyncClient, bob: AsyncClient
    ) -> None:
        await _add_tasks(alice)
        cursor = (await alice.get("/changes/snapshot", params={"limit": 1})).json()["next_cursor"]
        own = await _add_tasks(bob)

        page = (await bob.get("/changes/snapshot", params={"cursor": cursor})).json()

        # Hers were made before his, and ids go by time.
        assert _tasks_in(page) == own

    @pytest.mark.parametrize("operation", _rows(OfOwnLog))
    async def test_takes_a_strangers_revision_for_the_callers_own(
        self, walled: Walled, alice: AsyncClient, bob: AsyncClient, operation: str
    ) -> None:
        foreign_ids = await _add_tasks(alice)
        before = walled.rows_of(await _user_of(alice))

        for request in [{}, *_CONDITIONS, {"headers": {"Idempotency-Key": "one"}}]:
            unknown = await _send(bob, operation, "4711", request)
            assert without_request_id(await _send(bob, operation, "1", request)) == without_request_id(unknown)
            assert 400 <= unknown.status_code < 500
        own = await add_task(bob)
        undone = await _send(bob, operation, "1", {})

        assert (undone.status_code, undone.json()["id"]) == (200, own["id"])
        assert own["id"] not in foreign_ids
        assert walled.rows_of(await _user_of(bob))["tasks"] == []
        assert walled.rows_of(await _user_of(alice)) == before

    @pytest.mark.parametrize("operation", _rows(Following))
    async def test_tells_only_the_callers_changes(
        self, walled: Walled, alice: AsyncClient, bob: AsyncClient, operation: str
    ) -> None:
        foreign_ids = await _add_tasks(alice)
        own = await _add_tasks(bob)
        user_id = await _user_of(bob)

        async with walled.client(user_id, events=5) as client:
            told = (await _send(client, operation, "", {"params": {"since": 0}})).text
        sent = await told_over_websocket(walled.app, token_of(user_id), since=0, events=5)

        data = [json.loads(line.removeprefix("data: ")) for line in told.splitlines() if line.startswith("data: ")]
        assert data[0] == {"revision": 0}
        assert [(change["revision"], change["id"]) for change in data[1:]] == list(enumerate(own, 1))
        assert [json.loads(message)["data"] for message in sent] == data
        assert not [foreign_id for foreign_id in foreign_ids if foreign_id in told]

    @pytest.mark.parametrize("operation", _rows(Following))
    async def test_tells_nothing_to_a_caller_who_has_nothing(
        self, alice: AsyncClient, bob: AsyncClient, operation: str
    ) -> None:
        requests: list[Request] = [{}, {"params": {"since": 4}}, {"headers": {"Last-Event-ID": "4"}}]

        async def answers() -> list[tuple[int, list[tuple[str, str]], bytes]]:
            found = [without_request_id(await _send(bob, operation, "", request)) for request in requests]
            # When to come back is a matter of chance.
            return [(status, headers, re.sub(rb"^retry: \d+", b"", body)) for status, headers, body in found]

        nobodys = await answers()

        await _add_tasks(alice)

        assert await answers() == nobodys
        assert [status for status, _, _ in nobodys] == [200, 410, 410]

    @pytest.mark.parametrize("operation", _rows(Creating))
    async def test_creates_under_an_id_that_a_stranger_has(
        self, walled: Walled, alice: AsyncClient, bob: AsyncClient, operation: str
    ) -> None:
        row = ROWS[operation]
        assert isinstance(row, Creating)
        foreign_ids = await row.of.add(alice)
        before = walled.rows_of(await _user_of(alice))

        for foreign_id in foreign_ids:
            body = {**row.body, "id": foreign_id}
            created = await _send(bob, operation, "", {"json": body})
            assert (created.status_code, created.json()["id"]) == (201, foreign_id)
            again = await _send(bob, operation, "", {"json": body})
            assert (again.status_code, again.json()) == (200, created.json())
            other = await _send(bob, operation, "", {"json": {**body, **row.other}})
            assert other.status_code == 409

        assert walled.rows_of(await _user_of(alice)) == before
        assert len(before[row.of.table]) == len(foreign_ids)
        assert len(walled.rows_of(await _user_of(bob))[row.of.table]) == len(foreign_ids)

    @pytest.mark.parametrize("operation", _rows(Creating))
    async def test_creates_nothing_for_another(
        self, walled: Walled, alice: AsyncClient, bob: AsyncClient, operation: str
    ) -> None:
        row = ROWS[operation]
        assert isinstance(row, Creating)
        alices = await _user_of(alice)

        answer = await _send(bob, operation, "", {"json": {**row.body, "user_id": alices}})

        assert answer.status_code == 422
        assert walled.rows_of(alices)[row.of.table] == []

    @pytest.mark.parametrize("operation", _rows(OfOwnProfile))
    async def test_is_about_the_callers_own_profile(
        self, walled: Walled, alice: AsyncClient, bob: AsyncClient, operation: str
    ) -> None:
        row = ROWS[operation]
        assert isinstance(row, OfOwnProfile)
        request: Request = {"json": row.body} if row.body else {}
        nobodys = (await _send(bob, "GET /api/v1/me", "", {})).json()
        await alice.patch("/me", json={"time_zone": "Asia/Tokyo", "day_start": "03:00", "week_start": "sunday"})
        before = walled.rows_of(await _user_of(alice))

        for condition in [{}, *_CONDITIONS, {"headers": {"Idempotency-Key": "one"}}]:
            answer = await _send(bob, operation, "", {**condition, **request})
            assert "Asia/Tokyo" not in answer.text, condition

        own = (await _send(bob, "GET /api/v1/me", "", {})).json()
        assert own == {**nobodys, **(row.body or {}), "revision": 1 if row.body else 0}
        assert len(before["profiles"]) == 1
        assert walled.rows_of(await _user_of(alice)) == before

    @pytest.mark.parametrize("operation", _rows(OfNobody))
    async def test_says_nothing_of_a_stranger(self, alice: AsyncClient, bob: AsyncClient, operation: str) -> None:
        row = ROWS[operation]
        assert isinstance(row, OfNobody)
        before = without_request_id(await _send(bob, operation, "", {}))

        await _add_tasks(alice)

        after = await _send(bob, operation, "", {})
        assert after.status_code == row.status
        assert without_request_id(after) == before
        assert await _user_of(alice) not in after.text


def _keyed() -> list[str]:
    return [operation for operation in ROWS if operation.startswith(("POST ", "PATCH "))]


# Task: T-131
class TestIdempotencyKeys:
    """Alice's key and Alice's exact request are worth nothing in another's hands."""

    @pytest.mark.parametrize("operation", _keyed())
    async def test_never_meet(self, walled: Walled, alice: AsyncClient, bob: AsyncClient, operation: str) -> None:
        row = ROWS[operation]
        [first_id, *_] = await (row.of if isinstance(row, ById | Creating) else TASKS).add(alice)
        row_id = "1" if isinstance(row, OfOwnLog) else first_id
        unknown_id = "4711" if isinstance(row, OfOwnLog) else str(uuid4())
        request: Request = {"headers": {"Idempotency-Key": "one"}}
        if isinstance(row, Creating | OfOwnProfile):
            request = {**request, "json": row.body}
        elif isinstance(row, ById) and row.bodies:
            request = {**request, **row.bodies[0]}
        hers = await _send(alice, operation, row_id, request)
        before = walled.rows_of(await _user_of(alice))

        his = await _send(bob, operation, row_id, request)
        unknown = await _send(bob, operation, unknown_id, request)
        again = await _send(alice, operation, row_id, request)

        assert hers.is_success
        assert "idempotency-replayed" not in his.headers
        if isinstance(row, Creating):
            assert his.status_code == 201
            assert his.json()["id"] != hers.json()["id"]
            assert walled.rows_of(await _user_of(bob))[row.of.table] != []
            assert unknown.json() == his.json()
        elif isinstance(row, OfOwnProfile):
            assert (his.status_code, his.json()["id"]) == (200, await _user_of(bob))
            assert unknown.json() == his.json()
        else:
            assert his.status_code == 404
            assert without_request_id(his) == without_request_id(unknown)
            assert walled.rows_of(await _user_of(bob))["idempotency_keys"] == []
        assert (again.content, again.headers["idempotency-replayed"]) == (hers.content, "true")
        assert walled.rows_of(await _user_of(alice)) == before

    async def test_stand_for_another_request_of_everybody(self, alice: AsyncClient, bob: AsyncClient) -> None:
        headers = {"Idempotency-Key": "one"}
        await alice.post("/tasks", json={"title": "Hers"}, headers=headers)

        his = await bob.post("/tasks", json={"title": "His"}, headers=headers)
        again = await bob.post("/tasks", json={"title": "His"}, headers=headers)

        assert (his.status_code, his.json()["title"]) == (201, "His")
        assert (again.content, again.headers["idempotency-replayed"]) == (his.content, "true")

    async def test_do_not_end_with_a_strangers_request(
        self, walled: Walled, alice: AsyncClient, bob: AsyncClient
    ) -> None:
        headers = {"Idempotency-Key": "one"}
        await alice.post("/tasks", json={"title": "Hers"}, headers=headers)
        walled.age_keys_of(await _user_of(alice))

        await bob.post("/tasks", json={"title": "His"}, headers=headers)

        assert len(walled.rows_of(await _user_of(alice))["idempotency_keys"]) == 1

    async def test_do_not_wait_for_a_stranger(self, walled: Walled, alice: AsyncClient, bob: AsyncClient) -> None:
        user_id = await _user_of(alice)

        with walled.holding_key(user_id, "one"):
            his = await bob.post("/tasks", json={"title": "His"}, headers={"Idempotency-Key": "one"})
            hers = await alice.post("/tasks", json={"title": "Hers"}, headers={"Idempotency-Key": "one"})

        assert (his.status_code, hers.status_code) == (201, 409)


# Task: T-060
class TestDeletedAccount:
    """Charlie's token still verifies, but the account is gone."""

    @pytest.mark.parametrize("operation", _rows(ById))
    async def test_finds_nothing_and_changes_nothing(
        self, walled: Walled, alice: AsyncClient, charlie: AsyncClient, operation: str
    ) -> None:
        row = ROWS[operation]
        assert isinstance(row, ById)
        foreign_ids = await row.of.add(alice)
        before = walled.rows_of(await _user_of(alice))
        expected = (404, "not_found") if row.reads else (403, "account_gone")
        good = len(row.bodies) or 1

        for number, request in enumerate(row.requests):
            unknown = await _send(charlie, operation, str(uuid4()), request)
            assert number >= good or (unknown.status_code, unknown.json()["code"]) == expected
            for foreign_id in foreign_ids:
                foreign = await _send(charlie, operation, foreign_id, request)
                assert without_request_id(foreign) == without_request_id(unknown), request
            assert 400 <= unknown.status_code < 500, request

        assert walled.rows_of(await _user_of(alice)) == before

    @pytest.mark.parametrize("operation", _rows(OfOwnLog))
    async def test_undoes_nothing(
        self, walled: Walled, alice: AsyncClient, charlie: AsyncClient, operation: str
    ) -> None:
        await _add_tasks(alice)
        before = walled.rows_of(await _user_of(alice))

        answers = [await _send(charlie, operation, number, {}) for number in ("1", "4711")]

        assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [(403, "account_gone")] * 2
        assert walled.rows_of(await _user_of(alice)) == before

    @pytest.mark.parametrize("operation", _rows(OfOwnProfile))
    async def test_has_and_sets_nothing(
        self, walled: Walled, alice: AsyncClient, charlie: AsyncClient, operation: str
    ) -> None:
        row = ROWS[operation]
        assert isinstance(row, OfOwnProfile)
        await alice.patch("/me", json={"time_zone": "Asia/Tokyo"})

        answer = await _send(charlie, operation, "", {"json": row.body} if row.body else {})

        assert answer.status_code == (403 if row.body else 200)
        assert "Asia/Tokyo" not in answer.text
        assert set(map(len, walled.rows_of(await _user_of(charlie)).values())) == {0}

    @pytest.mark.parametrize("operation", _rows(Creating))
    async def test_creates_nothing(
        self, walled: Walled, alice: AsyncClient, charlie: AsyncClient, operation: str
    ) -> None:
        row = ROWS[operation]
        assert isinstance(row, Creating)
        [foreign_id, *_] = await row.of.add(alice)

        answers = [
            await _send(charlie, operation, "", {"json": body, **options})
            for body in (row.body, {**row.body, "id": foreign_id})
            for options in ({}, {"headers": {"Idempotency-Key": "one"}})
        ]

        assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [(403, "account_gone")] * 4
        assert set(map(len, walled.rows_of(await _user_of(charlie)).values())) == {0}

    @pytest.mark.parametrize("operation", _rows(Listing))
    async def test_lists_nothing(self, alice: AsyncClient, charlie: AsyncClient, operation: str) -> None:
        row = ROWS[operation]
        assert isinstance(row, Listing)
        await row.of.add(alice)

        answer = await _send(charlie, operation, "", {})

        assert answer.status_code == 200
        assert (answer.json().get("total", 0), row.ids(answer.json())) == (0, [])


# Task: T-060
class TestWithoutWalls:
    """That the matrix can fail: with both walls taken out, Bob does see what is Alice's."""

    async def test_lets_a_stranger_see_everything(self, database_url: str) -> None:
        async with app_behind(NO_WALLS, url=database_url, direct_url=database_url) as walled:
            alice, bob = (walled.client(walled.sign_up(name)) for name in ("alice", "bob"))
            async with alice, bob:
                task = await add_task(alice)

                read = await bob.get(f"/tasks/{task['id']}")
                listed = await bob.get("/tasks", params={"limit": 100})
                history = await bob.get(f"/tasks/{task['id']}/history")
                snapshot = await bob.get("/changes/snapshot", params={"limit": 500})
                deleted = await bob.delete(f"/tasks/{task['id']}")

        assert read.json() == task
        assert task in listed.json()["tasks"]
        assert len(history.json()["history"]) == 1
        assert len(snapshot.json()["tasks"]) > 1
        assert deleted.status_code == 204

    @pytest.mark.parametrize("operation", _rows(ById))
    async def test_lets_a_stranger_meet_a_row(self, database_url: str, operation: str) -> None:
        row = ROWS[operation]
        assert isinstance(row, ById)
        async with app_behind(NO_WALLS, url=database_url, direct_url=database_url) as walled:
            alice, bob = (walled.client(walled.sign_up(name)) for name in ("alice", "bob"))
            async with alice, bob:
                [foreign_id, *_] = await row.of.add(alice)

                met = await _send(bob, operation, foreign_id, next(row.requests))

        assert met.is_success

    async def test_lets_a_stranger_read_a_profile(self, database_url: str) -> None:
        async with app_behind(NO_WALLS, url=database_url, direct_url=database_url) as walled:
            alice, bob = (walled.client(walled.sign_up(name)) for name in ("alice", "bob"))
            async with alice, bob:
                await alice.patch("/me", json={"time_zone": "Asia/Tokyo"})

                met = (await bob.get("/me")).json()

        assert met["revision"] > 0

    async def test_lets_a_stranger_end_a_key(self, database_url: str) -> None:
        async with app_behind(NO_WALLS, url=database_url, direct_url=database_url) as walled:
            ids = [walled.sign_up(name) for name in ("alice", "bob")]
            async with walled.client(ids[0]) as alice, walled.client(ids[1]) as bob:
                await alice.post("/tasks", json={"title": "Hers"}, headers={"Idempotency-Key": "one"})
                walled.age_keys_of(ids[0])

                await bob.post("/tasks", json={"title": "His"}, headers={"Idempotency-Key": "one"})

        assert walled.rows_of(ids[0])["idempotency_keys"] == []


# Task: T-062
class TestPooler:
    """In transaction mode the users' transactions take turns on a few connections, in any order."""

    async def test_keeps_users_apart_who_share_its_connections(self, pooled_url: str, database_url: str) -> None:
        async with app_behind(_PATIENT, url=pooled_url, direct_url=database_url) as walled:
            clients = [walled.client(walled.sign_up(f"user{number}")) for number in range(2 * POOL_SIZE)]

            results = await asyncio.gather(*(_live(client, number) for number, client in enumerate(clients)))

            for client in clients:
                await client.aclose()
        assert results == [[]] * len(clients)

    async def test_keeps_users_apart_when_some_hang_up(self, pooled_url: str, database_url: str) -> None:
        """Who hangs up leaves a statement behind on a connection that somebody else gets next."""
        chance = random.Random(5)
        async with app_behind(_PATIENT, url=pooled_url, direct_url=database_url) as walled:
            database = walled.app.state.database
            asked = {f"user {number}": asyncio.create_task(_who(database, f"user {number}")) for number in range(150)}
            leaving = chance.sample(sorted(asked), 75)
            for user_id in leaving:
                await asyncio.sleep(chance.uniform(0, 0.003))
                asked[user_id].cancel()
            await asyncio.wait(asked.values())

        staying = [user_id for user_id in asked if not asked[user_id].cancelled()]
        assert set(asked) - set(leaving) <= set(staying)
        assert [asked[user_id].result() for user_id in staying] == staying

    @pytest.mark.parametrize(("way", "prepares"), [("database_url", True), ("pooled_url", False)])
    async def test_is_noticed_so_that_nothing_is_prepared_by_name(
        self, request: pytest.FixtureRequest, database_url: str, way: str, *, prepares: bool
    ) -> None:
        url = request.getfixturevalue(way)
        async with app_behind(DatabaseOptions(pool_size=1), url=url, direct_url=database_url) as walled:
            async with walled.client(walled.sign_up("alice")) as alice:
                await add_task(alice)
            connection = await walled.app.state.database.acquire(deadline=asyncio.get_running_loop().time() + 5)
            [result] = await connection.exchange([(_PREPARED, ())], deadline=asyncio.get_running_loop().time() + 5)
            prepared = connection.rows(result, _PREPARED)
            await walled.app.state.database.release(connection)
        assert bool(prepared) is prepares
        assert connection.pooled is not prepares


async def _who(database: Database, user_id: str) -> str:
    """Ask as a user who that is, over a statement that takes its time."""
    row = await Session(database, user_id).one(_WHO)
    return str(row["id"])


async def _live(client: AsyncClient, number: int) -> list[str]:
    """Work with one's own tasks for a while; returns what was seen that should not be."""
    wrong = []
    for round_ in range(12):
        title = f"{number}.{round_}"
        task = await add_task(client, title=title)
        path = f"/tasks/{task['id']}"
        answers = await asyncio.gather(
            client.get(path),
            client.get("/tasks", params={"limit": 100}),
            client.patch(path, json={"description": title}),
            client.get("/tasks", params={"status": "cancelled"}),
        )
        wrong += [answer.text for answer in answers if answer.status_code != 200]
        read, listed, changed, none = (answer.json() for answer in answers)
        wrong += [str(seen) for seen in (read, changed) if seen["title"] != title]
        wrong += [str(seen) for seen in listed["tasks"] if not seen["title"].startswith(f"{number}.")]
        wrong += [] if (listed["total"], none["tasks"]) == (round_ + 1, []) else [str(listed)]
    return wrong
