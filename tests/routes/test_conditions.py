"""Conditional requests and idempotency keys, over HTTP."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest
from httpx import AsyncClient
from support.tasks import add_task


async def revision_of(client: AsyncClient) -> int:
    """The number of the client's last change, as the feed says it."""
    etag = (await client.get("/changes", params={"limit": 1})).headers["etag"]
    return int(etag.strip('"'))


# Task: T-121
class TestIfMatch:
    CHANGES = (
        ("PUT", "", {"title": "Buy bread"}),
        ("PATCH", "", {"title": "Buy bread"}),
        ("PATCH", "", {}),
        ("DELETE", "", None),
        ("POST", "/complete", None),
        ("POST", "/reopen", None),
    )

    @pytest.mark.parametrize(("method", "action", "body"), CHANGES)
    async def test_refuses_what_rests_on_an_old_state(
        self, alice: AsyncClient, method: str, action: str, body: dict[str, Any] | None
    ) -> None:
        task = await add_task(alice)
        current = (await alice.patch(f"/tasks/{task['id']}", json={"priority": "high"})).json()

        stale = await alice.request(
            method, f"/tasks/{task['id']}{action}", json=body, headers={"If-Match": f'"{task["revision"]}"'}
        )

        assert stale.status_code == 412
        assert stale.json()["current"] == current
        assert stale.headers["etag"] == f'"{current["revision"]}"'
        assert (await alice.get(f"/tasks/{task['id']}")).json() == current

    @pytest.mark.parametrize(("method", "action", "body"), CHANGES)
    @pytest.mark.parametrize("condition", ['"{}"', "*", '"1", "{}"'])
    async def test_lets_pass_what_rests_on_the_current_state(  # noqa: PLR0913
        self, alice: AsyncClient, method: str, action: str, body: dict[str, Any] | None, condition: str
    ) -> None:
        task = await add_task(alice)

        response = await alice.request(
            method,
            f"/tasks/{task['id']}{action}",
            json=body,
            headers={"If-Match": condition.format(task["revision"])},
        )

        assert response.status_code in {200, 204}

    async def test_compares_strongly(self, alice: AsyncClient) -> None:
        task = await add_task(alice)

        weak = await alice.delete(f"/tasks/{task['id']}", headers={"If-Match": f'W/"{task["revision"]}"'})

        assert weak.status_code == 412

    async def test_says_what_is_wrong_with_a_condition(self, alice: AsyncClient) -> None:
        task = await add_task(alice)

        response = await alice.delete(f"/tasks/{task['id']}", headers={"If-Match": "17"})

        assert response.status_code == 422
        assert response.json()["errors"][0]["pointer"] == "/header/if-match"

    async def test_loses_no_increment(self, alice: AsyncClient) -> None:
        task = await add_task(alice, description="0")

        async def increment() -> None:
            while True:
                now = (await alice.get(f"/tasks/{task['id']}")).json()
                response = await alice.patch(
                    f"/tasks/{task['id']}",
                    json={"description": str(int(now["description"]) + 1)},
                    headers={"If-Match": f'"{now["revision"]}"'},
                )
                if response.status_code == 200:
                    return
                assert response.status_code == 412

        await asyncio.gather(*(increment() for _ in range(10)))

        assert (await alice.get(f"/tasks/{task['id']}")).json()["description"] == "10"


# Task: T-122
class TestIfNoneMatch:
    @pytest.mark.parametrize("path", ["/tasks", "/tasks?status=pending&limit=1", "/changes", "/changes?since=1"])
    async def test_answers_304_until_something_changes(self, alice: AsyncClient, path: str) -> None:
        await add_task(alice)
        first = await alice.get(path)

        unchanged = await alice.get(path, headers={"If-None-Match": first.headers["etag"]})
        await add_task(alice)
        changed = await alice.get(path, headers={"If-None-Match": first.headers["etag"]})

        assert (unchanged.status_code, unchanged.content) == (304, b"")
        assert unchanged.headers["etag"] == first.headers["etag"]
        assert changed.status_code == 200
        assert changed.json() == (await alice.get(path)).json()

    async def test_answers_304_for_one_task(self, alice: AsyncClient) -> None:
        task = await add_task(alice)

        unchanged = await alice.get(f"/tasks/{task['id']}", headers={"If-None-Match": f'W/"{task["revision"]}"'})

        assert (unchanged.status_code, unchanged.headers["etag"]) == (304, f'"{task["revision"]}"')

    async def test_knows_somebody_who_never_wrote(self, alice: AsyncClient) -> None:
        first = await alice.get("/tasks")

        assert first.headers["etag"] == '"0"'
        assert (await alice.get("/tasks", headers={"If-None-Match": '"0"'})).status_code == 304
        assert (await alice.get("/tasks", headers={"If-None-Match": '"1"'})).status_code == 200

    async def test_creates_only_what_is_new(self, alice: AsyncClient) -> None:
        body = {"id": str(uuid4()), "title": "Buy milk"}
        new = await alice.post("/tasks", json=body, headers={"If-None-Match": "*"})

        again = await alice.post("/tasks", json=body, headers={"If-None-Match": "*"})

        assert new.status_code == 201
        assert again.status_code == 412
        assert again.json()["current"] == new.json()


# Task: T-111
class TestRevision:
    async def test_stays_when_nothing_changes(self, alice: AsyncClient) -> None:
        task = await add_task(alice, priority="high")

        same = await alice.patch(f"/tasks/{task['id']}", json={"priority": "high", "title": task["title"]})

        assert same.json() == task
        assert await revision_of(alice) == task["revision"]

    async def test_counts_one_for_each_change(self, alice: AsyncClient) -> None:
        revisions = [(await add_task(alice))["revision"] for _ in range(3)]

        assert revisions == [1, 2, 3]


# Task: T-131
class TestIdempotencyKey:
    async def test_gives_the_stored_answer_again(self, alice: AsyncClient) -> None:
        headers = {"Idempotency-Key": str(uuid4())}
        first = await alice.post("/tasks", json={"title": "Buy milk"}, headers=headers)

        again = await alice.post("/tasks", json={"title": "Buy milk"}, headers=headers)

        assert (again.status_code, again.json()) == (201, first.json())
        assert again.headers["location"] == first.headers["location"]
        assert again.headers["etag"] == first.headers["etag"]
        assert again.headers["idempotency-replayed"] == "true"
        assert "idempotency-replayed" not in first.headers
        assert (await alice.get("/tasks")).json()["total"] == 1

    async def test_gives_the_answer_of_then_not_of_now(self, alice: AsyncClient) -> None:
        task = await add_task(alice)
        headers = {"Idempotency-Key": "one"}
        first = await alice.patch(f"/tasks/{task['id']}", json={"title": "Buy bread"}, headers=headers)
        await alice.patch(f"/tasks/{task['id']}", json={"title": "Buy butter"})

        again = await alice.patch(f"/tasks/{task['id']}", json={"title": "Buy bread"}, headers=headers)

        assert again.json() == first.json()
        assert (await alice.get(f"/tasks/{task['id']}")).json()["title"] == "Buy butter"

    async def test_has_one_effect_for_twenty_at_once(self, alice: AsyncClient) -> None:
        headers = {"Idempotency-Key": str(uuid4())}

        responses = await asyncio.gather(
            *(alice.post("/tasks", json={"title": "Buy milk"}, headers=headers) for _ in range(20))
        )

        assert {response.status_code for response in responses} == {201}
        assert len({response.text for response in responses}) == 1
        assert (await alice.get("/tasks")).json()["total"] == 1
        assert await revision_of(alice) == 1

    async def test_refuses_another_request_under_the_same_key(self, alice: AsyncClient) -> None:
        headers = {"Idempotency-Key": "one"}
        task = (await alice.post("/tasks", json={"title": "Buy milk"}, headers=headers)).json()

        other_body = await alice.post("/tasks", json={"title": "Buy bread"}, headers=headers)
        other_path = await alice.post(f"/tasks/{task['id']}/complete", headers=headers)

        assert other_body.status_code == other_path.status_code == 422
        assert other_body.json()["code"] == other_path.json()["code"] == "idempotency_key_reused"
        assert (await alice.get(f"/tasks/{task['id']}")).json() == task

    async def test_never_meets_another_users_key(self, alice: AsyncClient, bob: AsyncClient) -> None:
        headers = {"Idempotency-Key": "one"}
        hers = await alice.post("/tasks", json={"title": "Buy milk"}, headers=headers)

        his = await bob.post("/tasks", json={"title": "Buy bread"}, headers=headers)

        assert (his.status_code, his.json()["title"]) == (201, "Buy bread")
        assert his.json()["id"] != hers.json()["id"]
        assert "idempotency-replayed" not in his.headers

    async def test_keeps_no_answer_that_had_no_effect(self, alice: AsyncClient) -> None:
        headers = {"Idempotency-Key": "one"}
        missing = await alice.patch(f"/tasks/{uuid4()}", json={"title": "Buy milk"}, headers=headers)

        new = await alice.post("/tasks", json={"title": "Buy milk"}, headers=headers)

        assert (missing.status_code, new.status_code) == (404, 201)

    async def test_goes_before_the_condition_when_it_comes_again(self, alice: AsyncClient) -> None:
        task = await add_task(alice)
        headers = {"Idempotency-Key": "one", "If-Match": f'"{task["revision"]}"'}
        first = await alice.patch(f"/tasks/{task['id']}", json={"title": "Buy bread"}, headers=headers)

        again = await alice.patch(f"/tasks/{task['id']}", json={"title": "Buy bread"}, headers=headers)

        assert (again.status_code, again.json()) == (200, first.json())

    @pytest.mark.parametrize("key", ["", "a" * 256, "t\u00e4st", "a\tb"])
    async def test_refuses_a_key_that_is_none(self, alice: AsyncClient, key: str) -> None:
        response = await alice.post("/tasks", json={"title": "a"}, headers={b"Idempotency-Key": key.encode("latin-1")})

        assert response.status_code == 422
        assert response.json()["errors"][0]["pointer"] == "/header/idempotency-key"
