"""Tasks, made and compared."""

from typing import Any

from httpx import AsyncClient, Response


async def add_task(client: AsyncClient, **fields: Any) -> dict[str, Any]:
    """Create a task over HTTP and return it."""
    response = await client.post("/tasks", json={"title": "Buy milk", **fields})
    assert response.status_code == 201, response.text
    task: dict[str, Any] = response.json()
    return task


def without_request_id(response: Response) -> tuple[int, list[tuple[str, str]], bytes]:
    """Status, headers and body, but for the request's id: what two callers may compare."""
    request_id = response.headers["x-request-id"]
    headers = sorted((name, value) for name, value in response.headers.items() if name != "x-request-id")
    return response.status_code, headers, response.content.replace(request_id.encode(), b"")
