"""Completing recurring tasks over HTTP: the correct next date, exactly once, and a kept history. Alice owns them."""

from collections.abc import Mapping
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from httpx import AsyncClient

from support.categories import add_category
from support.clocks import WallClock
from support.series import (
    LONG_AGO,
    add_series,
    closed,
    complete,
    due_after_each,
    series_of,
    set_time_zone,
    upcoming,
)
from support.subtrees import act, read
from support.tasks import UNSET
from todo.models.tasks import TaskBase, TaskCreate
from todo.services.tasks.statements import WRITABLE

NEW_YORK = "America/New_York"


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> WallClock:
    """Set the clock to long before any due date: completions are early and no occurrence is missed."""
    clock = WallClock(monkeypatch)
    clock.set(LONG_AGO)
    return clock


# Task: T-325
class TestNextDueDates:
    """Early completions, from due date to due date."""

    CASES: tuple[tuple[str, str, dict[str, str], list[str]], ...] = (
        ("FREQ=DAILY", "2026-03-10", {}, ["2026-03-11", "2026-03-12"]),
        ("FREQ=MONTHLY", "2026-01-31", {}, ["2026-02-28", "2026-03-31", "2026-04-30", "2026-05-31"]),
        ("FREQ=MONTHLY;INTERVAL=1", "2026-01-30T09:00:00", {}, ["2026-02-28T09:00:00", "2026-03-30T09:00:00"]),
        ("FREQ=YEARLY", "2024-02-29", {}, ["2025-02-28", "2026-02-28", "2027-02-28", "2028-02-29"]),
        ("FREQ=YEARLY", "2024-02-29", {"month_end": "skip"}, ["2028-02-29", "2032-02-29"]),
        ("FREQ=MONTHLY;INTERVAL=6", "2025-08-31", {}, ["2026-02-28", "2026-08-31", "2027-02-28", "2027-08-31"]),
        (
            "FREQ=MONTHLY;BYMONTHDAY=31",
            "2022-01-31",
            {"month_end": "skip"},
            ["2022-03-31", "2022-05-31", "2022-07-31"],
        ),
        ("FREQ=MONTHLY;BYMONTHDAY=31", "2022-01-31", {}, ["2022-02-28", "2022-03-31", "2022-04-30"]),
        ("FREQ=MONTHLY", "2022-01-31", {"month_end": "skip"}, ["2022-03-31", "2022-05-31", "2022-07-31"]),
        (
            "FREQ=MONTHLY;BYMONTHDAY=-1",
            "2024-01-31",
            {},
            ["2024-02-29", "2024-03-31", "2024-04-30"],
        ),
        (
            "FREQ=MONTHLY;BYMONTHDAY=28,29,30,31;BYSETPOS=-1",
            "2026-01-31",
            {"month_end": "skip"},
            ["2026-02-28", "2026-03-31"],
        ),
        ("FREQ=WEEKLY;INTERVAL=2;BYDAY=MO,TH", "2026-03-09", {}, ["2026-03-12", "2026-03-23", "2026-03-26"]),
        ("FREQ=WEEKLY;INTERVAL=2;BYDAY=SU,MO;WKST=SU", "2026-03-08", {}, ["2026-03-09", "2026-03-22"]),
        ("FREQ=WEEKLY;INTERVAL=2;BYDAY=SU,MO;WKST=MO", "2026-03-08", {}, ["2026-03-16", "2026-03-22"]),
        ("FREQ=MONTHLY;BYDAY=-1FR", "2026-03-27", {}, ["2026-04-24", "2026-05-29"]),
        ("FREQ=MONTHLY;BYDAY=FR;BYMONTHDAY=13", "2026-02-13", {}, ["2026-03-13", "2026-11-13"]),
        ("FREQ=YEARLY;BYMONTH=11;BYDAY=4TH", "2026-11-26", {}, ["2027-11-25", "2028-11-23"]),
        ("FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1", "2026-01-30", {}, ["2026-02-27", "2026-03-31"]),
        ("FREQ=DAILY;UNTIL=20260312", "2026-03-10", {}, ["2026-03-11", "2026-03-12"]),
    )

    @pytest.mark.parametrize(("rule", "due_date", "options", "following"), CASES)
    async def test_completion_advances_to_the_next_date_of_the_rule(
        self,
        alice: AsyncClient,
        rule: str,
        due_date: str,
        options: dict[str, str],
        following: list[str],
    ) -> None:
        task = await add_series(alice, rule, due_date, options=options)

        found = await due_after_each(alice, task, len(following))

        assert found == following
        assert await closed(alice, task) == [(due, "completed") for due in [due_date, *following[:-1]]]

    # Wall-clock times, and their instants in UTC.
    CLOCK_CHANGES: tuple[tuple[str, str, list[str]], ...] = (
        (NEW_YORK, "2026-03-07T09:00:00", ["2026-03-07T14:00:00Z", "2026-03-08T13:00:00Z", "2026-03-09T13:00:00Z"]),
        (NEW_YORK, "2026-10-31T01:30:00", ["2026-10-31T05:30:00Z", "2026-11-01T05:30:00Z", "2026-11-02T06:30:00Z"]),
        (
            "Pacific/Auckland",
            "2022-09-24T18:00:00",
            ["2022-09-24T06:00:00Z", "2022-09-25T05:00:00Z", "2022-09-26T05:00:00Z"],
        ),
        (
            "Europe/Berlin",
            "2026-03-28T02:30:00",
            ["2026-03-28T01:30:00Z", "2026-03-29T01:30:00Z", "2026-03-30T00:30:00Z"],
        ),
        # The hour before midnight is skipped: the occurrence falls after midnight, once.
        (
            "America/Scoresbysund",
            "2025-03-28T23:30:00",
            ["2025-03-29T01:30:00Z", "2025-03-30T01:30:00Z", "2025-03-31T00:30:00Z"],
        ),
    )

    @pytest.mark.parametrize(("zone", "first", "instants"), CLOCK_CHANGES)
    @pytest.mark.parametrize("form", ["fixed zone", "floating", "instant", "instant, fixed zone"])
    async def test_due_dates_keep_the_time_of_day_across_clock_changes(
        self, alice: AsyncClient, form: str, zone: str, first: str, instants: list[str]
    ) -> None:
        is_pinned = "fixed zone" in form
        await set_time_zone(alice, "Asia/Tokyo" if is_pinned else zone)
        is_instant = form.startswith("instant")
        task = await add_series(
            alice, "FREQ=DAILY", instants[0] if is_instant else first, due_time_zone=zone if is_pinned else None
        )
        preview = await upcoming(alice, task, limit=3)

        seen = [(await upcoming(alice, task, limit=1))[0]]
        for _ in range(2):
            await complete(alice, task)
            seen += await upcoming(alice, task, limit=1)

        assert [each["due_at"] for each in preview] == [each["due_at"] for each in seen] == instants
        days = [day[:10] for day in (first, *(f"{first[:8]}{int(first[8:10]) + n:02}" for n in (1, 2)))]
        wall_clock = [f"{day}{first[10:]}" for day in days]
        if first.startswith("2026-10-31"):
            wall_clock = ["2026-10-31T01:30:00", "2026-11-01T01:30:00", "2026-11-02T01:30:00"]
        assert [each["due_date"] for each in seen] == (instants if is_instant else wall_clock)

    async def test_start_date_moves_together_with_the_due_date(self, alice: AsyncClient) -> None:
        forms = {
            "2026-01-31": "2026-01-28",
            "2026-01-31T17:00:00": "2026-01-31T09:00:00",
            "2026-01-31T17:00:00Z": "2026-01-29",
        }
        tasks = [await add_series(alice, "FREQ=MONTHLY", due, start_date=start) for due, start in forms.items()]

        answers = [[await complete(alice, task) for _ in range(2)] for task in tasks]

        assert [[(each["start_date"], each["due_date"]) for each in two] for two in answers] == [
            [("2026-02-25", "2026-02-28"), ("2026-03-28", "2026-03-31")],
            [("2026-02-28T09:00:00", "2026-02-28T17:00:00"), ("2026-03-31T09:00:00", "2026-03-31T17:00:00")],
            [("2026-02-26", "2026-02-28T17:00:00Z"), ("2026-03-29", "2026-03-31T17:00:00Z")],
        ]

    async def test_start_instant_keeps_its_wall_clock_time_across_clock_changes(self, alice: AsyncClient) -> None:
        await set_time_zone(alice, NEW_YORK)
        task = await add_series(alice, "FREQ=DAILY", "2026-03-07T22:00:00Z", start_date="2026-03-07T14:00:00Z")

        following = await complete(alice, task)

        assert (following["start_date"], following["due_date"]) == ("2026-03-08T13:00:00Z", "2026-03-08T21:00:00Z")


# Task: T-035
# Task: T-325
class TestCompleteOccurrence:
    async def test_completion_creates_a_completed_copy_and_advances_the_task_with_the_same_id(
        self, alice: AsyncClient, clock: WallClock
    ) -> None:
        fields: dict[str, Any] = {
            "description": "Flat 4",
            "priority": "high",
            "tags": ["Home"],
            "due_time_zone": "Europe/Berlin",
        }
        task = await add_series(alice, "FREQ=MONTHLY", "2026-01-31T09:00:00", start_date="2026-01-28", **fields)
        clock.set("2026-01-30T12:00:00Z")

        answer = await complete(alice, task)

        following = {
            **task,
            "due_date": "2026-02-28T09:00:00",
            "start_date": "2026-02-25",
            "last_completed_at": "2026-01-30T12:00:00Z",
            "updated_at": "2026-01-30T12:00:00Z",
            "revision": 3,
        }
        [still_open, done] = await series_of(alice, task)
        assert answer == still_open == await read(alice, task) == following
        assert done == {
            **UNSET,
            **{name: task[name] for name in (*fields, "title", "due_date", "start_date", "created_at")},
            "id": done["id"],
            "series_id": task["id"],
            "status": "completed",
            "completed_at": "2026-01-30T12:00:00Z",
            "updated_at": "2026-01-30T12:00:00Z",
            "position": done["position"],
            "revision": 2,
        }

    async def test_completed_copy_has_every_field_that_a_client_can_set(self, alice: AsyncClient) -> None:
        described = TaskCreate.model_json_schema()["properties"]
        fields: dict[str, Any] = {
            **{name: described[name]["examples"][0] for name in WRITABLE if "examples" in described[name]},
            "priority": "high",
            "due_date": "2026-03-10T09:00:00",
            "due_time_zone": "Europe/Berlin",
            "start_date": "2026-03-09",
            "category_id": (await add_category(alice))["id"],
        }
        for name in ("status", "recurrence", "parent_id"):
            fields.pop(name, None)
        task = await add_series(alice, "FREQ=DAILY", **fields)

        await complete(alice, task)

        [_, done] = await series_of(alice, task)
        kept = {name: TaskBase.model_fields[name].get_default(call_default_factory=True) for name in WRITABLE}
        for name in ("status", "recurrence", "parent_id"):
            del kept[name]
        unset = {name for name, default in kept.items() if fields.get(name, default) == default}
        assert not unset, f"give the type of each of these fields in models/fields.py an example: {unset}"
        assert {name: done[name] for name in kept} == fields

    async def test_completion_is_logged_as_the_completed_copy_and_the_next_occurrence(self, alice: AsyncClient) -> None:
        task = await add_series(alice, "FREQ=DAILY", "2026-03-10")

        await complete(alice, task)

        changes = (await alice.get("/changes", params={"since": task["revision"]})).json()["changes"]
        [following, done] = await series_of(alice, task)
        assert [(each["operation"], each["id"], each["state"]) for each in changes] == [
            ("create", done["id"], done),
            ("update", task["id"], following),
        ]

    @pytest.mark.parametrize(
        "request_",
        [{}, {"content": b""}, {"json": {}}, {"json": {"occurrence": None, "completed_at": None}}],
        ids=["no body", "an empty body", "an empty object", "nulls"],
    )
    async def test_completion_accepts_an_empty_or_missing_body(
        self, alice: AsyncClient, request_: dict[str, Any]
    ) -> None:
        task = await add_series(alice, "FREQ=DAILY", "2026-03-10")

        answer = await act(alice, task, "complete", **request_)

        assert answer["due_date"] == "2026-03-11"

    async def test_next_occurrence_is_pending_even_if_the_completed_one_was_in_progress(
        self, alice: AsyncClient
    ) -> None:
        task = await add_series(alice, "FREQ=DAILY", "2026-03-10", status="in_progress")

        assert (await complete(alice, task))["status"] == "pending"

    @pytest.mark.parametrize("method", ["PATCH", "PUT"])
    async def test_setting_the_status_to_completed_completes_the_occurrence(
        self, alice: AsyncClient, method: str
    ) -> None:
        task = await add_series(alice, "FREQ=DAILY", "2026-03-10")
        body = {"title": task["title"], "due_date": "2026-03-10", "recurrence": task["recurrence"]}

        response = await alice.request(
            method, f"/tasks/{task['id']}", json={**(body if method == "PUT" else {}), "status": "completed"}
        )

        answer = response.json()
        assert (response.status_code, answer["status"], answer["due_date"]) == (200, "pending", "2026-03-11")
        assert answer["last_completed_at"] == answer["updated_at"]
        assert await closed(alice, task) == [("2026-03-10", "completed")]

    async def test_due_date_sent_with_the_completed_status_is_applied_before_completion(
        self, alice: AsyncClient
    ) -> None:
        task = await add_series(alice, "FREQ=WEEKLY", "2026-03-10")

        answer = (
            await alice.patch(f"/tasks/{task['id']}", json={"due_date": "2026-03-11", "status": "completed"})
        ).json()

        assert (answer["status"], answer["due_date"]) == ("pending", "2026-03-18")
        assert await closed(alice, task) == [("2026-03-11", "completed")]

    @pytest.mark.parametrize("end", ["COUNT=3", "UNTIL=20260312", "UNTIL=20260312T000000Z"])
    async def test_completing_the_last_occurrence_completes_the_task(self, alice: AsyncClient, end: str) -> None:
        task = await add_series(alice, f"FREQ=DAILY;{end}", "2026-03-10")

        answers = [await complete(alice, task) for _ in range(3)]
        again = await complete(alice, task)

        assert [(each["due_date"], each["status"]) for each in answers] == [
            ("2026-03-11", "pending"),
            ("2026-03-12", "pending"),
            ("2026-03-12", "completed"),
        ]
        assert answers[-1]["completed_at"] == answers[-1]["last_completed_at"] == LONG_AGO
        assert again == answers[-1]
        assert await closed(alice, task) == [("2026-03-10", "completed"), ("2026-03-11", "completed")]

    async def test_until_is_evaluated_in_the_time_zone_of_the_task(self, alice: AsyncClient) -> None:
        """09:00 in New York is 13:00Z, which is after noon in UTC, although the wall-clock time is before noon."""
        task = await add_series(
            alice, "FREQ=DAILY;UNTIL=20260311T120000Z", "2026-03-10T09:00:00", due_time_zone=NEW_YORK
        )

        answer = await complete(alice, task)

        assert (answer["status"], answer["due_date"]) == ("completed", "2026-03-10T09:00:00")

    async def test_failed_completion_leaves_neither_the_copy_nor_the_next_occurrence(
        self, alice: AsyncClient, database_url: str
    ) -> None:
        task = await add_series(alice, "FREQ=DAILY", "2026-03-10")
        with psycopg.connect(database_url, autocommit=True) as connection:
            refuse = f"ck_{uuid4().hex}"
            refusal = f"CHECK (id <> '{task['id']}' OR due_date <> '2026-03-11')"
            connection.execute(f"ALTER TABLE tasks ADD CONSTRAINT {refuse} {refusal}".encode())
            try:
                response = await alice.post(f"/tasks/{task['id']}/complete")
            finally:
                connection.execute(f"ALTER TABLE tasks DROP CONSTRAINT {refuse}".encode())

        assert response.status_code == 500
        assert await series_of(alice, task) == [task]
        assert (await alice.get("/changes/snapshot")).json()["revision"] == task["revision"]

    async def test_completion_with_a_known_idempotency_key_has_no_second_effect(self, alice: AsyncClient) -> None:
        task = await add_series(alice, "FREQ=DAILY", "2026-03-10")
        key = {"Idempotency-Key": uuid4().hex}

        answers = [await act(alice, task, "complete", headers=key) for _ in range(3)]

        assert answers == [answers[0]] * 3
        assert await closed(alice, task) == [("2026-03-10", "completed")]

    async def test_completion_with_a_stale_revision_is_rejected(self, alice: AsyncClient) -> None:
        task = await add_series(alice, "FREQ=DAILY", "2026-03-10")
        stale = {"If-Match": f'"{task["revision"]}"'}
        first = await act(alice, task, "complete", headers=stale)

        second = await alice.post(f"/tasks/{task['id']}/complete", headers=stale)

        assert (second.status_code, second.json()["current"]) == (412, first)
        assert await closed(alice, task) == [("2026-03-10", "completed")]


# Task: T-325
class TestMissedOccurrences:
    async def test_missed_dates_are_skipped(self, alice: AsyncClient, clock: WallClock) -> None:
        task = await add_series(alice, "FREQ=DAILY", "2026-03-10")
        clock.set("2026-03-13T12:00:00Z")

        answer = await complete(alice, task)

        assert answer["due_date"] == "2026-03-14"
        assert await closed(alice, task) == [("2026-03-10", "completed")]

    async def test_missed_dates_are_kept_if_missed_is_keep(self, alice: AsyncClient, clock: WallClock) -> None:
        task = await add_series(alice, "FREQ=DAILY", "2026-03-10", options={"missed": "keep"})
        clock.set("2026-03-13T12:00:00Z")

        found = await due_after_each(alice, task, 4)

        assert found == ["2026-03-11", "2026-03-12", "2026-03-13", "2026-03-14"]

    async def test_missed_dates_use_up_the_count(self, alice: AsyncClient, clock: WallClock) -> None:
        task = await add_series(alice, "FREQ=DAILY;COUNT=5", "2026-03-10")
        clock.set("2026-03-12T12:00:00Z")

        answers = [await complete(alice, task) for _ in range(3)]

        assert [(each["due_date"], each["status"]) for each in answers] == [
            ("2026-03-13", "pending"),
            ("2026-03-14", "pending"),
            ("2026-03-14", "completed"),
        ]

    async def test_completion_ends_the_series_if_all_remaining_dates_were_missed(
        self, alice: AsyncClient, clock: WallClock
    ) -> None:
        task = await add_series(alice, "FREQ=DAILY;COUNT=3", "2026-03-10")
        clock.set("2026-03-20T12:00:00Z")

        answer = await complete(alice, task)

        assert (answer["due_date"], answer["status"]) == ("2026-03-10", "completed")

    @pytest.mark.parametrize(
        ("now", "following"),
        [
            # 09:30 in Tokyo, 00:30 in UTC.
            ("2026-03-13T00:30:00Z", "2026-03-14"),
            ("2026-03-12T15:30:00Z", "2026-03-14"),
            # At 02:00 the user's day is still the previous one.
            ("2026-03-12T17:00:00Z", "2026-03-13"),
        ],
    )
    async def test_missed_days_are_determined_by_the_users_day(
        self, alice: AsyncClient, clock: WallClock, now: str, following: str
    ) -> None:
        await set_time_zone(alice, "Asia/Tokyo", day_start="00:00" if following.endswith("14") else "03:00")
        task = await add_series(alice, "FREQ=DAILY", "2026-03-10")
        clock.set(now)

        assert (await complete(alice, task))["due_date"] == following

    @pytest.mark.parametrize(
        ("now", "following"),
        [
            ("2026-03-13T16:59:00Z", "2026-03-13T18:00:00"),
            ("2026-03-13T17:00:00Z", "2026-03-14T18:00:00"),
        ],
    )
    async def test_missed_times_are_those_that_have_passed_in_the_time_zone_of_the_task(
        self, alice: AsyncClient, clock: WallClock, now: str, following: str
    ) -> None:
        task = await add_series(alice, "FREQ=DAILY", "2026-03-10T18:00:00", due_time_zone="Europe/Berlin")
        clock.set(now)

        assert (await complete(alice, task))["due_date"] == following

    @pytest.mark.parametrize(
        ("zone", "due", "now", "following"),
        [
            # At 03:15 the skipped 02:30 is still ahead, at 03:30.
            ("Europe/Berlin", "2026-03-27T02:30:00", "2026-03-29T01:15:00Z", "2026-03-29T02:30:00"),
            ("Europe/Berlin", "2026-03-27T02:30:00", "2026-03-29T01:30:00Z", "2026-03-30T02:30:00"),
            # At the second 01:15, the first 01:30 has passed.
            (NEW_YORK, "2026-10-30T01:30:00", "2026-11-01T05:15:00Z", "2026-11-01T01:30:00"),
            (NEW_YORK, "2026-10-30T01:30:00", "2026-11-01T06:15:00Z", "2026-11-02T01:30:00"),
        ],
    )
    async def test_missed_times_are_compared_as_instants_across_clock_changes(
        self, alice: AsyncClient, clock: WallClock, zone: str, due: str, now: str, following: str
    ) -> None:
        task = await add_series(alice, "FREQ=DAILY", due, due_time_zone=zone)
        clock.set(now)

        assert (await complete(alice, task))["due_date"] == following


# Task: T-325
class TestFromCompletion:
    OPTIONS: Mapping[str, str] = {"from": "completion"}

    async def test_next_date_is_counted_from_the_day_of_completion(self, alice: AsyncClient, clock: WallClock) -> None:
        late = await add_series(alice, "FREQ=DAILY;INTERVAL=30", "2026-03-10", options=self.OPTIONS)
        early = await add_series(alice, "FREQ=DAILY;INTERVAL=30", "2026-03-20T09:00:00", options=self.OPTIONS)
        clock.set("2026-03-15T12:00:00Z")

        found = [(await complete(alice, task))["due_date"] for task in (late, early)]

        assert found == ["2026-04-14", "2026-04-14T09:00:00"]

    async def test_next_date_is_counted_from_the_users_day(self, alice: AsyncClient, clock: WallClock) -> None:
        await set_time_zone(alice, "Asia/Tokyo")
        task = await add_series(alice, "FREQ=DAILY;INTERVAL=3", "2026-03-10", options=self.OPTIONS)
        clock.set("2026-03-14T16:00:00Z")

        assert (await complete(alice, task))["due_date"] == "2026-03-18"

    async def test_next_date_is_counted_from_the_users_day_even_with_another_due_time_zone(
        self, alice: AsyncClient, clock: WallClock
    ) -> None:
        await set_time_zone(alice, "Asia/Tokyo")
        task = await add_series(
            alice, "FREQ=DAILY", "2026-03-10T09:00:00", due_time_zone=NEW_YORK, options=self.OPTIONS
        )
        clock.set("2026-03-14T16:00:00Z")

        assert (await complete(alice, task))["due_date"] == "2026-03-16T09:00:00"

    async def test_completion_always_advances_past_the_due_date(self, alice: AsyncClient, clock: WallClock) -> None:
        task = await add_series(alice, "FREQ=DAILY;INTERVAL=7", "2026-04-10", options=self.OPTIONS)
        clock.set("2026-03-15T12:00:00Z")

        assert (await complete(alice, task))["due_date"] == "2026-04-12"

    async def test_two_completions_on_one_day_advance_the_series_once(
        self, alice: AsyncClient, clock: WallClock
    ) -> None:
        task = await add_series(alice, "FREQ=DAILY;INTERVAL=30", "2026-03-10", options=self.OPTIONS)
        clock.set("2026-03-15T08:00:00Z")
        first = await complete(alice, task)
        clock.set("2026-03-15T20:00:00Z")

        second = await complete(alice, task)
        offline = await complete(alice, task, completed_at="2026-03-14T20:00:00Z")
        clock.set("2026-03-16T08:00:00Z")
        next_day = await complete(alice, task)

        assert first["due_date"] == "2026-04-14"
        assert first == second == offline
        assert next_day["due_date"] == "2026-04-15"
        assert await closed(alice, task) == [("2026-03-10", "completed"), ("2026-04-14", "completed")]

    async def test_occurrence_moved_to_the_day_of_the_last_completion_can_be_completed(
        self, alice: AsyncClient, clock: WallClock
    ) -> None:
        task = await add_series(alice, "FREQ=DAILY;INTERVAL=30", "2026-03-10", options=self.OPTIONS)
        clock.set("2026-03-15T08:00:00Z")
        await complete(alice, task)
        await alice.patch(f"/tasks/{task['id']}", json={"due_date": "2026-03-15"})

        again = await complete(alice, task)

        assert again["due_date"] == "2026-04-14"
        assert await closed(alice, task) == [("2026-03-10", "completed"), ("2026-03-15", "completed")]

    async def test_due_dates_keep_the_time_of_day_after_a_clock_change_skips_it(
        self, alice: AsyncClient, clock: WallClock
    ) -> None:
        await set_time_zone(alice, "Europe/Berlin")
        task = await add_series(alice, "FREQ=DAILY", "2026-03-28T01:30:00Z", options=self.OPTIONS)

        found = []
        for day in (28, 29, 30):
            clock.set(f"2026-03-{day}T12:00:00Z")
            found += await due_after_each(alice, task, 1)

        assert found == ["2026-03-29T01:30:00Z", "2026-03-30T00:30:00Z", "2026-03-31T00:30:00Z"]

    async def test_count_includes_completions_only(self, alice: AsyncClient, clock: WallClock) -> None:
        task = await add_series(alice, "FREQ=DAILY;COUNT=2", "2026-03-10", options=self.OPTIONS)
        clock.set("2026-03-20T12:00:00Z")
        first = await complete(alice, task)
        clock.set("2026-03-21T12:00:00Z")

        last = await complete(alice, task)

        assert (first["due_date"], first["status"]) == ("2026-03-21", "pending")
        assert (last["due_date"], last["status"]) == ("2026-03-21", "completed")
