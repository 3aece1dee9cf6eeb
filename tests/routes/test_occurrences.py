"""Next occurrences over HTTP: a preview that changes nothing. Alice owns the series."""

from uuid import uuid4

import pytest
from httpx import AsyncClient

from support.clocks import WallClock
from support.series import LONG_AGO, add_series, change, complete, set_time_zone, upcoming
from support.subtrees import act, read
from support.tasks import NOT_FOUND, add_task, invalid, problem_of, without_request_id


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> WallClock:
    """Set the clock to long before any due date, so that no occurrence is missed."""
    clock = WallClock(monkeypatch)
    clock.set(LONG_AGO)
    return clock


# Task: T-326
class TestOccurrences:
    async def test_preview_contains_due_date_start_date_and_instant_of_each_occurrence(
        self, alice: AsyncClient
    ) -> None:
        await set_time_zone(alice, "America/New_York")
        task = await add_series(alice, "FREQ=MONTHLY", "2026-01-31T09:00:00", start_date="2026-01-30")

        response = await alice.get(f"/tasks/{task['id']}/occurrences", params={"limit": 3})

        assert (response.status_code, response.json()) == (
            200,
            {
                "occurrences": [
                    {
                        "due_date": "2026-01-31T09:00:00",
                        "start_date": "2026-01-30",
                        "due_at": "2026-01-31T14:00:00Z",
                    },
                    {
                        "due_date": "2026-02-28T09:00:00",
                        "start_date": "2026-02-27",
                        "due_at": "2026-02-28T14:00:00Z",
                    },
                    {
                        "due_date": "2026-03-31T09:00:00",
                        "start_date": "2026-03-30",
                        "due_at": "2026-03-31T13:00:00Z",
                    },
                ]
            },
        )
        assert await read(alice, task) == task

    @pytest.mark.parametrize(("query", "count"), [("", 10), ("?limit=1", 1), ("?limit=100", 100)])
    async def test_preview_contains_ten_occurrences_by_default(
        self, alice: AsyncClient, query: str, count: int
    ) -> None:
        task = await add_series(alice, "FREQ=DAILY", "2026-03-10")

        occurrences = (await alice.get(f"/tasks/{task['id']}/occurrences{query}")).json()["occurrences"]

        assert len({each["due_date"] for each in occurrences}) == len(occurrences) == count

    @pytest.mark.parametrize(
        ("limit", "detail"),
        [
            ("0", "Expected 1 or more."),
            ("101", "Expected 100 or less."),
            ("ten", "Expected a whole number."),
        ],
    )
    async def test_preview_with_an_invalid_limit_is_rejected(self, alice: AsyncClient, limit: str, detail: str) -> None:
        task = await add_series(alice, "FREQ=DAILY", "2026-03-10")

        response = await alice.get(f"/tasks/{task['id']}/occurrences?limit={limit}")

        assert problem_of(response) == invalid(("/query/limit", detail))

    @pytest.mark.parametrize("end", ["COUNT=3", "UNTIL=20260312"])
    async def test_preview_ends_with_the_series(self, alice: AsyncClient, end: str) -> None:
        task = await add_series(alice, f"FREQ=DAILY;{end}", "2026-03-10")
        whole = [each["due_date"] for each in await upcoming(alice, task)]
        await complete(alice, task)

        rest = [each["due_date"] for each in await upcoming(alice, task)]

        assert (whole, rest) == (["2026-03-10", "2026-03-11", "2026-03-12"], ["2026-03-11", "2026-03-12"])

    @pytest.mark.parametrize("missed", ["skip", "keep"])
    @pytest.mark.parametrize("rule", ["FREQ=MONTHLY", "FREQ=WEEKLY;INTERVAL=2;BYDAY=SA,SU", "FREQ=YEARLY"])
    async def test_preview_equals_the_dates_left_by_timely_completions(
        self, alice: AsyncClient, rule: str, missed: str
    ) -> None:
        task = await add_series(alice, rule, "2026-01-31", start_date="2026-01-01", options={"missed": missed})
        preview = await upcoming(alice, task, limit=5)

        seen = [(task["due_date"], task["start_date"])]
        for _ in range(4):
            following = await complete(alice, task)
            seen.append((following["due_date"], following["start_date"]))

        assert [(each["due_date"], each["start_date"]) for each in preview] == seen

    async def test_preview_counts_from_due_dates_if_the_series_counts_from_completion(self, alice: AsyncClient) -> None:
        task = await add_series(alice, "FREQ=DAILY;INTERVAL=30", "2026-03-10", options={"from": "completion"})

        assert [each["due_date"] for each in await upcoming(alice, task, limit=3)] == [
            "2026-03-10",
            "2026-04-09",
            "2026-05-09",
        ]

    async def test_preview_begins_with_the_moved_open_occurrence(self, alice: AsyncClient) -> None:
        task = await add_series(alice, "FREQ=WEEKLY", "2026-03-09", start_date="2026-03-08")
        await change(alice, task, due_date="2026-03-11", scope="occurrence")

        assert [(each["start_date"], each["due_date"]) for each in await upcoming(alice, task, limit=2)] == [
            ("2026-03-08", "2026-03-11"),
            ("2026-03-15", "2026-03-16"),
        ]

    async def test_preview_of_a_plain_task_contains_its_due_date(self, alice: AsyncClient) -> None:
        dated, undated = await add_task(alice, due_date="2026-03-10T09:00:00Z"), await add_task(alice)

        assert await upcoming(alice, dated) == [
            {"due_date": "2026-03-10T09:00:00Z", "start_date": None, "due_at": "2026-03-10T09:00:00Z"}
        ]
        assert await upcoming(alice, undated) == []

    async def test_preview_of_a_closed_task_is_empty(self, alice: AsyncClient) -> None:
        done = await add_task(alice, due_date="2026-03-10", status="completed")
        ended = await add_series(alice, "FREQ=DAILY;COUNT=1", "2026-03-10")
        await act(alice, ended, "skip")

        assert [await upcoming(alice, task) for task in (done, ended)] == [[], []]

    async def test_preview_of_another_users_task_returns_404_like_an_unknown_one(
        self, alice: AsyncClient, bob: AsyncClient
    ) -> None:
        task = await add_series(alice, "FREQ=DAILY", "2026-03-10")

        foreign = await bob.get(f"/tasks/{task['id']}/occurrences")
        missing = await bob.get(f"/tasks/{uuid4()}/occurrences")

        assert problem_of(foreign) == NOT_FOUND
        assert without_request_id(foreign) == without_request_id(missing)
