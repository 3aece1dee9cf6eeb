"""Statistics: over HTTP at the current time, and in the service at a time that the test sets."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg
import pytest
from fastapi import FastAPI
from httpx import AsyncClient

from support.categories import add_category
from support.round_trips import watched
from support.subtrees import act, add_line, trash
from support.tasks import add_task, invalid, problem_of
from support.users import SECRET, client_of, sign_up
from todo.database import Database, Session
from todo.main import create_app
from todo.models.stats import MAX_STREAK_DAYS
from todo.services import stats
from todo.services.authentication import SecretVerifier
from todo.settings import Settings

NOTHING_OPEN: dict[str, Any] = {
    "total": 0,
    "by_status": {"pending": 0, "in_progress": 0},
    "by_priority": {"low": 0, "medium": 0, "high": 0},
    "by_category": [],
}
NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)


async def stats_of(client: AsyncClient, days: int = 30) -> dict[str, Any]:
    """Return the current statistics."""
    response = await client.get("/stats", params={"days": days})
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


class Diary:
    """A user whose tasks were created and completed at times that the test sets."""

    def __init__(self, database: Database, database_url: str, client: AsyncClient, user_id: str) -> None:
        self.client = client
        self._database = database
        self._database_url = database_url
        self._user_id = user_id

    async def created(self, *moments: str) -> None:
        """Create a task at each of these times."""
        for moment in moments:
            task = await add_task(self.client)
            with psycopg.connect(self._database_url) as connection:
                connection.execute("UPDATE tasks SET created_at = %s WHERE id = %s", (moment, task["id"]))

    async def completed(self, *moments: str) -> list[dict[str, Any]]:
        """Complete a task at each of these times."""
        return [
            await act(self.client, await add_task(self.client), "complete", json={"completed_at": moment})
            for moment in moments
        ]

    async def at(self, now: datetime, days: int = 3) -> dict[str, Any]:
        """Return the statistics at ``now``."""
        return await stats.read(Session(self._database, self._user_id), days=days, now=now)

    async def days_at(self, now: datetime, days: int = 3) -> list[tuple[str, int, int]]:
        """Return (date, tasks created, tasks completed) for each day up to ``now``."""
        found = (await self.at(now, days))["days"]
        return [(day["date"], day["created"], day["completed"]) for day in found]

    async def streak_at(self, now: datetime) -> int:
        """Return the streak at ``now``."""
        streak: int = (await self.at(now))["streak"]
        return streak


@pytest.fixture
async def diary(database: Database, database_url: str, alice: AsyncClient) -> Diary:
    return Diary(database, database_url, alice, (await alice.get("/me")).json()["id"])


# Task: T-381
class TestStats:
    async def test_stats_of_a_new_user_are_zero(self, alice: AsyncClient) -> None:
        before = datetime.now(UTC).date()

        found = await stats_of(alice)

        days = [date.fromisoformat(day["date"]) for day in found["days"]]
        assert days[-1] in (before, datetime.now(UTC).date())
        assert days == [days[-1] - timedelta(days=back) for back in range(29, -1, -1)]
        assert {(day["created"], day["completed"]) for day in found["days"]} == {(0, 0)}
        assert {name: found[name] for name in found if name != "days"} == {
            "open": NOTHING_OPEN,
            "overdue": 0,
            "streak": 0,
        }

    async def test_stats_cover_thirty_days_by_default(self, alice: AsyncClient) -> None:
        assert len((await alice.get("/stats")).json()["days"]) == 30

    async def test_stats_count_the_tasks_of_today(self, alice: AsyncClient) -> None:
        category = await add_category(alice)
        tasks = [await add_task(alice, priority=priority) for priority in ("low", "low", "high")]
        await add_task(alice, category_id=category["id"], status="in_progress", due_date="2026-03-10")
        await act(alice, tasks[0], "complete")
        await alice.patch(f"/tasks/{(await add_task(alice))['id']}", json={"status": "cancelled"})

        found = await stats_of(alice, days=1)

        assert found == {
            "days": [{"date": found["days"][0]["date"], "created": 5, "completed": 1}],
            "open": {
                "total": 3,
                "by_status": {"pending": 2, "in_progress": 1},
                "by_priority": {"low": 1, "medium": 1, "high": 1},
                "by_category": [{"category_id": None, "tasks": 2}, {"category_id": category["id"], "tasks": 1}],
            },
            "overdue": 1,
            "streak": 1,
        }

    async def test_stats_include_only_the_users_own_tasks(self, alice: AsyncClient, bob: AsyncClient) -> None:
        await act(alice, await add_task(alice, due_date="2026-03-10"), "complete")
        await add_task(alice, due_date="2026-03-10")

        found = await stats_of(bob, days=1)

        assert (found["days"][0]["created"], found["days"][0]["completed"]) == (0, 0)
        assert (found["open"], found["overdue"], found["streak"]) == (NOTHING_OPEN, 0, 0)

    @pytest.mark.parametrize(
        ("days", "detail"),
        [
            ("0", "Expected 1 or more."),
            ("367", "Expected 366 or less."),
            ("-1", "Expected 1 or more."),
            ("1.5", "Expected a whole number."),
            ("", "Expected a whole number."),
        ],
    )
    async def test_invalid_number_of_days_is_rejected(self, alice: AsyncClient, days: str, detail: str) -> None:
        response = await alice.get("/stats", params={"days": days})

        assert (response.status_code, problem_of(response)) == (422, invalid(("/query/days", detail)))

    async def test_stats_take_one_round_trip_and_have_no_etag(self, database_url: str) -> None:
        database, trips = watched(database_url)
        await database.open()
        app: FastAPI = create_app(Settings(), database, SecretVerifier(SECRET))
        async with client_of(app, sign_up(database_url, "alice")) as client:
            await stats_of(client)
            trips.count = 0
            response = await client.get("/stats", params={"days": 366})

        assert (trips.count, len(response.json()["days"])) == (1, 366)
        assert "etag" not in response.headers
        await database.close()


# Task: T-381
class TestDailyStats:
    async def test_daily_stats_include_days_without_tasks(self, diary: Diary) -> None:
        await diary.created("2026-03-07T23:59:59.999999Z", "2026-03-08T00:00:00Z", "2026-03-10T11:00:00Z")
        await diary.completed("2026-03-08T23:59:59.999999Z", "2026-03-10T00:00:00Z", "2026-03-10T11:59:00Z")

        found = await diary.days_at(NOON)

        assert found == [("2026-03-08", 1, 1), ("2026-03-09", 0, 0), ("2026-03-10", 1, 2)]

    async def test_daily_stats_use_the_users_time_zone_and_day_start(self, diary: Diary) -> None:
        await diary.client.patch("/me", json={"time_zone": "Pacific/Auckland", "day_start": "03:00"})
        # Local time is UTC+13: 02:59:59 and 03:00 on the 9th, and 02:59:59 on the 10th.
        await diary.created("2026-03-08T13:59:59Z", "2026-03-08T14:00:00Z", "2026-03-09T13:59:59Z")
        await diary.completed("2026-03-08T14:00:00Z", "2026-03-09T14:00:00Z")

        found = await diary.days_at(datetime(2026, 3, 9, 20, tzinfo=UTC))

        assert found == [("2026-03-08", 1, 0), ("2026-03-09", 2, 1), ("2026-03-10", 0, 1)]

    async def test_daily_stats_use_the_length_of_days_with_clock_changes(self, diary: Diary) -> None:
        """29 March 2026 has 23 hours in Berlin: from 23:00Z to 22:00Z."""
        await diary.client.patch("/me", json={"time_zone": "Europe/Berlin"})
        await diary.completed("2026-03-28T22:59:59Z", "2026-03-28T23:00:00Z", "2026-03-29T21:59:59Z")
        await diary.completed("2026-03-29T22:00:00Z")

        found = await diary.days_at(datetime(2026, 3, 30, 12, tzinfo=UTC))

        assert found == [("2026-03-28", 0, 1), ("2026-03-29", 0, 2), ("2026-03-30", 0, 1)]

    async def test_daily_stats_count_every_completed_occurrence_and_one_creation_per_series(self, diary: Diary) -> None:
        task = await add_task(diary.client, due_date="2026-03-08", recurrence={"rule": "FREQ=DAILY", "missed": "keep"})
        for moment in ("2026-03-08T10:00:00Z", "2026-03-08T11:00:00Z", "2026-03-10T10:00:00Z"):
            await act(diary.client, task, "complete", json={"completed_at": moment})

        completed = [(day, done) for day, _, done in await diary.days_at(NOON)]
        today = (await stats_of(diary.client, days=1))["days"]

        assert completed == [("2026-03-08", 2), ("2026-03-09", 0), ("2026-03-10", 1)]
        assert today[0]["created"] == 1

    async def test_daily_stats_exclude_reopened_trashed_and_deleted_tasks(self, diary: Diary) -> None:
        reopened, trashed, deleted, _ = await diary.completed(*["2026-03-10T10:00:00Z"] * 4)
        await act(diary.client, reopened, "reopen")
        await trash(diary.client, trashed)
        await diary.client.delete(f"/tasks/{deleted['id']}", params={"permanent": "true"})

        found = await diary.days_at(NOON, days=1)
        today = (await stats_of(diary.client, days=1))["days"][0]

        assert found == [("2026-03-10", 0, 1)]
        assert (today["created"], today["completed"]) == (2, 0)


# Task: T-381
class TestOpenTasks:
    async def test_open_stats_exclude_closed_and_trashed_tasks(self, alice: AsyncClient) -> None:
        line = await add_line(alice, 3)
        await act(alice, line[2], "complete")
        await trash(alice, await add_task(alice, priority="high"))

        found = (await stats_of(alice))["open"]

        assert found == {
            "total": 2,
            "by_status": {"pending": 2, "in_progress": 0},
            "by_priority": {"low": 0, "medium": 2, "high": 0},
            "by_category": [{"category_id": None, "tasks": 2}],
        }

    async def test_open_stats_include_restored_tasks_again(self, alice: AsyncClient) -> None:
        line = await add_line(alice, 3)
        before = (await stats_of(alice))["open"]
        await trash(alice, line[0])
        emptied = (await stats_of(alice))["open"]

        await act(alice, line[0], "restore")

        assert emptied == NOTHING_OPEN
        assert (await stats_of(alice))["open"] == before

    async def test_open_stats_list_the_category_with_the_most_tasks_first(self, alice: AsyncClient) -> None:
        few, most, emptied = [await add_category(alice, name=name) for name in ("Few", "Most", "Emptied")]
        for category in (few, most, most, emptied):
            task = await add_task(alice, category_id=category["id"])
        await act(alice, task, "complete")

        found = (await stats_of(alice))["open"]["by_category"]

        assert found == [{"category_id": most["id"], "tasks": 2}, {"category_id": few["id"], "tasks": 1}]


# Task: T-381
class TestOverdue:
    async def test_overdue_count_includes_only_open_tasks_past_their_due_date(self, diary: Diary) -> None:
        for due_date in ("2026-03-09", "2026-03-10", "2026-03-10T11:59:59", "2026-03-10T12:00:01", None):
            await add_task(diary.client, due_date=due_date)
        await act(diary.client, await add_task(diary.client, due_date="2026-03-09"), "complete")
        await trash(diary.client, await add_task(diary.client, due_date="2026-03-09"))

        assert (await diary.at(NOON))["overdue"] == 2

    async def test_overdue_count_uses_the_users_day(self, diary: Diary) -> None:
        await add_task(diary.client, due_date="2026-03-09")
        await diary.client.patch("/me", json={"day_start": "13:00"})

        assert (await diary.at(NOON))["overdue"] == 0
        assert (await diary.at(NOON + timedelta(hours=1)))["overdue"] == 1


# Task: T-381
class TestStreak:
    @pytest.mark.parametrize(
        ("completed_on", "streak"),
        [
            ([], 0),
            ([10], 1),
            ([9], 1),
            ([8], 0),
            ([9, 10], 2),
            ([8, 9], 2),
            ([7, 8, 10], 1),
            ([6, 7, 8, 9, 10], 5),
            ([5, 7, 8, 9], 3),
            ([10, 11], 1),
        ],
    )
    async def test_streak_counts_consecutive_days_up_to_today_or_yesterday(
        self, diary: Diary, completed_on: list[int], streak: int
    ) -> None:
        await diary.completed(*(f"2026-03-{day:02}T08:00:00Z" for day in completed_on))

        assert await diary.streak_at(NOON) == streak

    async def test_streak_uses_the_users_days(self, diary: Diary) -> None:
        """Before 03:00 the user's day is still the previous one."""
        await diary.client.patch("/me", json={"time_zone": "America/New_York", "day_start": "03:00"})
        # Saturday evening, Sunday 02:30 and Monday 02:30; on Sunday the clocks went forward at 02:00.
        await diary.completed("2026-03-07T23:00:00Z", "2026-03-08T06:30:00Z", "2026-03-09T06:30:00Z")

        assert await diary.streak_at(datetime(2026, 3, 9, 6, 45, tzinfo=UTC)) == 2
        assert await diary.streak_at(datetime(2026, 3, 9, 7, 15, tzinfo=UTC)) == 2
        assert await diary.streak_at(datetime(2026, 3, 10, 7, 15, tzinfo=UTC)) == 0

    async def test_streak_counts_occurrences_and_excludes_trashed_tasks(self, diary: Diary) -> None:
        task = await add_task(diary.client, due_date="2026-03-08", recurrence={"rule": "FREQ=DAILY"})
        await act(diary.client, task, "complete", json={"completed_at": "2026-03-09T10:00:00Z"})
        [today] = await diary.completed("2026-03-10T10:00:00Z")
        with_both = await diary.streak_at(NOON)
        await trash(diary.client, today)

        assert (with_both, await diary.streak_at(NOON)) == (2, 1)

    async def test_streak_has_a_maximum_length(self, diary: Diary, database_url: str) -> None:
        user_id = (await diary.client.get("/me")).json()["id"]
        with psycopg.connect(database_url) as connection:
            connection.execute(
                "INSERT INTO tasks (user_id, id, title, status, priority, created_at, updated_at, completed_at,"
                " creation_digest)"
                " SELECT %s, gen_random_uuid(), n, 'completed', 'low', now(), now(),"
                " %s::timestamptz - n * interval '1 day', '' FROM generate_series(0, %s) AS n",
                (user_id, NOON, MAX_STREAK_DAYS + 10),
            )

        assert await diary.streak_at(NOON) == MAX_STREAK_DAYS
