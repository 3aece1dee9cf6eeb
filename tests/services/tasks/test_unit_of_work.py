"""Commands below HTTP: one round trip if a statement suffices, else two for the unit of work."""

from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import pytest

from support.service_harness import NOW, ServiceHarness, opened
from todo.database import IdempotencyKey, Session
from todo.kit.etags import Condition
from todo.models.recurrence import Recurrence
from todo.models.task_list import TaskQuery
from todo.models.tasks import TaskCreate, TaskReplace, TaskUpdate
from todo.models.values import Status
from todo.services import changes, tasks
from todo.services.task_list import page as task_list

LATER = NOW + timedelta(hours=1)


@pytest.fixture
async def scene(database_url: str) -> AsyncIterator[ServiceHarness]:
    async with opened(database_url, ServiceHarness) as new_scene:
        yield new_scene()


# Task: T-032
class TestOneRoundTrip:
    async def test_successful_operations_take_one_round_trip(self, scene: ServiceHarness) -> None:
        task_id = await scene.add()
        new = TaskCreate(title="Buy bread")
        counts = {
            "create": await scene.trips_of(tasks.create(scene.session, new, now=NOW)),
            "read": await scene.trips_of(tasks.read(scene.session, task_id)),
            "list": await scene.trips_of(task_list.page(scene.session, TaskQuery(status=[Status.pending]), now=NOW)),
            "replace": await scene.trips_of(tasks.replace(scene.session, task_id, TaskReplace(title="a"), now=LATER)),
            "change": await scene.trips_of(tasks.update(scene.session, task_id, TaskUpdate(title="b"), now=LATER)),
            "change nothing": await scene.trips_of(tasks.update(scene.session, task_id, TaskUpdate(), now=LATER)),
            "complete": await scene.trips_of(tasks.complete(scene.session, task_id, now=LATER)),
            "complete again": await scene.trips_of(tasks.complete(scene.session, task_id, now=LATER)),
            "reopen": await scene.trips_of(tasks.reopen(scene.session, task_id, now=LATER)),
            "trash": await scene.trips_of(tasks.trash(scene.session, task_id, now=LATER)),
            "remove": await scene.trips_of(tasks.delete(scene.session, task_id)),
        }

        assert counts == dict.fromkeys(counts, 1)

    async def test_operations_with_a_key_or_a_condition_take_one_round_trip(self, scene: ServiceHarness) -> None:
        async def trips_of(work: Callable[[Session], Any], key: str | None = None) -> int:
            session = scene.session
            session.idempotency_key = IdempotencyKey(key, b"") if key else None
            scene.trips.count = 0
            await work(session)
            return scene.trips.count

        task_id = await scene.add()
        current = Condition(frozenset([1]))
        new = TaskCreate(title="Buy bread")
        title = TaskUpdate(title="a")
        counts = {
            "replace if": await trips_of(
                lambda session: tasks.replace(session, task_id, TaskReplace(title="b"), now=LATER, if_match=current)
            ),
            "create only if new": await trips_of(
                lambda session: tasks.create(session, new, now=NOW, if_none_match=Condition(None))
            ),
            "create": await trips_of(lambda session: tasks.create(session, new, now=NOW), "create"),
            "create again": await trips_of(lambda session: tasks.create(session, new, now=NOW), "create"),
            "change": await trips_of(lambda session: tasks.update(session, task_id, title, now=LATER), "change"),
            "change again": await trips_of(lambda session: tasks.update(session, task_id, title, now=LATER), "change"),
            "change nothing": await trips_of(
                lambda session: tasks.update(session, task_id, TaskUpdate(), now=LATER), "change nothing"
            ),
            "complete": await trips_of(lambda session: tasks.complete(session, task_id, now=LATER), "complete"),
            "reopen": await trips_of(lambda session: tasks.reopen(session, task_id, now=LATER), "reopen"),
            "list unless": await trips_of(
                lambda session: task_list.page(session, TaskQuery(), now=NOW, if_none_match=current)
            ),
            "feed": await trips_of(lambda session: changes.since(session, 6, limit=100)),
        }

        assert counts == dict.fromkeys(counts, 1)


# Task: T-325
class TestTwoRoundTrips:
    async def test_changes_of_a_series_take_two_round_trips(self, scene: ServiceHarness) -> None:
        daily, weekly = (Recurrence(rule=f"FREQ={frequency}") for frequency in ("DAILY", "WEEKLY"))
        task_id = await scene.add(due_date="2026-03-10", recurrence=daily)
        counts = {}
        for name, work in {
            "create": scene.add(due_date="2026-03-10T09:00:00Z", recurrence=daily),
            "change the rule": tasks.update(scene.session, task_id, TaskUpdate(recurrence=weekly), now=NOW),
            "change more": tasks.update(scene.session, task_id, TaskUpdate(recurrence=daily, title="a"), now=NOW),
        }.items():
            counts[name] = await scene.trips_of(work)
        seen = await scene.trips_of(tasks.occurrences(scene.session, task_id, limit=100))

        assert counts == dict.fromkeys(counts, 2)
        assert seen == 1
