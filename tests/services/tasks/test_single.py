"""Tasks below HTTP: round trips, timestamps and concurrent writers."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import timedelta
from hashlib import blake2b
from typing import Any
from urllib.parse import quote
from uuid import UUID

import psycopg
import pytest

from support.helpers import commit_when_awaited
from support.service_harness import NOW, ServiceHarness, opened
from todo.database import Database, IdempotencyKey, Row, Session, Statement
from todo.database.errors import ConnectionLost
from todo.database.statements import CompiledText
from todo.errors import Conflict, Forbidden, Invalid, NotFound, PreconditionFailed
from todo.kit.etags import Condition
from todo.kit.ids import uuid7
from todo.models.base import table_of
from todo.models.recurrence import Recurrence
from todo.models.task_list import TaskQuery
from todo.models.tasks import Task, TaskCreate, TaskReplace, TaskUpdate
from todo.models.values import Priority, Status
from todo.services import changes
from todo.services.recurrence import series
from todo.services.task_list import page as task_list
from todo.services.tasks import single as tasks
from todo.services.tasks import trash

LATER = NOW + timedelta(hours=1)
LATER_TEXT = "2026-03-10T10:00:00Z"


@pytest.fixture
async def scene(database_url: str) -> AsyncIterator[ServiceHarness]:
    async with opened(database_url, ServiceHarness) as new_scene:
        yield new_scene()


INSERT_COMPLETED_COPY = "UPDATE tasks SET status = 'cancelled', completed_at = NULL WHERE user_id = %(user)s"
OPEN = "UPDATE tasks SET status = 'pending', completed_at = NULL WHERE user_id = %(user)s"
INSERT = (
    "INSERT INTO tasks (user_id, id, title, status, priority, created_at, updated_at, creation_digest)"
    " VALUES (%(user)s, %(id)s, 'a', 'pending', 'low', now(), now(), '')"
)
DELETE = "DELETE FROM tasks WHERE user_id = %(user)s"


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
            "trash": await scene.trips_of(trash.trash(scene.session, task_id, now=LATER)),
            "remove": await scene.trips_of(trash.delete(scene.session, task_id)),
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
        seen = await scene.trips_of(series.occurrences(scene.session, task_id, limit=100))

        assert counts == dict.fromkeys(counts, 2)
        assert seen == 1


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


# Task: T-033
class TestPage:
    @pytest.mark.parametrize("plan", ["on", "off"])
    async def test_pages_have_a_stable_order_if_all_tasks_have_the_same_creation_time(
        self, database_url: str, plan: str
    ) -> None:
        options = quote(f"-c enable_indexscan={plan} -c enable_bitmapscan={plan}")
        async with opened(f"{database_url}&options={options}", ServiceHarness) as new_scene:
            scene = new_scene()
            ids = [await scene.add() for _ in range(9)]

            pages = [
                await task_list.page(scene.session, TaskQuery.model_validate({"skip": skip, "limit": "2"}), now=NOW)
                for skip in ("0", "2", "4", "6", "8")
            ]

        assert [UUID(row["id"]) for page in pages for row in page.tasks] == sorted(ids, reverse=True)
        assert [(page.total, page.revision) for page in pages] == [(9, 9)] * 5

    async def test_tasks_are_sorted_by_creation_time_and_not_by_id(self, scene: ServiceHarness) -> None:
        older = await scene.add(id=UUID(int=2**128 - 1))
        newer, _ = await tasks.create(scene.session, TaskCreate(id=UUID(int=0), title="a"), now=LATER)

        page = await task_list.page(scene.session, TaskQuery(), now=NOW)

        assert [row["id"] for row in page.tasks] == [newer["id"], str(older)]

    async def test_generated_ids_sort_in_creation_order(self, scene: ServiceHarness) -> None:
        for microseconds in range(5):
            await tasks.create(scene.session, TaskCreate(title="a"), now=NOW + timedelta(microseconds=microseconds))

        page = await task_list.page(scene.session, TaskQuery(), now=NOW)

        assert page.tasks == sorted(page.tasks, key=lambda row: str(row["id"]), reverse=True)


class Explaining(Session):
    """A session that also runs EXPLAIN ANALYZE for each statement."""

    def __init__(self, database: Database, user_id: str) -> None:
        super().__init__(database, user_id)
        self.plans: list[str] = []

    async def execute_many(self, *requests: tuple[Statement, Mapping[str, Any]]) -> list[list[Row]]:
        for statement, values in requests:
            text = statement.text(self._database.dialect)
            explained = CompiledText(f"EXPLAIN (ANALYZE, COSTS OFF) {text.sql.decode()}", text.names, text.constants)
            [rows] = await self._run([(explained, values)], repeatable=True)
            self.plans.append("\n".join(row["QUERY PLAN"] for row in rows))
        return await super().execute_many(*requests)


# Task: T-122
class TestIfNoneMatch:
    """If the client has the current list, no row is read: the condition is evaluated once, as a one-time filter."""

    READS_ROWS = re.compile(r" on (tasks|changes) \((?!never executed)")

    @pytest.mark.parametrize(("seen", "is_read"), [({1}, False), ({7, 1}, False), ({2}, True), ({0}, True)])
    async def test_list_reads_rows_only_if_the_revision_is_new(
        self, scene: ServiceHarness, seen: set[int], *, is_read: bool
    ) -> None:
        task_id = await scene.add()
        session = Explaining(scene.session._database, scene.user_id)

        page = await task_list.page(
            session, TaskQuery(status=[Status.pending]), now=NOW, if_none_match=Condition(frozenset(seen))
        )

        assert any("One-Time Filter" in plan for plan in session.plans)
        assert any(self.READS_ROWS.search(plan) for plan in session.plans) is is_read
        assert ([row["id"] for row in page.tasks], page.revision) == ([str(task_id)] if is_read else [], 1)


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
            other.execute(INSERT_COMPLETED_COPY, {"user": scene.user_id})
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

    async def test_completion_checks_the_status_at_the_time_of_writing(
        self, scene: ServiceHarness, database_url: str
    ) -> None:
        task_id = await scene.add()
        with psycopg.connect(database_url) as other:
            other.execute(INSERT_COMPLETED_COPY, {"user": scene.user_id})
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


# Task: T-035
class TestCompleteAndReopen:
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


# Task: T-036
class TestPermanentDeletion:
    async def test_deleted_id_can_be_used_again(self, scene: ServiceHarness) -> None:
        task_id = await scene.add()

        await trash.delete(scene.session, task_id)

        assert await scene.add(id=task_id) == task_id
