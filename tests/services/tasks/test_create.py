"""Creating tasks below HTTP: timestamps, repeated requests, and concurrent writers."""

from collections.abc import AsyncIterator
from datetime import timedelta
from hashlib import blake2b
from uuid import UUID

import psycopg
import pytest

from support.service_harness import NOW, ServiceHarness, opened
from todo.database.errors import ConnectionLost
from todo.errors import Conflict
from todo.kit.etags import Condition
from todo.kit.ids import uuid7
from todo.models.task_list import TaskQuery
from todo.models.tasks import TaskCreate
from todo.models.values import Priority, Status
from todo.services import tasks
from todo.services.task_list import page as task_list

LATER = NOW + timedelta(hours=1)
LATER_TEXT = "2026-03-10T10:00:00Z"


@pytest.fixture
async def scene(database_url: str) -> AsyncIterator[ServiceHarness]:
    async with opened(database_url, ServiceHarness) as new_scene:
        yield new_scene()


INSERT = (
    "INSERT INTO tasks (user_id, id, title, status, priority, created_at, updated_at, creation_digest)"
    " VALUES (%(user)s, %(id)s, 'a', 'pending', 'low', now(), now(), '')"
)
DELETE = "DELETE FROM tasks WHERE user_id = %(user)s"


# Task: T-031
class TestCreate:
    async def test_create_uses_the_given_time_for_timestamps_and_id(self, scene: ServiceHarness) -> None:
        row, is_new = await tasks.create(scene.session, TaskCreate(title="a", status=Status.completed), now=NOW)

        assert is_new
        assert row["created_at"] == row["updated_at"] == row["completed_at"] == "2026-03-10T09:00:00Z"
        assert UUID(row["id"]).int >> 80 == int(NOW.timestamp() * 1000)

    async def test_create_succeeds_if_the_task_with_its_id_is_deleted_meanwhile(self, scene: ServiceHarness) -> None:
        task_id = await scene.add()
        # Round trip 1 finds the id taken; round trip 2 finds it free again.
        scene.before_trips({2: lambda: scene.sql(DELETE)})

        row, is_new = await tasks.create(scene.session, TaskCreate(id=task_id, title="Buy bread"), now=LATER)

        assert (is_new, row["title"], row["created_at"]) == (True, "Buy bread", LATER_TEXT)
        assert scene.trips.count == 3

    async def test_create_raises_conflict_if_others_delete_and_create_the_task_repeatedly(
        self, scene: ServiceHarness
    ) -> None:
        task_id = await scene.add()
        appear, vanish = (lambda: scene.sql(INSERT, id=task_id)), (lambda: scene.sql(DELETE))
        scene.before_trips({2: vanish, 3: appear, 4: vanish, 5: appear, 6: vanish})

        with pytest.raises(Conflict) as refused:
            await tasks.create(scene.session, TaskCreate(id=task_id, title="Buy bread"), now=LATER)

        assert (refused.value.code, refused.value.detail) == (
            "conflict",
            "Others are changing this task at the same moment. Try again.",
        )
        assert scene.trips.count == 6

    @pytest.mark.parametrize(("task_id", "is_new"), [(None, True), (uuid7(), False)])
    async def test_create_stores_one_task_if_the_response_is_lost(
        self, scene: ServiceHarness, task_id: UUID | None, *, is_new: bool
    ) -> None:
        def lose(trip: int) -> None:
            if trip == 1:
                raise ConnectionLost(untouched=False)

        scene.trips.count = 0
        scene.trips.after = lose

        row, said_new = await tasks.create(scene.session, TaskCreate(id=task_id, title="Buy milk"), now=NOW)

        page = await task_list.page(scene.session, TaskQuery(), now=NOW)
        # With an id chosen by the client, nobody can know which request created the task.
        assert (page, said_new) == (task_list.Page([row], total=1, revision=1), is_new)

    async def test_conditional_create_reports_a_new_task_if_the_response_is_lost(self, scene: ServiceHarness) -> None:
        """The server generated the id, so only this request can have created the task."""

        def lose(trip: int) -> None:
            if trip == 1:
                raise ConnectionLost(untouched=False)

        scene.trips.count = 0
        scene.trips.after = lose

        row, is_new = await tasks.create(scene.session, TaskCreate(title="a"), now=NOW, if_none_match=Condition(None))

        assert (row["title"], is_new) == ("a", True)

    async def test_creation_digest_contains_only_the_fields_that_were_sent(
        self, scene: ServiceHarness, database_url: str
    ) -> None:
        """The digest omits defaults; otherwise a field added later would change it."""
        await scene.add(id=uuid7(), priority=Priority.medium)
        await scene.add(due_date="2026-03-10T08:00:00Z")

        with psycopg.connect(database_url) as connection:
            kept = connection.execute(
                "SELECT creation_digest FROM tasks WHERE user_id = %s ORDER BY due_date", (scene.user_id,)
            ).fetchall()

        bodies = [b'{"title":"Buy milk","due_date":"2026-03-10T08:00:00Z"}', b'{"title":"Buy milk"}']
        assert kept == [(blake2b(body, digest_size=16).digest(),) for body in bodies]
