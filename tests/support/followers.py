"""A user who follows live events, with an account and a client."""

from dataclasses import dataclass
from typing import Any

from httpx import AsyncClient

from support.live import LiveEvent
from support.tasks import add_task
from support.users import token_of


@dataclass
class Person:
    """A user of a server, with a client."""

    user_id: str
    client: AsyncClient

    @property
    def token(self) -> str:
        return token_of(self.user_id)

    async def add(self, count: int = 1) -> list[dict[str, Any]]:
        """Add ``count`` tasks and return them."""
        return [await add_task(self.client, title=f"Task {n}") for n in range(count)]

    async def feed(self, since: int = 0) -> list[LiveEvent]:
        """Return the change feed after ``since`` as live events."""
        page = (await self.client.get("/changes", params={"since": since, "limit": 500})).json()
        return [LiveEvent("change", change["revision"], change) for change in page["changes"]]
