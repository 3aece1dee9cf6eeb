"""Completing tasks below HTTP: repeated requests and concurrent writers."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import psycopg
import pytest

from support.helpers import commit_when_awaited
from support.service_harness import NOW, ServiceHarness, opened
from todo.errors import Forbidden, Invalid, NotFound
from todo.models.values import Status
from todo.services import tasks

LATER = NOW + timedelta(hours=1)


@pytest.fixture
async def scene(database_url: str) -> AsyncIterator[ServiceHarness]:
    async with opened(database_url, ServiceHarness) as new_scene:
        yield new_scene()


CANCEL = "UPDATE tasks SET status = 'cancelled', completed_at = NULL WHERE user_id = %(user)s"
DELETE = "DELETE FROM tasks WHERE user_id = %(user)s"


# Task: T-035
class TestComplete:
    async def test_repeated_completion_keeps_the_first_completion_time_until_reopening(
        self, scene: ServiceHarness
    ) -> None:
        task_id = await scene.add()

        first = await tasks.complete(scene.session, task_id, now=NOW)
        second = await tasks.complete(scene.session, task_id, now=LATER)
        reopened = await tasks.reopen(scene.session, task_id, now=LATER)
        third = await tasks.complete(scene.session, task_id, now=LATER + timedelta(hours=1))

        assert second == first
        assert (first["completed_at"], reopened["completed_at"], third["completed_at"]) == (
            "2026-03-10T09:00:00Z",
            None,
            "2026-03-10T11:00:00Z",
        )


# Task: T-035
class TestConcurrentWriters:
    async def test_completion_checks_the_status_at_the_time_of_writing(
        self, scene: ServiceHarness, database_url: str
    ) -> None:
        task_id = await scene.add()
        with psycopg.connect(database_url) as other:
            other.execute(CANCEL, {"user": scene.user_id})
            commit = asyncio.create_task(asyncio.to_thread(commit_when_awaited, other))

            with pytest.raises(Invalid) as refused:
                await tasks.complete(scene.session, task_id, now=LATER)

            await commit
        assert refused.value.code == "invalid_status_transition"
        assert (await tasks.read(scene.session, task_id))["status"] == "cancelled"

    async def test_completion_raises_not_found_if_the_task_is_deleted_meanwhile(self, scene: ServiceHarness) -> None:
        task_id = await scene.add(status=Status.cancelled)
        scene.before_trips({2: lambda: scene.sql(DELETE)})

        with pytest.raises(NotFound):
            await tasks.complete(scene.session, task_id, now=LATER)

    async def test_completion_raises_forbidden_if_the_account_is_deleted_meanwhile(self, scene: ServiceHarness) -> None:
        task_id = await scene.add(status=Status.cancelled)
        scene.before_trips({2: lambda: scene.sql('DELETE FROM "user" WHERE id = %(user)s')})

        with pytest.raises(Forbidden):
            await tasks.complete(scene.session, task_id, now=LATER)
