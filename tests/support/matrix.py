"""The isolation matrix: for every operation of the API, how it must treat data of other users.

A new operation needs a row in ``ROWS``. A new kind of object needs a ``Resource``, and an entry in ``ADDERS`` if it is
an entity of the change log.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any
from uuid import uuid4

from httpx import AsyncClient

from support.categories import add_category
from support.isolation_cases import (
    Aggregate,
    ById,
    ByIdInBody,
    Creation,
    EventStream,
    Listing,
    OnOwnChange,
    OnOwnProfile,
    Request,
    Resource,
    WithoutUserData,
)
from support.tasks import add_task
from todo.models.entities import ENTITY_MODELS, EntityModels, InSnapshot

_TASK_CHANGES: tuple[Request, ...] = (
    {"json": {"title": "Mine now"}},
    {"json": {"title": "Mine now", "status": "completed"}},
    {"json": {"title": "Mine now", "status": "cancelled", "priority": "high", "due_date": None}},
)


async def add_tasks(client: AsyncClient) -> list[str]:
    """Add a task in each status, because some responses depend on it."""
    return [
        (await add_task(client, title=f"Secret {status}", status=status))["id"]
        for status in ("pending", "in_progress", "completed", "cancelled")
    ]


async def _add_series(client: AsyncClient) -> list[str]:
    repeating = {"due_date": "2026-03-10", "recurrence": {"rule": "FREQ=DAILY"}}
    return [(await add_task(client, title="Secret habit", **repeating))["id"]]


async def _add_category(client: AsyncClient) -> list[str]:
    return [(await add_category(client, name="Secret"))["id"]]


async def _add_tag(client: AsyncClient) -> list[str]:
    """Add a task with a unique tag."""
    name = f"secret {uuid4()}"
    await add_task(client, tags=[name])
    return [name]


async def _add_view(client: AsyncClient) -> list[str]:
    made = await client.post("/views", json={"name": "Secret", "query": {"q": "secret"}})
    return [made.json()["id"]]


TASKS = Resource("tasks", "task_id", add_tasks)
SERIES = Resource("tasks", "task_id", _add_series)
CATEGORIES = Resource("categories", "category_id", _add_category)
VIEWS = Resource("views", "view_id", _add_view)
TAGS = Resource("task_tags", "name", _add_tag)

# How to add objects of each entity of which a user may have several. Each function adds each object in one change, and
# returns the ids.
ADDERS: Mapping[str, Callable[[AsyncClient], Awaitable[list[str]]]] = {
    "task": add_tasks,
    "category": _add_category,
    "view": _add_view,
}
_SEVERAL = [entity for entity in ENTITY_MODELS.values() if entity.in_snapshot is not InSnapshot.single]
PAGED = [entity for entity in _SEVERAL if entity.in_snapshot is InSnapshot.paged]


async def add_objects(entities: Sequence[EntityModels], client: AsyncClient) -> list[str]:
    unknown = [entity.name for entity in entities if entity.name not in ADDERS]
    assert not unknown, f"add a function to ADDERS in tests/support/matrix.py for each of these entities: {unknown}"
    return [added for entity in entities for added in await ADDERS[entity.name](client)]


OBJECTS = Resource("changes", "id", partial(add_objects, _SEVERAL))
# The first page of the snapshot has objects of one paged entity: test_matrix.py reads the pages of the others.
ON_FIRST_PAGE = Resource("changes", "id", partial(add_objects, [each for each in _SEVERAL if each not in PAGED[1:]]))


def tasks_in(page: Any) -> list[str]:
    return [task["id"] for task in page["tasks"]]


def _categories_in(page: Any) -> list[str]:
    return [category["id"] for category in page["categories"]]


def _tags_in(page: Any) -> list[str]:
    return [tag["name"] for tag in page["tags"]]


def _views_in(page: Any) -> list[str]:
    return [view["id"] for view in page["views"]]


def objects_in(page: Any) -> list[str]:
    """Return the ids of the objects in a page of the snapshot, without the profile."""
    return [each["id"] for entity in _SEVERAL for each in page[entity.snapshot_field]]


def _changed_in(feed: Any) -> list[str]:
    return [change["id"] for change in feed["changes"]]


def _operations(*operations: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"operations": [{"op": "create", "ref": "own", "task": {"title": "Own"}}, *operations]}


ROWS: Mapping[
    str, ById | ByIdInBody | Listing | Aggregate | Creation | OnOwnChange | OnOwnProfile | EventStream | WithoutUserData
] = {
    "GET /healthz": WithoutUserData(),
    "GET /readyz": WithoutUserData(),
    "GET /api/v1/me": OnOwnProfile(),
    "PATCH /api/v1/me": OnOwnProfile({"time_zone": "Europe/Berlin"}),
    "GET /api/v1/tasks": Listing(
        TASKS,
        (
            {},
            {"limit": 100},
            {"status": "pending"},
            {"status_filter": ["completed", "cancelled", "in_progress", "pending"]},
            {"priority": "medium", "status": "completed"},
            {"skip": 1, "limit": 1},
            {"q": "secret", "sort": "-priority,title"},
            {"q": "sec*", "not_tag": "a"},
            {"tag": "home", "due": "none"},
            {"category_id": "none", "parent_id": "none", "sort": "due_date"},
            {"created_after": "2020-01-01", "sort": "title"},
        ),
        tasks_in,
    ),
    "GET /api/v1/changes": Listing(OBJECTS, ({}, {"since": 0, "limit": 500}, {"since": 3}, {"since": 4}), _changed_in),
    "GET /api/v1/changes/snapshot": Listing(ON_FIRST_PAGE, ({}, {"limit": 500}, {"limit": 1}), objects_in),
    "POST /api/v1/changes/{revision}/undo": OnOwnChange(),
    "GET /api/v1/events": EventStream(),
    "POST /api/v1/tasks": Creation(TASKS, {"title": "Mine"}, other={"title": "Another"}),
    "GET /api/v1/tasks/{task_id}": ById(TASKS, reads=True),
    "PUT /api/v1/tasks/{task_id}": ById(TASKS, _TASK_CHANGES),
    "PATCH /api/v1/tasks/{task_id}": ById(TASKS, (*_TASK_CHANGES, {"json": {}}, {"json": {"description": None}})),
    "DELETE /api/v1/tasks/{task_id}": ById(TASKS),
    "POST /api/v1/tasks/{task_id}/complete": ById(TASKS),
    "POST /api/v1/tasks/{task_id}/reopen": ById(TASKS),
    "GET /api/v1/tasks/{task_id}/history": ById(TASKS, reads=True),
    "POST /api/v1/tasks/{task_id}/skip": ById(SERIES, ({"json": {}}, {"json": {"occurrence": "2026-03-10"}})),
    "GET /api/v1/tasks/{task_id}/occurrences": ById(SERIES, reads=True),
    "POST /api/v1/tasks/{task_id}/move": ById(
        TASKS, ({"json": {"parent_id": None}}, {"json": {"before_id": None}}, {"json": {"after_id": str(uuid4())}})
    ),
    "POST /api/v1/tasks/{task_id}/restore": ById(TASKS),
    "POST /api/v1/tasks/batch": ByIdInBody(
        TASKS,
        (
            lambda named: _operations({"op": "update", "id": named, "changes": {"title": "Mine now"}}),
            lambda named: _operations({"op": "update", "id": named, "changes": {}, "revision": 1}),
            lambda named: _operations({"op": "complete", "id": named}),
            lambda named: _operations({"op": "complete", "id": named, "occurrence": "2026-03-10"}),
            lambda named: _operations({"op": "reopen", "id": named}),
            lambda named: _operations({"op": "move", "id": named, "after_id": None}),
            lambda named: _operations({"op": "delete", "id": named}),
            lambda named: _operations({"op": "delete", "id": named, "permanent": True}),
            lambda named: _operations({"op": "create", "task": {"title": "Mine", "parent_id": named}}),
            lambda named: _operations({"op": "update", "id": "$own", "changes": {"parent_id": named}}),
            lambda named: _operations({"op": "move", "id": "$own", "parent_id": named}),
            lambda named: _operations({"op": "move", "id": "$own", "after_id": named}),
            lambda named: _operations({"op": "move", "id": "$own", "before_id": named}),
        ),
    ),
    "GET /api/v1/stats": Aggregate(TASKS),
    "GET /api/v1/tags": Listing(TAGS, ({},), _tags_in),
    "PATCH /api/v1/tags/{name}": ById(TAGS, ({"json": {"name": "mine now"}},)),
    "DELETE /api/v1/tags/{name}": ById(TAGS),
    "GET /api/v1/views": Listing(VIEWS, ({},), _views_in),
    "POST /api/v1/views": Creation(VIEWS, {"name": "Mine", "query": {}}, other={"name": "Another", "query": {}}),
    "GET /api/v1/views/{view_id}": ById(VIEWS, reads=True),
    "PATCH /api/v1/views/{view_id}": ById(
        VIEWS, ({"json": {"name": "Mine now"}}, {"json": {}}, {"json": {"query": {}}})
    ),
    "DELETE /api/v1/views/{view_id}": ById(VIEWS),
    "GET /api/v1/categories": Listing(CATEGORIES, ({}, {"archived": "false"}), _categories_in),
    "POST /api/v1/categories": Creation(CATEGORIES, {"name": "Mine"}, other={"name": "Another"}),
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


def rows_of_kind(kind: type) -> list[str]:
    """Return the operations whose rows are of a kind."""
    return [operation for operation, row in ROWS.items() if isinstance(row, kind)]
