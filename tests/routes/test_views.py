"""Views over HTTP: saved combinations of filters and sort order."""

from typing import Any
from uuid import UUID, uuid4

import pytest
from httpx import AsyncClient

from support.filters import applied_filters, query_of
from support.tasks import ACCOUNT_GONE, NOT_FOUND, UUID_EXPECTED, add_task, invalid, problem_of
from todo.kit.ids import uuid7

TODAY = {"due": "today", "status": ["pending", "in_progress"], "sort": ["-priority", "due_date"]}


async def add_view(client: AsyncClient, **fields: Any) -> dict[str, Any]:
    """Create a view over HTTP and return it."""
    response = await client.post("/views", json={"name": "Today", "query": TODAY, **fields})
    assert response.status_code == 201, response.text
    view: dict[str, Any] = response.json()
    return view


async def views_of(client: AsyncClient) -> list[dict[str, Any]]:
    """Return the client's views."""
    views: list[dict[str, Any]] = (await client.get("/views")).json()["views"]
    return views


def conflict(code: str, detail: str, **members: Any) -> dict[str, Any]:
    return {"type": "about:blank", "title": "Conflict", "status": 409, "detail": detail, "code": code, **members}


def name_taken(view: dict[str, Any]) -> dict[str, Any]:
    detail = "Another view of yours has this name; see conflicting_id. Choose another name."
    return conflict("name_taken", detail, conflicting_id=view["id"])


WRONG_FIELDS: list[tuple[dict[str, Any], str, str]] = [
    ({"name": " "}, "/body/name", "Expected 1 character or more."),
    ({"name": None}, "/body/name", "Expected text."),
    ({"name": "a" * 101}, "/body/name", "Expected 100 characters or fewer."),
    ({"query": None}, "/body/query", "Expected an object."),
    ({"query": "due=today"}, "/body/query", "Expected an object."),
    ({"query": {"limit": 10}}, "/body/query/limit", "There is no such field here."),
    ({"query": {"cursor": "x"}}, "/body/query/cursor", "There is no such field here."),
    ({"query": {"view": str(uuid4())}}, "/body/query/view", "There is no such field here."),
    (
        {"query": {"due": "soon"}},
        "/body/query/due",
        "Expected 'none', 'today', 'overdue', 'upcoming' or 'week'.",
    ),
    ({"query": {"status": "pending"}}, "/body/query/status", "Expected a list."),
    ({"query": {"trashed": "true"}}, "/body/query/trashed", "Expected true or false."),
    ({"query": {"category_id": "x"}}, "/body/query/category_id", f"{UUID_EXPECTED[:-1]}, or none."),
]


# Task: T-373
class TestCreateView:
    async def test_repeated_values_of_a_query_are_stored_once(self, alice: AsyncClient) -> None:
        query = {"status": ["pending", "completed", "pending"] * 1_000, "priority": ["high"] * 1_000}

        view = await add_view(alice, query=query)

        assert view["query"] == {"status": ["pending", "completed"], "priority": ["high"]}

    async def test_query_of_a_view_is_stored_in_canonical_form(self, alice: AsyncClient) -> None:
        category_id = str(uuid4())
        query = {
            "priority": ["high"],
            "category_id": category_id.upper(),
            "tag": ["Home"],
            "due_before": "2026-03-10T09:00:00+01:00",
            "trashed": True,
            "q": "milk",
            "sort": ["-priority,title"],
            "not_tag": [],
        }

        response = await alice.post("/views", json={"name": " Today ", "query": query})

        view = response.json()
        assert (response.status_code, response.headers["etag"]) == (201, '"1"')
        assert view == {
            "id": view["id"],
            "name": "Today",
            "query": {
                "priority": ["high"],
                "category_id": category_id,
                "tag": ["Home"],
                "due_before": "2026-03-10T08:00:00Z",
                "trashed": True,
                "q": "milk",
                "sort": ["-priority", "title"],
            },
            "created_at": view["created_at"],
            "updated_at": view["created_at"],
            "revision": 1,
        }
        assert UUID(view["id"]).version == 7
        assert (await alice.get(response.headers["location"].removeprefix("/api/v1"))).json() == view

    @pytest.mark.parametrize(("fields", "pointer", "detail"), WRONG_FIELDS)
    async def test_create_with_an_invalid_field_is_rejected_and_stores_nothing(
        self, alice: AsyncClient, fields: dict[str, Any], pointer: str, detail: str
    ) -> None:
        response = await alice.post("/views", json={"name": "Today", "query": {}, **fields})

        assert (response.status_code, problem_of(response)) == (422, invalid((pointer, detail)))
        assert await views_of(alice) == []

    async def test_repeated_create_returns_the_view_and_another_body_is_rejected(self, alice: AsyncClient) -> None:
        body = {"id": str(uuid7()), "name": "Today", "query": TODAY}
        view = await add_view(alice, **body)

        again = await alice.post("/views", json=body)
        other = await alice.post("/views", json={**body, "query": {}})
        not_new = await alice.post("/views", json=body, headers={"If-None-Match": "*"})

        assert (again.status_code, again.json()) == (200, view)
        assert problem_of(other) == conflict("id_taken", "You already have another view with this id. Choose a new id.")
        assert (not_new.status_code, not_new.json()["current"]) == (412, view)
        assert await views_of(alice) == [view]

    async def test_view_name_that_differs_only_in_case_is_rejected(self, alice: AsyncClient, bob: AsyncClient) -> None:
        view = await add_view(alice)
        other = await add_view(alice, name="Week")

        answers = [
            await alice.post("/views", json={"name": "TODAY ", "query": {}}),
            await alice.patch(f"/views/{other['id']}", json={"name": "tODAY"}),
        ]

        assert [problem_of(answer) for answer in answers] == [name_taken(view)] * 2
        assert await views_of(alice) == [view, other]
        assert (await add_view(bob))["name"] == "Today"

    async def test_create_is_forbidden_after_the_account_was_deleted(self, charlie: AsyncClient) -> None:
        response = await charlie.post("/views", json={"name": "Today", "query": {}})

        assert problem_of(response) == ACCOUNT_GONE

    async def test_create_is_rejected_beyond_200_views(self, alice: AsyncClient) -> None:
        for number in range(200):
            await add_view(alice, name=str(number), query={})

        response = await alice.post("/views", json={"name": "One more", "query": {}})

        detail = "You have 200 views, and more are not possible. Delete one first."
        assert problem_of(response) == conflict("too_many_views", detail)


# Task: T-373
class TestReadViews:
    async def test_list_contains_all_views_sorted_by_name(self, alice: AsyncClient, bob: AsyncClient) -> None:
        later, first = await add_view(alice, name="today"), await add_view(alice, name="Later")
        await add_view(bob)

        response = await alice.get("/views")

        assert (response.json(), response.headers["etag"]) == ({"views": [first, later], "total": 2}, '"2"')

    async def test_read_of_an_unknown_or_another_users_view_returns_404(
        self, alice: AsyncClient, bob: AsyncClient
    ) -> None:
        hers = await add_view(alice)

        for view_id in (uuid4(), hers["id"]):
            assert problem_of(await bob.get(f"/views/{view_id}")) == NOT_FOUND

    async def test_read_returns_304_until_the_view_changes(self, alice: AsyncClient) -> None:
        view = await add_view(alice)
        path = f"/views/{view['id']}"

        unchanged = await alice.get(path, headers={"If-None-Match": '"1"'})
        await alice.patch(path, json={"query": {}})
        changed = await alice.get(path, headers={"If-None-Match": '"1"'})

        assert (unchanged.status_code, changed.status_code, changed.headers["etag"]) == (304, 200, '"2"')


# Task: T-373
class TestUpdateView:
    @pytest.mark.parametrize("change", [{"name": "Week"}, {"query": {"due": "week"}}, {"query": {}}])
    async def test_patch_changes_only_the_fields_that_were_sent(
        self, alice: AsyncClient, change: dict[str, Any]
    ) -> None:
        view = await add_view(alice)

        response = await alice.patch(f"/views/{view['id']}", json=change)

        changed = response.json()
        assert changed == {**view, **change, "updated_at": changed["updated_at"], "revision": 2}

    @pytest.mark.parametrize("change", [{}, {"name": "Today", "query": TODAY}])
    async def test_patch_with_current_values_keeps_the_revision(
        self, alice: AsyncClient, change: dict[str, Any]
    ) -> None:
        view = await add_view(alice)

        response = await alice.patch(f"/views/{view['id']}", json=change)

        assert (response.status_code, response.json()) == (200, view)

    @pytest.mark.parametrize(("fields", "pointer", "detail"), WRONG_FIELDS)
    async def test_patch_with_an_invalid_field_is_rejected_and_changes_nothing(
        self, alice: AsyncClient, fields: dict[str, Any], pointer: str, detail: str
    ) -> None:
        view = await add_view(alice)

        response = await alice.patch(f"/views/{view['id']}", json=fields)

        assert problem_of(response) == invalid((pointer, detail))
        assert await views_of(alice) == [view]

    @pytest.mark.parametrize("method", ["PATCH", "DELETE"])
    async def test_patch_and_delete_with_a_stale_revision_are_rejected(self, alice: AsyncClient, method: str) -> None:
        view = await add_view(alice)
        options: dict[str, Any] = {"json": {"name": "Week"}} if method == "PATCH" else {}

        stale = await alice.request(method, f"/views/{view['id']}", headers={"If-Match": '"7"'}, **options)
        fresh = await alice.request(method, f"/views/{view['id']}", headers={"If-Match": '"1"'}, **options)

        assert (stale.status_code, stale.json()["current"]) == (412, view)
        assert fresh.is_success


# Task: T-373
class TestDeleteView:
    async def test_deleting_a_view_can_be_undone(self, alice: AsyncClient) -> None:
        view = await add_view(alice)

        deleted = await alice.delete(f"/views/{view['id']}")
        again = await alice.delete(f"/views/{view['id']}")
        gone = await views_of(alice)
        await alice.post("/changes/2/undo")

        assert (deleted.status_code, problem_of(again), gone) == (204, NOT_FOUND, [])
        [back] = await views_of(alice)
        assert back == {**view, "updated_at": back["updated_at"], "revision": 3}

    async def test_view_is_in_the_feed_and_in_the_snapshot(self, alice: AsyncClient) -> None:
        view = await add_view(alice)

        feed = (await alice.get("/changes")).json()["changes"]
        snapshot = (await alice.get("/changes/snapshot")).json()

        assert [(change["type"], change["id"], change["state"]) for change in feed] == [("view", view["id"], view)]
        assert snapshot["views"] == [view]


# Task: T-373
class TestUseView:
    async def test_list_with_a_view_uses_its_filters_and_sort_order(self, alice: AsyncClient) -> None:
        low = await add_task(alice, priority="low")
        high = await add_task(alice, priority="high")
        await add_task(alice, priority="high", status="completed")
        view = await add_view(alice, query={"status": ["pending"], "sort": ["-priority"]})

        page = (await alice.get("/tasks", params={"view": view["id"]})).json()

        assert ([task["id"] for task in page["tasks"]], page["total"]) == ([high["id"], low["id"]], 2)

    # Task: T-451
    async def test_every_filter_lists_the_same_tasks_in_a_view_as_in_a_query(self, alice: AsyncClient) -> None:
        await add_task(alice)
        await add_task(alice, due_date="2026-03-09", status="completed", priority="high", tags=["a"])
        await add_task(alice, due_date="2026-03-11", status="in_progress", priority="low", tags=["a", "b"])

        for applied in applied_filters():
            example = applied.variant.example
            body = query_of(example).model_dump(mode="json", exclude_unset=True)
            view = await add_view(alice, name=str(applied), query=body)
            in_view = await alice.get("/tasks", params={"view": view["id"]})
            in_query = await alice.get(f"/tasks?{example}")
            assert (view["query"], in_view.json()) == (body, in_query.json()), example

    @pytest.mark.parametrize("name", ["status", "status_filter"])
    async def test_query_parameters_override_those_of_the_view(self, alice: AsyncClient, name: str) -> None:
        await add_task(alice)
        done = await add_task(alice, status="completed", priority="high")
        await add_task(alice, status="completed", priority="low")
        view = await add_view(alice, query={"status": ["pending"], "priority": ["high"]})

        page = (await alice.get("/tasks", params={"view": view["id"], name: "completed"})).json()

        assert [task["id"] for task in page["tasks"]] == [done["id"]]

    async def test_cursor_is_rejected_after_its_view_changes(self, alice: AsyncClient) -> None:
        tasks = [await add_task(alice) for _ in range(3)]
        view = await add_view(alice, query={"sort": ["created_at"]})
        params = {"view": view["id"], "limit": 2}
        first = (await alice.get("/tasks", params=params)).json()

        second = (await alice.get("/tasks", params={**params, "cursor": first["next_cursor"]})).json()
        await alice.patch(f"/views/{view['id']}", json={"query": {}})
        refused = await alice.get("/tasks", params={**params, "cursor": first["next_cursor"]})

        assert [task["id"] for task in first["tasks"] + second["tasks"]] == [task["id"] for task in tasks]
        detail = "This cursor belongs to other filters or another order. Repeat those, or start without one."
        assert problem_of(refused) == invalid(("/query/cursor", detail))

    async def test_unknown_or_another_users_view_is_rejected(self, alice: AsyncClient, bob: AsyncClient) -> None:
        hers = await add_view(alice)

        for view_id in (hers["id"], str(uuid4())):
            response = await bob.get("/tasks", params={"view": view_id})
            assert problem_of(response) == invalid(("/query/view", "You have no such view."))
