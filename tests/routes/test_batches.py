"""Batches over HTTP: their operations have the effect of the same requests sent one after the other."""

from typing import Any

import pytest
from httpx import AsyncClient

from support.batches import Operation, create, on, read, results_of, send, titles_in_order, update
from support.categories import add_category
from support.tasks import UUID_EXPECTED, add_task, invalid, problem_of, tasks_of
from todo.kit.ids import uuid7
from todo.models.tasks import TaskPublic

NO_SUCH_REF = "No earlier operation creates a task with this ref."
REF_EXPECTED = "Expected a $ and a ref of 1 to 50 letters, digits, - and _."


# Task: T-353
class TestBatchOperations:
    async def test_create_operation_creates_a_task(self, alice: AsyncClient) -> None:
        [result] = await results_of(alice, create("Milk", priority="high", tags=["a"], due_date="2026-03-10"))

        task = await read(alice, result["id"])
        assert result == {"op": "create", "status": 201, "id": task["id"], "task": task, "error": None}
        assert (task["title"], task["priority"], task["tags"], task["due_date"]) == (
            "Milk",
            "high",
            ["a"],
            "2026-03-10",
        )
        assert tuple(result["task"]) == tuple(TaskPublic.model_fields)

    async def test_update_operation_updates_a_task(self, alice: AsyncClient) -> None:
        task = await add_task(alice, description="Oat")

        [result] = await results_of(alice, update(task, title="Bread", status="in_progress"))

        assert result["task"] == await read(alice, task["id"])
        assert (result["op"], result["status"], result["error"]) == ("update", 200, None)
        assert (result["task"]["title"], result["task"]["status"]) == ("Bread", "in_progress")
        assert result["task"]["description"] == "Oat"

    async def test_complete_operation_completes_a_task(self, alice: AsyncClient) -> None:
        task = await add_task(alice)

        [result] = await results_of(alice, on("complete", task, completed_at="2026-03-01T08:30:00+01:00"))

        assert result["task"] == await read(alice, task["id"])
        assert (result["op"], result["status"], result["task"]["status"]) == ("complete", 200, "completed")
        assert result["task"]["completed_at"] == "2026-03-01T07:30:00Z"

    async def test_reopen_operation_reopens_a_task(self, alice: AsyncClient) -> None:
        task = await add_task(alice, status="cancelled")

        [result] = await results_of(alice, on("reopen", task))

        assert result["task"] == await read(alice, task["id"])
        assert (result["op"], result["status"], result["task"]["status"]) == ("reopen", 200, "pending")

    async def test_move_operation_moves_a_task(self, alice: AsyncClient) -> None:
        category = await add_category(alice)
        parent, first, second = [await add_task(alice, title=title) for title in ("p", "1", "2")]

        results = await results_of(
            alice,
            on("move", second, after_id=None),
            on("move", first, category_id=category["id"], parent_id=parent["id"]),
        )

        assert [result["status"] for result in results] == [200, 200]
        assert (results[1]["task"]["category_id"], results[1]["task"]["parent_id"]) == (category["id"], parent["id"])
        assert await titles_in_order(alice) == ["2", "p", "1"]

    async def test_delete_operation_trashes_or_permanently_deletes_a_task(self, alice: AsyncClient) -> None:
        one, other = await add_task(alice), await add_task(alice)

        results = await results_of(alice, on("delete", one), on("delete", other, permanent=True))

        trashed = await read(alice, one["id"])
        assert results == [
            {"op": "delete", "status": 204, "id": one["id"], "task": trashed, "error": None},
            {"op": "delete", "status": 204, "id": other["id"], "task": None, "error": None},
        ]
        assert trashed["trashed_at"] is not None
        assert (await alice.get(f"/tasks/{other['id']}")).status_code == 404

    async def test_operations_are_executed_in_order(self, alice: AsyncClient) -> None:
        results = await results_of(alice, *[create(str(number)) for number in range(30)])

        titles = [str(number) for number in range(30)]
        assert [result["task"]["title"] for result in results] == titles
        assert [result["task"]["revision"] for result in results] == list(range(1, 31))
        assert await titles_in_order(alice) == titles
        # Newest first, although all tasks have the same creation time.
        assert [task["title"] for task in (await alice.get("/tasks?limit=100")).json()["tasks"]] == titles[::-1]
        assert len({result["task"]["created_at"] for result in results}) == 1

    async def test_results_contain_the_final_state_of_each_task(self, alice: AsyncClient) -> None:
        results = await results_of(alice, create("Milk", "milk"), update("$milk", title="Bread"), create("Egg"))

        assert [result["task"]["title"] for result in results] == ["Bread", "Bread", "Egg"]

    async def test_batch_accepts_1_to_100_operations(self, alice: AsyncClient) -> None:
        whole = await send(alice, *[create() for _ in range(100)])
        too_many = await send(alice, *[create() for _ in range(101)])
        none = await send(alice)

        assert (whole.status_code, len(whole.json()["results"])) == (200, 100)
        assert problem_of(too_many) == invalid(("/body/operations", "Expected 100 entries or fewer."))
        assert problem_of(none) == invalid(("/body/operations", "Expected 1 entry or more."))
        assert (await alice.get("/tasks")).json()["total"] == 100

    async def test_operations_are_logged_and_can_be_undone_one_by_one(self, alice: AsyncClient) -> None:
        task = await add_task(alice)
        await results_of(alice, update(task, title="Bread"), create("Egg"), update(task, priority="high"))

        changes = (await alice.get("/changes", params={"since": 1})).json()["changes"]
        undone = await alice.post("/changes/2/undo")

        assert [change["operation"] for change in changes] == ["update", "create", "update"]
        assert undone.status_code == 200, undone.text
        assert (await read(alice, task["id"]))["title"] == task["title"]
        assert (await read(alice, task["id"]))["priority"] == "high"


# Task: T-353
class TestBatchReferences:
    async def test_reference_is_accepted_wherever_an_id_is(self, alice: AsyncClient) -> None:
        results = await results_of(
            alice,
            create("a", "a"),
            create("b", "b", parent_id="$a"),
            create("c", "c"),
            update("$c", parent_id="$a"),
            create("d", "d"),
            on("move", "$d", after_id="$a"),
            create("e", "e"),
            on("move", "$e", before_id="$a", parent_id="$b"),
            create("f", "f"),
            on("complete", "$f"),
            create("g", "g"),
            on("complete", "$g"),
            on("reopen", "$g"),
            create("h", "h"),
            on("delete", "$h"),
        )

        ids = {result["task"]["title"]: result["id"] for result in results}
        tasks = {title: await read(alice, task_id) for title, task_id in ids.items()}
        assert [result["status"] for result in results] == [201] * 3 + [200, 201] * 4 + [201, 200, 200, 201, 204][1:]
        assert {title: task["parent_id"] for title, task in tasks.items()} == {
            **dict.fromkeys(ids),
            "b": ids["a"],
            "c": ids["a"],
            "e": ids["b"],
        }
        assert await titles_in_order(alice) == ["e", "a", "d", "b", "c", "f", "g"]
        assert {title: task["status"] for title, task in tasks.items()} == {
            **dict.fromkeys(ids, "pending"),
            "f": "completed",
        }
        assert tasks["h"]["trashed_at"] is not None

    async def test_reference_resolves_to_an_id_chosen_by_the_client(self, alice: AsyncClient) -> None:
        chosen = str(uuid7())

        results = await results_of(alice, create("a", "a", id=chosen), create("b", parent_id="$a"), update(chosen))

        assert [result["id"] for result in results][::2] == [chosen, chosen]
        assert results[1]["task"]["parent_id"] == chosen

    @pytest.mark.parametrize(
        ("operations", "errors"),
        [
            ([update("$a", parent_id="$b")], [("0/id", NO_SUCH_REF), ("0/changes/parent_id", NO_SUCH_REF)]),
            ([on("complete", "$a"), create("a", "a")], [("0/id", NO_SUCH_REF)]),
            ([create("a", "a", parent_id="$a")], [("0/task/parent_id", NO_SUCH_REF)]),
            ([create("a", "a"), create("b", "A"), update("$B")], [("2/id", NO_SUCH_REF)]),
            (
                [create("a", "a"), on("move", "$a", after_id="$b", parent_id="$c")],
                [("1/parent_id", NO_SUCH_REF), ("1/after_id", NO_SUCH_REF)],
            ),
            ([create("a", "a"), on("move", "$a", before_id="$b")], [("1/before_id", NO_SUCH_REF)]),
            (
                [create("a", "a"), create("b", "a")],
                [("1/ref", "An earlier operation has this ref. Choose another one.")],
            ),
        ],
    )
    @pytest.mark.parametrize("atomic", [True, False])
    async def test_unknown_and_duplicate_references_are_rejected_with_pointers(
        self, alice: AsyncClient, operations: list[Operation], errors: list[tuple[str, str]], *, atomic: bool
    ) -> None:
        response = await send(alice, create("first"), *operations, atomic=atomic)

        expected = [(f"/body/operations/{int(place[0]) + 1}{place[1:]}", detail) for place, detail in errors]
        assert (response.status_code, problem_of(response)) == (422, invalid(*expected))
        assert await tasks_of(alice) == []

    @pytest.mark.parametrize(
        ("operation", "place", "detail"),
        [
            (update("$"), "id", REF_EXPECTED),
            (update("$a b"), "id", REF_EXPECTED),
            (update("$a\n"), "id", REF_EXPECTED),
            (update("$" + "a" * 51), "id", REF_EXPECTED),
            (update("milk"), "id", UUID_EXPECTED),
            (update(7), "id", "Expected text."),
            (update(None), "id", "Expected text."),
            ({"op": "update", "changes": {}}, "id", "This field is required."),
            ({"op": "update", "id": "$a"}, "changes", "This field is required."),
            (update("$a", parent_id="milk"), "changes/parent_id", UUID_EXPECTED),
            (update("$a", title=""), "changes/title", "Expected 1 character or more."),
            (update("$a", position="1"), "changes/position", "There is no such field here."),
            ({**update("$a"), "title": "x"}, "title", "There is no such field here."),
            ({**update("$a"), "revision": "1"}, "revision", "Expected a whole number."),
            ({**update("$a"), "revision": -1}, "revision", "Expected 0 or more."),
            (create("a", "a b"), "ref", "Expected 1 to 50 letters, digits, - and _, such as 'milk'."),
            (create("a", "a\n"), "ref", "Expected 1 to 50 letters, digits, - and _, such as 'milk'."),
            (create("a", id="$a"), "task/id", UUID_EXPECTED),
            (create("a", due_date="2026-02-30"), "task/due_date", None),
            (on("complete", "$a", completed_at="2026-03-10"), "completed_at", None),
            (on("move", "$a"), "", "Give at least one of after_id, before_id, category_id and parent_id."),
            (on("move", "$a", after_id=None, before_id=None), "", "Give either after_id or before_id."),
            (on("delete", "$a", permanent="true"), "permanent", "Expected true or false."),
            (on("restore", "$a"), "op", "Expected 'create', 'update', 'complete', 'reopen', 'move', 'delete'."),
            ({"id": "$a"}, "op", "This field is required."),
            (7, "", "Expected an object."),
        ],
    )
    async def test_invalid_operation_is_rejected_with_a_pointer(
        self, alice: AsyncClient, operation: Any, place: str, detail: str | None
    ) -> None:
        response = await send(alice, create("a", "a"), operation)

        problem = problem_of(response)
        assert response.status_code == 422
        assert [error["pointer"] for error in problem["errors"]] == [f"/body/operations/1/{place}".rstrip("/")]
        assert detail in (None, problem["errors"][0]["detail"])
        assert await tasks_of(alice) == []


# Task: T-353
class TestBatchRevision:
    async def test_revision_is_compared_with_the_state_before_the_batch(self, alice: AsyncClient) -> None:
        task = await add_task(alice)

        results = await results_of(
            alice,
            {**update(task, title="Bread"), "revision": 1},
            on("complete", task, revision=1),
            on("reopen", task, revision=1),
            on("move", task, revision=1, after_id=None),
            on("delete", task, revision=1),
        )

        assert [result["status"] for result in results] == [200, 200, 200, 200, 204]

    @pytest.mark.parametrize("op", ["update", "complete", "reopen", "move", "delete"])
    async def test_stale_revision_is_rejected_with_the_current_task(self, alice: AsyncClient, op: str) -> None:
        task = await add_task(alice)
        task = (await alice.patch(f"/tasks/{task['id']}", json={"title": "Bread"})).json()
        members: dict[str, dict[str, Any]] = {"update": {"changes": {"title": "x"}}, "move": {"after_id": None}}
        operation = on(op, task, revision=1, **members.get(op, {}))

        [_, result] = await results_of(alice, update(task, priority="high"), operation, atomic=False)
        await alice.patch(f"/tasks/{task['id']}", json={"priority": "medium"})
        current = await read(alice, task["id"])
        response = await send(alice, update(task, priority="high"), operation)

        assert (result["status"], result["error"]["code"]) == (412, "precondition_failed")
        assert (result["error"]["current"], result["task"]) == (task, None)
        assert (response.status_code, response.headers["etag"]) == (412, f'"{current["revision"]}"')
        assert (response.json()["pointer"], response.json()["current"]) == ("/body/operations/1", current)
        assert await read(alice, task["id"]) == current

    async def test_revision_of_a_task_created_in_the_batch_is_rejected(self, alice: AsyncClient) -> None:
        response = await send(alice, create("a", "a"), {**update("$a", title="b"), "revision": 1})

        sentence = "The batch itself creates this task. Leave the revision out."
        assert problem_of(response) == invalid(("/body/operations/1/revision", sentence))


# Task: T-353
class TestBatchSize:
    async def test_batch_of_100_tasks_with_long_descriptions_is_accepted(self, alice: AsyncClient) -> None:
        response = await send(alice, *[create("a" * 100, description="b" * 10_000) for _ in range(100)])

        assert response.status_code == 200
        assert (await alice.get("/tasks")).json()["total"] == 100

    async def test_batch_that_exceeds_the_body_limit_is_rejected(self, alice: AsyncClient) -> None:
        response = await send(alice, *[create("a", description="é" * 10_000) for _ in range(100)])

        assert (response.status_code, response.json()["code"]) == (413, "content_too_large")
        assert await tasks_of(alice) == []
