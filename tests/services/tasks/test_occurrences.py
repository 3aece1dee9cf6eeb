"""Occurrences: completing one takes one round trip, follows the rule and never uses stale precomputed dates."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, LiteralString
from uuid import UUID

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.helpers import LONG_TIMEOUTS, commit_when_awaited
from support.recurrence_rules import rule_texts
from support.service_harness import NOW, ServiceHarness, opened
from support.state_machines import RANDOM_RUNS
from support.users import sign_up
from todo.database import Database, IdempotencyKey, Session
from todo.errors import Invalid
from todo.kit.etags import Condition
from todo.models.profiles import ProfileUpdate
from todo.models.recurrence import Recurrence
from todo.models.tasks import Scope, TaskCreate, TaskUpdate
from todo.models.values import Status
from todo.services import changes, profiles, tasks
from todo.services.tasks.complete import CompleteTask
from todo.services.tasks.skip import SkipOccurrence
from todo.services.tasks.unit_of_work import run_unit_of_work


def repeating(rule: str = "FREQ=DAILY", **options: str) -> Recurrence:
    """Return a recurrence as a client sends it."""
    return Recurrence.model_validate({"rule": rule, **options}, strict=False)


DAILY = repeating()


class Series(ServiceHarness):
    """A scene with recurring tasks."""

    async def add(self, due_date: str = "2026-03-10", recurrence: Recurrence | None = DAILY, **fields: Any) -> UUID:
        """Create a recurring task and return its id."""
        return await super().add(due_date=due_date, recurrence=recurrence, **fields)

    async def move_to(self, time_zone: str) -> None:
        """Set the user's time zone."""
        await profiles.change(self.session, ProfileUpdate(time_zone=time_zone), now=NOW)

    def next_occurrences(self, task_id: UUID) -> Any:
        """Return the precomputed next occurrences of a task."""
        [row] = self.sql("SELECT next_occurrences FROM tasks WHERE user_id = %(user)s AND id = %(id)s", id=task_id)
        return row["next_occurrences"]


@pytest.fixture
async def scene(database_url: str) -> AsyncIterator[Series]:
    async with opened(database_url, Series) as new_scene:
        yield new_scene()


# Task: T-327
class TestOneRoundTrip:
    @pytest.mark.parametrize("names", [True, False])
    @pytest.mark.parametrize("due_date", ["2026-03-10", "2026-03-10T09:00:00", "2026-03-10T08:00:00Z"])
    async def test_completion_takes_one_round_trip_until_the_precomputed_dates_are_used_up(
        self, scene: Series, due_date: str, *, names: bool
    ) -> None:
        task_id = await scene.add(due_date)
        counts = []
        for day in range(23):
            open_one = (await tasks.read(scene.session, task_id))["due_date"] if names else None
            at = NOW + timedelta(days=day)
            counts.append(await scene.trips_of(tasks.complete(scene.session, task_id, now=at, occurrence=open_one)))

        assert counts == [*([1] * 10), 3, *([1] * 10), 3, 1]

    async def test_keys_conditions_updates_and_skips_take_one_round_trip(self, scene: Series) -> None:
        keyed = scene.session
        keyed.idempotency_key = IdempotencyKey("complete", b"")
        again = scene.session
        again.idempotency_key = IdempotencyKey("complete", b"")
        task_id = await scene.add(status=Status.in_progress)
        row = await tasks.read(scene.session, task_id)
        completed = TaskUpdate(status=Status.completed)
        counts = {
            "complete if": await scene.trips_of(
                tasks.complete(scene.session, task_id, now=NOW, if_match=Condition(frozenset([row["revision"]])))
            ),
            "complete again": await scene.trips_of(
                tasks.complete(scene.session, task_id, now=NOW, occurrence="2026-03-10")
            ),
            "complete with a key": await scene.trips_of(tasks.complete(keyed, task_id, now=NOW)),
            "the same again": await scene.trips_of(tasks.complete(again, task_id, now=NOW)),
            "change": await scene.trips_of(tasks.update(scene.session, task_id, completed, now=NOW)),
            "skip": await scene.trips_of(tasks.skip(scene.session, task_id, now=NOW)),
            "skip by name": await scene.trips_of(tasks.skip(scene.session, task_id, now=NOW, occurrence="2026-03-14")),
        }

        assert counts == dict.fromkeys(counts, 1)
        assert (await tasks.read(scene.session, task_id))["due_date"] == "2026-03-15"

    @pytest.mark.parametrize(
        ("fields", "trips"),
        [
            ({"due_date": "2026-03-10"}, 1),
            ({"due_date": "2026-03-10T09:00:00", "start_date": "2026-03-09"}, 1),
            ({"due_date": "2026-03-10T08:00:00Z", "due_time_zone": "Europe/Berlin"}, 1),
            ({"due_date": "2026-03-10T08:00:00Z"}, 2),
            ({"due_date": "2026-03-10T09:00:00", "start_date": "2026-03-10T08:00:00Z"}, 2),
            ({"due_date": "2026-03-10", "recurrence": repeating("FREQ=DAILY;UNTIL=20260401T000000Z")}, 2),
        ],
    )
    async def test_creation_takes_one_round_trip_unless_it_depends_on_the_users_time_zone(
        self, scene: Series, fields: dict[str, Any], trips: int
    ) -> None:
        assert await scene.trips_of(scene.add(**fields)) == trips

    @pytest.mark.parametrize(
        ("recurrence", "parent"),
        [
            (repeating(**{"from": "completion"}), False),
            (repeating("FREQ=DAILY;COUNT=1"), False),
            (DAILY, True),
        ],
    )
    async def test_completion_takes_three_round_trips_if_the_rule_or_the_subtree_is_needed(
        self, scene: Series, recurrence: Recurrence, *, parent: bool
    ) -> None:
        task_id = await scene.add(recurrence=recurrence)
        if parent:
            await scene.add(recurrence=None, parent_id=task_id)

        assert await scene.trips_of(tasks.complete(scene.session, task_id, now=NOW)) == 3


CLOSED = "SELECT due_date, revision FROM tasks WHERE user_id = %(user)s AND recurrence IS NULL ORDER BY revision"


# Task: T-327
class TestCompletedCopy:
    async def test_completed_copy_precedes_the_next_occurrence_in_the_change_log(self, scene: Series) -> None:
        task_id = await scene.add()

        row = await tasks.complete(scene.session, task_id, now=NOW)

        feed = await changes.since(scene.session, 1, limit=9)
        told = [(change["revision"], change["operation"], change["id"] == str(task_id)) for change in feed.changes]
        assert told == [(2, "create", False), (3, "update", True)]
        assert row["revision"] == 3
        assert scene.sql(CLOSED) == [{"due_date": "2026-03-10", "revision": 2}]

    async def test_completion_closes_only_the_occurrence_left_by_a_concurrent_writer(
        self, scene: Series, database_url: str
    ) -> None:
        """A writer that waited for the row lock closes the occurrence that is open by then, and only that one."""
        task_id = await scene.add()
        with psycopg.connect(database_url) as other:
            step: LiteralString = (
                "due_date = '2026-03-11', recurrence_due = '2026-03-11', next_occurrences = next_occurrences - 0"
            )
            other.execute(f"UPDATE tasks SET {step}, title = 'a' WHERE id = %s", (task_id,))
            commit = asyncio.create_task(asyncio.to_thread(commit_when_awaited, other))

            row = await tasks.complete(scene.session, task_id, now=NOW)

            await commit
        assert (row["title"], row["due_date"]) == ("a", "2026-03-12")
        assert [each["due_date"] for each in scene.sql(CLOSED)] == ["2026-03-11"]

    async def test_concurrent_completions_close_each_occurrence_once(self, database_url: str) -> None:
        database = Database(database_url, LONG_TIMEOUTS)
        await database.open()
        user_id = sign_up(database_url, "alice")
        body = TaskCreate(title="a", due_date="2026-03-10", recurrence=repeating(missed="keep"))
        row, _ = await tasks.create(Session(database, user_id), body, now=NOW)
        try:
            await asyncio.gather(
                *(
                    tasks.complete(Session(database, user_id), UUID(row["id"]), now=NOW, occurrence=named)
                    for named in [*(["2026-03-10"] * 5), *([None] * 5)]
                ),
                return_exceptions=True,
            )
        finally:
            await database.close()

        with psycopg.connect(database_url) as connection:
            closed = connection.execute(
                "SELECT due_date, count(*) FROM tasks WHERE user_id = %s AND recurrence IS NULL GROUP BY 1 ORDER BY 1",
                (user_id,),
            ).fetchall()
        assert closed == [((date(2026, 3, 10) + timedelta(days=day)).isoformat(), 1) for day in range(len(closed))]
        assert len(closed) >= 5


async def _undo_last(scene: Series, task_id: UUID) -> None:
    await changes.undo(scene.session, (await tasks.read(scene.session, task_id))["revision"], now=NOW)


def _sql_update(assignments: LiteralString) -> Callable[[Series, UUID], Awaitable[None]]:
    async def write(scene: Series, task_id: UUID) -> None:
        scene.sql(f"UPDATE tasks SET {assignments} WHERE user_id = %(user)s AND id = %(id)s", id=task_id)

    return write


async def _delete_and_undo(scene: Series, task_id: UUID) -> None:
    scene.sql("DELETE FROM tasks WHERE user_id = %(user)s AND id = %(id)s", id=task_id)
    await changes.undo(scene.session, await changes.latest(scene.session), now=NOW)


# Task: T-327
class TestStaleNextOccurrences:
    @pytest.mark.parametrize(
        ("write", "due_date"),
        [
            (_undo_last, "2026-03-12"),
            (_delete_and_undo, "2026-03-13"),
            (_sql_update("due_date = '2026-04-01'"), "2026-04-02"),
            (_sql_update("due_time_zone = 'Europe/Berlin'"), "2026-03-13"),
            (_sql_update("""recurrence = jsonb_set(recurrence, '{rule}', '"FREQ=DAILY;INTERVAL=5"')"""), "2026-03-15"),
            (
                _sql_update("recurrence_anchor = '2026-04-01', recurrence_due = '2026-04-01', due_date = '2026-04-01'"),
                "2026-04-02",
            ),
            (_sql_update("recurrence_number = 7"), "2026-03-13"),
            (_sql_update("recurrence_start = '2026-03-01'"), "2026-03-13"),
            (_sql_update("recurrence_due = '2026-05-01'"), "2026-05-02"),
        ],
    )
    async def test_next_occurrences_are_discarded_when_their_inputs_change(
        self, scene: Series, write: Callable[[Series, UUID], Awaitable[None]], due_date: str
    ) -> None:
        task_id = await scene.add()
        for day in (0, 1):
            await tasks.complete(scene.session, task_id, now=NOW + timedelta(days=day))

        await write(scene, task_id)

        assert scene.next_occurrences(task_id) is None
        row = await tasks.complete(scene.session, task_id, now=NOW)
        assert row["due_date"] == due_date
        assert scene.next_occurrences(task_id)[0][0] == due_date

    async def test_next_occurrences_are_recomputed_by_every_change_of_the_series(self, scene: Series) -> None:
        task_id = await scene.add()
        found = []
        for body in (
            TaskUpdate(due_date="2026-03-12", scope=Scope.occurrence),
            TaskUpdate(due_date="2026-04-01"),
            TaskUpdate(recurrence=repeating("FREQ=DAILY;INTERVAL=2;COUNT=4")),
            TaskUpdate(start_date="2026-03-30"),
        ):
            await tasks.update(scene.session, task_id, body, now=NOW)
            found.append(scene.next_occurrences(task_id)[:2])
        await tasks.update(scene.session, task_id, TaskUpdate(recurrence=None), now=NOW)

        assert found == [
            [["2026-03-12"], ["2026-03-13", None, None]],
            [["2026-04-01"], ["2026-04-02", None, None]],
            [["2026-04-01"], ["2026-04-03", None, 2]],
            [["2026-04-01"], ["2026-04-03", "2026-04-01", 2]],
        ]
        assert scene.next_occurrences(task_id) is None

    @pytest.mark.parametrize("missed", ["skip", "keep"])
    async def test_completion_ignores_next_occurrences_of_another_time_zone(self, scene: Series, missed: str) -> None:
        """The series repeats daily at one wall-clock time; after the change to summer time that is another instant."""
        await scene.move_to("Europe/Berlin")
        task_id = await scene.add("2026-03-28T08:00:00Z", repeating(missed=missed))
        await scene.move_to("America/New_York")

        row = await tasks.complete(scene.session, task_id, now=NOW)

        assert row["due_date"] == "2026-03-29T08:00:00Z"
        assert scene.next_occurrences(task_id)[1] == ["2026-03-30T08:00:00Z", None, None, "America/New_York"]

    async def test_skip_ignores_next_occurrences_of_another_time_zone(self, scene: Series) -> None:
        await scene.move_to("Europe/Berlin")
        task_id = await scene.add("2026-03-28T08:00:00Z")
        await scene.move_to("America/New_York")

        assert (await tasks.skip(scene.session, task_id, now=NOW))["due_date"] == "2026-03-29T08:00:00Z"

    async def test_completion_selects_the_next_occurrence_by_the_users_current_time_zone(self, scene: Series) -> None:
        task_id = await scene.add("2026-03-10T20:00:00")
        await scene.move_to("Pacific/Kiritimati")

        # There it is 20:30 on the 11th.
        at = datetime(2026, 3, 11, 6, 30, tzinfo=UTC)
        assert await scene.trips_of(tasks.complete(scene.session, task_id, now=at)) == 1
        assert (await tasks.read(scene.session, task_id))["due_date"] == "2026-03-12T20:00:00"


DAYS = [
    date(2026, 1, 31),
    date(2024, 2, 29),
    date(2026, 3, 7),
    date(2026, 3, 27),
    date(2026, 10, 24),
    date(2011, 12, 28),
]
TIMES = ["", "T00:00:00", "T01:30:00", "T02:30:00", "T09:00:00", "T23:30:00"]
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "America/Sao_Paulo"]


@st.composite
def dues(draw: st.DrawFn) -> str:
    day = draw(st.sampled_from(DAYS)) + timedelta(days=draw(st.integers(0, 3)))
    time_of_day = draw(st.sampled_from(TIMES))
    return f"{day}{time_of_day}{draw(st.sampled_from(['', 'Z'])) if time_of_day else ''}"


ENDS = st.sampled_from(["", "", ";COUNT=1", ";COUNT=4", ";COUNT=30", ";UNTIL=20261101", ";UNTIL=20260329T013000Z"])
COMMON = st.sampled_from(["FREQ=DAILY", "FREQ=WEEKLY", "FREQ=MONTHLY", "FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR"])
RECURRENCES = st.builds(
    lambda rule, end, missed, month_end: repeating(rule + end, missed=missed, month_end=month_end),
    COMMON | rule_texts(most_interval=3),
    ENDS,
    st.sampled_from(["skip", "keep"]),
    st.sampled_from(["clamp", "skip"]),
)
LATER = st.builds(
    lambda days, seconds: timedelta(days=days, seconds=seconds),
    st.integers(-2, 9),
    st.sampled_from([-3600, -1, 0, 1, 3600, 43200]),
)
Step = tuple[str, Any]
STEPS: st.SearchStrategy[list[Step]] = st.lists(
    st.one_of(
        st.tuples(st.just("complete"), LATER),
        st.tuples(st.just("complete"), LATER),
        st.tuples(st.just("skip"), st.none()),
        st.tuples(st.just("move alone"), dues()),
        st.tuples(st.just("move away"), st.sampled_from(ZONES)),
    ),
    min_size=1,
    max_size=6,
)


@dataclass(frozen=True)
class Scenario:
    """A series, the time zone of its user, and the steps applied to it."""

    zone: str
    day_start: str
    due_date: str
    start_date: str | None
    due_time_zone: str | None
    recurrence: Recurrence
    steps: list[Step]


SCENARIOS = st.builds(
    Scenario,
    zone=st.sampled_from(ZONES),
    day_start=st.sampled_from(["00:00", "03:00", "02:30"]),
    due_date=dues(),
    start_date=st.none() | dues(),
    due_time_zone=st.none() | st.sampled_from(ZONES),
    recurrence=RECURRENCES,
    steps=STEPS,
)

# All columns of a series, except its ids and those that the precomputed dates may change.
SERIES = """
SELECT id = series_id AS is_open, due_at,
       to_jsonb(t) - '{id,series_id,trash_id,position,revision,next_occurrences,creation_digest}'::text[] AS columns
FROM tasks AS t WHERE user_id = %(user)s AND series_id = %(id)s ORDER BY revision
"""
LONG_AFTER = datetime(2100, 1, 1, tzinfo=UTC)


# Task: T-327
class TestPrecomputedDates:
    async def test_precomputed_dates_and_the_rule_produce_the_same_series(self, database_url: str) -> None:
        """One twin uses the precomputed dates where possible, the other one always evaluates its rule."""
        trips: Counter[int] = Counter()
        async with opened(database_url, Series) as new_scene:
            loop = asyncio.get_running_loop()

            @settings(
                max_examples=int(RANDOM_RUNS or 15),
                derandomize=RANDOM_RUNS is None,
                deadline=None,
                database=None,
                suppress_health_check=list(HealthCheck),
            )
            @given(SCENARIOS)
            def check(scenario: Scenario) -> None:
                asyncio.run_coroutine_threadsafe(_run_scenario(new_scene(), scenario, trips), loop).result()

            await asyncio.to_thread(check)

        # Most steps took one round trip; otherwise this test would show nothing.
        assert trips[1] > trips[3] > 0


async def _run_scenario(scene: Series, scenario: Scenario, trips: Counter[int]) -> None:
    profile = ProfileUpdate(time_zone=scenario.zone, day_start=scenario.day_start)
    await profiles.change(scene.session, profile, now=NOW)
    twins = [await _create_series(scene, scenario) for _ in range(2)]
    if None in twins:
        return
    one, other = (twin for twin in twins if twin is not None)
    for name, value in scenario.steps:
        [*_, open_one] = [row for row in scene.sql(SERIES, id=one) if row["is_open"]]
        if open_one["columns"]["status"] != "pending":
            return
        if name == "move away":
            await scene.move_to(value)
        elif name == "move alone":
            for task_id in (one, other):
                body = TaskUpdate(due_date=value, scope=Scope.occurrence)
                await tasks.update(scene.session, task_id, body, now=LONG_AFTER)
        else:
            at = min(open_one["due_at"] + (value or timedelta()), LONG_AFTER)
            skips = name == "skip"
            trips[
                await scene.trips_of(
                    tasks.skip(scene.session, one, now=LONG_AFTER)
                    if skips
                    else tasks.complete(scene.session, one, now=LONG_AFTER, at=at)
                )
            ] += 1
            step = SkipOccurrence() if skips else CompleteTask(LONG_AFTER, at)
            await run_unit_of_work(scene.session, other, step, now=LONG_AFTER)
        assert scene.sql(SERIES, id=one) == scene.sql(SERIES, id=other)
        # The remaining precomputed dates equal those that would be computed now.
        left, anew = (scene.next_occurrences(task_id) or [] for task_id in (one, other))
        assert [each[:3] for each in left[1:]] == [each[:3] for each in anew[1 : len(left)]]


async def _create_series(scene: Series, scenario: Scenario) -> UUID | None:
    """Create a series whose first due date matches its rule; ``None`` if the rule never occurs."""
    fields = {"due_time_zone": scenario.due_time_zone, "start_date": scenario.start_date}
    task_id = await scene.add(scenario.due_date, None, **fields)
    try:
        await tasks.update(scene.session, task_id, TaskUpdate(recurrence=scenario.recurrence), now=NOW)
    except Invalid:
        return None
    return task_id
