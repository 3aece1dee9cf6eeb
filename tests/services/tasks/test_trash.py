"""The trash below HTTP."""

from collections.abc import AsyncIterator

import pytest

from support.service_harness import ServiceHarness, opened
from todo.services import tasks


@pytest.fixture
async def scene(database_url: str) -> AsyncIterator[ServiceHarness]:
    async with opened(database_url, ServiceHarness) as new_scene:
        yield new_scene()


# Task: T-036
class TestPermanentDeletion:
    async def test_deleted_id_can_be_used_again(self, scene: ServiceHarness) -> None:
        task_id = await scene.add()

        await tasks.delete(scene.session, task_id)

        assert await scene.add(id=task_id) == task_id
