"""People who follow what happens: an account, and a client to make things happen with."""

from dataclasses import dataclass
from typing import Any

from httpx import AsyncClient

from support.live import Told
from support.people import token_of
from support.tasks import add_task


@dataclass
class Person:
    """Somebody with an account, at a server."""

    user_id: str
    client: AsyncClient

    @property
    def token(self) -> str:
        return token_of(self.user_id)

    async def add(self, count: int = 1) -> list[dict[str, Any]]:
        """Make tasks."""
        return [await add_task(self.client, title=f"Task {n}") for n in range(count)]

    async def feed(self, since: int = 0) -> list[Told]:
        """The feed, as events."""
        page = (await self.client.get("/changes", params={"since": since, "limit": 500})).json()
        return [Told("change", change["revision"], change) for change in page["changes"]]
