"""The user's profile over HTTP: the identity from the token, and the stored settings."""

import asyncio
from typing import Any

import pytest
from fastapi import FastAPI
from httpx import AsyncClient

from support.profiles import DEFAULTS
from support.round_trips import watched
from support.tasks import ACCOUNT_GONE, NOT_TEXT, add_task, invalid, problem_of
from support.users import SECRET, client_of, sign_up
from todo.kit import zones
from todo.main import create_app
from todo.services.authentication import SecretVerifier
from todo.settings import Settings

ZONE_EXPECTED = "Expected the IANA name of a time zone, such as Europe/Berlin or UTC."
TIME_EXPECTED = "Expected a time of day from 00:00 to 23:59, such as 03:00."
WEEKDAY_EXPECTED = "Expected 'monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday' or 'sunday'."


async def settings_of(client: AsyncClient) -> dict[str, Any]:
    """Return the stored settings from ``GET /me``, without the claims of the token."""
    said = (await client.get("/me")).json()
    return {name: said[name] for name in DEFAULTS}


async def log_of(client: AsyncClient) -> list[dict[str, Any]]:
    changes: list[dict[str, Any]] = (await client.get("/changes")).json()["changes"]
    return changes


# Task: T-037
class TestReadMe:
    @pytest.mark.parametrize(
        ("claims", "said"),
        [
            ({}, {"name": None, "email": None}),
            ({"name": "Alice"}, {"name": "Alice", "email": None}),
            (
                {"name": "Ålice 🦊", "email": "alice@example.com", "emailVerified": True, "id": "bob", "role": "admin"},
                {"name": "Ålice 🦊", "email": "alice@example.com"},
            ),
        ],
    )
    async def test_me_returns_the_claims_of_the_token(
        self, app: FastAPI, claims: dict[str, Any], said: dict[str, str | None]
    ) -> None:
        async with client_of(app, "alice", **claims) as alice:
            response = await alice.get("/me")

        assert (response.status_code, response.json()) == (200, {"id": "alice", **said, **DEFAULTS})

    async def test_me_accepts_no_query_parameters(self, alice: AsyncClient) -> None:
        response = await alice.get("/me?user_id=bob")

        assert problem_of(response) == invalid(("/query/user_id", "There is no such parameter here."))

    # Task: T-302
    async def test_me_returns_the_stored_settings(self, alice: AsyncClient, bob: AsyncClient) -> None:
        await alice.patch("/me", json={"time_zone": "Asia/Kathmandu", "day_start": "03:30", "week_start": "sunday"})

        hers, his = await settings_of(alice), await settings_of(bob)

        assert hers == {"time_zone": "Asia/Kathmandu", "day_start": "03:30", "week_start": "sunday", "revision": 1}
        assert his == DEFAULTS

    async def test_me_returns_304_until_something_changes(self, alice: AsyncClient) -> None:
        first = await alice.get("/me")
        unchanged = await alice.get("/me", headers={"If-None-Match": first.headers["etag"]})
        await alice.patch("/me", json={"day_start": "03:00"})
        changed = await alice.get("/me", headers={"If-None-Match": first.headers["etag"]})

        assert (first.headers["etag"], unchanged.status_code, unchanged.content) == ('"0"', 304, b"")
        assert (changed.status_code, changed.headers["etag"]) == (200, '"1"')


# Task: T-302
class TestUpdateMe:
    async def test_patch_changes_only_the_settings_that_were_sent(self, alice: AsyncClient) -> None:
        first = await alice.patch("/me", json={"time_zone": "America/New_York"})
        second = await alice.patch("/me", json={"day_start": "23:59"})
        third = await alice.patch("/me", json={"week_start": "saturday"})

        told = [{name: answer.json()[name] for name in DEFAULTS} for answer in (first, second, third)]
        assert told == [
            {**DEFAULTS, "time_zone": "America/New_York", "revision": 1},
            {**DEFAULTS, "time_zone": "America/New_York", "day_start": "23:59", "revision": 2},
            {"time_zone": "America/New_York", "day_start": "23:59", "week_start": "saturday", "revision": 3},
        ]
        assert [answer.headers["etag"] for answer in (first, second, third)] == ['"1"', '"2"', '"3"']
        assert third.json() == (await alice.get("/me")).json()

    @pytest.mark.parametrize("body", [{}, {"time_zone": "UTC"}, {"time_zone": "utc", "week_start": "monday"}])
    async def test_patch_with_default_values_creates_no_profile(self, alice: AsyncClient, body: dict[str, str]) -> None:
        response = await alice.patch("/me", json=body)

        assert (response.status_code, response.json()) == (200, (await alice.get("/me")).json())
        assert await settings_of(alice) == DEFAULTS
        assert await log_of(alice) == []

    @pytest.mark.parametrize("body", [{}, {"time_zone": "Europe/Berlin"}])
    async def test_patch_with_current_values_changes_nothing(self, alice: AsyncClient, body: dict[str, str]) -> None:
        before = await alice.patch("/me", json={"time_zone": "Europe/Berlin"})

        response = await alice.patch("/me", json=body)

        assert (response.status_code, response.json()) == (200, before.json())
        assert len(await log_of(alice)) == 1

    async def test_settings_can_be_reset_to_the_defaults(self, alice: AsyncClient) -> None:
        await alice.patch("/me", json={"time_zone": "Europe/Berlin"})

        await alice.patch("/me", json={"time_zone": "UTC"})

        assert await settings_of(alice) == {**DEFAULTS, "revision": 2}

    @pytest.mark.parametrize("written", ["pacific/auckland", "PACIFIC/AUCKLAND", "Pacific/Auckland"])
    async def test_time_zone_is_spelled_as_in_the_iana_database(self, alice: AsyncClient, written: str) -> None:
        response = await alice.patch("/me", json={"time_zone": written})

        assert response.json()["time_zone"] == "Pacific/Auckland"

    @pytest.mark.parametrize(
        "week_start", ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
    )
    async def test_week_can_start_on_any_day(self, alice: AsyncClient, week_start: str) -> None:
        response = await alice.patch("/me", json={"week_start": week_start})

        assert (response.status_code, response.json()["week_start"]) == (200, week_start)

    @pytest.mark.parametrize(
        ("field", "value", "detail"),
        [
            *(
                ("time_zone", value, ZONE_EXPECTED)
                for value in (
                    *("", "Mars/Olympus", "Europe", "Europe/", "+01:00", "UTC+1", "FOO5", "CEST", " UTC", "UTC\x00"),
                    *("localtime", "posixrules", "Factory", "../../etc/passwd", "/usr/share/zoneinfo/UTC", ":UTC"),
                    *("Europe/../Europe/Berlin", "posix/UTC", "right/UTC", "tzdata.zi", "zone.tab", "ﬁle", "x" * 9999),
                )
            ),
            *(("time_zone", value, NOT_TEXT) for value in (None, 1, ["UTC"])),
            *(
                ("day_start", value, TIME_EXPECTED)
                for value in (
                    *("", "24:00", "23:60", "3:00", "03:0", "03:00:00", "0300", " 03:00", "03:00\n", "-1:00"),
                    *("03:00Z", "\u0660\u0663:\u0660\u0660", "03:00\x00"),
                )
            ),
            *(("day_start", value, NOT_TEXT) for value in (None, 180)),
            *(("week_start", value, WEEKDAY_EXPECTED) for value in (None, "", "Monday", "mon", 1)),
            *(("id", value, "There is no such field here.") for value in (None, "bob")),
            ("revision", 5, "There is no such field here."),
            ("name", "Mallory", "There is no such field here."),
        ],
    )
    async def test_invalid_setting_is_rejected_and_changes_nothing(
        self, alice: AsyncClient, field: str, value: Any, detail: str
    ) -> None:
        response = await alice.patch("/me", json={"week_start": "sunday"} | {field: value})

        assert problem_of(response) == invalid((f"/body/{field}", detail))
        assert await settings_of(alice) == DEFAULTS

    @pytest.mark.parametrize("has_one", [False, True])
    async def test_time_zone_unknown_to_the_database_is_rejected(
        self, alice: AsyncClient, monkeypatch: pytest.MonkeyPatch, *, has_one: bool
    ) -> None:
        if has_one:
            await alice.patch("/me", json={"time_zone": "Europe/Berlin"})
        before = await settings_of(alice)
        monkeypatch.setattr(zones, "_names", lambda: {"mars/olympus": "Mars/Olympus"})

        response = await alice.patch("/me", json={"time_zone": "Mars/Olympus"})

        assert problem_of(response) == invalid(("/body/time_zone", ZONE_EXPECTED))
        assert await settings_of(alice) == before

    async def test_patch_with_a_stale_revision_is_rejected(self, alice: AsyncClient) -> None:
        first = await alice.patch("/me", json={"day_start": "01:00"}, headers={"If-Match": '"0"'})
        second = await alice.patch("/me", json={"day_start": "02:00"}, headers={"If-Match": '"7", "1"'})
        stale = await alice.patch("/me", json={"day_start": "03:00"}, headers={"If-Match": '"1"'})
        blind = await alice.patch("/me", json={"day_start": "04:00"}, headers={"If-Match": "*"})

        assert [answer.status_code for answer in (first, second, stale, blind)] == [200, 200, 412, 200]
        assert stale.headers["etag"] == '"2"'
        assert stale.json()["current"] == {**DEFAULTS, "day_start": "02:00", "revision": 2}
        assert await settings_of(alice) == {**DEFAULTS, "day_start": "04:00", "revision": 3}

    @pytest.mark.parametrize("body", [{}, {"day_start": "01:00"}])
    async def test_patch_with_a_revision_creates_no_profile_for_a_new_user(
        self, alice: AsyncClient, body: dict[str, str]
    ) -> None:
        response = await alice.patch("/me", json=body, headers={"If-Match": '"1"'})

        assert (response.status_code, response.headers["etag"]) == (412, '"0"')
        assert response.json()["current"] == DEFAULTS
        assert await log_of(alice) == []

    async def test_patch_with_a_known_idempotency_key_has_no_second_effect(self, alice: AsyncClient) -> None:
        key = {"Idempotency-Key": "one"}
        first = await alice.patch("/me", json={"day_start": "01:00"}, headers=key)
        await alice.patch("/me", json={"day_start": "02:00"})

        again = await alice.patch("/me", json={"day_start": "01:00"}, headers=key)

        assert (again.json(), again.headers["idempotency-replayed"]) == (first.json(), "true")
        assert (await settings_of(alice))["day_start"] == "02:00"

    async def test_twenty_concurrent_patches_lose_no_update(self, alice: AsyncClient) -> None:
        answers = await asyncio.gather(
            *(alice.patch("/me", json={"day_start": f"{hour:02}:00"}) for hour in range(1, 20)),
            alice.patch("/me", json={"week_start": "sunday"}),
        )

        assert [answer.status_code for answer in answers] == [200] * 20
        assert [change["revision"] for change in await log_of(alice)] == list(range(1, 21))
        latest = max(answers, key=lambda answer: answer.json()["revision"]).json()
        assert latest == (await alice.get("/me")).json()
        assert latest["week_start"] == "sunday"

    @pytest.mark.parametrize("body", [{}, {"time_zone": "UTC"}, {"time_zone": "Europe/Berlin"}])
    async def test_patch_is_forbidden_after_the_account_was_deleted(
        self, charlie: AsyncClient, body: dict[str, str]
    ) -> None:
        assert problem_of(await charlie.patch("/me", json=body)) == ACCOUNT_GONE

    async def test_reading_and_updating_the_profile_take_one_round_trip(self, database_url: str) -> None:
        database, trips = watched(database_url)
        await database.open()
        app = create_app(Settings(), database, SecretVerifier(SECRET))
        async with client_of(app, sign_up(database_url, "alice")) as alice:
            # Warm-up: statements are prepared once per connection.
            await alice.get("/me")
            requests: list[tuple[str, dict[str, Any]]] = [
                ("GET", {}),
                ("PATCH", {"json": {"time_zone": "Europe/Berlin"}}),
                ("PATCH", {"json": {"time_zone": "Asia/Tokyo"}, "headers": {"If-Match": '"1"'}}),
                ("PATCH", {"json": {}}),
                ("GET", {}),
            ]
            found = []
            for method, options in requests:
                trips.count = 0
                answer = await alice.request(method, "/me", **options)
                found.append((answer.status_code, trips.count))
        await database.close()

        assert found == [(200, 1)] * 5


# Task: T-301
class TestProfileChanges:
    async def test_profile_changes_are_logged(self, alice: AsyncClient) -> None:
        await alice.patch("/me", json={"time_zone": "Europe/Berlin"})
        await alice.patch("/me", json={"day_start": "03:00", "time_zone": "Europe/Berlin"})

        made, changed = await log_of(alice)

        assert (made["type"], made["id"], made["operation"], made["fields"]) == ("profile", "me", "create", [])
        assert (changed["operation"], changed["fields"]) == ("update", ["day_start"])
        assert changed["state"] == {
            "id": "me",
            **DEFAULTS,
            "time_zone": "Europe/Berlin",
            "day_start": "03:00",
            "updated_at": changed["state"]["updated_at"],
            "revision": 2,
        }
        assert made["state"]["updated_at"] < changed["state"]["updated_at"]

    async def test_first_page_of_a_snapshot_contains_the_profile(self, alice: AsyncClient, bob: AsyncClient) -> None:
        await alice.patch("/me", json={"time_zone": "Europe/Berlin"})
        [change] = await log_of(alice)
        for _ in range(2):
            await add_task(alice)

        first = (await alice.get("/changes/snapshot", params={"limit": 1})).json()
        second = (await alice.get("/changes/snapshot", params={"limit": 1, "cursor": first["next_cursor"]})).json()
        his = (await bob.get("/changes/snapshot")).json()

        assert first["profile"] == change["state"]
        assert (second["profile"], his["profile"]) == (None, None)

    async def test_profile_changes_can_be_undone_one_by_one(self, alice: AsyncClient) -> None:
        await alice.patch("/me", json={"time_zone": "Europe/Berlin"})
        await alice.patch("/me", json={"time_zone": "Asia/Tokyo", "day_start": "03:00"})

        changed_back = (await alice.post("/changes/2/undo")).json()
        as_at_first = await settings_of(alice)
        again = (await alice.post("/changes/3/undo")).json()
        await alice.post("/changes/4/undo")

        assert changed_back["state"]["time_zone"] == "Europe/Berlin"
        assert (changed_back["type"], changed_back["id"]) == ("profile", "me")
        assert as_at_first == {**DEFAULTS, "time_zone": "Europe/Berlin", "revision": 3}
        assert (again["state"]["time_zone"], again["state"]["day_start"]) == ("Asia/Tokyo", "03:00")
        assert await settings_of(alice) == {**as_at_first, "revision": 5}

    async def test_undoing_the_first_change_removes_the_profile(self, alice: AsyncClient) -> None:
        await alice.patch("/me", json={"time_zone": "Europe/Berlin"})

        removed = (await alice.post("/changes/1/undo")).json()
        without = await settings_of(alice)
        back = (await alice.post("/changes/2/undo")).json()

        assert (removed["id"], removed["state"]) == ("me", None)
        assert without == DEFAULTS
        assert back["state"]["time_zone"] == "Europe/Berlin"
        assert await settings_of(alice) == {**DEFAULTS, "time_zone": "Europe/Berlin", "revision": 3}
