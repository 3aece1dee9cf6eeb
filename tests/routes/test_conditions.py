"""Conditional requests and idempotency keys over HTTP."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest
from httpx import AsyncClient

from support.helpers import LONG_TIMEOUTS, wait_for_a_lock
from support.idempotency_keys import age_keys, holding_key
from support.round_trips import watched
from support.tasks import ACCOUNT_GONE, add_task, invalid, problem_of
from support.users import SECRET, client_of, sign_up
from todo.database import Database
from todo.main import create_app
from todo.services.authentication import SecretVerifier
from todo.settings import Settings


async def revision_of(client: AsyncClient) -> int:
    """Return the number of the client's last change, read from the feed."""
    etag = (await client.get("/changes", params={"limit": 1})).headers["etag"]
    return int(etag.strip('"'))


# Task: T-121
class TestIfMatch:
    CHANGES: tuple[tuple[str, str, dict[str, Any] | None], ...] = (
        ("PUT", "", {"title": "Buy bread"}),
        ("PATCH", "", {"title": "Buy bread"}),
        ("PATCH", "", {}),
        ("DELETE", "", None),
        ("POST", "/complete", None),
        ("POST", "/reopen", None),
    )

    @pytest.mark.parametrize(("method", "action", "body"), CHANGES)
    async def test_write_with_a_stale_revision_is_rejected(
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
    async def test_write_with_the_current_revision_succeeds(
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

    async def test_if_match_rejects_weak_etags(self, alice: AsyncClient) -> None:
        task = await add_task(alice)

        weak = await alice.delete(f"/tasks/{task['id']}", headers={"If-Match": f'W/"{task["revision"]}"'})

        assert weak.status_code == 412

    async def test_invalid_if_match_header_is_rejected_with_a_pointer(self, alice: AsyncClient) -> None:
        task = await add_task(alice)

        response = await alice.delete(f"/tasks/{task['id']}", headers={"If-Match": "17"})

        assert response.status_code == 422
        assert response.json()["errors"][0]["pointer"] == "/header/if-match"

    async def test_if_match_header_may_be_repeated(self, alice: AsyncClient) -> None:
        """Repeated headers are one list (RFC 9110, section 5.3)."""
        task = await add_task(alice)
        path, other, own = f"/tasks/{task['id']}", ("If-Match", '"4711"'), ("If-Match", f'"{task["revision"]}"')

        named = await alice.patch(path, json={}, headers=[other, own])
        unnamed = await alice.patch(path, json={}, headers=[other, other])

        assert (named.status_code, unnamed.status_code) == (200, 412)

    async def test_concurrent_increments_with_if_match_lose_no_update(self, alice: AsyncClient) -> None:
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
    async def test_unchanged_list_or_feed_returns_304(self, alice: AsyncClient, path: str) -> None:
        await add_task(alice)
        first = await alice.get(path)

        unchanged = await alice.get(path, headers={"If-None-Match": first.headers["etag"]})
        await add_task(alice)
        changed = await alice.get(path, headers={"If-None-Match": first.headers["etag"]})

        assert (unchanged.status_code, unchanged.content) == (304, b"")
        assert unchanged.headers["etag"] == first.headers["etag"]
        assert changed.status_code == 200
        assert changed.json() == (await alice.get(path)).json()

    async def test_unchanged_task_returns_304(self, alice: AsyncClient) -> None:
        task = await add_task(alice)

        unchanged = await alice.get(f"/tasks/{task['id']}", headers={"If-None-Match": f'W/"{task["revision"]}"'})

        assert (unchanged.status_code, unchanged.headers["etag"]) == (304, f'"{task["revision"]}"')

    async def test_list_of_a_new_user_has_revision_zero(self, alice: AsyncClient) -> None:
        first = await alice.get("/tasks")

        assert first.headers["etag"] == '"0"'
        assert (await alice.get("/tasks", headers={"If-None-Match": '"0"'})).status_code == 304
        assert (await alice.get("/tasks", headers={"If-None-Match": '"1"'})).status_code == 200

    async def test_feed_of_a_new_user_has_revision_zero(self, alice: AsyncClient) -> None:
        known = await alice.get("/changes", headers={"If-None-Match": '"0"'})
        other = await alice.get("/changes", headers={"If-None-Match": '"1"'})

        assert (known.status_code, known.headers["etag"]) == (304, '"0"')
        assert (other.status_code, other.json()) == (200, {"changes": [], "revision": 0, "has_more": False})

    @pytest.mark.parametrize("query", ["", "?limit=2", "?skip=1&priority=high", "?skip=9", "?status=completed"])
    async def test_conditional_list_returns_the_same_response_as_a_plain_one(
        self, alice: AsyncClient, query: str
    ) -> None:
        """A conditional list uses another SQL statement than a plain list; both must return the same."""
        for priority in ("low", "high", "high", "medium"):
            await add_task(alice, priority=priority)

        stale = await alice.get(f"/tasks{query}", headers={"If-None-Match": '"3", "1"'})
        plain = await alice.get(f"/tasks{query}")

        assert (stale.status_code, stale.content, stale.headers["etag"]) == (200, plain.content, '"4"')

    async def test_if_none_match_asterisk_creates_only_new_tasks(self, alice: AsyncClient) -> None:
        body = {"id": str(uuid4()), "title": "Buy milk"}
        new = await alice.post("/tasks", json=body, headers={"If-None-Match": "*"})

        again = await alice.post("/tasks", json=body, headers={"If-None-Match": "*"})

        assert new.status_code == 201
        assert again.status_code == 412
        assert again.json()["current"] == new.json()


# Task: T-122
class TestRoundTrips:
    """An unchanged response and every write take one round trip, whatever their headers."""

    async def test_conditional_requests_take_one_round_trip(self, database_url: str) -> None:
        database, trips = watched(database_url)
        await database.open()
        app = create_app(Settings(), database, SecretVerifier(SECRET))
        key = {"Idempotency-Key": "one"}
        counts = {}
        async with client_of(app, sign_up(database_url, "alice")) as client:
            task = await add_task(client)
            path = f"/tasks/{task['id']}"
            requests: list[tuple[str, str, dict[str, Any], int]] = [
                ("GET", path, {}, 200),
                ("GET", path, {"headers": {"If-None-Match": '"1"'}}, 304),
                ("GET", "/tasks", {"headers": {"If-None-Match": '"1"'}}, 304),
                ("GET", "/changes?since=1", {}, 200),
                ("GET", "/changes?since=1", {"headers": {"If-None-Match": '"1"'}}, 304),
                ("GET", "/changes?since=0", {"headers": {"If-None-Match": '"1"'}}, 304),
                ("PUT", path, {"json": {"title": "a"}, "headers": {"If-Match": '"1"'}}, 200),
                ("PATCH", path, {"json": {"title": "b"}, "headers": {"If-Match": '"2"', **key}}, 200),
                ("PATCH", path, {"json": {"title": "b"}, "headers": {"If-Match": '"2"', **key}}, 200),
                ("POST", "/tasks", {"json": {"title": "c"}, "headers": {"Idempotency-Key": "two"}}, 201),
                ("DELETE", path, {"headers": {"If-Match": '"3"'}}, 204),
            ]

            for number, (method, address, options, status) in enumerate(requests):
                trips.count = 0
                response = await client.request(method, address, **options)
                assert response.status_code == status, (number, response.text)
                counts[number] = trips.count

        assert counts == dict.fromkeys(range(len(requests)), 1)
        await database.close()


# Task: T-111
class TestRevision:
    async def test_revision_is_unchanged_if_an_update_changes_nothing(self, alice: AsyncClient) -> None:
        task = await add_task(alice, priority="high")

        same = await alice.patch(f"/tasks/{task['id']}", json={"priority": "high", "title": task["title"]})

        assert same.json() == task
        assert await revision_of(alice) == task["revision"]

    async def test_revision_increases_by_one_with_each_change(self, alice: AsyncClient) -> None:
        revisions = [(await add_task(alice))["revision"] for _ in range(3)]

        assert revisions == [1, 2, 3]


# Task: T-131
class TestIdempotencyKey:
    async def test_repeated_request_with_an_idempotency_key_returns_the_stored_response(
        self, alice: AsyncClient
    ) -> None:
        headers = {"Idempotency-Key": str(uuid4())}
        first = await alice.post("/tasks", json={"title": "Buy milk"}, headers=headers)

        again = await alice.post("/tasks", json={"title": "Buy milk"}, headers=headers)

        assert (again.status_code, again.json()) == (201, first.json())
        assert again.headers["location"] == first.headers["location"]
        assert again.headers["etag"] == first.headers["etag"]
        assert again.headers["idempotency-replayed"] == "true"
        assert "idempotency-replayed" not in first.headers
        assert (await alice.get("/tasks")).json()["total"] == 1

    async def test_stored_response_is_not_affected_by_later_changes(self, alice: AsyncClient) -> None:
        task = await add_task(alice)
        headers = {"Idempotency-Key": "one"}
        first = await alice.patch(f"/tasks/{task['id']}", json={"title": "Buy bread"}, headers=headers)
        await alice.patch(f"/tasks/{task['id']}", json={"title": "Buy butter"})

        again = await alice.patch(f"/tasks/{task['id']}", json={"title": "Buy bread"}, headers=headers)

        assert again.json() == first.json()
        assert (await alice.get(f"/tasks/{task['id']}")).json()["title"] == "Buy butter"

    async def test_twenty_concurrent_requests_with_one_idempotency_key_have_one_effect(
        self, alice: AsyncClient
    ) -> None:
        headers = {"Idempotency-Key": str(uuid4())}

        responses = await asyncio.gather(
            *(alice.post("/tasks", json={"title": "Buy milk"}, headers=headers) for _ in range(20))
        )

        assert {response.status_code for response in responses} == {201}
        assert len({response.text for response in responses}) == 1
        assert (await alice.get("/tasks")).json()["total"] == 1
        assert await revision_of(alice) == 1

    async def test_different_request_with_a_used_idempotency_key_is_rejected(self, alice: AsyncClient) -> None:
        headers = {"Idempotency-Key": "one"}
        task = (await alice.post("/tasks", json={"title": "Buy milk"}, headers=headers)).json()

        other_body = await alice.post("/tasks", json={"title": "Buy bread"}, headers=headers)
        other_path = await alice.post(f"/tasks/{task['id']}/complete", headers=headers)

        assert other_body.status_code == other_path.status_code == 422
        assert other_body.json()["code"] == other_path.json()["code"] == "idempotency_key_reused"
        assert (await alice.get(f"/tasks/{task['id']}")).json() == task

    async def test_idempotency_keys_of_different_users_are_independent(
        self, alice: AsyncClient, bob: AsyncClient
    ) -> None:
        headers = {"Idempotency-Key": "one"}
        hers = await alice.post("/tasks", json={"title": "Buy milk"}, headers=headers)

        his = await bob.post("/tasks", json={"title": "Buy bread"}, headers=headers)

        assert (his.status_code, his.json()["title"]) == (201, "Buy bread")
        assert his.json()["id"] != hers.json()["id"]
        assert "idempotency-replayed" not in his.headers

    async def test_response_without_effect_is_not_stored(self, alice: AsyncClient) -> None:
        headers = {"Idempotency-Key": "one"}
        missing = await alice.patch(f"/tasks/{uuid4()}", json={"title": "Buy milk"}, headers=headers)

        new = await alice.post("/tasks", json={"title": "Buy milk"}, headers=headers)

        assert (missing.status_code, new.status_code) == (404, 201)

    async def test_replay_takes_precedence_over_if_match(self, alice: AsyncClient) -> None:
        task = await add_task(alice)
        headers = {"Idempotency-Key": "one", "If-Match": f'"{task["revision"]}"'}
        first = await alice.patch(f"/tasks/{task['id']}", json={"title": "Buy bread"}, headers=headers)

        again = await alice.patch(f"/tasks/{task['id']}", json={"title": "Buy bread"}, headers=headers)

        assert (again.status_code, again.json()) == (200, first.json())

    async def test_stored_response_is_identical_byte_for_byte(self, alice: AsyncClient) -> None:
        body = {
            "title": "“Tea” \u2028\x7f\\/ 🍵",
            "description": "<b>&amp;</b>\r\n",
            "due_date": "2026-03-10T09:00:00.5+01:00",
        }
        headers = {"Idempotency-Key": "one"}
        first = await alice.post("/tasks", json=body, headers=headers)

        again = await alice.post("/tasks", json=body, headers=headers)

        assert again.content == first.content
        own = {"x-request-id", "idempotency-replayed"}
        assert [pair for pair in again.headers.items() if pair[0] not in own] == [
            pair for pair in first.headers.items() if pair[0] not in own
        ]

    @pytest.mark.parametrize(
        ("method", "action", "body"),
        [
            ("PATCH", "", {"title": "Buy bread"}),
            ("PATCH", "", {}),
            ("POST", "/complete", None),
            ("POST", "/reopen", None),
        ],
    )
    async def test_idempotency_key_works_for_every_write_that_is_not_idempotent(
        self, alice: AsyncClient, method: str, action: str, body: dict[str, Any] | None
    ) -> None:
        task = await add_task(alice, status="in_progress")
        path, headers = f"/tasks/{task['id']}{action}", {"Idempotency-Key": "one"}
        first = await alice.request(method, path, json=body, headers=headers)
        changed = await alice.patch(f"/tasks/{task['id']}", json={"title": "Buy butter", "status": "pending"})

        again = await alice.request(method, path, json=body, headers=headers)
        other = await alice.post("/tasks", json={"title": "Buy milk"}, headers=headers)

        assert (again.status_code, again.content, again.headers["etag"]) == (200, first.content, first.headers["etag"])
        assert again.headers["idempotency-replayed"] == "true"
        assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
        assert (await alice.get(f"/tasks/{task['id']}")).json() == changed.json()

    async def test_idempotency_key_is_checked_even_if_the_request_changes_nothing(self, alice: AsyncClient) -> None:
        headers = {"Idempotency-Key": "one"}
        task = (await alice.post("/tasks", json={"title": "Buy milk"}, headers=headers)).json()

        nothing = await alice.patch(f"/tasks/{task['id']}", json={}, headers=headers)

        assert (nothing.status_code, nothing.json()["code"]) == (422, "idempotency_key_reused")

    async def test_twenty_concurrent_undos_with_one_idempotency_key_have_one_effect(self, alice: AsyncClient) -> None:
        task = await add_task(alice)
        await alice.patch(f"/tasks/{task['id']}", json={"title": "Buy bread"})
        headers = {"Idempotency-Key": "one"}

        responses = await asyncio.gather(*(alice.post("/changes/2/undo", headers=headers) for _ in range(20)))

        assert {response.status_code for response in responses} == {200}
        assert len({response.content for response in responses}) == 1
        assert [response.headers.get("idempotency-replayed") for response in responses].count(None) == 1
        assert await revision_of(alice) == 3
        assert (await alice.get(f"/tasks/{task['id']}")).json()["title"] == "Buy milk"

    async def test_stored_response_survives_a_restart(self, alice: AsyncClient, database_url: str) -> None:
        headers = {"Idempotency-Key": "one"}
        first = await alice.post("/tasks", json={"title": "Buy milk"}, headers=headers)
        database = Database(database_url, LONG_TIMEOUTS)
        await database.open()
        restarted = create_app(Settings(), database, SecretVerifier(SECRET))

        async with client_of(restarted, (await alice.get("/me")).json()["id"]) as later:
            again = await later.post("/tasks", json={"title": "Buy milk"}, headers=headers)

        assert (again.status_code, again.content) == (201, first.content)
        assert again.headers["idempotency-replayed"] == "true"
        await database.close()

    async def test_idempotency_key_expires_after_one_day(self, alice: AsyncClient, database_url: str) -> None:
        headers = {"Idempotency-Key": "one"}
        first = await alice.post("/tasks", json={"title": "Buy milk"}, headers=headers)
        age_keys(database_url, (await alice.get("/me")).json()["id"])

        later = await alice.post("/tasks", json={"title": "Buy bread"}, headers=headers)

        assert (later.status_code, later.json()["title"]) == (201, "Buy bread")
        assert later.json()["id"] != first.json()["id"]
        assert "idempotency-replayed" not in later.headers

    @pytest.mark.parametrize("path", ["/tasks", "/changes/1/undo"])
    async def test_idempotency_key_of_a_running_request_is_rejected_after_a_wait(
        self, alice: AsyncClient, database_url: str, path: str
    ) -> None:
        await add_task(alice)
        body = {"title": "Buy bread"} if path == "/tasks" else None
        headers = {"Idempotency-Key": "one"}
        loop = asyncio.get_running_loop()
        began = loop.time()

        with holding_key(database_url, (await alice.get("/me")).json()["id"], "one"):
            refused = await alice.post(path, json=body, headers=headers)
        seconds = loop.time() - began
        afterwards = await alice.post(path, json=body, headers=headers)

        assert problem_of(refused) == {
            "type": "about:blank",
            "title": "Conflict",
            "status": 409,
            "detail": "A request with this Idempotency-Key is still running. Wait for its answer, then try again.",
            "code": "idempotency_key_in_use",
        }
        assert seconds > 1
        assert afterwards.is_success
        assert "idempotency-replayed" not in afterwards.headers

    async def test_request_waits_for_a_running_request_with_the_same_idempotency_key(
        self, alice: AsyncClient, database_url: str
    ) -> None:
        user_id = (await alice.get("/me")).json()["id"]

        with holding_key(database_url, user_id, "one") as holder:
            waiting = asyncio.create_task(
                alice.post("/tasks", json={"title": "Buy milk"}, headers={"Idempotency-Key": "one"})
            )
            await asyncio.to_thread(wait_for_a_lock, holder)

        assert (await waiting).status_code == 201

    @pytest.mark.parametrize(
        ("path", "body", "headers", "status"),
        [
            ("/tasks/00000000-0000-7000-8000-000000000000", {"title": "a"}, {}, 404),
            ("/tasks/{id}", {"title": "a"}, {"If-Match": '"4711"'}, 412),
            ("/tasks/{id}", {"status": "completed"}, {}, 422),
            ("/tasks/{id}", {"title": ""}, {}, 422),
            ("/tasks/{id}", {"title": "a"}, {"If-Match": "4711"}, 422),
        ],
    )
    async def test_idempotency_key_can_be_reused_after_an_error(
        self, alice: AsyncClient, path: str, body: dict[str, Any], headers: dict[str, str], status: int
    ) -> None:
        task = await add_task(alice, status="cancelled")
        key = {"Idempotency-Key": "one"}

        refused = await alice.patch(path.format(id=task["id"]), json=body, headers={**headers, **key})
        new = await alice.patch(f"/tasks/{task['id']}", json={"priority": "high"}, headers=key)

        assert refused.status_code == status
        assert "idempotency-replayed" not in refused.headers
        assert (new.status_code, new.json()["priority"]) == (200, "high")
        assert "idempotency-replayed" not in new.headers

    @pytest.mark.parametrize(
        ("path", "body"), [("/tasks", {"title": "a"}), ("/changes/1/undo", None), ("/tasks/{id}/complete", None)]
    )
    async def test_write_with_an_idempotency_key_is_forbidden_after_the_account_was_deleted(
        self, charlie: AsyncClient, path: str, body: dict[str, Any] | None
    ) -> None:
        response = await charlie.post(path.format(id=uuid4()), json=body, headers={"Idempotency-Key": "one"})

        assert problem_of(response) == ACCOUNT_GONE

    @pytest.mark.parametrize("key", ["one", "", "a" * 256])
    async def test_idempotency_key_is_ignored_by_idempotent_requests(self, alice: AsyncClient, key: str) -> None:
        task = await add_task(alice)
        path, headers = f"/tasks/{task['id']}", {"Idempotency-Key": key}

        read = await alice.get(path, headers=headers)
        replaced = [await alice.put(path, json={"title": title}, headers=headers) for title in ("a", "b")]
        deleted = [await alice.delete(path, params={"permanent": "true"}, headers=headers) for _ in range(2)]

        answers = [read, *replaced, *deleted]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 204, 404]
        assert [answer.json()["title"] for answer in replaced] == ["a", "b"]
        assert not [answer for answer in answers if "idempotency-replayed" in answer.headers]

    @pytest.mark.parametrize("key", [" ", "a" * 255, "~!@#$%^&*() \\\"'", "' OR 1=1 --"])
    async def test_idempotency_key_may_contain_any_printable_ascii_character(
        self, alice: AsyncClient, key: str
    ) -> None:
        headers = {"Idempotency-Key": key}
        first = await alice.post("/tasks", json={"title": "a"}, headers=headers)

        again = await alice.post("/tasks", json={"title": "a"}, headers=headers)

        assert (first.status_code, again.content) == (201, first.content)

    async def test_repeated_idempotency_key_header_is_rejected(self, alice: AsyncClient) -> None:
        response = await alice.post(
            "/tasks", json={"title": "a"}, headers=[("Idempotency-Key", "one"), ("Idempotency-Key", "one")]
        )

        assert problem_of(response) == invalid(
            ("/header/idempotency-key", "Expected one key of 1 to 255 printable ASCII characters.")
        )
        assert (await alice.get("/tasks")).json()["total"] == 0

    async def test_error_for_a_reused_idempotency_key_points_at_the_header(self, alice: AsyncClient) -> None:
        headers = {"Idempotency-Key": "one"}
        await alice.post("/tasks", json={"title": "a"}, headers=headers)

        others = [
            await alice.post("/tasks", json={"title": "b"}, headers=headers),
            await alice.post("/tasks?", json={"title": "a "}, headers=headers),
            await alice.post("/changes/1/undo", headers=headers),
        ]

        sentence = "This Idempotency-Key was used for another request. Choose a new key for a new request."
        expected = invalid(("/header/idempotency-key", sentence), code="idempotency_key_reused", detail=sentence)
        assert [problem_of(other) for other in others] == [expected] * 3

    @pytest.mark.parametrize("key", ["", "a" * 256, "t\u00e4st", "a\tb"])
    async def test_invalid_idempotency_key_is_rejected(self, alice: AsyncClient, key: str) -> None:
        response = await alice.post("/tasks", json={"title": "a"}, headers={b"Idempotency-Key": key.encode("latin-1")})

        assert response.status_code == 422
        assert response.json()["errors"][0]["pointer"] == "/header/idempotency-key"
