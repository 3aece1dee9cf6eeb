"""Dependent operations of a batch: a later operation sees the effects of the earlier ones."""

import random
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from httpx import AsyncClient

from support import invariants
from support.batches import (
    Operation,
    create,
    error_alone,
    on,
    read,
    results_of,
    send_alone,
    update,
)
from support.categories import add_category
from support.tasks import add_task, tasks_of
from todo.kit.ids import uuid7
from todo.services.tasks.errors import MAX_LEVELS


# Task: T-353
class TestOperationsOnOneTask:
    async def test_one_task_can_be_changed_by_every_operation_of_a_batch(self, alice: AsyncClient) -> None:
        parent = await add_task(alice, title="parent")

        results = await results_of(
            alice,
            create("Milk", "milk", tags=["a"]),
            on("complete", "$milk"),
            on("reopen", "$milk"),
            update("$milk", status="in_progress", tags=["b"]),
            on("move", "$milk", parent_id=parent["id"], before_id=parent["id"]),
            on("complete", parent),
            on("reopen", "$milk"),
            update("$milk", status="cancelled"),
            on("delete", "$milk"),
        )

        task = await read(alice, results[0]["id"])
        assert [result["status"] for result in results] == [201, *[200] * 7, 204]
        assert (task["status"], task["completed_at"], task["tags"]) == ("cancelled", None, ["b"])
        assert task["trashed_at"] is not None
        assert (await read(alice, parent["id"]))["subtasks_total"] == 0

    async def test_batch_can_create_a_series_and_complete_it_three_times(self, alice: AsyncClient) -> None:
        recurrence = {"rule": "FREQ=MONTHLY", "missed": "keep"}

        results = await results_of(
            alice,
            create("Rent", "rent", due_date="2026-01-31", recurrence=recurrence),
            *[on("complete", "$rent", completed_at=f"2026-0{month}-02T08:00:00Z") for month in (2, 3, 4)],
        )

        assert [result["task"]["due_date"] for result in results] == ["2026-04-30"] * 4
        tasks = await tasks_of(alice)
        closed = sorted((task["due_date"], task["completed_at"]) for task in tasks if task["status"] == "completed")
        assert closed == [
            ("2026-01-31", "2026-02-02T08:00:00Z"),
            ("2026-02-28", "2026-03-02T08:00:00Z"),
            ("2026-03-31", "2026-04-02T08:00:00Z"),
        ]
        assert {task["series_id"] for task in tasks} == {results[0]["id"]}

    async def test_batch_completes_a_named_occurrence_once(self, alice: AsyncClient) -> None:
        results = await results_of(
            alice,
            create("Rent", "rent", due_date="2026-01-31", recurrence={"rule": "FREQ=MONTHLY", "missed": "keep"}),
            on("complete", "$rent", occurrence="2026-01-31"),
            on("complete", "$rent", occurrence="2026-01-31"),
            on("complete", "$rent", occurrence="2026-02-28"),
            on("complete", "$rent", occurrence="2026-01-31"),
            atomic=False,
        )

        assert [result["status"] for result in results] == [201, 200, 200, 200, 409]
        assert results[0]["task"]["due_date"] == "2026-03-31"
        assert len(await tasks_of(alice)) == 3

    async def test_batch_can_change_the_rule_of_a_series_twice(self, alice: AsyncClient) -> None:
        results = await results_of(
            alice,
            create("Rent", "rent", due_date="2026-03-10"),
            update("$rent", recurrence={"rule": "FREQ=DAILY", "missed": "keep"}),
            on("complete", "$rent"),
            update("$rent", recurrence={"rule": "FREQ=WEEKLY", "missed": "keep"}),
            on("complete", "$rent"),
            update("$rent", recurrence=None),
            on("complete", "$rent"),
        )

        assert [result["status"] for result in results] == [201, *[200] * 6]
        assert (results[0]["task"]["status"], results[0]["task"]["due_date"]) == ("completed", "2026-03-18")

    async def test_completion_includes_subtasks_added_earlier_in_the_batch(self, alice: AsyncClient) -> None:
        parent, child = await add_task(alice), await add_task(alice)

        results = await results_of(
            alice,
            create("new", "new", parent_id=parent["id"]),
            update(child, parent_id="$new"),
            on("complete", parent),
        )

        assert [result["task"]["status"] for result in results] == ["completed"] * 3
        assert (await read(alice, parent["id"]))["subtasks_completed"] == 1
        assert results[0]["task"]["subtasks_completed"] == 1

    @pytest.mark.parametrize("way", ["update", "move"])
    async def test_depth_and_cycle_checks_see_earlier_moves_of_the_batch(self, alice: AsyncClient, way: str) -> None:
        chain = [await add_task(alice, title=str(number)) for number in range(MAX_LEVELS + 1)]

        def put(child: Any, parent: Any) -> Operation:
            place = {"parent_id": parent["id"]}
            return update(child, **place) if way == "update" else on("move", child, **place)

        pairs = list(zip(chain[1:], chain[:-1], strict=True))
        results = await results_of(
            alice,
            *[put(child, parent) for child, parent in pairs[:-1]],
            put(chain[0], chain[4]),
            put(*pairs[-1]),
            update(chain[1], parent_id=None),
            put(*pairs[-1]),
            put(chain[0], chain[5]),
            atomic=False,
        )

        assert [result["status"] for result in results] == [200, 200, 200, 200, 409, 422, 200, 200, 422]

    @pytest.mark.parametrize("permanent", [True, False])
    async def test_operations_on_a_subtree_deleted_earlier_in_the_batch_fail(
        self, alice: AsyncClient, *, permanent: bool
    ) -> None:
        parent = await add_task(alice)
        child = await add_task(alice, parent_id=parent["id"])
        grandchild = await add_task(alice, parent_id=child["id"])

        results = await results_of(
            alice,
            create("new", "new", parent_id=grandchild["id"]),
            on("delete", parent, permanent=permanent),
            update(grandchild, title="x"),
            on("complete", "$new"),
            create("late", parent_id=child["id"]),
            on("delete", child),
            create("again", id=child["id"]),
            atomic=False,
        )

        expected = [201, 204, 404, 404, 422, 404, 201] if permanent else [201, 204, 409, 409, 409, 204, 409]
        assert [result["status"] for result in results] == expected
        assert (results[0]["task"] is None) is permanent

    async def test_repeated_create_operations_with_one_id_behave_like_single_requests(self, alice: AsyncClient) -> None:
        chosen = str(uuid7())
        body: dict[str, Any] = {"description": "Oat", "tags": ["a"], "due_date": "2026-03-10"}

        results = await results_of(
            alice,
            create("Milk", "a", id=chosen, **body),
            create("Milk", "b", id=chosen, **body),
            create("Bread", id=chosen),
            update("$b", title="Egg"),
            create("Milk", id=chosen, **body),
            atomic=False,
        )
        alone = await alice.post("/tasks", json={"title": "Milk", "id": chosen, **body})
        again = await results_of(alice, create("Milk", id=chosen, **body))

        assert [result["status"] for result in results] == [201, 200, 409, 200, 200]
        assert (alone.status_code, alone.json()) == (200, results[0]["task"])
        assert (again[0]["status"], again[0]["task"]) == (200, alone.json())

    async def test_create_operation_accepts_the_id_of_a_task_created_by_the_same_single_request(
        self, alice: AsyncClient
    ) -> None:
        category = await add_category(alice)
        body = {"id": str(uuid7()), "category_id": category["id"], "parent_id": (await add_task(alice))["id"]}
        task = await add_task(alice, **body)
        await alice.delete(f"/categories/{category['id']}")

        [result] = await results_of(alice, create("Buy milk", **body))

        assert (result["status"], result["id"]) == (200, task["id"])


# Fields that differ between two users who do the same.
STAMPS = ("created_at", "updated_at", "revision", "position")
MOMENTS = ("completed_at", "last_completed_at", "trashed_at")


async def comparable_tasks(client: AsyncClient) -> list[dict[str, Any]]:
    """Return a user's tasks in manual order, including the trash, without the fields that always differ."""
    found = [
        *(await client.get("/tasks", params={"limit": 100})).json()["tasks"],
        *(await client.get("/tasks", params={"limit": 100, "trashed": "true"})).json()["tasks"],
    ]
    return [
        {
            name: value is not None if name in MOMENTS else value
            for name, value in task.items()
            # The id of a completed copy is generated.
            if name not in STAMPS and not (name == "id" and task["series_id"] not in (None, value))
        }
        for task in sorted(found, key=lambda task: task["position"])
    ]


def random_operations(chance: random.Random) -> list[Operation]:
    """Return random operations on a few tasks; many of them fail."""
    ids = [str(uuid4()) for _ in range(7)]
    rules = ["FREQ=DAILY", "FREQ=MONTHLY;BYMONTHDAY=31", "FREQ=WEEKLY;BYDAY=TU;COUNT=3"]

    def one() -> str:
        return chance.choice(ids)

    def fields() -> dict[str, Any]:
        some: dict[str, Any] = {
            "priority": chance.choice(["low", "high"]),
            "status": chance.choice(["pending", "in_progress", "completed", "cancelled"]),
            "parent_id": chance.choice([None, one(), one(), one()]),
            "tags": chance.sample(["a", "A", "b", "c"], 2),
            "due_date": chance.choice([None, "2026-03-10", "2026-03-10T09:00:00", "2026-03-10T08:00:00Z"]),
            "start_date": chance.choice([None, "2026-03-09"]),
            "due_time_zone": chance.choice([None, "America/New_York"]),
            "recurrence": chance.choice(
                [None, {"rule": chance.choice(rules), "missed": "keep", "from": chance.choice(["due", "completion"])}]
            ),
        }
        names = [name for name in some if chance.random() < 0.3]
        if chance.random() < 0.3:
            names = ["due_date", "recurrence"]
        return {name: some[name] for name in names}

    def operation() -> Operation:
        op = chance.choice(["create"] * 4 + ["update"] * 4 + ["complete"] * 3 + ["move"] * 2 + ["reopen", "delete"])
        if op == "create":
            return create(chance.choice("xy"), id=one(), **fields())
        if op == "update":
            return update(one(), **fields(), **({"scope": "occurrence"} if chance.random() < 0.2 else {}))
        if op == "move":
            places: list[dict[str, Any]] = [
                {"after_id": one()},
                {"before_id": one()},
                {"after_id": None},
                {"parent_id": one()},
                {"parent_id": None, "before_id": None},
            ]
            return on("move", one(), **chance.choice(places))
        if op == "delete":
            return on("delete", one(), permanent=chance.random() < 0.3)
        if op == "complete":
            said = [{}, {}, {"occurrence": "2026-03-10"}, {"completed_at": "2026-03-10T10:00:00Z"}]
            return on("complete", one(), **chance.choice(said))
        return on(op, one())

    return [
        *[create(str(number), id=task_id) for number, task_id in enumerate(ids[:4])],
        *[operation() for _ in range(56)],
    ]


# Task: T-353
class TestBatchEquivalence:
    @pytest.mark.parametrize("seed", range(16))
    async def test_batch_has_the_same_effect_as_single_requests(
        self, alice: AsyncClient, bob: AsyncClient, database_url: str, seed: int
    ) -> None:
        operations = random_operations(random.Random(seed))

        alone = [await send_alone(alice, operation) for operation in operations]
        batched = await results_of(bob, *operations, atomic=False)

        told = [
            (answer.status_code, error_alone(answer, operation["op"]) if answer.is_error else None)
            for answer, operation in zip(alone, operations, strict=True)
        ]
        assert [(result["status"], result["error"]) for result in batched] == told
        assert await comparable_tasks(bob) == await comparable_tasks(alice)
        assert len({status for status, _ in told}) > 4
        with psycopg.connect(database_url, autocommit=True) as connection:
            assert invariants.violations(connection, (await bob.get("/me")).json()["id"]) == {}

    @pytest.mark.parametrize("seed", range(4))
    async def test_atomic_batch_of_successful_operations_has_the_same_effect_as_single_requests(
        self, alice: AsyncClient, bob: AsyncClient, seed: int
    ) -> None:
        operations = random_operations(random.Random(1_000 + seed))
        alone = [(operation, await send_alone(alice, operation)) for operation in operations]
        good = [operation for operation, answer in alone if answer.is_success]

        results = await results_of(bob, *good)

        assert [result["status"] for result in results] == [a.status_code for _, a in alone if a.is_success]
        assert await comparable_tasks(bob) == await comparable_tasks(alice)
