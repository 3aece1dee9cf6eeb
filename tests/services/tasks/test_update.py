"""Updating tasks below HTTP: timestamps and concurrent writers."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import psycopg
import pytest

from support.helpers import commit_when_awaited
from support.service_harness import NOW, ServiceHarness, opened
from todo.errors import PreconditionFailed
from todo.kit.etags import Condition
from todo.models.base import table_of
from todo.models.tasks import Task, TaskUpdate
from todo.models.values import Status
from todo.services import tasks

LATER = NOW + timedelta(hours=1)
LATER_TEXT = "2026-03-10T10:00:00Z"


@pytest.fixture
async def scene(database_url: str) -> AsyncIterator[ServiceHarness]:
    async with opened(database_url, ServiceHarness) as new_scene:
        yield new_scene()


CANCEL = "UPDATE tasks SET status = 'cancelled', completed_at = NULL WHERE user_id = %(user)s"
OPEN = "UPDATE tasks SET status = 'pending', completed_at = NULL WHERE user_id = %(user)s"


# Task: T-034
class TestUpdate:
    async def test_update_never_decreases_updated_at(self, scene: ServiceHarness) -> None:
        """Clocks differ between machines, and a writer that waited for the row lock has an earlier time."""
        task_id = await scene.add()
        first = await tasks.update(scene.session, task_id, TaskUpdate(title="first"), now=LATER)

        second = await tasks.update(scene.session, task_id, TaskUpdate(title="second"), now=NOW)

        assert second == {**first, "title": "second", "revision": 3}

    async def test_update_succeeds_if_the_task_was_deleted_and_recreated_while_it_waited(
        self, scene: ServiceHarness, database_url: str
    ) -> None:
        task_id = await scene.add()
        with psycopg.connect(database_url) as other:
            # The row is deleted and inserted again in one transaction: a waiting writer finds no row, then the new one.
            written = ", ".join(column.name for column in table_of(Task).c if column.computed is None)
            other.execute("CREATE TEMPORARY TABLE kept ON COMMIT DROP AS SELECT * FROM tasks WHERE id = %s", (task_id,))
            other.execute("DELETE FROM tasks WHERE id = %s", (task_id,))
            other.execute(f"INSERT INTO tasks ({written}) SELECT {written} FROM kept".encode())
            _, row = await asyncio.gather(
                asyncio.to_thread(commit_when_awaited, other),
                tasks.update(scene.session, task_id, TaskUpdate(title="Buy bread"), now=LATER),
            )

        assert (row["title"], row["updated_at"]) == ("Buy bread", LATER_TEXT)

    async def test_update_compares_the_revision_at_the_time_of_writing(
        self, scene: ServiceHarness, database_url: str
    ) -> None:
        task_id = await scene.add()
        with psycopg.connect(database_url) as other:
            other.execute(CANCEL, {"user": scene.user_id})
            commit = asyncio.create_task(asyncio.to_thread(commit_when_awaited, other))

            with pytest.raises(PreconditionFailed) as refused:
                await tasks.update(
                    scene.session, task_id, TaskUpdate(title="a"), now=LATER, if_match=Condition(frozenset([1]))
                )

            await commit
        assert refused.value.headers == {"ETag": '"2"'}
        assert refused.value.members == {"current": await tasks.read(scene.session, task_id)}

    async def test_update_is_retried_if_the_task_was_reopened_meanwhile(self, scene: ServiceHarness) -> None:
        task_id = await scene.add(status=Status.cancelled)
        scene.before_trips({2: lambda: scene.sql(OPEN)})

        row = await tasks.update(scene.session, task_id, TaskUpdate(status=Status.completed), now=LATER)

        assert (row["status"], row["completed_at"]) == ("completed", LATER_TEXT)
        assert scene.trips.count == 3
