"""A client's copy of a user's data, synchronised as the API specification describes."""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

from httpx import AsyncClient

from todo.models.entities import ENTITY_MODELS, EntityModels, InSnapshot

Task = dict[str, Any]
Object = dict[str, Any]
Change = dict[str, Any]
Key = tuple[str, str]
"""Type and id of an object."""

# The members of a snapshot, each with the entity of the objects in it.
_MEMBERS = {entity.snapshot_field: entity for entity in ENTITY_MODELS.values()}
PROFILE: Key = ("profile", "me")

_PAGE_SIZE = 500


class Copy:
    """A device's objects by type and id, and their revision."""

    def __init__(self, client: AsyncClient) -> None:
        self.objects: dict[Key, Object] = {}
        # None until a whole snapshot is read.
        self.revision: int | None = None
        self.is_behind = True
        self._client = client
        self._cursor: str | None = None

    @property
    def tasks(self) -> dict[str, Task]:
        """The tasks by id."""
        return {item_id: item for (kind, item_id), item in self.objects.items() if kind == "task"}

    @property
    def is_halfway(self) -> bool:
        """Whether a part of a snapshot is read."""
        return self._cursor is not None

    async def start(self, *, limit: int = _PAGE_SIZE) -> None:
        """Drop everything and read the first page of the snapshot."""
        self.objects, self.revision, self._cursor, self.is_behind = {}, None, None, True
        await self.read_on(limit=limit)

    async def read_on(self, *, limit: int = _PAGE_SIZE) -> None:
        """Read the next page of the snapshot."""
        params = {"limit": str(limit)} | ({"cursor": self._cursor} if self._cursor else {})
        response = await self._client.get("/changes/snapshot", params=params)
        assert response.status_code == 200, response.text
        page = response.json()
        assert page.keys() == {*_MEMBERS, "revision", "next_cursor"}
        for name, entity in _MEMBERS.items():
            self.objects |= {(entity.name, item["id"]): item for item in _objects(entity, page[name])}
        self._cursor = page["next_cursor"]
        if self._cursor is None:
            self.revision = page["revision"]

    async def follow(self, *, limit: int = _PAGE_SIZE) -> list[Change]:
        """Read and apply a page of the feed, and return it. If the log has been pruned too far, drop the revision."""
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

    async def catch_up(self, *, limit: int = _PAGE_SIZE) -> None:
        """Continue from the current state until there is nothing new."""
        self.is_behind = True
        while self.is_behind:
            if self.revision is not None:
                await self.follow(limit=limit)
            elif self._cursor is not None:
                await self.read_on(limit=limit)
            else:
                await self.start(limit=limit)

    def _apply(self, change: Change) -> None:
        key = change["type"], change["id"]
        mine = self.objects.get(key)
        if change["state"] is None:
            self.objects.pop(key, None)
        elif mine is None or mine["revision"] <= change["revision"]:
            self.objects[key] = change["state"]


def _objects(entity: EntityModels, member: Any) -> list[Object]:
    """Return the objects in a member of the snapshot."""
    if entity.in_snapshot is not InSnapshot.single:
        return list(member)
    return [] if member is None else [member]


async def read_everything(client: AsyncClient) -> dict[Key, Object]:
    """Return all objects, read by the routes of their resources. Call it while nobody writes."""
    objects: dict[Key, Object] = {}
    for entity in ENTITY_MODELS.values():
        read = READERS.get(entity.name, partial(_read_list, entity))
        objects |= {(entity.name, item_id): item for item_id, item in (await read(client)).items()}
    return objects


def as_routes_return(objects: dict[Key, Object]) -> dict[Key, Object]:
    """Return a copy's objects as ``read_everything`` does: ``/me`` returns neither id nor time of a profile."""
    if PROFILE not in objects:
        return objects
    profile = objects[PROFILE]
    return {**objects, PROFILE: {name: profile[name] for name in profile if name not in ("id", "updated_at")}}


async def _read_tasks(client: AsyncClient) -> dict[str, Object]:
    tasks = await _listed(client) + await _listed(client, trashed="true")
    assert len({task["id"] for task in tasks}) == len(tasks)
    return {task["id"]: task for task in tasks}


async def _read_profile(client: AsyncClient) -> dict[str, Object]:
    profile = (await client.get("/me")).json()
    if not profile["revision"]:
        return {}
    return {"me": {name: profile[name] for name in profile if name not in ("id", "name", "email")}}


# How to read all objects by id, of each entity for which the plain list does not suffice.
READERS: Mapping[str, Callable[[AsyncClient], Awaitable[dict[str, Object]]]] = {
    "task": _read_tasks,
    "profile": _read_profile,
}


async def _read_list(entity: EntityModels, client: AsyncClient) -> dict[str, Object]:
    """Read a list that contains all objects with all logged fields."""
    name = entity.snapshot_field
    response = await client.get(f"/{name}")
    page = response.json()
    is_whole = response.is_success and name in page and page.get("total") == len(page[name])
    assert is_whole, f"add a function to READERS in tests/support/sync.py that reads all {name}"
    return {item["id"]: {field: item[field] for field in entity.state.model_fields} for item in page[name]}


async def _listed(client: AsyncClient, **filters: str) -> list[Task]:
    tasks: list[Task] = []
    while True:
        response = await client.get("/tasks", params={**filters, "skip": len(tasks), "limit": 100})
        assert response.status_code == 200, response.text
        page = response.json()["tasks"]
        tasks += page
        if len(page) < 100:
            return tasks


async def whole_log(client: AsyncClient) -> list[Change]:
    """Return every change from revision 1 on."""
    copy = Copy(client)
    copy.revision = 0
    changes: list[Change] = []
    while copy.is_behind:
        changes += await copy.follow()
    return changes
