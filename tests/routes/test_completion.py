"""Completions over HTTP: told later, told twice, of one occurrence, and with what lies under it."""

import asyncio
from collections import Counter

import pytest
from httpx import AsyncClient

from support.clocks import WallClock
from support.families import act, add_line, read, read_all
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
from support.tasks import add_task, invalid, problem_of


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> WallClock:
    """Long before anything here is due: nothing was missed."""
    clock = WallClock(monkeypatch)
    clock.set(LONG_AGO)
    return clock


# Task: T-326
class TestCompletedEarlierThanTold:
    async def test_is_when_it_says(self, alice: AsyncClient, clock: WallClock) -> None:
        plain = await add_task(alice)
        series = await add_series(alice, "FREQ=DAILY", "2026-03-10")
        clock.set("2026-03-12T12:00:00Z")

        done = await complete(alice, plain, completed_at="2026-03-10T20:00:00+02:00")
        following = await complete(alice, series, completed_at="2026-03-10T20:00:00+02:00")

        assert (done["completed_at"], done["updated_at"]) == ("2026-03-10T18:00:00Z", "2026-03-12T12:00:00Z")
        assert following["last_completed_at"] == "2026-03-10T18:00:00Z"
        [_, closed_one] = await series_of(alice, series)
        assert closed_one["completed_at"] == "2026-03-10T18:00:00Z"

    async def test_goes_on_from_there(self, alice: AsyncClient, clock: WallClock) -> None:
        """What was completed offline, one after the other, is told one after the other."""
        task = await add_series(alice, "FREQ=DAILY", "2026-03-10")
        clock.set("2026-03-13T12:00:00Z")

        answers = [
            await complete(alice, task, occurrence=f"2026-03-{day}", completed_at=f"2026-03-{day}T08:00:00Z")
            for day in (10, 11)
        ]

        assert [each["due_date"] for each in answers] == ["2026-03-11", "2026-03-12"]

    async def test_may_be_before_its_creation(self, alice: AsyncClient) -> None:
        """Offline it was created and completed, and both is told later."""
        task = await add_task(alice)

        done = await complete(alice, task, completed_at="2019-12-31T23:00:00Z")

        assert done["completed_at"] == "2019-12-31T23:00:00Z" < done["created_at"]

    async def test_does_not_take_the_last_completion_back(self, alice: AsyncClient, clock: WallClock) -> None:
        task = await add_series(alice, "FREQ=DAILY", "2026-03-10")
        clock.set("2026-03-10T12:00:00Z")
        await complete(alice, task)

        answer = await complete(alice, task, completed_at="2026-03-09T12:00:00Z")

        assert answer["last_completed_at"] == "2026-03-10T12:00:00Z"

    async def test_keeps_the_first_time_when_retried(self, alice: AsyncClient) -> None:
        task = await add_task(alice)
        first = await complete(alice, task, completed_at="2019-12-31T23:00:00Z")

        second = await complete(alice, task, completed_at="2019-12-30T23:00:00Z")

        assert second == first

    async def test_is_not_in_the_future(self, alice: AsyncClient) -> None:
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
    async def test_is_an_instant(self, alice: AsyncClient, text: str | int) -> None:
        task = await add_series(alice, "FREQ=DAILY", "2026-03-10")

        response = await refused(alice, task, "complete", completed_at=text)

        assert response.status_code == 422
        assert [error["pointer"] for error in response.json()["errors"]] == ["/body/completed_at"]


# Task: T-326
class TestNamedOccurrence:
    async def test_is_completed_once(self, alice: AsyncClient) -> None:
        task = await add_series(alice, "FREQ=DAILY", "2026-03-10")

        first = await complete(alice, task, occurrence="2026-03-10")
        second = await complete(alice, task, occurrence="2026-03-10")

        assert first["due_date"] == "2026-03-11"
        assert second == first
        assert await closed(alice, task) == [("2026-03-10", "completed")]

    async def test_advances_once_of_fifty_at_once(self, alice: AsyncClient) -> None:
        task = await add_series(alice, "FREQ=DAILY", "2026-03-10")

        answers = await asyncio.gather(*(complete(alice, task, occurrence="2026-03-10") for _ in range(50)))

        assert Counter(each["due_date"] for each in answers) == {"2026-03-11": 50}
        assert await closed(alice, task) == [("2026-03-10", "completed")]

    @pytest.mark.parametrize("occurrence", ["2026-03-10", "2026-03-13", "2026-03-12T00:00:00Z"])
    async def test_is_refused_if_it_is_neither_open_nor_the_last(self, alice: AsyncClient, occurrence: str) -> None:
        task = await add_series(alice, "FREQ=DAILY", "2026-03-10")
        await due_after_each(alice, task, 2)

        response = await refused(alice, task, "complete", occurrence=occurrence)

        assert problem_of(response) == {
            "type": "about:blank",
            "title": "Conflict",
            "status": 409,
            "detail": "This is not the open occurrence. Read the task for the one that is.",
            "code": "occurrence_passed",
        }

    async def test_may_be_written_otherwise(self, alice: AsyncClient) -> None:
        task = await add_series(alice, "FREQ=DAILY", "2026-03-10T08:00:00Z")

        answer = await complete(alice, task, occurrence="2026-03-10T09:00+01:00")

        assert answer["due_date"] == "2026-03-11T08:00:00Z"

    async def test_is_repeated_after_the_end_of_the_series(self, alice: AsyncClient) -> None:
        task = await add_series(alice, "FREQ=DAILY;COUNT=2", "2026-03-10")
        await complete(alice, task, occurrence="2026-03-10")
        last = await complete(alice, task, occurrence="2026-03-11")

        again = await complete(alice, task, occurrence="2026-03-11")
        older = await refused(alice, task, "complete", occurrence="2026-03-10")

        assert (again, again["status"]) == (last, "completed")
        assert older.status_code == 409

    async def test_is_the_due_date_of_what_does_not_repeat(self, alice: AsyncClient) -> None:
        task = await add_task(alice, due_date="2026-03-10")

        other = await alice.post(f"/tasks/{task['id']}/complete", json={"occurrence": "2026-03-09"})
        done = await complete(alice, task, occurrence="2026-03-10")
        again = await complete(alice, task, occurrence="2026-03-10")

        assert (other.status_code, done["status"], again) == (409, "completed", done)

    async def test_is_not_taken_for_another_that_was_skipped(self, alice: AsyncClient) -> None:
        task = await add_series(alice, "FREQ=DAILY", "2026-03-10")
        await act(alice, task, "skip")

        response = await refused(alice, task, "complete", occurrence="2026-03-10")

        assert response.status_code == 409

    @pytest.mark.parametrize("action", ["complete", "skip"])
    async def test_is_a_due_date(self, alice: AsyncClient, action: str) -> None:
        task = await add_series(alice, "FREQ=DAILY", "2026-03-10")

        responses = [
            await refused(alice, task, action, occurrence=text) for text in ("2026-02-30", "", 0, "25:99", ["a"])
        ]

        assert [response.status_code for response in responses] == [422] * 5


# Task: T-325
class TestFamilies:
    async def test_a_weekly_parent_goes_on_beside_its_weekly_child(self, alice: AsyncClient) -> None:
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

    async def test_a_parent_that_is_done_for_good_takes_all_along(self, alice: AsyncClient) -> None:
        [parent] = await add_line(alice, 1)
        child = await add_series(alice, "FREQ=WEEKLY", "2026-03-10", parent_id=parent["id"])

        await complete(alice, parent)

        done = await read(alice, child)
        assert (done["status"], done["due_date"], done["last_completed_at"]) == ("completed", "2026-03-10", LONG_AGO)
        assert await closed(alice, child) == []
        assert recurrence("FREQ=WEEKLY") == done["recurrence"]
