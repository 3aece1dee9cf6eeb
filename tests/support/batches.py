"""Batches: build operations, send them as a batch, or send one as the equivalent single request."""

from typing import Any

from httpx import AsyncClient, Response

from support.tasks import problem_of

Operation = dict[str, Any]


async def send(client: AsyncClient, *operations: Operation, **options: Any) -> Response:
    """Send a batch. ``headers`` are request headers; other options are members of the body."""
    headers = options.pop("headers", {})
    return await client.post("/tasks/batch", json={"operations": list(operations), **options}, headers=headers)


async def results_of(client: AsyncClient, *operations: Operation, **options: Any) -> list[dict[str, Any]]:
    """Send a batch, which must succeed, and return the results of its operations."""
    response = await send(client, *operations, **options)
    assert response.status_code == 200, response.text
    results: list[dict[str, Any]] = response.json()["results"]
    return results


async def read(client: AsyncClient, task_id: str) -> dict[str, Any]:
    task: dict[str, Any] = (await client.get(f"/tasks/{task_id}")).json()
    return task


async def titles_in_order(client: AsyncClient) -> list[str]:
    """Return the titles in the user's manual order."""
    tasks = (await client.get("/tasks", params={"limit": 100})).json()["tasks"]
    return [task["title"] for task in sorted(tasks, key=lambda task: task["position"])]


def create(title: str = "Milk", /, ref: str | None = None, **fields: Any) -> Operation:
    named = {} if ref is None else {"ref": ref}
    return {"op": "create", **named, "task": {"title": title, **fields}}


def on(op: str, task: Any, **members: Any) -> Operation:
    return {"op": op, "id": task["id"] if isinstance(task, dict) else task, **members}


def update(task: Any, **changes: Any) -> Operation:
    return on("update", task, changes=changes)


async def send_alone(client: AsyncClient, operation: Operation) -> Response:
    """Send an operation as the equivalent single request."""
    operation = {name: value for name, value in operation.items() if name != "ref"}
    op, path = operation.pop("op"), f"/tasks/{operation.pop('id', '')}"
    if op == "create":
        return await client.post("/tasks", json=operation["task"])
    if op == "update":
        return await client.patch(path, json=operation["changes"])
    if op == "delete":
        return await client.delete(path, params={"permanent": str(operation.get("permanent", False)).lower()})
    return await client.post(f"{path}/{op}", json=None if op == "reopen" else operation)


def error_alone(response: Response, op: str) -> dict[str, Any]:
    """Return the problem of a single request in the form that a batch reports."""
    problem = problem_of(response)
    part = {"create": "/task", "update": "/changes"}.get(op, "")
    errors = [
        {**error, "pointer": error["pointer"].replace("/body", part, 1)}
        if error["pointer"].startswith("/body") or part == ""
        else {**error, "pointer": f"{part}{error['pointer']}"}
        for error in problem.pop("errors", ())
    ]
    del problem["type"]
    return {**problem, **({"errors": errors} if errors else {})}
