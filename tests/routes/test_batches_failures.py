"""Failing operations of a batch: the errors are those of the same single requests."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
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
    send,
    send_alone,
    titles_in_order,
    update,
)
from support.tasks import add_task, invalid, problem_of, tasks_of
from todo.services.tasks.errors import CIRCLE, MAX_LEVELS, TOO_DEEP, UNDER_TRASH, UNKNOWN
from todo.services.tasks.move import NO_SUCH_NEIGHBOUR
from todo.services.tasks.unit_of_work import IN_TRASH

NOT_FOUND: Mapping[str, Any] = {
    "title": "Not Found",
    "status": 404,
    "detail": "There is nothing here, or it is not yours.",
    "code": "not_found",
}


def failing(code: str, status: int, detail: str, **members: Any) -> dict[str, Any]:
    title = {409: "Conflict", 422: "Unprocessable Content"}[status]
    return {"title": title, "status": status, "detail": detail, "code": code, **members}


def unacceptable(*errors: tuple[str, str]) -> dict[str, Any]:
    """Return the error of an operation with these pointers and details."""
    return {name: value for name, value in invalid(*errors).items() if name != "type"}


async def scene(client: AsyncClient) -> dict[str, str]:
    """Create tasks on which operations can fail; return their ids by title."""
    results = await results_of(
        client,
        create("plain", "plain"),
        create("done", status="completed"),
        create("dropped", status="cancelled"),
        create("binned", "binned"),
        create("under binned", parent_id="$binned"),
        on("delete", "$binned"),
        *[
            create(f"level {n}", f"l{n}", **({"parent_id": f"$l{n - 1}"} if n > 1 else {}))
            for n in range(1, MAX_LEVELS + 1)
        ],
        create("series", "series", due_date="2026-03-10", recurrence={"rule": "FREQ=DAILY", "missed": "keep"}),
        on("complete", "$series"),
        on("complete", "$series"),
    )
    return {"nobody": str(uuid4()), **{result["task"]["title"]: result["id"] for result in results}}


FUTURE = (datetime.now(UTC) + timedelta(days=300)).isoformat()
TRANSITION = "A completed task cannot become cancelled. Reopen it first."
REOPEN_FIRST = "A cancelled task cannot become completed. Reopen it first."
# An operation on the scene, with titles in braces instead of ids, and its error.
FAILURES: dict[str, tuple[Operation, Mapping[str, Any]]] = {
    "update an unknown task": (update("{nobody}", title="x"), NOT_FOUND),
    "update an unknown task with an unknown category": (update("{nobody}", category_id="{nobody}"), NOT_FOUND),
    "complete an unknown task": (on("complete", "{nobody}"), NOT_FOUND),
    "reopen an unknown task": (on("reopen", "{nobody}"), NOT_FOUND),
    "move an unknown task": (on("move", "{nobody}", after_id="{nobody}"), NOT_FOUND),
    "delete an unknown task": (on("delete", "{nobody}"), NOT_FOUND),
    "permanently delete an unknown task": (on("delete", "{nobody}", permanent=True), NOT_FOUND),
    "update a trashed task": (update("{binned}", category_id="{nobody}"), failing("in_trash", 409, IN_TRASH)),
    "complete a trashed task": (on("complete", "{binned}"), failing("in_trash", 409, IN_TRASH)),
    "reopen a trashed task": (on("reopen", "{under binned}"), failing("in_trash", 409, IN_TRASH)),
    "move a trashed task": (on("move", "{binned}", after_id="{nobody}"), failing("in_trash", 409, IN_TRASH)),
    "create below a trashed task": (create(parent_id="{binned}"), failing("under_trash", 409, UNDER_TRASH)),
    "update to a trashed parent": (
        update("{plain}", parent_id="{under binned}"),
        failing("under_trash", 409, UNDER_TRASH),
    ),
    "move below a trashed task": (
        on("move", "{plain}", parent_id="{binned}"),
        failing("under_trash", 409, UNDER_TRASH),
    ),
    "a cycle of one task": (on("move", "{plain}", parent_id="{plain}"), failing("parent_cycle", 409, CIRCLE)),
    "a cycle of four tasks": (update("{level 1}", parent_id="{level 4}"), failing("parent_cycle", 409, CIRCLE)),
    "a cycle in an update that completes": (
        update("{level 1}", parent_id="{level 3}", status="completed"),
        failing("parent_cycle", 409, CIRCLE),
    ),
    "create with a used id": (
        create("other", id="{plain}"),
        failing("id_taken", 409, "You already have another task with this id. Choose a new id."),
    ),
    "complete a past occurrence": (
        on("complete", "{series}", occurrence="2026-03-10"),
        failing("occurrence_passed", 409, "This occurrence is not the open one. Read the task to get the open one."),
    ),
    "create in an unknown category": (
        create(category_id="{nobody}"),
        unacceptable(("/task/category_id", UNKNOWN["category_id"].detail)),
    ),
    "update to an unknown category": (
        update("{plain}", category_id="{nobody}"),
        unacceptable(("/changes/category_id", UNKNOWN["category_id"].detail)),
    ),
    "move to an unknown category": (
        on("move", "{plain}", category_id="{nobody}"),
        unacceptable(("/category_id", UNKNOWN["category_id"].detail)),
    ),
    "create below an unknown task": (
        create(parent_id="{nobody}"),
        unacceptable(("/task/parent_id", UNKNOWN["parent_id"].detail)),
    ),
    "move below an unknown task": (
        on("move", "{plain}", parent_id="{nobody}"),
        unacceptable(("/parent_id", UNKNOWN["parent_id"].detail)),
    ),
    "move after an unknown task": (
        on("move", "{plain}", after_id="{nobody}"),
        unacceptable(("/after_id", NO_SUCH_NEIGHBOUR)),
    ),
    "move before itself": (
        on("move", "{plain}", before_id="{plain}"),
        unacceptable(("/before_id", NO_SUCH_NEIGHBOUR)),
    ),
    "create below the depth limit": (create(parent_id="{level 5}"), unacceptable(("/task/parent_id", TOO_DEEP.detail))),
    "update below the depth limit": (
        update("{level 1}", parent_id="{plain}"),
        unacceptable(("/changes/parent_id", TOO_DEEP.detail)),
    ),
    "cancel a completed task": (
        update("{done}", status="cancelled", category_id="{nobody}"),
        failing(
            "invalid_status_transition",
            422,
            TRANSITION,
            errors=[{"pointer": "/changes/status", "detail": TRANSITION}],
        ),
    ),
    "complete a cancelled task": (
        on("complete", "{dropped}"),
        failing(
            "invalid_status_transition", 422, REOPEN_FIRST, errors=[{"pointer": "/status", "detail": REOPEN_FIRST}]
        ),
    ),
    "complete in the future": (
        on("complete", "{nobody}", completed_at=FUTURE),
        unacceptable(("/completed_at", "This is in the future. Send the time at which it was done.")),
    ),
    "add a recurrence without a due date": (
        create(recurrence={"rule": "FREQ=DAILY"}),
        unacceptable(("/task/due_date", "A recurring task needs a due date. Send one, or null as the recurrence.")),
    ),
    "create a series with a date that does not match": (
        create(due_date="2026-03-10", recurrence={"rule": "FREQ=WEEKLY;BYDAY=MO"}),
        unacceptable(("/task/due_date", "The rule does not produce this date. The next one that it does: 2026-03-16.")),
    ),
    "clear the due date of a series": (
        update("{series}", due_date=None),
        unacceptable(("/changes/due_date", "A recurring task needs a due date. Send one, or null as the recurrence.")),
    ),
}


def filled_in(value: Any, ids: Mapping[str, str]) -> Any:
    """Replace titles in braces by ids."""
    if isinstance(value, dict):
        return {name: filled_in(each, ids) for name, each in value.items()}
    if isinstance(value, str) and value.startswith("{"):
        return ids[value[1:-1]]
    return value


# Task: T-353
class TestBatchFailures:
    @pytest.mark.parametrize("name", FAILURES)
    async def test_failing_operation_reports_the_error_of_a_single_request_and_the_others_succeed(
        self, alice: AsyncClient, database_url: str, name: str
    ) -> None:
        ids = await scene(alice)
        operation, error = filled_in(FAILURES[name][0], ids), FAILURES[name][1]
        before = {task: await read(alice, task) for called, task in ids.items() if called != "nobody"}

        alone = await send_alone(alice, operation)
        results = await results_of(alice, create("before"), operation, create("behind"), atomic=False)

        assert (alone.status_code, error_alone(alone, operation["op"])) == (error["status"], error)
        assert [result["status"] for result in results] == [201, error["status"], 201]
        assert results[1] == {**results[1], "op": operation["op"], "task": None, "error": error}
        assert {task: await read(alice, task) for task in before} == before
        assert await titles_in_order(alice) == [*(await titles_in_order(alice))[:-2], "before", "behind"]
        with psycopg.connect(database_url, autocommit=True) as connection:
            assert invariants.violations(connection, (await alice.get("/me")).json()["id"]) == {}

    @pytest.mark.parametrize("name", FAILURES)
    async def test_failing_operation_of_an_atomic_batch_leaves_no_changes(self, alice: AsyncClient, name: str) -> None:
        ids = await scene(alice)
        operation, error = filled_in(FAILURES[name][0], ids), FAILURES[name][1]
        before = (await alice.get("/changes/snapshot")).json()

        response = await send(alice, create("before"), update(ids["plain"], title="x"), operation, create("behind"))

        problem = problem_of(response)
        place = "/body/operations/2"
        errors = [{**one, "pointer": place + one["pointer"]} for one in error.get("errors", ())]
        assert problem == {
            "type": "about:blank",
            **error,
            **({"errors": errors} if errors else {"pointer": place}),
        }
        assert (await alice.get("/changes/snapshot")).json() == before

    async def test_failed_atomic_batch_reports_the_first_failing_operation(self, alice: AsyncClient) -> None:
        task = await add_task(alice)

        response = await send(alice, update(task), on("complete", str(uuid4())), create(parent_id=str(uuid4())))

        assert (response.status_code, response.json()["pointer"]) == (404, "/body/operations/1")

    async def test_operations_on_a_task_that_could_not_be_created_fail(self, alice: AsyncClient) -> None:
        results = await results_of(
            alice,
            create("a", "a", category_id=str(uuid4())),
            create("b", parent_id="$a"),
            update("$a", title="c"),
            create("d"),
            atomic=False,
        )

        assert [result["status"] for result in results] == [422, 422, 404, 201]
        assert results[0]["id"] == results[2]["id"]
        assert [task["title"] for task in await tasks_of(alice)] == ["d"]

    async def test_error_found_only_by_the_database_leaves_no_changes_and_has_a_pointer(
        self, alice: AsyncClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        task = await add_task(alice)
        monkeypatch.setattr("todo.services.tasks.unit_of_work.TaskUnitOfWork.refuse_references", lambda *_: None)

        response = await send(
            alice, create("a"), update(task, title="b"), create("c", parent_id=str(uuid4())), atomic=False
        )

        place = "/body/operations/2/task/parent_id"
        assert (response.status_code, problem_of(response)) == (422, invalid((place, UNKNOWN["parent_id"].detail)))
        assert await tasks_of(alice) == [task]
