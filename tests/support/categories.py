"""Add and list categories."""

from typing import Any

from httpx import AsyncClient

from support.tasks import NO_SUCH_FIELD, NOT_TEXT


async def add_category(client: AsyncClient, **fields: Any) -> dict[str, Any]:
    """Create a category over HTTP and return it."""
    response = await client.post("/categories", json={"name": "Groceries", **fields})
    assert response.status_code == 201, response.text
    category: dict[str, Any] = response.json()
    return category


async def categories_of(client: AsyncClient) -> list[dict[str, Any]]:
    """Return the client's categories in manual order."""
    categories: list[dict[str, Any]] = (await client.get("/categories")).json()["categories"]
    return categories


async def names_of(client: AsyncClient) -> list[str]:
    return [category["name"] for category in await categories_of(client)]


COLOR_EXPECTED = "Expected a color such as '#3366ff'."


WRONG_FIELDS: list[tuple[str, Any, str]] = [
    ("name", None, NOT_TEXT),
    ("name", 1, NOT_TEXT),
    ("name", " \n", "Expected 1 character or more."),
    ("name", "a" * 101, "Expected 100 characters or fewer."),
    ("name", "a\x00b", "The character NUL (U+0000) cannot be stored."),
    ("color", "red", COLOR_EXPECTED),
    ("color", "#12345", COLOR_EXPECTED),
    ("color", "#1e90ff\n", COLOR_EXPECTED),
    ("color", "", COLOR_EXPECTED),
    ("color", 0, NOT_TEXT),
    ("archived", None, "Expected true or false."),
    ("archived", "true", "Expected true or false."),
    ("archived", 1, "Expected true or false."),
    *((field, "1", NO_SUCH_FIELD) for field in ("position", "revision", "name_key", "tasks_open", "user_id")),
]
