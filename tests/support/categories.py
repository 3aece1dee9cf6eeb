"""Categories, made and listed."""

from typing import Any

from httpx import AsyncClient


async def add_category(client: AsyncClient, **fields: Any) -> dict[str, Any]:
    """Create a category over HTTP and return it."""
    response = await client.post("/categories", json={"name": "Groceries", **fields})
    assert response.status_code == 201, response.text
    category: dict[str, Any] = response.json()
    return category


async def categories_of(client: AsyncClient) -> list[dict[str, Any]]:
    """Return the client's categories, in their order."""
    categories: list[dict[str, Any]] = (await client.get("/categories")).json()["categories"]
    return categories


async def names_of(client: AsyncClient) -> list[str]:
    """Return their names, in their order."""
    return [category["name"] for category in await categories_of(client)]
