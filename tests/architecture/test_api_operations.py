"""All operations of the OpenAPI document, called over HTTP and compared with their description.

Each test compares with the expected operations, so that none passes by finding nothing.
"""

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import uuid4

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute, iter_route_contexts
from httpx import AsyncClient, Response
from jsonschema import Draft202012Validator, FormatChecker

from support.tasks import add_task
from todo.dependencies.session import open_bulk_session
from todo.models.tasks import TaskPublic

# OpenAPI cannot describe a WebSocket. The description of the tag `live` does.
WEBSOCKETS = {"/api/v1/ws"}
PUBLIC = {("get", "/healthz"), ("get", "/readyz")}
# Paths that are not in the document: the document itself, and the page that shows it.
HIDDEN = {
    "/",
    "/docs",
    "/openapi.json",
    "/docs/{digest}/docs.js",
    "/docs/{digest}/swagger-ui.css",
    "/docs/{digest}/swagger-ui-bundle.js",
    "/docs/{digest}/swagger-ui-bundle.js.LICENSE.txt",
}

Operation = dict[str, Any]


@dataclass(frozen=True)
class Caller:
    """A client with a task. Its paths are relative to ``/api/v1``."""

    client: AsyncClient
    task: dict[str, Any]

    async def send(self, method: str, path: str = "", **options: Any) -> Response:
        return await self.client.request(method, f"/tasks/{self.task['id']}{path}", **options)


async def on_category(caller: Caller, method: str, path: str = "", **options: Any) -> Response:
    """Send a request for a new category of the caller."""
    made = await caller.client.post("/categories", json={"name": f"Groceries {uuid4()}"})
    category_id = made.json().get("id", uuid4())
    return await caller.client.request(method, f"/categories/{category_id}{path}", **options)


async def on_view(caller: Caller, method: str, **options: Any) -> Response:
    """Send a request for a new view of the caller."""
    made = await caller.client.post("/views", json={"name": f"Today {uuid4()}", "query": {"due": "today"}})
    view_id = made.json().get("id", uuid4())
    return await caller.client.request(method, f"/views/{view_id}", **options)


A_BATCH = {
    "operations": [
        {"op": "create", "ref": "party", "task": {"title": "Party"}},
        {"op": "create", "task": {"title": "Cake", "parent_id": "$party"}},
        {"op": "complete", "id": "$party"},
    ]
}


def on_a_series(method: str, path: str) -> Callable[[Caller], Awaitable[Response]]:
    """Return a function that sends a request for a recurring task."""

    async def send(caller: Caller) -> Response:
        repeating = {"due_date": "2026-03-10", "recurrence": {"rule": "FREQ=DAILY"}}
        await caller.send("PATCH", json=repeating)
        return await caller.send(method, path)

    return send


async def on_tag(caller: Caller, method: str, **options: Any) -> Response:
    """Send a request for a tag of a task."""
    await caller.send("PATCH", json={"tags": ["job"]})
    return await caller.client.request(method, "/tags/job", **options)


HAPPY: dict[str, Callable[[Caller], Awaitable[Response]]] = {
    "create_task": lambda caller: caller.client.post("/tasks", json={"title": "Buy milk", "description": "*Oat*"}),
    "list_tasks": lambda caller: caller.client.get("/tasks", params={"status_filter": "pending", "limit": 10}),
    "read_task": lambda caller: caller.send("GET"),
    "replace_task": lambda caller: caller.send("PUT", json={"title": "Buy bread", "due_date": "2026-03-10"}),
    "update_task": lambda caller: caller.send("PATCH", json={"due_date": "2026-03-10T09:00:00+01:00"}),
    "delete_task": lambda caller: caller.send("DELETE"),
    "complete_task": lambda caller: caller.send("POST", "/complete"),
    "reopen_task": lambda caller: caller.send("POST", "/reopen"),
    "read_task_history": lambda caller: caller.send("GET", "/history"),
    "skip_task": on_a_series("POST", "/skip"),
    "list_occurrences": on_a_series("GET", "/occurrences"),
    "move_task": lambda caller: caller.send("POST", "/move", json={"before_id": None}),
    "restore_task": lambda caller: caller.send("POST", "/restore"),
    "run_batch": lambda caller: caller.client.post("/tasks/batch", json=A_BATCH),
    "list_tags": lambda caller: caller.client.get("/tags"),
    "rename_tag": lambda caller: on_tag(caller, "PATCH", json={"name": "Work"}),
    "delete_tag": lambda caller: on_tag(caller, "DELETE"),
    "create_category": lambda caller: caller.client.post("/categories", json={"name": "Food", "color": "#1E90FF"}),
    "list_categories": lambda caller: caller.client.get("/categories", params={"archived": "false"}),
    "read_category": lambda caller: on_category(caller, "GET"),
    "replace_category": lambda caller: on_category(caller, "PUT", json={"name": "Home"}),
    "update_category": lambda caller: on_category(caller, "PATCH", json={"archived": True}),
    "move_category": lambda caller: on_category(caller, "POST", "/move", json={"after_id": None}),
    "delete_category": lambda caller: on_category(caller, "DELETE", params={"tasks": "trash"}),
    "create_view": lambda caller: caller.client.post("/views", json={"name": "Today", "query": {"due": "today"}}),
    "list_views": lambda caller: caller.client.get("/views"),
    "read_view": lambda caller: on_view(caller, "GET"),
    "update_view": lambda caller: on_view(caller, "PATCH", json={"query": {"sort": ["-priority", "title"]}}),
    "delete_view": lambda caller: on_view(caller, "DELETE"),
    "read_stats": lambda caller: caller.client.get("/stats", params={"days": 7}),
    "list_changes": lambda caller: caller.client.get("/changes", params={"since": 0, "limit": 10}),
    "read_snapshot": lambda caller: caller.client.get("/changes/snapshot", params={"limit": 1}),
    "undo_change": lambda caller: caller.client.post(f"/changes/{caller.task.get('revision', 1)}/undo"),
    "follow_events": lambda caller: caller.client.get("/events"),
    "read_me": lambda caller: caller.client.get("/me"),
    "update_me": lambda caller: caller.client.patch("/me", json={"time_zone": "Europe/Berlin", "day_start": "03:00"}),
    "read_health": lambda caller: caller.client.get("http://todo.test/healthz"),
    "read_readiness": lambda caller: caller.client.get("http://todo.test/readyz"),
}
ANSWERS_WITH_A_TASK = {
    "create_task", "read_task", "replace_task", "update_task", "complete_task", "reopen_task", "skip_task", "move_task",
    "restore_task",
}  # fmt: skip

# Operations that may change thousands of tasks, and so use a bulk session.
BULK = {
    "replace_task", "update_task", "delete_task", "complete_task", "restore_task", "run_batch", "rename_tag",
    "delete_tag", "delete_category", "update_me", "undo_change",
}  # fmt: skip

# The message if HAPPY lacks an operation or has an unknown one.
TRIED = "HAPPY in this file must have a successful request for each operation, and no others"

formats = FormatChecker(["uuid"])


@formats.checks("date-time", raises=ValueError)
def is_instant(text: object) -> bool:
    return isinstance(text, str) and datetime.fromisoformat(text).tzinfo is not None


def happy(operation: Operation) -> Callable[[Caller], Awaitable[Response]]:
    """Return the function that sends a successful request for an operation."""
    name = operation["operationId"]
    assert name in HAPPY, f"add a successful request for {name} to HAPPY in this file"
    return HAPPY[name]


def operations_of(document: dict[str, Any]) -> Iterator[tuple[str, str, Operation]]:
    """Yield method, path and operation."""
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            yield method, path, operation


def filled_in(path: str) -> str:
    """Replace the parameters of a path by ids that do not exist."""
    return re.sub(r"\{\w+_id\}", lambda _: str(uuid4()), path).replace("{revision}", "4711")


async def answered_without_401(client: AsyncClient, document: dict[str, Any]) -> AsyncIterator[tuple[str, str]]:
    """Yield method and path of the operations that are answered with another status than 401."""
    for method, path, _ in operations_of(document):
        response = await client.request(method, filled_in(path))
        if response.status_code != 401:
            yield method, path


def documented(document: dict[str, Any], operation: Operation, response: Response) -> dict[str, Any]:
    """Return the description of a response in the document, with references resolved."""
    described: dict[str, Any] = operation["responses"][str(response.status_code)]
    if "$ref" in described:
        described = document["components"]["responses"][described["$ref"].rpartition("/")[2]]
    return described


def faults_of(document: dict[str, Any], operation: Operation, response: Response) -> list[str]:
    """Return the differences between a response and its description."""
    if str(response.status_code) not in operation["responses"]:
        return [f"status {response.status_code} is not documented"]
    described = documented(document, operation, response)
    required = [name for name in described["headers"] if document["components"]["headers"][name].get("required")]
    faults = [f"no header {name}" for name in required if name not in response.headers]
    if "content" not in described:
        return faults + (["a body"] if response.content else [])
    media_type = response.headers["content-type"].removesuffix("; charset=utf-8")
    if media_type not in described["content"]:
        return [*faults, f"content type {media_type}"]
    schema = {**described["content"][media_type]["schema"], "components": document["components"]}
    validator = Draft202012Validator(schema, format_checker=formats)
    content = response.json() if media_type.endswith("json") else response.text
    return faults + [error.message for error in validator.iter_errors(content)]


@pytest.fixture
async def caller(alice: AsyncClient) -> Caller:
    """Alice, with a new task."""
    return Caller(alice, await add_task(alice))


# Task: T-045
class TestAnonymousCallers:
    async def test_anonymous_callers_reach_only_the_public_routes(self, app: FastAPI, anonymous: AsyncClient) -> None:
        reached = {operation async for operation in answered_without_401(anonymous, app.openapi())}

        assert reached == PUBLIC

    async def test_callers_with_an_invalid_token_reach_only_the_public_routes(
        self, app: FastAPI, anonymous: AsyncClient
    ) -> None:
        anonymous.headers["Authorization"] = "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbGljZSJ9."

        reached = {operation async for operation in answered_without_401(anonymous, app.openapi())}

        assert reached == PUBLIC

    def test_every_route_is_in_the_specification_or_listed_as_hidden(self, app: FastAPI) -> None:
        documented_paths = set(app.openapi()["paths"])

        paths = {route.path or "" for route in iter_route_contexts(app.routes)}

        [digest] = {path.split("/")[2] for path in paths if path.startswith("/docs/")}
        assert {path.replace(digest, "{digest}") for path in paths - documented_paths} == HIDDEN | WEBSOCKETS
        assert documented_paths <= paths


# Task: T-050
class TestOperations:
    def test_every_operation_describes_itself(self, app: FastAPI) -> None:
        for method, path, operation in operations_of(app.openapi()):
            where = f"{method} {path}"
            assert operation["operationId"].isidentifier(), where
            assert len(operation["tags"]) == 1, where
            assert re.fullmatch(r"[^`\n.]+", operation["summary"]), f"{where}: the summary is not plain text"
            assert {"400", "422", "500"} <= set(operation["responses"]), where
            assert ("401" in operation["responses"]) == ((method, path) not in PUBLIC), where
            # A batch has its ids in the body.
            assert ("404" in operation["responses"]) == ("{" in path or path.endswith("/batch")), where
            silent = [each["name"] for each in operation.get("parameters", ()) if not each.get("description")]
            assert not silent, f"{where}: these parameters need a description: {silent}"

    def test_examples_are_valid_for_their_schemas(self, app: FastAPI) -> None:
        document = app.openapi()
        accepted = []

        for _, _, operation in operations_of(document):
            messages = [operation.get("requestBody", {}), *operation["responses"].values()]
            for content in [content for message in messages for content in message.get("content", {}).values()]:
                schema = {**content["schema"], "components": document["components"]}
                Draft202012Validator(schema, format_checker=formats).validate(content["example"])
                accepted.append(operation["operationId"])

        answering = {each["operationId"] for _, _, each in operations_of(document) if "204" not in each["responses"]}
        assert set(accepted) == answering
        assert len(answering) > 1

    def test_operations_that_may_change_thousands_of_tasks_use_a_bulk_session(self, app: FastAPI) -> None:
        found = {
            route.name
            for route in iter_route_contexts(app.routes)
            if isinstance(route.original_route, APIRoute)
            and any(provider.call is open_bulk_session for provider in route.original_route.dependant.dependencies)
        }

        assert found == BULK, "tests/routes/test_bulk.py must test each of these with thousands of tasks"

    async def test_successful_responses_match_the_specification(self, app: FastAPI, caller: Caller) -> None:
        document = app.openapi()
        found = {}

        for _, _, operation in operations_of(document):
            name = operation["operationId"]
            response = await happy(operation)(Caller(caller.client, await add_task(caller.client)))
            assert response.is_success, f"{name}: {response.text}"
            found[name] = faults_of(document, operation, response)

        assert {name: faults for name, faults in found.items() if faults} == {}
        assert set(found) == set(HAPPY), TRIED

    async def test_responses_with_a_task_have_exactly_its_public_fields(self, caller: Caller) -> None:
        answered = [(await HAPPY[name](caller)).json() for name in sorted(ANSWERS_WITH_A_TASK)]
        listed = (await HAPPY["list_tasks"](caller)).json()["tasks"]

        assert len(listed) > 1
        assert {tuple(task) for task in answered + listed} == {tuple(TaskPublic.model_fields)}

    async def test_error_responses_match_the_specification(
        self, app: FastAPI, alice: AsyncClient, anonymous: AsyncClient
    ) -> None:
        document = app.openapi()
        found = {}

        for method, path, operation in operations_of(document):
            address = f"http://todo.test{filled_in(path)}"
            answers = [
                await anonymous.request(method, address),
                await alice.request(method, address),
                await alice.request(method, address, params={"unknown": "1"}),
                await alice.request(method, f"{address}?%ff"),
                await alice.request(method, address, content=b"{", headers={"Content-Type": "application/json"}),
                await alice.request(method, address, content=b"{}", headers={"Content-Type": "text/plain"}),
            ]
            faults = [fault for answer in answers for fault in faults_of(document, operation, answer)]
            found[operation["operationId"]] = faults
            assert {answer.status_code for answer in answers} & {400, 422}, operation["operationId"]

        assert {name: faults for name, faults in found.items() if faults} == {}
        assert set(found) == set(HAPPY), TRIED

    async def test_responses_to_a_deleted_account_match_the_specification(
        self, app: FastAPI, charlie: AsyncClient
    ) -> None:
        document = app.openapi()
        found = {}

        for _, _, operation in operations_of(document):
            response = await happy(operation)(Caller(charlie, {"id": uuid4()}))
            found[operation["operationId"]] = response.status_code, faults_of(document, operation, response)

        assert [name for name, (_, faults) in found.items() if faults] == []
        assert {name for name, (status, _) in found.items() if status == 403} == {
            operation["operationId"] for _, _, operation in operations_of(document) if "403" in operation["responses"]
        }


# Task: T-050
class TestFaults:
    async def test_difference_from_the_specification_is_found(self, app: FastAPI, caller: Caller) -> None:
        document = app.openapi()
        operation = document["paths"]["/api/v1/tasks/{task_id}"]["get"]
        other = document["paths"]["/api/v1/tasks"]["get"]

        response = await HAPPY["read_task"](caller)

        assert faults_of(document, operation, response) == []
        assert faults_of(document, other, response) == [
            f"'{field}' is a required property"
            for field in ("tasks", "total", "total_is_exact", "page", "page_size", "next_cursor")
        ]
