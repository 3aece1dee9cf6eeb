"""Categories over HTTP. Alice owns things; Bob must not learn that they exist."""

import asyncio
from collections import Counter
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from httpx import AsyncClient

from support.categories import add_category, categories_of, names_of
from support.people import SECRET, client_of, sign_up
from support.tasks import (
    ACCOUNT_GONE,
    NO_SUCH_FIELD,
    NOT_FOUND,
    NOT_TEXT,
    add_task,
    instant,
    invalid,
    problem_of,
    tasks_of,
)
from support.trips import watched
from todo.kit.ids import uuid7
from todo.main import create_app
from todo.services.tokens import SecretVerifier
from todo.settings import Settings

COLOR_EXPECTED = "Expected text of the form ^#[0-9A-Fa-f]{6}$."
NOT_YOURS = "Expected the id of another category of yours."
CONDITIONS = ("{own}", '"4711", {own}', "*")


def conflict(code: str, detail: str, **members: Any) -> dict[str, Any]:
    """The problem of a 409."""
    problem = {"type": "about:blank", "title": "Conflict", "status": 409, "detail": detail, "code": code}
    return {**problem, **members}


def name_taken(by: dict[str, Any]) -> dict[str, Any]:
    """The problem of a name that this category has."""
    detail = "Another category of yours has this name; see conflicting_id. Choose another name."
    return conflict("name_taken", detail, conflicting_id=by["id"])


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


# Task: T-332
class TestCreate:
    async def test_fills_in_the_defaults(self, alice: AsyncClient) -> None:
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

    async def test_takes_every_field(self, alice: AsyncClient) -> None:
        body = {"id": str(uuid7()), "name": "  Café ☕ ", "color": "#1E90fF", "archived": True}

        response = await alice.post("/categories", json=body)

        category = response.json()
        assert response.status_code == 201
        assert {name: category[name] for name in body} == {**body, "name": "Café ☕", "color": "#1e90ff"}
        assert (await alice.get(response.headers["location"].removeprefix("/api/v1"))).json() == category

    @pytest.mark.parametrize(("field", "value", "detail"), WRONG_FIELDS)
    async def test_says_what_is_wrong_and_stores_nothing(
        self, alice: AsyncClient, field: str, value: Any, detail: str
    ) -> None:
        response = await alice.post("/categories", json={"name": "Groceries", field: value})

        assert (response.status_code, problem_of(response)) == (422, invalid((f"/body/{field}", detail)))
        assert await categories_of(alice) == []

    async def test_refuses_somebody_whose_account_is_gone(self, charlie: AsyncClient) -> None:
        response = await charlie.post("/categories", json={"name": "Groceries"})

        assert problem_of(response) == ACCOUNT_GONE

    async def test_stops_at_a_thousand(self, alice: AsyncClient, database_url: str) -> None:
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
    """Give somebody so many categories, which nobody has to wait for."""
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "INSERT INTO categories (user_id, id, name, name_key, archived, created_at, updated_at, creation_digest)"
            " SELECT %s, gen_random_uuid(), n, n, false, now(), now(), '' FROM generate_series(1, %s) AS n",
            (user_id, number),
        )


# Task: T-332
class TestCreateWithAnIdOfOnesOwn:
    async def test_answers_the_same_body_again_with_the_category_as_it_is_by_now(self, alice: AsyncClient) -> None:
        body = {"id": str(uuid7()), "name": "Groceries"}
        await add_category(alice, **body)
        renamed = await alice.patch(f"/categories/{body['id']}", json={"name": "Food"})

        again = await alice.post("/categories", json={**body, "archived": False})

        assert (again.status_code, again.json()) == (200, renamed.json())
        assert again.headers["location"] == f"/api/v1/categories/{body['id']}"

    @pytest.mark.parametrize("difference", [{"name": "Food"}, {"color": "#000000"}, {"archived": True}])
    async def test_refuses_another_body(self, alice: AsyncClient, difference: dict[str, Any]) -> None:
        category = await add_category(alice, id=str(uuid7()))

        response = await alice.post("/categories", json={"id": category["id"], "name": "Groceries", **difference})

        detail = "You already have another category with this id. Choose a new id."
        assert problem_of(response) == conflict("id_taken", detail)
        assert await categories_of(alice) == [category]

    async def test_makes_one_of_twenty_requests_at_once(self, alice: AsyncClient) -> None:
        body = {"id": str(uuid7()), "name": "Groceries"}

        responses = await asyncio.gather(*(alice.post("/categories", json=body) for _ in range(20)))

        [category] = await categories_of(alice)
        assert Counter(response.status_code for response in responses) == {201: 1, 200: 19}
        assert all(response.json() == category for response in responses)
        assert category["revision"] == 1

    async def test_is_for_what_is_new_if_that_is_asked(self, alice: AsyncClient) -> None:
        body = {"id": str(uuid7()), "name": "Groceries"}
        new = await alice.post("/categories", json=body, headers={"If-None-Match": "*"})

        again = await alice.post("/categories", json=body, headers={"If-None-Match": "*"})

        assert (new.status_code, again.status_code) == (201, 412)
        assert (again.json()["current"], again.headers["etag"]) == (new.json(), '"1"')

    async def test_leaves_an_id_free_that_somebody_else_has(self, alice: AsyncClient, bob: AsyncClient) -> None:
        hers = await add_category(alice, id=str(uuid7()))

        his = await add_category(bob, id=hers["id"])

        assert (await categories_of(alice), await categories_of(bob)) == ([hers], [his])


# Task: T-331
class TestNames:
    @pytest.mark.parametrize(
        ("one", "other"),
        [("Groceries", "gROCERIES "), ("Straße", "STRASSE"), ("Caf\u00e9", "Cafe\u0301"), ("ΟΔΟΣ", "οδος"), ("İ", "i̇")],
    )
    async def test_are_the_same_whatever_the_case(self, alice: AsyncClient, one: str, other: str) -> None:
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
    async def test_differ_by_more_than_case(self, alice: AsyncClient, one: str, other: str) -> None:
        await add_category(alice, name=one)
        await add_category(alice, name=other)

        assert await names_of(alice) == [one, other]

    async def test_are_everybodys_own(self, alice: AsyncClient, bob: AsyncClient) -> None:
        await add_category(alice)
        await add_category(bob)

        assert await names_of(alice) == await names_of(bob) == ["Groceries"]

    async def test_may_change_their_own_case(self, alice: AsyncClient) -> None:
        category = await add_category(alice, name="groceries")

        response = await alice.patch(f"/categories/{category['id']}", json={"name": "Groceries"})

        assert (response.status_code, response.json()["name"]) == (200, "Groceries")

    async def test_are_free_again_when_their_category_is_gone(self, alice: AsyncClient) -> None:
        category = await add_category(alice)
        await alice.delete(f"/categories/{category['id']}")

        again = await add_category(alice)

        assert await categories_of(alice) == [again]

    async def test_go_to_one_of_twenty_at_once(self, alice: AsyncClient) -> None:
        responses = await asyncio.gather(*(alice.post("/categories", json={"name": "Groceries"}) for _ in range(20)))

        [category] = await categories_of(alice)
        assert Counter(response.status_code for response in responses) == {201: 1, 409: 19}
        assert [problem_of(one) for one in responses if one.status_code == 409] == [name_taken(category)] * 19
        # What was refused is not in the log.
        assert (await alice.get("/changes")).json()["revision"] == category["revision"] == 1

    async def test_do_not_tell_more_than_a_stale_condition_does(self, alice: AsyncClient) -> None:
        await add_category(alice)
        other = await add_category(alice, name="Food")

        stale = await alice.patch(
            f"/categories/{other['id']}", json={"name": "Groceries"}, headers={"If-Match": '"4711"'}
        )

        assert (stale.status_code, stale.json()["current"]) == (412, other)

    async def test_take_the_key_of_a_request_no_more_than_other_errors(self, alice: AsyncClient) -> None:
        category = await add_category(alice)
        key = {"Idempotency-Key": "one"}

        refused = await alice.post("/categories", json={"name": "Groceries"}, headers=key)
        made = await alice.post("/categories", json={"name": "Food"}, headers=key)

        assert problem_of(refused) == name_taken(category)
        assert made.status_code == 201


# Task: T-332
class TestRead:
    async def test_returns_the_category(self, alice: AsyncClient) -> None:
        category = await add_category(alice, color="#1e90ff")

        response = await alice.get(f"/categories/{category['id'].upper()}")

        assert (response.status_code, response.json()) == (200, category)

    async def test_says_when_there_is_none(self, alice: AsyncClient, bob: AsyncClient) -> None:
        hers = await add_category(alice)

        for category_id in (uuid4(), hers["id"]):
            assert problem_of(await bob.get(f"/categories/{category_id}")) == NOT_FOUND

    async def test_answers_304_until_anything_changes(self, alice: AsyncClient) -> None:
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
class TestList:
    async def test_is_empty_at_first(self, alice: AsyncClient, bob: AsyncClient) -> None:
        await add_category(bob)

        response = await alice.get("/categories")

        assert (response.status_code, response.json()) == (200, {"categories": [], "total": 0})
        assert response.headers["etag"] == '"0"'

    async def test_shows_all_in_the_order_in_which_they_were_made(self, alice: AsyncClient) -> None:
        made = [await add_category(alice, name=str(number)) for number in range(60)]

        response = await alice.get("/categories")

        assert response.json() == {"categories": made, "total": 60}

    @pytest.mark.parametrize(
        ("query", "names"), [("", ["A", "B", "C"]), ("?archived=true", ["B"]), ("?archived=false", ["A", "C"])]
    )
    async def test_filters(self, alice: AsyncClient, query: str, names: list[str]) -> None:
        for name in ("A", "B", "C"):
            await add_category(alice, name=name, archived=name == "B")

        answer = (await alice.get(f"/categories{query}")).json()

        assert ([category["name"] for category in answer["categories"]], answer["total"]) == (names, len(names))

    @pytest.mark.parametrize("value", ["1", "yes", "True", ""])
    async def test_knows_two_words_for_a_filter(self, alice: AsyncClient, value: str) -> None:
        response = await alice.get("/categories", params={"archived": value})

        assert problem_of(response) == invalid(("/query/archived", "Expected true or false."))

    async def test_answers_304_until_anything_changes(self, alice: AsyncClient) -> None:
        await add_category(alice)
        first = await alice.get("/categories")

        unchanged = await alice.get("/categories", headers={"If-None-Match": first.headers["etag"]})
        await add_category(alice, name="Food")
        changed = await alice.get("/categories", headers={"If-None-Match": first.headers["etag"]})

        assert (unchanged.status_code, unchanged.content) == (304, b"")
        assert (changed.status_code, changed.json()["total"]) == (200, 2)


# Task: T-332
class TestReplaceAndUpdate:
    async def test_replace_sets_what_is_left_out_to_its_default(self, alice: AsyncClient) -> None:
        category = await add_category(alice, color="#1e90ff", archived=True)

        response = await alice.put(f"/categories/{category['id']}", json={"name": "Food"})

        changed = response.json()
        assert changed == {
            **category,
            "name": "Food",
            "color": None,
            "archived": False,
            "updated_at": changed["updated_at"],
            "revision": 2,
        }
        assert (response.status_code, response.headers["etag"]) == (200, '"2"')

    @pytest.mark.parametrize("change", [{"name": "Food"}, {"color": None}, {"color": "#000000"}, {"archived": False}])
    async def test_update_changes_what_is_sent(self, alice: AsyncClient, change: dict[str, Any]) -> None:
        category = await add_category(alice, color="#1e90ff", archived=True)

        response = await alice.patch(f"/categories/{category['id']}", json=change)

        changed = response.json()
        assert changed == {**category, **change, "updated_at": changed["updated_at"], "revision": 2}
        assert instant(changed["updated_at"]) > instant(category["updated_at"])

    @pytest.mark.parametrize("change", [{}, {"name": "Groceries", "color": "#1E90FF"}])
    async def test_update_that_changes_nothing_keeps_the_revision(
        self, alice: AsyncClient, change: dict[str, Any]
    ) -> None:
        category = await add_category(alice, color="#1e90ff")

        response = await alice.patch(f"/categories/{category['id']}", json=change)

        assert (response.status_code, response.json()) == (200, category)

    @pytest.mark.parametrize("method", ["PUT", "PATCH"])
    @pytest.mark.parametrize(("field", "value", "detail"), WRONG_FIELDS)
    async def test_both_say_what_is_wrong_and_store_nothing(
        self, alice: AsyncClient, method: str, field: str, value: Any, detail: str
    ) -> None:
        category = await add_category(alice)

        response = await alice.request(
            method, f"/categories/{category['id']}", json={"name": "Groceries", field: value}
        )

        assert (response.status_code, problem_of(response)) == (422, invalid((f"/body/{field}", detail)))
        assert await categories_of(alice) == [category]


# Task: T-332
class TestIfMatch:
    CHANGES: tuple[tuple[str, str, dict[str, Any] | None], ...] = (
        ("PUT", "", {"name": "Food"}),
        ("PATCH", "", {"name": "Food"}),
        ("PATCH", "", {}),
        ("POST", "/move", {"after_id": None}),
        ("DELETE", "", None),
    )

    @pytest.mark.parametrize(("method", "action", "body"), CHANGES)
    @pytest.mark.parametrize("condition", ['"1"', 'W/"2"', '"4711"', '"1", "4711"'])
    async def test_refuses_what_rests_on_an_old_state(
        self, alice: AsyncClient, method: str, action: str, body: dict[str, Any] | None, condition: str
    ) -> None:
        category = await add_category(alice)
        current = (await alice.patch(f"/categories/{category['id']}", json={"archived": True})).json()

        stale = await alice.request(
            method, f"/categories/{category['id']}{action}", json=body, headers={"If-Match": condition}
        )

        assert (stale.status_code, stale.headers["etag"]) == (412, '"2"')
        assert stale.json()["current"] == current
        assert await categories_of(alice) == [current]

    @pytest.mark.parametrize(("method", "action", "body"), CHANGES)
    @pytest.mark.parametrize("condition", ["{own}", "{tag}", '"1", {tag}', "*"])
    async def test_lets_pass_what_rests_on_the_current_state_whatever_else_has_changed(
        self, alice: AsyncClient, method: str, action: str, body: dict[str, Any] | None, condition: str
    ) -> None:
        await alice.post("/tasks", json={"title": "Buy milk"})
        category = await add_category(alice)
        await add_category(alice, name="Something else")
        tag = (await alice.get(f"/categories/{category['id']}")).headers["etag"]
        await alice.post("/tasks", json={"title": "Buy bread"})

        response = await alice.request(
            method,
            f"/categories/{category['id']}{action}",
            json=body,
            headers={"If-Match": condition.format(own=f'"{category["revision"]}"', tag=tag)},
        )

        assert (category["revision"], tag) == (2, '"3"')
        assert response.status_code in {200, 204}

    async def test_loses_no_increment(self, alice: AsyncClient) -> None:
        category = await add_category(alice, name="0")

        async def increment() -> None:
            while True:
                now = await alice.get(f"/categories/{category['id']}")
                response = await alice.patch(
                    f"/categories/{category['id']}",
                    json={"name": str(int(now.json()["name"]) + 1)},
                    headers={"If-Match": now.headers["etag"]},
                )
                if response.status_code == 200:
                    return
                assert response.status_code == 412

        await asyncio.gather(*(increment() for _ in range(10)))

        assert await names_of(alice) == ["10"]


# Task: T-332
class TestTrips:
    async def test_are_one_for_each_request(self, database_url: str) -> None:
        database, trips = watched(database_url)
        await database.open()
        app = create_app(Settings(), database, SecretVerifier(SECRET))
        counts = {}
        async with client_of(app, sign_up(database_url, "alice")) as client:
            path = f"/categories/{(await add_category(client, name='a'))['id']}"
            other = (await add_category(client, name="z"))["id"]
            requests: list[tuple[str, str, dict[str, Any], int]] = [
                ("GET", path, {}, 200),
                ("GET", path, {"headers": {"If-None-Match": '"2"'}}, 304),
                ("GET", "/categories", {}, 200),
                ("GET", "/categories?archived=true", {"headers": {"If-None-Match": '"2"'}}, 304),
                ("POST", "/categories", {"json": {"name": "c"}, "headers": {"Idempotency-Key": "one"}}, 201),
                ("PUT", path, {"json": {"name": "d"}, "headers": {"If-Match": '"2"'}}, 200),
                ("PATCH", path, {"json": {"name": "e"}, "headers": {"Idempotency-Key": "two"}}, 200),
                ("PATCH", path, {"json": {"name": "e"}, "headers": {"Idempotency-Key": "two"}}, 200),
                ("POST", f"{path}/move", {"json": {"after_id": other}}, 200),
                ("DELETE", path, {"headers": {"If-Match": '"6"'}}, 204),
                ("DELETE", f"/categories/{other}?tasks=trash", {}, 204),
            ]

            for number, (method, address, options, status) in enumerate(requests):
                trips.count = 0
                response = await client.request(method, address, **options)
                assert response.status_code == status, (number, response.text)
                counts[number] = trips.count

        assert counts == dict.fromkeys(range(len(requests)), 1)
        await database.close()


# Task: T-332
class TestIdempotencyKey:
    @pytest.mark.parametrize(
        ("method", "path", "body"),
        [
            ("POST", "", {"name": "Food"}),
            ("PATCH", "/{id}", {"name": "Food"}),
            ("PATCH", "/{id}", {}),
            ("POST", "/{id}/move", {"before_id": None}),
        ],
    )
    async def test_gives_the_stored_answer_again(
        self, alice: AsyncClient, method: str, path: str, body: dict[str, Any]
    ) -> None:
        category = await add_category(alice)
        path, headers = f"/categories{path.format(id=category['id'])}", {"Idempotency-Key": "one"}
        first = await alice.request(method, path, json=body, headers=headers)
        await alice.patch(f"/categories/{category['id']}", json={"archived": True})

        again = await alice.request(method, path, json=body, headers=headers)

        assert first.is_success
        assert (again.status_code, again.content) == (first.status_code, first.content)
        assert again.headers["etag"] == first.headers["etag"]
        assert again.headers["idempotency-replayed"] == "true"


# Task: T-333
class TestMove:
    @pytest.mark.parametrize(
        ("moved", "where", "neighbour", "order"),
        [
            ("A", "after_id", "B", "BACD"),
            ("A", "after_id", "D", "BCDA"),
            ("D", "after_id", "A", "ADBC"),
            ("D", "before_id", "A", "DABC"),
            ("D", "before_id", "B", "ADBC"),
            ("A", "before_id", "D", "BCAD"),
            ("C", "after_id", None, "CABD"),
            ("B", "before_id", None, "ACDB"),
            ("B", "after_id", "A", "ABCD"),
            ("B", "before_id", "C", "ABCD"),
            ("A", "after_id", None, "ABCD"),
            ("D", "before_id", None, "ABCD"),
        ],
    )
    async def test_puts_it_right_there_and_leaves_the_others_alone(
        self, alice: AsyncClient, moved: str, where: str, neighbour: str | None, order: str
    ) -> None:
        made = {name: await add_category(alice, name=name) for name in "ABCD"}
        body = {where: made[neighbour]["id"] if neighbour else None}

        response = await alice.post(f"/categories/{made[moved]['id']}/move", json=body)

        category = response.json()
        assert response.status_code == 200
        assert "".join(await names_of(alice)) == order
        assert [one for one in await categories_of(alice) if one["name"] != moved] == [
            one for name, one in made.items() if name != moved
        ]
        stayed = order == "ABCD"
        assert category["revision"] == (made[moved]["revision"] if stayed else 5)
        changed = {name for name, value in category.items() if value != made[moved][name]}
        assert changed == (set() if stayed else {"position", "updated_at", "revision"})

    @pytest.mark.parametrize("body", [{}, {"after_id": None, "before_id": None}])
    async def test_wants_one_place(self, alice: AsyncClient, body: dict[str, Any]) -> None:
        category = await add_category(alice)

        response = await alice.post(f"/categories/{category['id']}/move", json=body)

        assert problem_of(response) == invalid(("/body", "Give either after_id or before_id."))

    @pytest.mark.parametrize("where", ["after_id", "before_id"])
    async def test_says_that_there_is_no_such_neighbour(self, alice: AsyncClient, bob: AsyncClient, where: str) -> None:
        category, foreign = await add_category(alice), await add_category(bob)

        answers = [
            await alice.post(f"/categories/{category['id']}/move", json={where: neighbour})
            for neighbour in (str(uuid4()), foreign["id"], category["id"])
        ]

        assert [problem_of(answer) for answer in answers] == [invalid((f"/body/{where}", NOT_YOURS))] * 3
        assert await categories_of(alice) == [category]

    async def test_says_that_there_is_no_such_category(self, alice: AsyncClient) -> None:
        neighbour = await add_category(alice)

        response = await alice.post(f"/categories/{uuid4()}/move", json={"after_id": neighbour["id"]})

        assert problem_of(response) == NOT_FOUND

    async def test_finds_room_in_the_same_gap_again_and_again(self, alice: AsyncClient) -> None:
        first, *others = [await add_category(alice, name=str(number)) for number in range(4)]

        for number in range(60):
            await alice.post(f"/categories/{others[number % 3]['id']}/move", json={"after_id": first["id"]})

        listed = await categories_of(alice)
        assert [category["name"] for category in listed] == ["0", "3", "2", "1"]
        assert all(earlier["position"] < later["position"] for earlier, later in pairwise(listed))
        assert max(len(category["position"]) for category in listed) < 40

    async def test_keeps_what_is_new_behind_what_was_moved(self, alice: AsyncClient) -> None:
        categories = [await add_category(alice, name=name) for name in "ABC"]
        for _ in range(5):
            for category in categories:
                await alice.post(f"/categories/{category['id']}/move", json={"before_id": None})

        await add_category(alice, name="D")

        assert await names_of(alice) == ["A", "B", "C", "D"]

    async def test_gives_fifty_at_once_fifty_places(self, alice: AsyncClient) -> None:
        anchor = await add_category(alice, name="anchor")
        last = await add_category(alice, name="last")
        moved = [await add_category(alice, name=str(number)) for number in range(50)]

        responses = await asyncio.gather(
            *(alice.post(f"/categories/{category['id']}/move", json={"after_id": anchor["id"]}) for category in moved)
        )

        listed = await categories_of(alice)
        answered = {response.json()["id"]: response.json() for response in responses}
        assert Counter(response.status_code for response in responses) == {200: 50}
        assert len({category["position"] for category in listed}) == 52
        # They stand where they were told that they stand: who moved later is nearer.
        assert [listed[0], listed[-1]] == [anchor, last]
        assert {category["id"]: category for category in listed[1:-1]} == answered
        revisions = [category["revision"] for category in listed[1:-1]]
        assert revisions == sorted(revisions, reverse=True)

    async def test_to_the_end_at_once_gives_each_the_end_in_its_turn(self, alice: AsyncClient) -> None:
        moved = [await add_category(alice, name=str(number)) for number in range(20)]

        await asyncio.gather(
            *(alice.post(f"/categories/{category['id']}/move", json={"before_id": None}) for category in moved),
            *(add_category(alice, name=f"new {number}") for number in range(20)),
        )

        listed = await categories_of(alice)
        assert len({category["position"] for category in listed}) == 40


# Task: T-334
class TestDelete:
    async def test_deletes(self, alice: AsyncClient) -> None:
        category = await add_category(alice)

        response = await alice.delete(f"/categories/{category['id']}")
        again = await alice.delete(f"/categories/{category['id']}")

        assert (response.status_code, response.content) == (204, b"")
        assert problem_of(again) == NOT_FOUND
        assert await categories_of(alice) == []

    @pytest.mark.parametrize("params", [{}, {"tasks": "keep"}])
    async def test_leaves_the_tasks_without_a_category(self, alice: AsyncClient, params: dict[str, str]) -> None:
        category, other = await add_category(alice), await add_category(alice, name="Other")
        task = await add_task(alice, category_id=category["id"])
        elsewhere = await add_task(alice, category_id=other["id"])
        trashed = await add_task(alice, category_id=category["id"])
        await alice.delete(f"/tasks/{trashed['id']}")

        response = await alice.delete(f"/categories/{category['id']}", params=params)

        left = (await alice.get(f"/tasks/{task['id']}")).json()
        assert response.status_code == 204
        assert left == {
            **task,
            "category_id": None,
            "updated_at": left["updated_at"],
            "revision": left["revision"],
        }
        assert instant(left["updated_at"]) > instant(task["updated_at"])
        assert (await alice.get(f"/tasks/{trashed['id']}")).json()["category_id"] is None
        assert (await alice.get(f"/tasks/{elsewhere['id']}")).json() == elsewhere
        # The two tasks first, each with a revision of its own, then the category.
        changes = (await alice.get("/changes", params={"since": 6})).json()["changes"]
        assert [(c["type"], c["operation"], c["fields"]) for c in changes] == [
            ("task", "update", ["category_id"]),
            ("task", "update", ["category_id"]),
            ("category", "delete", []),
        ]

    async def test_moves_the_tasks_to_the_trash_with_what_lies_under_them(self, alice: AsyncClient) -> None:
        """Each with the topmost of the category's tasks above it, so that restoring that one brings back its tree."""
        category, other = await add_category(alice), await add_category(alice, name="Other")
        outside = await add_task(alice, title="outside")
        top = await add_task(alice, title="top", category_id=category["id"], parent_id=outside["id"])
        middle = await add_task(alice, title="middle", category_id=other["id"], parent_id=top["id"])
        await add_task(alice, title="bottom", category_id=category["id"], parent_id=middle["id"])
        single = await add_task(alice, title="single", category_id=category["id"])
        earlier = await add_task(alice, title="earlier", category_id=category["id"])
        await alice.delete(f"/tasks/{earlier['id']}")
        earlier = (await alice.get(f"/tasks/{earlier['id']}")).json()

        response = await alice.delete(f"/categories/{category['id']}", params={"tasks": "trash"})

        assert response.status_code == 204
        assert [task["title"] for task in await tasks_of(alice)] == ["outside"]
        assert (await alice.get(f"/tasks/{earlier['id']}")).json()["trashed_at"] == earlier["trashed_at"]
        await alice.post(f"/tasks/{top['id']}/restore")
        assert {task["title"]: task["category_id"] for task in await tasks_of(alice)} == {
            "outside": None,
            "top": None,
            "middle": other["id"],
            "bottom": None,
        }
        await alice.post(f"/tasks/{single['id']}/restore")
        assert len(await tasks_of(alice)) == 5
        assert await categories_of(alice) == [{**other, "tasks_open": 1}]

    @pytest.mark.parametrize("leftover", ["keep", "trash"])
    async def test_does_nothing_to_the_tasks_if_the_category_stays(
        self, alice: AsyncClient, bob: AsyncClient, leftover: str
    ) -> None:
        category = await add_category(alice)
        task = await add_task(alice, category_id=category["id"])
        path, params = f"/categories/{category['id']}", {"tasks": leftover}

        stale = await alice.delete(path, params=params, headers={"If-Match": '"4711"'})
        foreign = await bob.delete(path, params=params)

        assert (stale.status_code, foreign.status_code) == (412, 404)
        assert await tasks_of(alice) == [task]

    @pytest.mark.parametrize("leftover", ["keep", "trash"])
    async def test_leaves_no_task_behind_that_came_at_the_same_moment(self, alice: AsyncClient, leftover: str) -> None:
        category = await add_category(alice)
        tasks = [await add_task(alice) for _ in range(10)]

        async def put_in(task: dict[str, Any]) -> int:
            response = await alice.patch(f"/tasks/{task['id']}", json={"category_id": category["id"]})
            return response.status_code

        statuses, deleted = await asyncio.gather(
            asyncio.gather(*(put_in(task) for task in tasks)),
            alice.delete(f"/categories/{category['id']}", params={"tasks": leftover}),
        )

        assert deleted.status_code == 204
        assert set(statuses) <= {200, 422}
        left = await tasks_of(alice)
        assert {task["category_id"] for task in left} <= {None}
        # Who came too late was refused; who came in time was taken along.
        assert len(left) == (10 if leftover == "keep" else statuses.count(422))

    async def test_says_what_may_become_of_the_tasks(self, alice: AsyncClient) -> None:
        category = await add_category(alice)

        response = await alice.delete(f"/categories/{category['id']}", params={"tasks": "delete"})

        assert problem_of(response) == invalid(("/query/tasks", "Expected 'keep' or 'trash'."))
        assert await categories_of(alice) == [category]


# Task: T-332
class TestCounts:
    async def test_follow_the_tasks(self, alice: AsyncClient) -> None:
        category, other = await add_category(alice), await add_category(alice, name="Other")
        path = f"/categories/{category['id']}"
        counts = []

        async def count() -> None:
            read = (await alice.get(path)).json()
            assert read in await categories_of(alice)
            assert (await alice.patch(path, json={})).json() == read
            counts.append((read["tasks_open"], read["tasks_completed"]))

        tasks = [
            await add_task(alice, category_id=category["id"], status=status)
            for status in ("pending", "in_progress", "completed", "cancelled", "pending")
        ]
        await count()
        await alice.post(f"/tasks/{tasks[0]['id']}/complete")
        await count()
        await alice.patch(f"/tasks/{tasks[1]['id']}", json={"category_id": other["id"]})
        await count()
        await alice.delete(f"/tasks/{tasks[2]['id']}")
        await count()
        await alice.patch(f"/tasks/{tasks[0]['id']}", json={"category_id": None})
        await count()

        assert counts == [(3, 1), (2, 2), (1, 2), (1, 1), (1, 0)]
        assert (await alice.get(f"/categories/{other['id']}")).json()["tasks_open"] == 1

    async def test_change_what_is_answered_under_the_same_tag(self, alice: AsyncClient) -> None:
        category = await add_category(alice)
        path = f"/categories/{category['id']}"
        changed = await alice.patch(path, json={"name": "Food"})
        tag = {"If-None-Match": changed.headers["etag"]}

        before = [await alice.get(where, headers=tag) for where in (path, "/categories")]
        await add_task(alice, category_id=category["id"])
        after = [await alice.get(where, headers=tag) for where in (path, "/categories")]

        assert [response.status_code for response in before] == [304, 304]
        assert [response.status_code for response in after] == [200, 200]
        assert after[0].json() == {**changed.json(), "tasks_open": 1}

    async def test_are_those_of_the_writers_turn(self, alice: AsyncClient) -> None:
        """An answer's tag says that it holds; so it counts whoever wrote before it, however close."""
        category = await add_category(alice)
        path = f"/categories/{category['id']}"

        async def rename(number: int) -> tuple[int, int]:
            response = await alice.patch(path, json={"name": str(number)})
            return int(response.headers["etag"].strip('"')), response.json()["tasks_open"]

        renamed, _ = await asyncio.gather(
            asyncio.gather(*(rename(number) for number in range(10))),
            asyncio.gather(*(add_task(alice, category_id=category["id"]) for _ in range(10))),
        )

        changes = (await alice.get("/changes")).json()["changes"]
        added = [change["revision"] for change in changes if change["type"] == "task"]
        assert sorted(renamed) == sorted((tag, len([n for n in added if n < tag])) for tag, _ in renamed)


# Task: T-331
class TestLog:
    async def test_tells_what_happened(self, alice: AsyncClient) -> None:
        category = await add_category(alice)
        renamed = (await alice.patch(f"/categories/{category['id']}", json={"name": "Food"})).json()
        other = await add_category(alice, name="Other")
        moved = (await alice.post(f"/categories/{category['id']}/move", json={"after_id": other["id"]})).json()
        await alice.delete(f"/categories/{category['id']}")

        changes = (await alice.get("/changes")).json()["changes"]

        assert [(c["revision"], c["type"], c["operation"], c["fields"], c["state"]) for c in changes] == [
            (1, "category", "create", [], logged(category)),
            (2, "category", "update", ["name"], logged(renamed)),
            (3, "category", "create", [], logged(other)),
            (4, "category", "update", ["position"], logged(moved)),
            (5, "category", "delete", [], None),
        ]

    async def test_is_in_the_snapshot_once(self, alice: AsyncClient) -> None:
        categories = [await add_category(alice, name=name) for name in "AB"]
        for _ in range(3):
            await alice.post("/tasks", json={"title": "Buy milk"})

        first = (await alice.get("/changes/snapshot", params={"limit": 2})).json()
        second = (await alice.get("/changes/snapshot", params={"cursor": first["next_cursor"]})).json()

        assert (first["categories"], second["categories"]) == ([logged(one) for one in categories], [])
        assert (first["revision"], len(first["tasks"]), len(second["tasks"])) == (5, 2, 1)


def logged(category: dict[str, Any]) -> dict[str, Any]:
    """A category as the log tells it: without what follows from its tasks."""
    return {name: value for name, value in category.items() if not name.startswith("tasks_")}


# Task: T-331
class TestUndo:
    async def test_takes_back_what_was_changed(self, alice: AsyncClient) -> None:
        category = await add_category(alice, color="#1e90ff")
        other = await add_category(alice, name="Other")
        path = f"/categories/{category['id']}"
        await alice.patch(path, json={"name": "Food", "color": None})
        await alice.post(f"{path}/move", json={"after_id": other["id"]})

        undone = [(await alice.post(f"/changes/{revision}/undo")).json() for revision in (3, 4, 2)]

        now = (await alice.get(path)).json()
        assert [undo["state"] for undo in undone[1:]] == [logged(now), None]
        assert now == {**category, "updated_at": now["updated_at"], "revision": 6}
        assert await categories_of(alice) == [now]

    async def test_brings_back_what_was_deleted(self, alice: AsyncClient) -> None:
        category = await add_category(alice, color="#1e90ff", archived=True)
        await add_category(alice, name="Other")
        await alice.delete(f"/categories/{category['id']}")

        undone = (await alice.post("/changes/3/undo")).json()

        [back, _] = await categories_of(alice)
        assert back == {**category, "updated_at": back["updated_at"], "revision": 4}
        assert undone["state"] == logged(back)

    async def test_is_refused_while_the_name_is_anothers(self, alice: AsyncClient) -> None:
        category = await add_category(alice)
        await alice.delete(f"/categories/{category['id']}")
        await add_category(alice, name="GROCERIES")

        response = await alice.post("/changes/2/undo")

        detail = "Another category of yours has this name by now. Rename that one first."
        assert problem_of(response) == conflict("name_taken", detail)
        assert await names_of(alice) == ["GROCERIES"]

    async def test_finds_another_place_where_its_own_is_taken(self, alice: AsyncClient) -> None:
        a, b, c = [await add_category(alice, name=name) for name in "ABC"]
        moved = (await alice.post(f"/categories/{b['id']}/move", json={"before_id": None})).json()
        taken = (await alice.post(f"/categories/{moved['id']}/move", json={"after_id": a["id"]})).json()
        await alice.delete(f"/categories/{b['id']}")
        other = await add_category(alice, name="Other")
        between = (await alice.post(f"/categories/{other['id']}/move", json={"after_id": a["id"]})).json()
        assert between["position"] == taken["position"]

        back = (await alice.post("/changes/6/undo")).json()["state"]

        assert await names_of(alice) == ["A", "Other", "B", "C"]
        assert between["position"] < back["position"] < c["position"]
