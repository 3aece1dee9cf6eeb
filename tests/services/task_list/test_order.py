"""Task lists below HTTP: a stable order, and reading no row if the client has the current list."""

import re
from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import quote
from uuid import UUID

import pytest

from support.service_harness import NOW, ServiceHarness, opened
from todo.database import Database, Row, Session, Statement
from todo.database.statements import CompiledText
from todo.kit.etags import Condition
from todo.models.task_list import TaskQuery
from todo.models.tasks import TaskCreate
from todo.models.values import Status
from todo.services import tasks
from todo.services.task_list import page as task_list

LATER = NOW + timedelta(hours=1)


@pytest.fixture
async def scene(database_url: str) -> AsyncIterator[ServiceHarness]:
    async with opened(database_url, ServiceHarness) as new_scene:
        yield new_scene()


# Task: T-033
class TestOrder:
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
