"""Categories over HTTP. Alice owns categories; Bob must not learn that they exist."""

import asyncio
from collections import Counter
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from httpx import AsyncClient

from support.categories import WRONG_FIELDS, add_category, categories_of, names_of
from support.tasks import (
    ACCOUNT_GONE,
    NOT_FOUND,
    conflict,
    instant,
    invalid,
    problem_of,
)
from todo.kit.ids import uuid7


def name_taken(by: dict[str, Any]) -> dict[str, Any]:
    """Return the problem for a name that the category ``by`` has already."""
    detail = "Another category of yours has this name; see conflicting_id. Choose another name."
    return conflict("name_taken", detail, conflicting_id=by["id"])


# Task: T-332
class TestCreateCategory:
    async def test_create_with_only_a_name_sets_the_defaults(self, alice: AsyncClient) -> None:
        before = datetime.now(UTC)

        response = await alice.post("/categories", json={"name": "Groceries"})

        category = response.json()
        assert response.status_code == 201
        assert response.headers["location"] == f"/api/v1/categories/{category['id']}"
        assert response.headers["etag"] == '"1"'
        assert category == {
            "id": category["id"],
            "name": "Groceries",
            "color": None,
            "archived": False,
            "position": "500000000000001",
            "created_at": category["created_at"],
            "updated_at": category["created_at"],
            "revision": 1,
            "tasks_open": 0,
            "tasks_completed": 0,
        }
        assert UUID(category["id"]).version == 7
        assert before <= instant(category["created_at"]) <= datetime.now(UTC)

    async def test_create_stores_every_field(self, alice: AsyncClient) -> None:
        body = {"id": str(uuid7()), "name": "  Café ☕ ", "color": "#1E90fF", "archived": True}

        response = await alice.post("/categories", json=body)

        category = response.json()
        assert response.status_code == 201
        assert {name: category[name] for name in body} == {**body, "name": "Café ☕", "color": "#1e90ff"}
        assert (await alice.get(response.headers["location"].removeprefix("/api/v1"))).json() == category

    @pytest.mark.parametrize(("field", "value", "detail"), WRONG_FIELDS)
    async def test_create_with_an_invalid_field_is_rejected_and_stores_nothing(
        self, alice: AsyncClient, field: str, value: Any, detail: str
    ) -> None:
        response = await alice.post("/categories", json={"name": "Groceries", field: value})

        assert (response.status_code, problem_of(response)) == (422, invalid((f"/body/{field}", detail)))
        assert await categories_of(alice) == []

    async def test_create_is_forbidden_after_the_account_was_deleted(self, charlie: AsyncClient) -> None:
        response = await charlie.post("/categories", json={"name": "Groceries"})

        assert problem_of(response) == ACCOUNT_GONE

    async def test_create_is_rejected_beyond_1000_categories(self, alice: AsyncClient, database_url: str) -> None:
        first = await add_category(alice, id=str(uuid7()), name="First")
        fill_up(database_url, (await alice.get("/me")).json()["id"], 998)

        responses = await asyncio.gather(
            *(alice.post("/categories", json={"name": f"Number {number}"}) for number in range(5))
        )
        again = await alice.post("/categories", json={"id": first["id"], "name": "First"})

        assert Counter(response.status_code for response in responses) == {201: 1, 409: 4}
        assert [problem_of(response) for response in responses if response.status_code == 409] == [
            conflict(
                "too_many_categories",
                "You have 1,000 categories, and more are not possible. Delete one first.",
            )
        ] * 4
        assert (await alice.get("/categories")).json()["total"] == 1000
        assert (again.status_code, again.json()["id"]) == (200, first["id"])


def fill_up(database_url: str, user_id: str, number: int) -> None:
    """Insert ``number`` categories of a user by SQL."""
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "INSERT INTO categories (user_id, id, name, name_key, archived, created_at, updated_at, creation_digest)"
            " SELECT %s, gen_random_uuid(), n, n, false, now(), now(), '' FROM generate_series(1, %s) AS n",
            (user_id, number),
        )


# Task: T-332
class TestCreateWithClientId:
    async def test_repeated_create_returns_the_category_as_it_is_now(self, alice: AsyncClient) -> None:
        body = {"id": str(uuid7()), "name": "Groceries"}
        await add_category(alice, **body)
        renamed = await alice.patch(f"/categories/{body['id']}", json={"name": "Food"})

        again = await alice.post("/categories", json={**body, "archived": False})

        assert (again.status_code, again.json()) == (200, renamed.json())
        assert again.headers["location"] == f"/api/v1/categories/{body['id']}"

    @pytest.mark.parametrize("difference", [{"name": "Food"}, {"color": "#000000"}, {"archived": True}])
    async def test_create_with_a_used_id_and_another_body_is_rejected(
        self, alice: AsyncClient, difference: dict[str, Any]
    ) -> None:
        category = await add_category(alice, id=str(uuid7()))

        response = await alice.post("/categories", json={"id": category["id"], "name": "Groceries", **difference})

        detail = "You already have another category with this id. Choose a new id."
        assert problem_of(response) == conflict("id_taken", detail)
        assert await categories_of(alice) == [category]

    async def test_twenty_concurrent_creates_with_the_same_body_create_one_category(self, alice: AsyncClient) -> None:
        body = {"id": str(uuid7()), "name": "Groceries"}

        responses = await asyncio.gather(*(alice.post("/categories", json=body) for _ in range(20)))

        [category] = await categories_of(alice)
        assert Counter(response.status_code for response in responses) == {201: 1, 200: 19}
        assert all(response.json() == category for response in responses)
        assert category["revision"] == 1

    async def test_if_none_match_asterisk_creates_only_new_categories(self, alice: AsyncClient) -> None:
        body = {"id": str(uuid7()), "name": "Groceries"}
        new = await alice.post("/categories", json=body, headers={"If-None-Match": "*"})

        again = await alice.post("/categories", json=body, headers={"If-None-Match": "*"})

        assert (new.status_code, again.status_code) == (201, 412)
        assert (again.json()["current"], again.headers["etag"]) == (new.json(), '"1"')

    async def test_id_used_by_another_user_is_available(self, alice: AsyncClient, bob: AsyncClient) -> None:
        hers = await add_category(alice, id=str(uuid7()))

        his = await add_category(bob, id=hers["id"])

        assert (await categories_of(alice), await categories_of(bob)) == ([hers], [his])


# Task: T-331
class TestCategoryNames:
    @pytest.mark.parametrize(
        ("one", "other"),
        [("Groceries", "gROCERIES "), ("Straße", "STRASSE"), ("Caf\u00e9", "Cafe\u0301"), ("ΟΔΟΣ", "οδος"), ("İ", "i̇")],
    )
    async def test_category_name_that_differs_only_in_case_is_rejected(
        self, alice: AsyncClient, one: str, other: str
    ) -> None:
        first = await add_category(alice, name=one)
        second = await add_category(alice, name="Something else")

        answers = [
            await alice.post("/categories", json={"name": other}),
            await alice.put(f"/categories/{second['id']}", json={"name": other}),
            await alice.patch(f"/categories/{second['id']}", json={"name": other}),
        ]

        assert [problem_of(answer) for answer in answers] == [name_taken(first)] * 3
        assert await categories_of(alice) == [first, second]

    @pytest.mark.parametrize(("one", "other"), [("Cafe", "Café"), ("a b", "ab"), ("1", "¹"), ("i", "\u0131")])
    async def test_category_names_that_differ_in_more_than_case_are_accepted(
        self, alice: AsyncClient, one: str, other: str
    ) -> None:
        await add_category(alice, name=one)
        await add_category(alice, name=other)

        assert await names_of(alice) == [one, other]

    async def test_category_names_are_unique_only_per_user(self, alice: AsyncClient, bob: AsyncClient) -> None:
        await add_category(alice)
        await add_category(bob)

        assert await names_of(alice) == await names_of(bob) == ["Groceries"]

    async def test_category_name_can_change_its_own_case(self, alice: AsyncClient) -> None:
        category = await add_category(alice, name="groceries")

        response = await alice.patch(f"/categories/{category['id']}", json={"name": "Groceries"})

        assert (response.status_code, response.json()["name"]) == (200, "Groceries")

    async def test_category_name_is_available_after_deletion(self, alice: AsyncClient) -> None:
        category = await add_category(alice)
        await alice.delete(f"/categories/{category['id']}")

        again = await add_category(alice)

        assert await categories_of(alice) == [again]

    async def test_one_of_twenty_concurrent_creates_with_the_same_name_succeeds(self, alice: AsyncClient) -> None:
        responses = await asyncio.gather(*(alice.post("/categories", json={"name": "Groceries"}) for _ in range(20)))

        [category] = await categories_of(alice)
        assert Counter(response.status_code for response in responses) == {201: 1, 409: 19}
        assert [problem_of(one) for one in responses if one.status_code == 409] == [name_taken(category)] * 19
        # Rejected requests are not logged.
        assert (await alice.get("/changes")).json()["revision"] == category["revision"] == 1

    async def test_stale_revision_takes_precedence_over_a_used_category_name(self, alice: AsyncClient) -> None:
        await add_category(alice)
        other = await add_category(alice, name="Food")

        stale = await alice.patch(
            f"/categories/{other['id']}", json={"name": "Groceries"}, headers={"If-Match": '"4711"'}
        )

        assert (stale.status_code, stale.json()["current"]) == (412, other)

    async def test_rejected_category_name_does_not_use_up_the_idempotency_key(self, alice: AsyncClient) -> None:
        category = await add_category(alice)
        key = {"Idempotency-Key": "one"}

        refused = await alice.post("/categories", json={"name": "Groceries"}, headers=key)
        made = await alice.post("/categories", json={"name": "Food"}, headers=key)

        assert problem_of(refused) == name_taken(category)
        assert made.status_code == 201


# Task: T-332
class TestReadCategory:
    async def test_read_returns_the_category(self, alice: AsyncClient) -> None:
        category = await add_category(alice, color="#1e90ff")

        response = await alice.get(f"/categories/{category['id'].upper()}")

        assert (response.status_code, response.json()) == (200, category)

    async def test_read_of_an_unknown_or_another_users_category_returns_404(
        self, alice: AsyncClient, bob: AsyncClient
    ) -> None:
        hers = await add_category(alice)

        for category_id in (uuid4(), hers["id"]):
            assert problem_of(await bob.get(f"/categories/{category_id}")) == NOT_FOUND

    async def test_read_returns_304_until_anything_changes(self, alice: AsyncClient) -> None:
        category = await add_category(alice)
        await add_category(alice, name="Food")
        path = f"/categories/{category['id']}"
        tag = (await alice.get(path)).headers["etag"]

        unchanged = await alice.get(path, headers={"If-None-Match": tag})
        await alice.post("/tasks", json={"title": "Buy milk"})
        changed = await alice.get(path, headers={"If-None-Match": tag})

        assert (tag, unchanged.status_code, unchanged.headers["etag"]) == ('"2"', 304, '"2"')
        assert (changed.status_code, changed.headers["etag"]) == (200, '"3"')


# Task: T-332
class TestListCategories:
    async def test_list_is_empty_for_a_new_user(self, alice: AsyncClient, bob: AsyncClient) -> None:
        await add_category(bob)

        response = await alice.get("/categories")

        assert (response.status_code, response.json()) == (200, {"categories": [], "total": 0})
        assert response.headers["etag"] == '"0"'

    async def test_list_contains_all_categories_in_creation_order(self, alice: AsyncClient) -> None:
        made = [await add_category(alice, name=str(number)) for number in range(60)]

        response = await alice.get("/categories")

        assert response.json() == {"categories": made, "total": 60}

    @pytest.mark.parametrize(
        ("query", "names"), [("", ["A", "B", "C"]), ("?archived=true", ["B"]), ("?archived=false", ["A", "C"])]
    )
    async def test_list_is_filtered_by_archived(self, alice: AsyncClient, query: str, names: list[str]) -> None:
        for name in ("A", "B", "C"):
            await add_category(alice, name=name, archived=name == "B")

        answer = (await alice.get(f"/categories{query}")).json()

        assert ([category["name"] for category in answer["categories"]], answer["total"]) == (names, len(names))

    @pytest.mark.parametrize("value", ["1", "yes", "True", ""])
    async def test_archived_parameter_accepts_only_true_and_false(self, alice: AsyncClient, value: str) -> None:
        response = await alice.get("/categories", params={"archived": value})

        assert problem_of(response) == invalid(("/query/archived", "Expected true or false."))

    async def test_list_returns_304_until_anything_changes(self, alice: AsyncClient) -> None:
        await add_category(alice)
        first = await alice.get("/categories")

        unchanged = await alice.get("/categories", headers={"If-None-Match": first.headers["etag"]})
        await add_category(alice, name="Food")
        changed = await alice.get("/categories", headers={"If-None-Match": first.headers["etag"]})

        assert (unchanged.status_code, unchanged.content) == (304, b"")
        assert (changed.status_code, changed.json()["total"]) == (200, 2)
