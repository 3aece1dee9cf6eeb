"""Changes of categories over HTTP: fields, preconditions, idempotency keys and order."""

import asyncio
from collections import Counter
from itertools import pairwise
from typing import Any
from uuid import uuid4

import pytest
from httpx import AsyncClient

from support.categories import WRONG_FIELDS, add_category, categories_of, names_of
from support.round_trips import watched
from support.tasks import (
    NOT_FOUND,
    instant,
    invalid,
    problem_of,
)
from support.users import SECRET, client_of, sign_up
from todo.main import create_app
from todo.services.authentication import SecretVerifier
from todo.settings import Settings

NOT_YOURS = "Expected the id of another category of yours."


# Task: T-332
class TestReplaceAndUpdateCategory:
    async def test_put_resets_absent_fields_to_their_defaults(self, alice: AsyncClient) -> None:
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
    async def test_patch_changes_only_the_fields_that_were_sent(
        self, alice: AsyncClient, change: dict[str, Any]
    ) -> None:
        category = await add_category(alice, color="#1e90ff", archived=True)

        response = await alice.patch(f"/categories/{category['id']}", json=change)

        changed = response.json()
        assert changed == {**category, **change, "updated_at": changed["updated_at"], "revision": 2}
        assert instant(changed["updated_at"]) > instant(category["updated_at"])

    @pytest.mark.parametrize("change", [{}, {"name": "Groceries", "color": "#1E90FF"}])
    async def test_patch_with_current_values_keeps_the_revision(
        self, alice: AsyncClient, change: dict[str, Any]
    ) -> None:
        category = await add_category(alice, color="#1e90ff")

        response = await alice.patch(f"/categories/{category['id']}", json=change)

        assert (response.status_code, response.json()) == (200, category)

    @pytest.mark.parametrize("method", ["PUT", "PATCH"])
    @pytest.mark.parametrize(("field", "value", "detail"), WRONG_FIELDS)
    async def test_put_and_patch_with_an_invalid_field_are_rejected_and_change_nothing(
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
    async def test_write_with_a_stale_revision_is_rejected(
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
    async def test_write_with_the_current_revision_succeeds_whatever_else_has_changed(
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

    async def test_concurrent_increments_with_if_match_lose_no_update(self, alice: AsyncClient) -> None:
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
class TestRoundTrips:
    async def test_category_requests_take_one_round_trip(self, database_url: str) -> None:
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
    async def test_repeated_request_with_an_idempotency_key_returns_the_stored_response(
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
class TestMoveCategory:
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
    async def test_moved_category_is_placed_beside_its_neighbour_and_no_other_changes(
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
    async def test_move_needs_exactly_one_of_after_id_and_before_id(
        self, alice: AsyncClient, body: dict[str, Any]
    ) -> None:
        category = await add_category(alice)

        response = await alice.post(f"/categories/{category['id']}/move", json=body)

        assert problem_of(response) == invalid(("/body", "Give either after_id or before_id."))

    @pytest.mark.parametrize("where", ["after_id", "before_id"])
    async def test_unknown_neighbour_is_rejected(self, alice: AsyncClient, bob: AsyncClient, where: str) -> None:
        category, foreign = await add_category(alice), await add_category(bob)

        answers = [
            await alice.post(f"/categories/{category['id']}/move", json={where: neighbour})
            for neighbour in (str(uuid4()), foreign["id"], category["id"])
        ]

        assert [problem_of(answer) for answer in answers] == [invalid((f"/body/{where}", NOT_YOURS))] * 3
        assert await categories_of(alice) == [category]

    async def test_moving_an_unknown_category_returns_404(self, alice: AsyncClient) -> None:
        neighbour = await add_category(alice)

        response = await alice.post(f"/categories/{uuid4()}/move", json={"after_id": neighbour["id"]})

        assert problem_of(response) == NOT_FOUND

    async def test_sixty_moves_into_the_same_gap_keep_positions_short(self, alice: AsyncClient) -> None:
        first, *others = [await add_category(alice, name=str(number)) for number in range(4)]

        for number in range(60):
            await alice.post(f"/categories/{others[number % 3]['id']}/move", json={"after_id": first["id"]})

        listed = await categories_of(alice)
        assert [category["name"] for category in listed] == ["0", "3", "2", "1"]
        assert all(earlier["position"] < later["position"] for earlier, later in pairwise(listed))
        assert max(len(category["position"]) for category in listed) < 40

    async def test_new_category_is_placed_after_moved_ones(self, alice: AsyncClient) -> None:
        categories = [await add_category(alice, name=name) for name in "ABC"]
        for _ in range(5):
            for category in categories:
                await alice.post(f"/categories/{category['id']}/move", json={"before_id": None})

        await add_category(alice, name="D")

        assert await names_of(alice) == ["A", "B", "C", "D"]

    async def test_fifty_concurrent_moves_after_one_category_yield_fifty_positions(self, alice: AsyncClient) -> None:
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
        # Every category has the position that its response contained; a later move is nearer to the anchor.
        assert [listed[0], listed[-1]] == [anchor, last]
        assert {category["id"]: category for category in listed[1:-1]} == answered
        revisions = [category["revision"] for category in listed[1:-1]]
        assert revisions == sorted(revisions, reverse=True)

    async def test_concurrent_moves_and_creates_at_the_end_yield_unique_positions(self, alice: AsyncClient) -> None:
        moved = [await add_category(alice, name=str(number)) for number in range(20)]

        await asyncio.gather(
            *(alice.post(f"/categories/{category['id']}/move", json={"before_id": None}) for category in moved),
            *(add_category(alice, name=f"new {number}") for number in range(20)),
        )

        listed = await categories_of(alice)
        assert len({category["position"] for category in listed}) == 40
