"""A device's copy of a user's things, kept in step as the API specification says."""

from typing import Any

from httpx import AsyncClient

Task = dict[str, Any]
Change = dict[str, Any]

_MOST = 500


class Copy:
    """What a device has: things by id, and the revision that they are from."""

    def __init__(self, client: AsyncClient) -> None:
        self.things: dict[str, Task] = {}
        # None while there is no whole snapshot yet.
        self.revision: int | None = None
        self.is_behind = True
        self._client = client
        self._cursor: str | None = None

    @property
    def is_halfway(self) -> bool:
        """Whether it is in the middle of a snapshot."""
        return self._cursor is not None

    async def start(self, *, limit: int = _MOST) -> None:
        """Read the first page of the snapshot, from nothing."""
        self.things, self.revision, self._cursor, self.is_behind = {}, None, None, True
        await self.read_on(limit=limit)

    async def read_on(self, *, limit: int = _MOST) -> None:
        """Read a page of the snapshot."""
        params = {"limit": str(limit)} | ({"cursor": self._cursor} if self._cursor else {})
        response = await self._client.get("/changes/snapshot", params=params)
        assert response.status_code == 200, response.text
        page = response.json()
        self.things |= {task["id"]: task for task in page["tasks"]}
        self._cursor = page["next_cursor"]
        if self._cursor is None:
            self.revision = page["revision"]

    async def follow(self, *, limit: int = _MOST) -> list[Change]:
        """Read a page of the feed; return it. Where the log has forgotten too much, start again."""
        assert self.revision is not None
        response = await self._client.get("/changes", params={"since": self.revision, "limit": limit})
        if response.status_code == 410:
            assert response.json()["code"] == "resync_required"
            self.revision = None
            return []
        assert response.status_code == 200, response.text
        page = response.json()
        changes: list[Change] = page["changes"]
        assert [change["revision"] for change in changes] == [self.revision + n + 1 for n in range(len(changes))]
        for change in changes:
            self._apply(change)
        assert page["revision"] == (changes[-1]["revision"] if changes else self.revision)
        self.revision, self.is_behind = page["revision"], page["has_more"]
        return changes

    async def catch_up(self, *, limit: int = _MOST) -> None:
        """Go on, from wherever it is, until there is nothing new."""
        self.is_behind = True
        while self.is_behind:
            if self.revision is not None:
                await self.follow(limit=limit)
            elif self._cursor is not None:
                await self.read_on(limit=limit)
            else:
                await self.start(limit=limit)

    def _apply(self, change: Change) -> None:
        mine = self.things.get(change["id"])
        if change["state"] is None:
            self.things.pop(change["id"], None)
        elif mine is None or mine["revision"] <= change["revision"]:
            self.things[change["id"]] = change["state"]


async def everything(client: AsyncClient) -> dict[str, Task]:
    """All tasks as the list has them, by id. Nobody may write meanwhile."""
    tasks: list[Task] = []
    while True:
        response = await client.get("/tasks", params={"skip": len(tasks), "limit": 100})
        assert response.status_code == 200, response.text
        page = response.json()
        tasks += page["tasks"]
        if len(tasks) >= page["total"]:
            return {task["id"]: task for task in tasks}


async def whole_log(client: AsyncClient) -> list[Change]:
    """Every change from the first on; they count 1, 2, 3."""
    copy = Copy(client)
    copy.revision = 0
    changes: list[Change] = []
    while copy.is_behind:
        changes += await copy.follow()
    return changes
