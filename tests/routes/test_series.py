"""Series over HTTP between completions: skip, move, edit, end, reopen, undo. A series always has one open task."""

from typing import Any

import psycopg
import pytest
from httpx import AsyncClient

from support.clocks import WallClock
from support.series import (
    LONG_AGO,
    add_series,
    change,
    closed,
    complete,
    due_after_each,
    recurrence,
    refused,
    replace,
    series_of,
    set_time_zone,
    upcoming,
)
from support.subtrees import act, read, undo
from support.tasks import add_task, invalid, problem_of

NEW_YORK = "America/New_York"


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> WallClock:
    """Set the clock to long before any due date, so that no occurrence is missed."""
    clock = WallClock(monkeypatch)
    clock.set(LONG_AGO)
    return clock


async def recurrence_column(client: AsyncClient, url: str, task: dict[str, Any]) -> tuple[Any, ...]:
    """Return the anchor of a series, and number and nominal date of its open occurrence."""
    user_id = (await client.get("/me")).json()["id"]
    with psycopg.connect(url) as connection:
        [row] = connection.execute(
            "SELECT recurrence_anchor, recurrence_number, recurrence_due FROM tasks WHERE user_id = %s AND id = %s",
            (user_id, task["id"]),
        ).fetchall()
    return tuple(row)


# Task: T-326
class TestSkip:
    async def test_skip_advances_to_the_next_occurrence_without_completing(self, alice: AsyncClient) -> None:
        task = await add_series(alice, "FREQ=MONTHLY", "2026-01-31", start_date="2026-01-30")

        answers = [await act(alice, task, "skip") for _ in range(2)]

        following = {"due_date": "2026-03-31", "start_date": "2026-03-30", "updated_at": answers[1]["updated_at"]}
        assert answers[0]["due_date"] == "2026-02-28"
        assert answers[1] == {**task, **following, "revision": 3}
        assert await series_of(alice, task) == [answers[1]]

    async def test_skip_advances_by_one_occurrence_even_if_many_were_missed(
        self, alice: AsyncClient, clock: WallClock
    ) -> None:
        task = await add_series(alice, "FREQ=DAILY", "2026-03-10")
        clock.set("2026-03-20T12:00:00Z")

        assert (await act(alice, task, "skip"))["due_date"] == "2026-03-11"

    async def test_skip_counts_from_the_due_date_if_the_series_counts_from_completion(self, alice: AsyncClient) -> None:
        task = await add_series(alice, "FREQ=DAILY;INTERVAL=30", "2026-03-10", options={"from": "completion"})

        assert (await act(alice, task, "skip"))["due_date"] == "2026-04-09"

    async def test_skip_of_a_named_occurrence_is_idempotent(self, alice: AsyncClient) -> None:
        task = await add_series(alice, "FREQ=DAILY", "2026-03-10")

        first = await act(alice, task, "skip", json={"occurrence": "2026-03-10"})
        second = await act(alice, task, "skip", json={"occurrence": "2026-03-10"})
        await act(alice, task, "skip")
        older = await refused(alice, task, "skip", occurrence="2026-03-10")

        assert first["due_date"] == "2026-03-11"
        assert second == first
        assert (older.status_code, older.json()["code"]) == (409, "occurrence_passed")

    async def test_skipping_a_completed_occurrence_is_rejected(self, alice: AsyncClient) -> None:
        task = await add_series(alice, "FREQ=DAILY", "2026-03-10")
        await complete(alice, task)

        response = await refused(alice, task, "skip", occurrence="2026-03-10")

        assert response.json()["code"] == "occurrence_passed"

    async def test_skipping_the_last_occurrence_cancels_the_task(self, alice: AsyncClient) -> None:
        task = await add_series(alice, "FREQ=DAILY;COUNT=2", "2026-03-10")
        await complete(alice, task)

        last = await act(alice, task, "skip", json={"occurrence": "2026-03-11"})
        again = await act(alice, task, "skip", json={"occurrence": "2026-03-11"})
        unnamed = await refused(alice, task, "skip")

        assert (last["due_date"], last["status"], last["completed_at"]) == ("2026-03-11", "cancelled", None)
        assert again == last
        assert (unnamed.status_code, unnamed.json()["code"]) == (409, "series_ended")

    async def test_skipping_a_task_without_recurrence_is_rejected(self, alice: AsyncClient) -> None:
        task = await add_task(alice, due_date="2026-03-10")

        response = await alice.post(f"/tasks/{task['id']}/skip")

        assert (response.status_code, response.json()["code"]) == (409, "not_recurring")
        assert await read(alice, task) == task

    async def test_skipping_or_completing_a_trashed_task_is_rejected(self, alice: AsyncClient) -> None:
        task = await add_series(alice, "FREQ=DAILY", "2026-03-10")
        await alice.delete(f"/tasks/{task['id']}")

        for action in ("skip", "complete"):
            response = await alice.post(f"/tasks/{task['id']}/{action}")

            assert (response.status_code, response.json()["code"]) == (409, "in_trash")


# Task: T-325
class TestMoveDates:
    async def test_new_due_date_moves_the_series_and_its_anchor(self, alice: AsyncClient) -> None:
        task = await add_series(alice, "FREQ=MONTHLY", "2026-01-31", start_date="2026-01-30")

        moved = await change(alice, task, due_date="2026-01-30")

        stamps = {"updated_at": moved["updated_at"], "revision": 2}
        assert moved == {**task, "due_date": "2026-01-30", **stamps}
        assert await due_after_each(alice, task, 3) == ["2026-02-28", "2026-03-30", "2026-04-30"]

    async def test_moving_one_occurrence_leaves_the_series_unchanged(self, alice: AsyncClient) -> None:
        task = await add_series(alice, "FREQ=WEEKLY", "2026-03-09", start_date="2026-03-08")

        moved = await change(alice, task, due_date="2026-03-11", scope="occurrence")
        following = await complete(alice, task)

        assert (moved["start_date"], moved["due_date"]) == ("2026-03-08", "2026-03-11")
        assert (following["start_date"], following["due_date"]) == ("2026-03-15", "2026-03-16")
        assert await closed(alice, task) == [("2026-03-11", "completed")]

    async def test_moving_one_occurrence_with_its_start_leaves_the_series_unchanged(self, alice: AsyncClient) -> None:
        task = await add_series(alice, "FREQ=WEEKLY", "2026-03-09", start_date="2026-03-08")
        await change(alice, task, due_date="2026-03-11", start_date="2026-03-10", scope="occurrence")

        following = await complete(alice, task)

        assert (following["start_date"], following["due_date"]) == ("2026-03-15", "2026-03-16")

    @pytest.mark.parametrize("due_date", ["2026-03-12", "2026-03-12T17:00:00", "2026-03-12T17:00:00Z"])
    async def test_moving_one_occurrence_past_the_next_skips_the_next(self, alice: AsyncClient, due_date: str) -> None:
        task = await add_series(alice, "FREQ=DAILY", "2026-03-10")
        await change(alice, task, due_date=due_date, scope="occurrence")

        assert await due_after_each(alice, task, 2) == ["2026-03-13", "2026-03-14"]

    @pytest.mark.parametrize("name", ["2026-03-09", "2026-03-11"])
    async def test_moved_occurrence_can_be_named_by_both_dates(self, alice: AsyncClient, name: str) -> None:
        task = await add_series(alice, "FREQ=WEEKLY", "2026-03-09")
        await change(alice, task, due_date="2026-03-11", scope="occurrence")

        assert (await complete(alice, task, occurrence=name))["due_date"] == "2026-03-16"

    async def test_new_start_date_applies_to_later_occurrences_unless_one_is_moved_alone(
        self, alice: AsyncClient
    ) -> None:
        task = await add_series(alice, "FREQ=WEEKLY", "2026-03-09", start_date="2026-03-08")
        await change(alice, task, start_date="2026-03-06")
        await change(alice, task, due_date="2026-03-11", scope="occurrence")
        await change(alice, task, start_date="2026-03-10")

        following = await complete(alice, task)

        assert (following["start_date"], following["due_date"]) == ("2026-03-15", "2026-03-16")

    async def test_moving_the_series_keeps_the_count(self, alice: AsyncClient) -> None:
        task = await add_series(alice, "FREQ=DAILY;COUNT=3", "2026-03-10")
        await complete(alice, task)
        await change(alice, task, due_date="2026-03-20")

        answers = [await complete(alice, task) for _ in range(2)]

        assert [(each["due_date"], each["status"]) for each in answers] == [
            ("2026-03-21", "pending"),
            ("2026-03-21", "completed"),
        ]

    async def test_due_date_can_change_from_a_date_to_a_wall_clock_time(self, alice: AsyncClient) -> None:
        task = await add_series(alice, "FREQ=DAILY", "2026-03-10")
        await change(alice, task, due_date="2026-03-10T17:00:00")

        assert (await complete(alice, task))["due_date"] == "2026-03-11T17:00:00"

    async def test_moving_the_series_to_a_date_that_does_not_match_the_rule_is_rejected(
        self, alice: AsyncClient
    ) -> None:
        task = await add_series(alice, "FREQ=WEEKLY;BYDAY=MO", "2026-03-09")

        response = await alice.patch(f"/tasks/{task['id']}", json={"due_date": "2026-03-11"})
        alone = await change(alice, task, due_date="2026-03-11", scope="occurrence")

        assert problem_of(response) == invalid(
            ("/body/due_date", "The rule does not produce this date. The next one that it does: 2026-03-16.")
        )
        assert (alone["due_date"], (await complete(alice, task))["due_date"]) == ("2026-03-11", "2026-03-16")

    @pytest.mark.parametrize("scope", ["series", "occurrence"])
    @pytest.mark.parametrize("method", ["PATCH", "PUT"])
    async def test_clearing_the_due_date_of_a_series_is_rejected(
        self, alice: AsyncClient, method: str, scope: str
    ) -> None:
        task = await add_series(alice, "FREQ=WEEKLY", "2026-03-09")
        body = {"PATCH": {"scope": scope}, "PUT": {"title": "Buy milk", "recurrence": task["recurrence"]}}[method]

        response = await alice.request(method, f"/tasks/{task['id']}", json={**body, "due_date": None})

        assert problem_of(response) == invalid(
            ("/body/due_date", "A recurring task needs a due date. Send one, or null as the recurrence.")
        )
        assert await read(alice, task) == task

    async def test_changing_the_users_time_zone_never_repeats_a_day(self, alice: AsyncClient) -> None:
        """The first date was 09:00 in winter, the open one is 09:00 in summer; in Berlin the two differ by an hour."""
        await set_time_zone(alice, NEW_YORK)
        task = await add_series(alice, "FREQ=DAILY", "2026-03-07T14:00:00Z")
        await due_after_each(alice, task, 2)
        await set_time_zone(alice, "Europe/Berlin")

        assert await due_after_each(alice, task, 2) == ["2026-03-10T14:00:00Z", "2026-03-11T14:00:00Z"]

    async def test_wall_clock_times_follow_the_users_time_zone(self, alice: AsyncClient) -> None:
        task = await add_series(alice, "FREQ=DAILY", "2026-03-07T09:00:00")
        in_utc = await upcoming(alice, task, limit=2)

        await set_time_zone(alice, NEW_YORK)

        assert [each["due_at"] for each in in_utc] == ["2026-03-07T09:00:00Z", "2026-03-08T09:00:00Z"]
        assert [each["due_at"] for each in await upcoming(alice, task, limit=2)] == [
            "2026-03-07T14:00:00Z",
            "2026-03-08T13:00:00Z",
        ]


# Task: T-325
class TestEditSeries:
    async def test_editing_other_fields_keeps_the_dates(self, alice: AsyncClient, database_url: str) -> None:
        task = await add_series(alice, "FREQ=MONTHLY", "2026-01-31", start_date="2026-01-30T09:00:00")
        clamped = await complete(alice, task)
        before = await recurrence_column(alice, database_url, task)

        edited = await change(alice, task, title="Pay rent", priority="high", tags=["Home"])

        fields = {"title": "Pay rent", "priority": "high", "tags": ["Home"], "updated_at": edited["updated_at"]}
        assert edited == {**clamped, **fields, "revision": clamped["revision"] + 1}
        assert await recurrence_column(alice, database_url, task) == before == ("2026-01-31", 2, "2026-02-28")

    @pytest.mark.parametrize("method", ["PATCH", "PUT"])
    async def test_sending_back_a_series_unchanged_changes_nothing(
        self, alice: AsyncClient, database_url: str, method: str
    ) -> None:
        task = await add_series(alice, "FREQ=MONTHLY;INTERVAL=1;COUNT=9", "2026-01-31", start_date="2026-01-30")
        clamped = await complete(alice, task)

        if method == "PUT":
            again = await replace(alice, clamped)
        else:
            again = await change(alice, task, **{name: clamped[name] for name in ("due_date", "recurrence")})

        assert again == clamped
        assert await recurrence_column(alice, database_url, task) == ("2026-01-31", 2, "2026-02-28")
        assert await due_after_each(alice, task, 2) == ["2026-03-31", "2026-04-30"]

    async def test_put_of_another_field_keeps_the_anchor(self, alice: AsyncClient) -> None:
        task = await add_series(alice, "FREQ=MONTHLY", "2026-01-31")
        clamped = await complete(alice, task)

        renamed = await replace(alice, clamped, title="Pay rent")

        assert (renamed["title"], renamed["due_date"]) == ("Pay rent", "2026-02-28")
        assert await due_after_each(alice, task, 1) == ["2026-03-31"]

    async def test_sending_back_a_moved_occurrence_keeps_the_series(self, alice: AsyncClient) -> None:
        task = await add_series(alice, "FREQ=WEEKLY", "2026-03-09")
        moved = await change(alice, task, due_date="2026-03-11", scope="occurrence")

        assert await replace(alice, moved) == moved
        assert await due_after_each(alice, task, 1) == ["2026-03-16"]

    @pytest.mark.parametrize(
        ("rule", "options", "following"),
        [
            # A new end or another treatment of missed dates keeps the anchor: the series does not restart on 28 Feb.
            ("FREQ=MONTHLY;COUNT=3", {}, ["2026-03-31", "2026-03-31"]),
            ("FREQ=MONTHLY;UNTIL=20260401", {}, ["2026-03-31", "2026-03-31"]),
            ("FREQ=MONTHLY", {"missed": "keep"}, ["2026-03-31", "2026-04-30"]),
            # A different rule starts at the open due date.
            ("FREQ=MONTHLY;INTERVAL=2", {}, ["2026-04-28", "2026-06-28"]),
            ("FREQ=WEEKLY", {}, ["2026-03-07", "2026-03-14"]),
            ("FREQ=DAILY;COUNT=2", {}, ["2026-03-01", "2026-03-01"]),
        ],
    )
    async def test_changing_the_rule_keeps_a_due_date_that_matches(
        self, alice: AsyncClient, rule: str, options: dict[str, str], following: list[str]
    ) -> None:
        task = await add_series(alice, "FREQ=MONTHLY", "2026-01-31")
        clamped = await complete(alice, task)

        edited = await change(alice, task, recurrence=recurrence(rule, **options))

        stamps = {"updated_at": edited["updated_at"], "revision": edited["revision"]}
        assert edited == {**clamped, "recurrence": recurrence(rule, **options), **stamps}
        assert await due_after_each(alice, task, 2) == following

    async def test_changing_the_reference_point_of_the_recurrence_keeps_the_due_date(
        self, alice: AsyncClient, clock: WallClock
    ) -> None:
        task = await add_series(alice, "FREQ=MONTHLY", "2026-01-31")
        await complete(alice, task)
        clock.set("2026-03-05T12:00:00Z")

        edited = await change(alice, task, recurrence=recurrence("FREQ=MONTHLY", **{"from": "completion"}))
        following = await complete(alice, task)
        back = await change(alice, task, recurrence=recurrence("FREQ=MONTHLY"))

        assert [each["due_date"] for each in (edited, following, back)] == ["2026-02-28", "2026-04-05", "2026-04-05"]
        assert await due_after_each(alice, task, 1) == ["2026-05-05"]

    async def test_changing_the_rule_moves_a_due_date_that_does_not_match(self, alice: AsyncClient) -> None:
        task = await add_series(alice, "FREQ=DAILY", "2026-03-11T09:00:00", start_date="2026-03-10")

        edited = await change(alice, task, recurrence=recurrence("FREQ=WEEKLY;BYDAY=MO"))

        assert (edited["start_date"], edited["due_date"]) == ("2026-03-15", "2026-03-16T09:00:00")
        assert await due_after_each(alice, task, 1) == ["2026-03-23T09:00:00"]

    async def test_changing_month_end_moves_a_clamped_due_date(self, alice: AsyncClient) -> None:
        task = await add_series(alice, "FREQ=MONTHLY;BYMONTHDAY=31", "2026-01-31")
        await complete(alice, task)

        edited = await change(alice, task, recurrence=recurrence("FREQ=MONTHLY;BYMONTHDAY=31", month_end="skip"))

        assert edited["due_date"] == "2026-03-31"

    async def test_rule_and_due_date_that_do_not_match_are_rejected(self, alice: AsyncClient) -> None:
        task = await add_series(alice, "FREQ=DAILY", "2026-03-11")
        body = {"recurrence": recurrence("FREQ=WEEKLY;BYDAY=MO"), "due_date": "2026-03-12"}

        response = await alice.patch(f"/tasks/{task['id']}", json=body)

        assert problem_of(response) == invalid(
            ("/body/due_date", "The rule does not produce this date. The next one that it does: 2026-03-16.")
        )
        assert await read(alice, task) == task

    async def test_rule_that_ends_before_the_open_due_date_is_rejected(self, alice: AsyncClient) -> None:
        task = await add_series(alice, "FREQ=DAILY", "2026-03-11")

        response = await alice.patch(
            f"/tasks/{task['id']}", json={"recurrence": recurrence("FREQ=DAILY;UNTIL=20260310")}
        )

        assert problem_of(response) == invalid(
            (
                "/body/recurrence",
                "The rule produces no date from the due date on. Choose another rule or date.",
            )
        )
        assert await read(alice, task) == task

    async def test_edits_never_create_a_second_open_task(self, alice: AsyncClient) -> None:
        task = await add_series(alice, "FREQ=WEEKLY", "2026-03-09")
        await complete(alice, task)
        edits: list[dict[str, Any]] = [
            {"recurrence": recurrence("FREQ=DAILY;INTERVAL=3")},
            {"due_date": "2026-03-20"},
            {"due_date": "2026-03-21", "scope": "occurrence"},
            {"recurrence": recurrence("FREQ=WEEKLY;BYDAY=MO")},
            {"recurrence": None},
            {"recurrence": recurrence("FREQ=WEEKLY")},
            {"due_date": "2026-04-01", "recurrence": recurrence("FREQ=MONTHLY")},
        ]

        for edit in edits:
            await change(alice, task, **edit)

            [still_open, *others] = await series_of(alice, task)
            assert (still_open["id"], still_open["status"]) == (task["id"], "pending")
            assert [each["status"] for each in others] == ["completed"]

    async def test_recurrence_can_be_added_to_a_task(self, alice: AsyncClient) -> None:
        task = await add_task(alice, due_date="2026-01-31")

        edited = await change(alice, task, recurrence={"rule": "FREQ=MONTHLY"})

        assert (edited["recurrence"], edited["series_id"]) == (recurrence("FREQ=MONTHLY"), task["id"])
        assert await due_after_each(alice, task, 2) == ["2026-02-28", "2026-03-31"]

    async def test_adding_a_recurrence_without_a_due_date_is_rejected(self, alice: AsyncClient) -> None:
        task = await add_task(alice)

        response = await alice.patch(f"/tasks/{task['id']}", json={"recurrence": {"rule": "FREQ=MONTHLY"}})

        assert problem_of(response)["errors"] == [
            {
                "pointer": "/body/due_date",
                "detail": "A recurring task needs a due date. Send one, or null as the recurrence.",
            }
        ]

    @pytest.mark.parametrize("method", ["PATCH", "PUT"])
    async def test_recurrence_can_be_removed(self, alice: AsyncClient, method: str) -> None:
        task = await add_series(alice, "FREQ=MONTHLY", "2026-01-31")
        following = await complete(alice, task)
        body = {"PATCH": {"recurrence": None}, "PUT": {"title": "Buy milk", "due_date": "2026-02-28"}}[method]

        ended = (await alice.request(method, f"/tasks/{task['id']}", json=body)).json()
        done = await complete(alice, task)

        assert ended == {**following, "recurrence": None, "updated_at": ended["updated_at"], "revision": 4}
        assert (done["status"], done["due_date"]) == ("completed", "2026-02-28")
        assert await closed(alice, task) == [("2026-01-31", "completed")]

    async def test_adding_a_recurrence_to_a_closed_occurrence_starts_a_new_series(self, alice: AsyncClient) -> None:
        task = await add_series(alice, "FREQ=MONTHLY", "2026-01-31")
        await complete(alice, task)
        [_, done] = await series_of(alice, task)

        edited = await change(alice, done, recurrence={"rule": "FREQ=DAILY"}, status="pending")

        assert edited["series_id"] == done["id"]
        assert len(await series_of(alice, task)) == 1


# Task: T-035
# Task: T-325
class TestReopenSeries:
    async def test_ended_series_can_be_reopened_and_completed_again(self, alice: AsyncClient) -> None:
        task = await add_series(alice, "FREQ=DAILY;COUNT=1", "2026-03-10")
        done = await complete(alice, task)

        reopened = await act(alice, task, "reopen")
        again = await complete(alice, task, occurrence="2026-03-10")

        assert (done["status"], reopened["status"], again["status"]) == ("completed", "pending", "completed")
        assert reopened["due_date"] == "2026-03-10"
        assert await closed(alice, task) == []

    async def test_ended_series_continues_with_a_longer_rule(self, alice: AsyncClient) -> None:
        task = await add_series(alice, "FREQ=MONTHLY;COUNT=2", "2026-01-31")
        await due_after_each(alice, task, 2)
        await act(alice, task, "reopen")
        await change(alice, task, recurrence={"rule": "FREQ=MONTHLY;COUNT=3"})

        answers = [await complete(alice, task) for _ in range(2)]

        assert [(each["due_date"], each["status"]) for each in answers] == [
            ("2026-03-31", "pending"),
            ("2026-03-31", "completed"),
        ]

    async def test_reopened_occurrence_is_a_plain_task(self, alice: AsyncClient) -> None:
        task = await add_series(alice, "FREQ=DAILY", "2026-03-10")
        await complete(alice, task)
        [_, done] = await series_of(alice, task)

        reopened = await act(alice, done, "reopen")

        assert (reopened["status"], reopened["due_date"], reopened["recurrence"]) == ("pending", "2026-03-10", None)

    async def test_reopening_an_open_series_changes_nothing(self, alice: AsyncClient) -> None:
        task = await add_series(alice, "FREQ=DAILY", "2026-03-10")

        assert await act(alice, task, "reopen") == task


# Task: T-325
class TestUndoCompletion:
    """A completion is two changes: the completed copy is created and the series advances. Each is undone separately."""

    async def test_undoing_both_changes_of_a_completion_restores_the_series(
        self, alice: AsyncClient, database_url: str
    ) -> None:
        task = await add_series(alice, "FREQ=MONTHLY", "2026-01-31", start_date="2026-01-30")
        before = await recurrence_column(alice, database_url, task)
        following = await complete(alice, task)

        answers = [await undo(alice, following["revision"]), await undo(alice, following["revision"] - 1)]

        [back] = await series_of(alice, task)
        stamps = {"updated_at": back["updated_at"], "revision": back["revision"]}
        assert [response.status_code for response in answers] == [200, 200]
        assert back == {**task, **stamps}
        assert await recurrence_column(alice, database_url, task) == before
        assert (await complete(alice, task, occurrence="2026-01-31"))["due_date"] == "2026-02-28"

    async def test_undoing_the_advance_keeps_the_completed_copy(self, alice: AsyncClient) -> None:
        task = await add_series(alice, "FREQ=MONTHLY", "2026-01-31")
        following = await complete(alice, task)

        await undo(alice, following["revision"])

        assert (await read(alice, task))["due_date"] == "2026-01-31"
        assert await closed(alice, task) == [("2026-01-31", "completed")]

    async def test_undoing_a_new_due_date_restores_the_anchor(self, alice: AsyncClient) -> None:
        task = await add_series(alice, "FREQ=MONTHLY", "2026-01-31")
        moved = await change(alice, task, due_date="2026-01-15")

        await undo(alice, moved["revision"])

        assert await due_after_each(alice, task, 2) == ["2026-02-28", "2026-03-31"]

    async def test_undoing_an_earlier_completion_is_rejected(self, alice: AsyncClient) -> None:
        task = await add_series(alice, "FREQ=MONTHLY", "2026-01-31")
        first = await complete(alice, task)
        await complete(alice, task)

        response = await undo(alice, first["revision"])

        assert response.status_code == 409
        assert (await read(alice, task))["due_date"] == "2026-03-31"
