"""Due and start dates over HTTP: every form is returned as it was sent, and resolves to the correct instant."""

from typing import Any

import psycopg
import pytest
from httpx import AsyncClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.series import due_at, replace, set_time_zone
from support.subtrees import act, read
from support.tasks import (
    DUE_EXPECTED,
    NO_SUCH_DATE,
    NO_SUCH_TIME,
    NOT_TEXT,
    ZONE_EXPECTED,
    add_task,
    invalid,
    problem_of,
    tasks_of,
)
from todo.kit.dates import canonical_due

NEW_YORK = "America/New_York"
# In the first zone the year 1 begins before it does in UTC; in the second, 9999 ends after it does in UTC.
EDGES = ["Pacific/Kiritimati", "Etc/GMT+12", "UTC"]

NO_TEXTS: list[Any] = [0, 0.0, False, 1773133200, [], {}]

# Due date, the user's time zone, due time zone, and the resulting instant.
INSTANTS: list[tuple[str, str, str | None, str]] = [
    ("2026-03-10", "UTC", None, "2026-03-10T23:59:59.999999Z"),
    ("2026-03-10", "Pacific/Honolulu", None, "2026-03-11T09:59:59.999999Z"),
    ("2026-03-10", "Pacific/Kiritimati", None, "2026-03-10T09:59:59.999999Z"),
    # A due time zone applies to a time of day; a date has none.
    ("2026-03-10", "Asia/Tokyo", "Pacific/Honolulu", "2026-03-10T14:59:59.999999Z"),
    ("2026-03-08", NEW_YORK, None, "2026-03-09T03:59:59.999999Z"),
    # The clock change skips midnight.
    ("2026-04-23", "Africa/Cairo", None, "2026-04-23T21:59:59.999999Z"),
    ("2026-03-10T09:00:00", "UTC", None, "2026-03-10T09:00:00Z"),
    ("2026-03-10T09:00:00", "Asia/Kolkata", None, "2026-03-10T03:30:00Z"),
    ("2026-03-10T09:00:00", "Asia/Tokyo", "Europe/Berlin", "2026-03-10T08:00:00Z"),
    ("2026-03-29T02:30:00", "Europe/Berlin", None, "2026-03-29T01:30:00Z"),
    ("2026-03-29T02:30:00", "UTC", "Europe/Berlin", "2026-03-29T01:30:00Z"),
    ("2026-11-01T01:30:00", NEW_YORK, None, "2026-11-01T05:30:00Z"),
    ("2026-10-25T02:30:00.5", "UTC", "Europe/Berlin", "2026-10-25T00:30:00.5Z"),
    ("2026-03-10T08:00:00Z", "Asia/Tokyo", "Europe/Berlin", "2026-03-10T08:00:00Z"),
    ("0001-01-01T00:00:00Z", "Asia/Tokyo", None, "0001-01-01T00:00:00Z"),
    ("9999-12-31T23:59:59.999999Z", NEW_YORK, None, "9999-12-31T23:59:59.999999Z"),
]


async def stored_instants(client: AsyncClient, url: str, task: dict[str, Any]) -> tuple[str | None, ...]:
    """Return the instants at which a task is due and starts, as stored in the database."""
    user_id = (await client.get("/me")).json()["id"]
    text = "to_char({0} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US')".format
    with psycopg.connect(url) as connection:
        [row] = connection.execute(
            f"SELECT {text('due_at')}, {text('start_at')} FROM tasks WHERE user_id = %s AND id = %s".encode(),
            (user_id, task["id"]),
        ).fetchall()
    return tuple(instant and f"{instant.rstrip('0').rstrip('.')}Z" for instant in row)


# Task: T-311
# Task: T-312
class TestDueDates:
    @pytest.mark.parametrize(("form", "zone", "pinned", "instant"), INSTANTS)
    async def test_due_dates_are_returned_as_sent_and_resolve_to_the_correct_instant(
        self, alice: AsyncClient, database_url: str, form: str, zone: str, pinned: str | None, instant: str
    ) -> None:
        await set_time_zone(alice, zone)

        task = await add_task(alice, due_date=form, start_date=form, due_time_zone=pinned)

        assert (task["due_date"], task["start_date"], task["due_time_zone"]) == (form, form, pinned)
        assert await read(alice, task) == task
        assert await due_at(alice, task) == instant
        assert await stored_instants(alice, database_url, task) == (instant, instant)

    @pytest.mark.parametrize("zone", ["Pacific/Honolulu", "Pacific/Kiritimati"])
    async def test_all_day_dates_are_the_same_in_every_time_zone(self, alice: AsyncClient, zone: str) -> None:
        await set_time_zone(alice, zone)
        task = await add_task(alice, due_date="2026-03-10", start_date="2026-03-09")

        seen = []
        for elsewhere in ("UTC", "Pacific/Kiritimati", "Pacific/Honolulu", "Asia/Kathmandu"):
            await set_time_zone(alice, elsewhere)
            seen.append(await read(alice, task))

        assert seen == [task] * 4

    async def test_all_day_task_is_due_at_the_end_of_the_users_day(self, alice: AsyncClient, database_url: str) -> None:
        await set_time_zone(alice, "Europe/Berlin", day_start="03:00")

        task = await add_task(alice, due_date="2026-03-10")

        assert await due_at(alice, task) == "2026-03-11T01:59:59.999999Z"
        assert await stored_instants(alice, database_url, task) == ("2026-03-11T01:59:59.999999Z", None)

    @pytest.mark.parametrize("zone", EDGES)
    @pytest.mark.parametrize("rule", [None, "FREQ=DAILY", "FREQ=YEARLY;UNTIL=99991231"])
    @pytest.mark.parametrize(
        "form",
        [
            *("0001-01-01", "9999-12-31", "0001-01-01T00:00:00", "9999-12-31T23:59:59"),
            *("0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"),
        ],
    )
    async def test_dates_at_the_limits_of_the_calendar_are_accepted(
        self, alice: AsyncClient, form: str, rule: str | None, zone: str
    ) -> None:
        await set_time_zone(alice, zone)
        task = await add_task(alice, due_date=form, start_date=form, recurrence=rule and {"rule": rule})

        answers = [
            await alice.get(f"/tasks/{task['id']}/occurrences"),
            await alice.patch(f"/tasks/{task['id']}", json={"start_date": None, "due_time_zone": zone}),
            await alice.patch(f"/tasks/{task['id']}", json={"recurrence": {"rule": "FREQ=MONTHLY"}}),
            await alice.get("/tasks?sort=due_date"),
            await alice.post(f"/tasks/{task['id']}/skip"),
            await alice.post(f"/tasks/{task['id']}/complete", json={"completed_at": "0001-01-01T00:00:00Z"}),
            await alice.post(f"/tasks/{task['id']}/complete"),
        ]

        assert task["due_date"] == form
        assert [answer.status_code for answer in answers if answer.status_code not in (200, 422)] == []

    @pytest.mark.parametrize("field", ["due_date", "start_date"])
    @pytest.mark.parametrize(
        ("value", "detail"),
        [
            *(
                (text, DUE_EXPECTED)
                for text in ("", " ", "0", "25:99", "now", "2026-03-10T", "1773133200", "10.03.2026")
            ),
            *(
                (text, DUE_EXPECTED)
                for text in ("2026-03-10 09:00", "2026-03-10T09", "2026-03-10T09:00[Europe/Berlin]")
            ),
            *((text, NO_SUCH_DATE) for text in ("2026-02-30", "2026-02-30T09:00", "0000-01-01", "2026-13-01")),
            *((text, NO_SUCH_TIME) for text in ("2026-03-10T25:99", "2026-03-10T24:00", "2026-03-10T23:59:60")),
            *((value, NOT_TEXT) for value in NO_TEXTS),
        ],
    )
    async def test_invalid_due_dates_are_rejected_and_change_nothing(
        self, alice: AsyncClient, field: str, value: Any, detail: str
    ) -> None:
        task = await add_task(alice, **{field: "2026-03-10"})

        answers = [
            await alice.post("/tasks", json={"title": "Buy milk", field: value}),
            await alice.put(f"/tasks/{task['id']}", json={"title": "Buy milk", field: value}),
            await alice.patch(f"/tasks/{task['id']}", json={field: value}),
        ]

        assert [problem_of(answer) for answer in answers] == [invalid((f"/body/{field}", detail))] * 3
        assert await tasks_of(alice) == [task]

    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        form=st.one_of(
            st.dates().map(str),
            st.datetimes().map(lambda shown: canonical_due(shown.isoformat())),
            st.datetimes().map(lambda shown: canonical_due(f"{shown.isoformat()}Z")),
        ),
        zone=st.sampled_from([*EDGES, NEW_YORK, "Europe/Berlin", "Pacific/Apia", "Africa/Monrovia"]),
    )
    async def test_due_instant_in_the_database_equals_that_of_the_preview(
        self, alice: AsyncClient, database_url: str, form: str, zone: str
    ) -> None:
        task = await add_task(alice, due_date=form, due_time_zone=zone)

        [at, _] = await stored_instants(alice, database_url, task)

        # The API has no instants outside the years 1 to 9999.
        is_within = at is not None and len(at.partition("-")[0]) == 4 and "0002" <= form[:4] <= "9998"
        assert (await read(alice, task))["due_date"] == form
        assert not is_within or await due_at(alice, task) == at


# Task: T-311
class TestDueTimeZone:
    async def test_due_time_zone_is_spelled_as_in_the_iana_database(self, alice: AsyncClient) -> None:
        task = await add_task(alice, due_date="2026-03-10T09:00:00", due_time_zone="america/new_york")

        assert task["due_time_zone"] == NEW_YORK

    @pytest.mark.parametrize("zone", ["", "Mars/Olympus", "+01:00", "UTC+1", "localtime", "../../etc/passwd", "CEST"])
    async def test_unknown_due_time_zone_is_rejected(self, alice: AsyncClient, zone: str) -> None:
        task = await add_task(alice)

        answers = [
            await alice.post("/tasks", json={"title": "Buy milk", "due_time_zone": zone}),
            await alice.patch(f"/tasks/{task['id']}", json={"due_time_zone": zone}),
        ]

        assert [problem_of(each) for each in answers] == [invalid(("/body/due_time_zone", ZONE_EXPECTED))] * 2

    async def test_due_time_zone_moves_only_wall_clock_times(self, alice: AsyncClient, database_url: str) -> None:
        task = await add_task(alice, due_date="2026-03-10T09:00:00", start_date="2026-03-10T08:00:00Z")

        pinned = (await alice.patch(f"/tasks/{task['id']}", json={"due_time_zone": NEW_YORK})).json()

        stamps = {"updated_at": pinned["updated_at"], "revision": 2}
        assert pinned == {**task, "due_time_zone": NEW_YORK, **stamps}
        assert await stored_instants(alice, database_url, task) == ("2026-03-10T13:00:00Z", "2026-03-10T08:00:00Z")


# Task: T-311
class TestUserMovesToAnotherTimeZone:
    async def test_floating_dates_follow_the_users_time_zone(self, alice: AsyncClient, database_url: str) -> None:
        forms: list[tuple[str, str | None, str]] = [
            ("2026-03-10", None, "2026-03-11T03:59:59.999999Z"),
            ("2026-03-10", "Asia/Tokyo", "2026-03-11T03:59:59.999999Z"),
            ("2026-03-10T09:00:00", None, "2026-03-10T13:00:00Z"),
            ("2026-03-10T09:00:00", "Asia/Tokyo", "2026-03-10T00:00:00Z"),
            ("2026-03-10T09:00:00Z", None, "2026-03-10T09:00:00Z"),
        ]
        both = [await add_task(alice, due_date=form, start_date=form, due_time_zone=zone) for form, zone, _ in forms]
        starting = [await add_task(alice, start_date=form, due_time_zone=zone) for form, zone, _ in forms]

        await set_time_zone(alice, NEW_YORK)

        moved = [instant for _, _, instant in forms]
        assert [await stored_instants(alice, database_url, task) for task in both] == [(at, at) for at in moved]
        assert [await stored_instants(alice, database_url, task) for task in starting] == [(None, at) for at in moved]

    async def test_changing_the_users_time_zone_logs_no_task_change(self, alice: AsyncClient) -> None:
        task = await add_task(alice, due_date="2026-03-10T09:00:00")

        await set_time_zone(alice, NEW_YORK)

        changes = (await alice.get("/changes", params={"since": task["revision"]})).json()["changes"]
        assert await read(alice, task) == task
        assert [change["type"] for change in changes] == ["profile"]

    async def test_closed_task_keeps_its_due_instant_until_it_is_reopened(
        self, alice: AsyncClient, database_url: str
    ) -> None:
        task = await add_task(alice, due_date="2026-03-10T09:00:00", status="completed")
        await set_time_zone(alice, NEW_YORK)
        done = await stored_instants(alice, database_url, task)

        await act(alice, task, "reopen")

        assert done == ("2026-03-10T09:00:00Z", None)
        assert await stored_instants(alice, database_url, task) == ("2026-03-10T13:00:00Z", None)

    async def test_trashed_tasks_follow_the_users_time_zone(self, alice: AsyncClient, database_url: str) -> None:
        task = await add_task(alice, due_date="2026-03-10T09:00:00")
        await alice.delete(f"/tasks/{task['id']}")

        await set_time_zone(alice, NEW_YORK)

        assert await stored_instants(alice, database_url, task) == ("2026-03-10T13:00:00Z", None)


# Task: T-311
# Task: T-034
class TestUnrelatedChanges:
    DATES: tuple[dict[str, str | None], ...] = (
        {"due_date": "2026-03-10", "start_date": "2026-03-09", "due_time_zone": None},
        {"due_date": "2026-03-29T02:30:00", "start_date": "2026-03-28T00:00:00", "due_time_zone": "Europe/Berlin"},
        {"due_date": "2026-03-10T00:00:00Z", "start_date": None, "due_time_zone": NEW_YORK},
    )

    @pytest.mark.parametrize("dates", DATES)
    async def test_changes_of_other_fields_keep_the_dates(
        self, alice: AsyncClient, database_url: str, dates: dict[str, str | None]
    ) -> None:
        await set_time_zone(alice, "Asia/Tokyo")
        task = await add_task(alice, **dates)
        before = await stored_instants(alice, database_url, task)

        await alice.patch(f"/tasks/{task['id']}", json={})
        await alice.patch(f"/tasks/{task['id']}", json={"title": "Buy bread", "priority": "high"})
        await replace(alice, await read(alice, task), status="in_progress")
        await act(alice, task, "complete")
        await act(alice, task, "reopen")

        now = await read(alice, task)
        changed = {name: now[name] for name in ("updated_at", "revision")}
        assert now == {**task, "title": "Buy bread", "priority": "high", **changed}
        assert await stored_instants(alice, database_url, task) == before

    @pytest.mark.parametrize(
        "change",
        [
            {"due_date": None},
            {"start_date": None},
            {"due_time_zone": None},
            {"due_date": "2026-03-11"},
            {"start_date": "2026-03-01T09:00:00Z"},
        ],
    )
    async def test_changing_one_date_keeps_the_others(self, alice: AsyncClient, change: dict[str, str | None]) -> None:
        task = await add_task(
            alice, due_date="2026-03-10T09:00:00", start_date="2026-03-09", due_time_zone="Europe/Berlin"
        )

        changed = (await alice.patch(f"/tasks/{task['id']}", json=change)).json()

        assert changed == {**task, **change, "updated_at": changed["updated_at"], "revision": 2}

    async def test_clearing_the_dates_clears_the_stored_instants(self, alice: AsyncClient, database_url: str) -> None:
        task = await add_task(alice, due_date="2026-03-10", start_date="2026-03-09")

        await alice.patch(f"/tasks/{task['id']}", json={"due_date": None, "start_date": None})

        assert await stored_instants(alice, database_url, task) == (None, None)
