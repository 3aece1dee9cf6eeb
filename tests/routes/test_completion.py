"""Completions over HTTP: reported later, reported twice, of one occurrence, and of a subtree."""

import asyncio
from collections import Counter

import pytest
from httpx import AsyncClient

from support.clocks import WallClock
from support.series import (
    LONG_AGO,
    add_series,
    closed,
    complete,
    due_after_each,
    recurrence,
    refused,
    series_of,
)
from support.subtrees import act, add_line, read, read_all
from support.tasks import add_task, invalid, problem_of


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> WallClock:
    """Set the clock to long before any due date, so that no occurrence is missed."""
    clock = WallClock(monkeypatch)
    clock.set(LONG_AGO)
    return clock


# Task: T-326
class TestReportedCompletionTime:
    async def test_completion_uses_the_reported_time(self, alice: AsyncClient, clock: WallClock) -> None:
        plain = await add_task(alice)
        series = await add_series(alice, "FREQ=DAILY", "2026-03-10")
        clock.set("2026-03-12T12:00:00Z")

        done = await complete(alice, plain, completed_at="2026-03-10T20:00:00+02:00")
        following = await complete(alice, series, completed_at="2026-03-10T20:00:00+02:00")

        assert (done["completed_at"], done["updated_at"]) == ("2026-03-10T18:00:00Z", "2026-03-12T12:00:00Z")
        assert following["last_completed_at"] == "2026-03-10T18:00:00Z"
        [_, closed_one] = await series_of(alice, series)
        assert closed_one["completed_at"] == "2026-03-10T18:00:00Z"

    async def test_series_continues_from_the_reported_completion_time(
        self, alice: AsyncClient, clock: WallClock
    ) -> None:
        """Completions made offline are reported one after the other."""
        task = await add_series(alice, "FREQ=DAILY", "2026-03-10")
        clock.set("2026-03-13T12:00:00Z")

        answers = [
            await complete(alice, task, occurrence=f"2026-03-{day}", completed_at=f"2026-03-{day}T08:00:00Z")
            for day in (10, 11)
        ]

        assert [each["due_date"] for each in answers] == ["2026-03-11", "2026-03-12"]

    async def test_completion_time_may_precede_the_creation(self, alice: AsyncClient) -> None:
        """The task was created and completed offline; both are reported later."""
        task = await add_task(alice)

        done = await complete(alice, task, completed_at="2019-12-31T23:00:00Z")

        assert done["completed_at"] == "2019-12-31T23:00:00Z" < done["created_at"]

    async def test_earlier_reported_completion_keeps_the_last_completion_time(
        self, alice: AsyncClient, clock: WallClock
    ) -> None:
        task = await add_series(alice, "FREQ=DAILY", "2026-03-10")
        clock.set("2026-03-10T12:00:00Z")
        await complete(alice, task)

        answer = await complete(alice, task, completed_at="2026-03-09T12:00:00Z")

        assert answer["last_completed_at"] == "2026-03-10T12:00:00Z"

    async def test_repeated_completion_keeps_the_first_reported_time(self, alice: AsyncClient) -> None:
        task = await add_task(alice)
        first = await complete(alice, task, completed_at="2019-12-31T23:00:00Z")

        second = await complete(alice, task, completed_at="2019-12-30T23:00:00Z")

        assert second == first

    async def test_completion_time_in_the_future_is_rejected(self, alice: AsyncClient) -> None:
        plain = await add_task(alice)
        series = await add_series(alice, "FREQ=DAILY", "2026-03-10")

        for task in (plain, series):
            response = await alice.post(
                f"/tasks/{task['id']}/complete", json={"completed_at": "2020-01-01T00:00:00.000001Z"}
            )

            assert problem_of(response) == invalid(
                ("/body/completed_at", "This is in the future. Send the time at which it was done.")
            )
            assert await read(alice, task) == task

    @pytest.mark.parametrize("text", ["2019-12-31", "2019-12-31T23:00:00", "yesterday", "", 0, "2019-02-30T00:00:00Z"])
    async def test_invalid_completion_time_is_rejected(self, alice: AsyncClient, text: str | int) -> None:
        task = await add_series(alice, "FREQ=DAILY", "2026-03-10")

        response = await refused(alice, task, "complete", completed_at=text)

        assert response.status_code == 422
        assert [error["pointer"] for error in response.json()["errors"]] == ["/body/completed_at"]


# Task: T-326
class TestNamedOccurrence:
    async def test_named_occurrence_is_completed_once(self, alice: AsyncClient) -> None:
        task = await add_series(alice, "FREQ=DAILY", "2026-03-10")

        first = await complete(alice, task, occurrence="2026-03-10")
        second = await complete(alice, task, occurrence="2026-03-10")

        assert first["due_date"] == "2026-03-11"
        assert second == first
        assert await closed(alice, task) == [("2026-03-10", "completed")]

    async def test_fifty_concurrent_completions_of_one_occurrence_advance_the_series_once(
        self, alice: AsyncClient
    ) -> None:
        task = await add_series(alice, "FREQ=DAILY", "2026-03-10")

        answers = await asyncio.gather(*(complete(alice, task, occurrence="2026-03-10") for _ in range(50)))

        assert Counter(each["due_date"] for each in answers) == {"2026-03-11": 50}
        assert await closed(alice, task) == [("2026-03-10", "completed")]

    @pytest.mark.parametrize("occurrence", ["2026-03-10", "2026-03-13", "2026-03-12T00:00:00Z"])
    async def test_occurrence_that_is_neither_open_nor_the_last_is_rejected(
        self, alice: AsyncClient, occurrence: str
    ) -> None:
        task = await add_series(alice, "FREQ=DAILY", "2026-03-10")
        await due_after_each(alice, task, 2)

        response = await refused(alice, task, "complete", occurrence=occurrence)

        assert problem_of(response) == {
            "type": "about:blank",
            "title": "Conflict",
            "status": 409,
            "detail": "This occurrence is not the open one. Read the task to get the open one.",
            "code": "occurrence_passed",
        }

    async def test_occurrence_may_be_sent_in_an_equivalent_form(self, alice: AsyncClient) -> None:
        task = await add_series(alice, "FREQ=DAILY", "2026-03-10T08:00:00Z")

        answer = await complete(alice, task, occurrence="2026-03-10T09:00+01:00")

        assert answer["due_date"] == "2026-03-11T08:00:00Z"

    async def test_completion_of_the_last_occurrence_can_be_repeated(self, alice: AsyncClient) -> None:
        task = await add_series(alice, "FREQ=DAILY;COUNT=2", "2026-03-10")
        await complete(alice, task, occurrence="2026-03-10")
        last = await complete(alice, task, occurrence="2026-03-11")

        again = await complete(alice, task, occurrence="2026-03-11")
        older = await refused(alice, task, "complete", occurrence="2026-03-10")

        assert (again, again["status"]) == (last, "completed")
        assert older.status_code == 409

    async def test_occurrence_of_a_plain_task_is_its_due_date(self, alice: AsyncClient) -> None:
        task = await add_task(alice, due_date="2026-03-10")

        other = await alice.post(f"/tasks/{task['id']}/complete", json={"occurrence": "2026-03-09"})
        done = await complete(alice, task, occurrence="2026-03-10")
        again = await complete(alice, task, occurrence="2026-03-10")

        assert (other.status_code, done["status"], again) == (409, "completed", done)

    async def test_completing_a_skipped_occurrence_is_rejected(self, alice: AsyncClient) -> None:
        task = await add_series(alice, "FREQ=DAILY", "2026-03-10")
        await act(alice, task, "skip")

        response = await refused(alice, task, "complete", occurrence="2026-03-10")

        assert response.status_code == 409

    @pytest.mark.parametrize("action", ["complete", "skip"])
    async def test_invalid_occurrence_is_rejected(self, alice: AsyncClient, action: str) -> None:
        task = await add_series(alice, "FREQ=DAILY", "2026-03-10")

        responses = [
            await refused(alice, task, action, occurrence=text) for text in ("2026-02-30", "", 0, "25:99", ["a"])
        ]

        assert [response.status_code for response in responses] == [422] * 5


# Task: T-325
class TestRecurringSubtasks:
    async def test_weekly_parent_and_its_weekly_subtask_advance_independently(self, alice: AsyncClient) -> None:
        parent = await add_series(alice, "FREQ=WEEKLY", "2026-03-09", title="Clean")
        child = await add_series(alice, "FREQ=WEEKLY", "2026-03-10", title="Kitchen", parent_id=parent["id"])
        plain = await add_task(alice, title="Windows", parent_id=parent["id"], status="completed")

        after_child = await complete(alice, child)
        after_parent = await complete(alice, parent)

        assert (after_child["due_date"], after_child["parent_id"]) == ("2026-03-17", parent["id"])
        assert (after_parent["due_date"], after_parent["status"]) == ("2026-03-16", "pending")
        assert (after_parent["subtasks_total"], after_parent["subtasks_completed"]) == (2, 0)
        [kitchen, windows] = await read_all(alice, child, plain)
        assert (kitchen["due_date"], kitchen["status"], windows["status"]) == ("2026-03-17", "pending", "pending")
        assert await closed(alice, parent) == [("2026-03-09", "completed")]
        assert await closed(alice, child) == [("2026-03-10", "completed")]

    async def test_completing_a_plain_parent_completes_its_recurring_subtasks(self, alice: AsyncClient) -> None:
        [parent] = await add_line(alice, 1)
        child = await add_series(alice, "FREQ=WEEKLY", "2026-03-10", parent_id=parent["id"])

        await complete(alice, parent)

        done = await read(alice, child)
        assert (done["status"], done["due_date"], done["last_completed_at"]) == ("completed", "2026-03-10", LONG_AGO)
        assert await closed(alice, child) == []
        assert recurrence("FREQ=WEEKLY") == done["recurrence"]
