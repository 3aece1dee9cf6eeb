"""Batches over HTTP: what they do is what the same requests would do one after the other."""

import asyncio
import random
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from httpx import AsyncClient, Response

from support import derived
from support.categories import add_category
from support.people import SECRET, client_of, sign_up
from support.tasks import ACCOUNT_GONE, UUID_EXPECTED, add_task, invalid, problem_of, tasks_of, without_request_id
from support.trips import watched
from todo.kit.ids import uuid7
from todo.main import create_app
from todo.models.tasks import TaskPublic
from todo.services.faults import CIRCLE, MOST_LEVELS, NO_SUCH_NEIGHBOUR, TOO_DEEP, UNDER_TRASH, UNKNOWN
from todo.services.plans import IN_TRASH
from todo.services.tokens import SecretVerifier
from todo.settings import Settings

Operation = dict[str, Any]

NOT_FOUND: Mapping[str, Any] = {
    "title": "Not Found",
    "status": 404,
    "detail": "There is nothing here, or it is not yours.",
    "code": "not_found",
}
NO_SUCH_REF = "No earlier operation creates a task of this ref."
REF_EXPECTED = "Expected a $ and a ref of 1 to 50 letters, digits, - and _."


async def send(client: AsyncClient, *operations: Operation, **options: Any) -> Response:
    """Send a batch; ``headers`` go beside it."""
    headers = options.pop("headers", {})
    return await client.post("/tasks/batch", json={"operations": list(operations), **options}, headers=headers)


async def results_of(client: AsyncClient, *operations: Operation, **options: Any) -> list[dict[str, Any]]:
    """What became of the operations of a batch, which has to be accepted."""
    response = await send(client, *operations, **options)
    assert response.status_code == 200, response.text
    results: list[dict[str, Any]] = response.json()["results"]
    return results


async def read(client: AsyncClient, task_id: str) -> dict[str, Any]:
    task: dict[str, Any] = (await client.get(f"/tasks/{task_id}")).json()
    return task


async def titles_in_order(client: AsyncClient) -> list[str]:
    """The titles in the user's own order."""
    tasks = (await client.get("/tasks", params={"limit": 100})).json()["tasks"]
    return [task["title"] for task in sorted(tasks, key=lambda task: task["position"])]


def create(title: str = "Milk", /, ref: str | None = None, **fields: Any) -> Operation:
    named = {} if ref is None else {"ref": ref}
    return {"op": "create", **named, "task": {"title": title, **fields}}


def on(op: str, task: Any, **members: Any) -> Operation:
    return {"op": op, "id": task["id"] if isinstance(task, dict) else task, **members}


def update(task: Any, **changes: Any) -> Operation:
    return on("update", task, changes=changes)


def failing(code: str, status: int, detail: str, **members: Any) -> dict[str, Any]:
    title = {409: "Conflict", 422: "Unprocessable Content"}[status]
    return {"title": title, "status": status, "detail": detail, "code": code, **members}


def unacceptable(*errors: tuple[str, str]) -> dict[str, Any]:
    """The error of an operation whose fields are these."""
    return {name: value for name, value in invalid(*errors).items() if name != "type"}


# Task: T-353
class TestOperations:
    async def test_create(self, alice: AsyncClient) -> None:
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

    async def test_update(self, alice: AsyncClient) -> None:
        task = await add_task(alice, description="Oat")

        [result] = await results_of(alice, update(task, title="Bread", status="in_progress"))

        assert result["task"] == await read(alice, task["id"])
        assert (result["op"], result["status"], result["error"]) == ("update", 200, None)
        assert (result["task"]["title"], result["task"]["status"]) == ("Bread", "in_progress")
        assert result["task"]["description"] == "Oat"

    async def test_complete(self, alice: AsyncClient) -> None:
        task = await add_task(alice)

        [result] = await results_of(alice, on("complete", task, completed_at="2026-03-01T08:30:00+01:00"))

        assert result["task"] == await read(alice, task["id"])
        assert (result["op"], result["status"], result["task"]["status"]) == ("complete", 200, "completed")
        assert result["task"]["completed_at"] == "2026-03-01T07:30:00Z"

    async def test_reopen(self, alice: AsyncClient) -> None:
        task = await add_task(alice, status="cancelled")

        [result] = await results_of(alice, on("reopen", task))

        assert result["task"] == await read(alice, task["id"])
        assert (result["op"], result["status"], result["task"]["status"]) == ("reopen", 200, "pending")

    async def test_move(self, alice: AsyncClient) -> None:
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

    async def test_delete(self, alice: AsyncClient) -> None:
        one, other = await add_task(alice), await add_task(alice)

        results = await results_of(alice, on("delete", one), on("delete", other, permanent=True))

        trashed = await read(alice, one["id"])
        assert results == [
            {"op": "delete", "status": 204, "id": one["id"], "task": trashed, "error": None},
            {"op": "delete", "status": 204, "id": other["id"], "task": None, "error": None},
        ]
        assert trashed["trashed_at"] is not None
        assert (await alice.get(f"/tasks/{other['id']}")).status_code == 404

    async def test_are_done_in_order(self, alice: AsyncClient) -> None:
        results = await results_of(alice, *[create(str(number)) for number in range(30)])

        titles = [str(number) for number in range(30)]
        assert [result["task"]["title"] for result in results] == titles
        assert [result["task"]["revision"] for result in results] == list(range(1, 31))
        assert await titles_in_order(alice) == titles
        # The newest first, although all of them are of the same moment.
        assert [task["title"] for task in (await alice.get("/tasks?limit=100")).json()["tasks"]] == titles[::-1]
        assert len({result["task"]["created_at"] for result in results}) == 1

    async def test_are_told_as_they_are_when_all_is_done(self, alice: AsyncClient) -> None:
        results = await results_of(alice, create("Milk", "milk"), update("$milk", title="Bread"), create("Egg"))

        assert [result["task"]["title"] for result in results] == ["Bread", "Bread", "Egg"]

    async def test_may_be_a_hundred_and_no_more(self, alice: AsyncClient) -> None:
        whole = await send(alice, *[create() for _ in range(100)])
        too_many = await send(alice, *[create() for _ in range(101)])
        none = await send(alice)

        assert (whole.status_code, len(whole.json()["results"])) == (200, 100)
        assert problem_of(too_many) == invalid(("/body/operations", "Expected 100 entries or fewer."))
        assert problem_of(none) == invalid(("/body/operations", "Expected 1 entry or more."))
        assert (await alice.get("/tasks")).json()["total"] == 100

    async def test_are_in_the_feed_and_can_be_undone_one_by_one(self, alice: AsyncClient) -> None:
        task = await add_task(alice)
        await results_of(alice, update(task, title="Bread"), create("Egg"), update(task, priority="high"))

        changes = (await alice.get("/changes", params={"since": 1})).json()["changes"]
        undone = await alice.post("/changes/2/undo")

        assert [change["operation"] for change in changes] == ["update", "create", "update"]
        assert undone.status_code == 200, undone.text
        assert (await read(alice, task["id"]))["title"] == task["title"]
        assert (await read(alice, task["id"]))["priority"] == "high"


# Task: T-353
class TestReferences:
    async def test_stand_for_ids_wherever_one_may_stand(self, alice: AsyncClient) -> None:
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

    async def test_stand_for_an_id_that_the_client_chose(self, alice: AsyncClient) -> None:
        chosen = str(uuid7())

        results = await results_of(alice, create("a", "a", id=chosen), create("b", parent_id="$a"), update(chosen))

        assert [result["id"] for result in results][::2] == [chosen, chosen]
        assert results[1]["task"]["parent_id"] == chosen

    @pytest.mark.parametrize(
        ("operations", "faults"),
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
    async def test_to_nothing_are_refused_with_their_places(
        self, alice: AsyncClient, operations: list[Operation], faults: list[tuple[str, str]], *, atomic: bool
    ) -> None:
        response = await send(alice, create("first"), *operations, atomic=atomic)

        expected = [(f"/body/operations/{int(place[0]) + 1}{place[1:]}", detail) for place, detail in faults]
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
            (create("a", "a b"), "ref", "Expected text of the form ^[A-Za-z0-9_-]{1,50}$."),
            (create("a", "a\n"), "ref", "Expected text of the form ^[A-Za-z0-9_-]{1,50}$."),
            (create("a", id="$a"), "task/id", UUID_EXPECTED),
            (create("a", due_date="2026-02-30"), "task/due_date", None),
            (on("complete", "$a", completed_at="2026-03-10"), "completed_at", None),
            (on("move", "$a"), "", "Say where: with after_id or before_id, category_id, or parent_id."),
            (on("move", "$a", after_id=None, before_id=None), "", "Give either after_id or before_id."),
            (on("delete", "$a", permanent="true"), "permanent", "Expected true or false."),
            (on("restore", "$a"), "op", "Expected 'create', 'update', 'complete', 'reopen', 'move', 'delete'."),
            ({"id": "$a"}, "op", "This field is required."),
            (7, "", "Expected an object."),
        ],
    )
    async def test_and_all_else_is_refused_where_it_is_wrong(
        self, alice: AsyncClient, operation: Any, place: str, detail: str | None
    ) -> None:
        response = await send(alice, create("a", "a"), operation)

        problem = problem_of(response)
        assert response.status_code == 422
        assert [error["pointer"] for error in problem["errors"]] == [f"/body/operations/1/{place}".rstrip("/")]
        assert detail in (None, problem["errors"][0]["detail"])
        assert await tasks_of(alice) == []


async def scene(client: AsyncClient) -> dict[str, str]:
    """Tasks that operations can fail on, by what they are called, and their ids."""
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
            for n in range(1, MOST_LEVELS + 1)
        ],
        create("series", "series", due_date="2026-03-10", recurrence={"rule": "FREQ=DAILY", "missed": "keep"}),
        on("complete", "$series"),
        on("complete", "$series"),
    )
    return {"nobody": str(uuid4()), **{result["task"]["title"]: result["id"] for result in results}}


FUTURE = (datetime.now(UTC) + timedelta(days=300)).isoformat()
TRANSITION = "A completed task cannot become cancelled. Reopen it first."
REOPEN_FIRST = "A cancelled task cannot become completed. Reopen it first."

# An operation on the scene, whose names stand in braces, and why it fails.
FAILURES: dict[str, tuple[Operation, Mapping[str, Any]]] = {
    "update of nothing": (update("{nobody}", title="x"), NOT_FOUND),
    "update of nothing with nothing": (update("{nobody}", category_id="{nobody}"), NOT_FOUND),
    "complete nothing": (on("complete", "{nobody}"), NOT_FOUND),
    "reopen nothing": (on("reopen", "{nobody}"), NOT_FOUND),
    "move nothing": (on("move", "{nobody}", after_id="{nobody}"), NOT_FOUND),
    "delete nothing": (on("delete", "{nobody}"), NOT_FOUND),
    "delete nothing for good": (on("delete", "{nobody}", permanent=True), NOT_FOUND),
    "update in the trash": (update("{binned}", category_id="{nobody}"), failing("in_trash", 409, IN_TRASH)),
    "complete in the trash": (on("complete", "{binned}"), failing("in_trash", 409, IN_TRASH)),
    "reopen in the trash": (on("reopen", "{under binned}"), failing("in_trash", 409, IN_TRASH)),
    "move in the trash": (on("move", "{binned}", after_id="{nobody}"), failing("in_trash", 409, IN_TRASH)),
    "create under the trash": (create(parent_id="{binned}"), failing("under_trash", 409, UNDER_TRASH)),
    "update to be under the trash": (
        update("{plain}", parent_id="{under binned}"),
        failing("under_trash", 409, UNDER_TRASH),
    ),
    "move under the trash": (on("move", "{plain}", parent_id="{binned}"), failing("under_trash", 409, UNDER_TRASH)),
    "a circle of one": (on("move", "{plain}", parent_id="{plain}"), failing("circle", 409, CIRCLE)),
    "a circle of many": (update("{level 1}", parent_id="{level 4}"), failing("circle", 409, CIRCLE)),
    "a circle of what is completed with it": (
        update("{level 1}", parent_id="{level 3}", status="completed"),
        failing("circle", 409, CIRCLE),
    ),
    "an id that is taken": (
        create("other", id="{plain}"),
        failing("id_taken", 409, "You already have another task with this id. Choose a new id."),
    ),
    "an occurrence that is past": (
        on("complete", "{series}", occurrence="2026-03-10"),
        failing("occurrence_passed", 409, "This is not the open occurrence. Read the task for the one that is."),
    ),
    "create in no category": (
        create(category_id="{nobody}"),
        unacceptable(("/task/category_id", UNKNOWN["category_id"].detail)),
    ),
    "update to no category": (
        update("{plain}", category_id="{nobody}"),
        unacceptable(("/changes/category_id", UNKNOWN["category_id"].detail)),
    ),
    "move to no category": (
        on("move", "{plain}", category_id="{nobody}"),
        unacceptable(("/category_id", UNKNOWN["category_id"].detail)),
    ),
    "create under nothing": (
        create(parent_id="{nobody}"),
        unacceptable(("/task/parent_id", UNKNOWN["parent_id"].detail)),
    ),
    "move under nothing": (
        on("move", "{plain}", parent_id="{nobody}"),
        unacceptable(("/parent_id", UNKNOWN["parent_id"].detail)),
    ),
    "move behind nothing": (
        on("move", "{plain}", after_id="{nobody}"),
        unacceptable(("/after_id", NO_SUCH_NEIGHBOUR)),
    ),
    "move before itself": (
        on("move", "{plain}", before_id="{plain}"),
        unacceptable(("/before_id", NO_SUCH_NEIGHBOUR)),
    ),
    "create too deep": (create(parent_id="{level 5}"), unacceptable(("/task/parent_id", TOO_DEEP.detail))),
    "update too deep": (
        update("{level 1}", parent_id="{plain}"),
        unacceptable(("/changes/parent_id", TOO_DEEP.detail)),
    ),
    "cancel what is completed": (
        update("{done}", status="cancelled", category_id="{nobody}"),
        failing(
            "invalid_status_transition",
            422,
            TRANSITION,
            errors=[{"pointer": "/changes/status", "detail": TRANSITION}],
        ),
    ),
    "complete what is cancelled": (
        on("complete", "{dropped}"),
        failing(
            "invalid_status_transition", 422, REOPEN_FIRST, errors=[{"pointer": "/status", "detail": REOPEN_FIRST}]
        ),
    ),
    "complete in the future": (
        on("complete", "{nobody}", completed_at=FUTURE),
        unacceptable(("/completed_at", "This is in the future. Send the time at which it was done.")),
    ),
    "repeat without a date": (
        create(recurrence={"rule": "FREQ=DAILY"}),
        unacceptable(("/task/due_date", "What repeats needs a due date. Send one, or null as the recurrence.")),
    ),
    "repeat from a day that the rule has not": (
        create(due_date="2026-03-10", recurrence={"rule": "FREQ=WEEKLY;BYDAY=MO"}),
        unacceptable(("/task/due_date", "The rule does not produce this date. The next one that it does: 2026-03-16.")),
    ),
    "move a series to no date": (
        update("{series}", due_date=None),
        unacceptable(("/changes/due_date", "What repeats needs a due date. Send one, or null as the recurrence.")),
    ),
}


def filled_in(value: Any, ids: Mapping[str, str]) -> Any:
    """Put ids in the place of the names in braces."""
    if isinstance(value, dict):
        return {name: filled_in(each, ids) for name, each in value.items()}
    if isinstance(value, str) and value.startswith("{"):
        return ids[value[1:-1]]
    return value


async def send_alone(client: AsyncClient, operation: Operation) -> Response:
    """Send an operation as the request that it is by itself."""
    operation = {name: value for name, value in operation.items() if name != "ref"}
    op, path = operation.pop("op"), f"/tasks/{operation.pop('id', '')}"
    if op == "create":
        return await client.post("/tasks", json=operation["task"])
    if op == "update":
        return await client.patch(path, json=operation["changes"])
    if op == "delete":
        return await client.delete(path, params={"permanent": str(operation.get("permanent", False)).lower()})
    return await client.post(f"{path}/{op}", json=None if op == "reopen" else operation)


def error_alone(response: Response, op: str) -> dict[str, Any]:
    """The problem of a single request as a batch tells it."""
    problem = problem_of(response)
    part = {"create": "/task", "update": "/changes"}.get(op, "")
    errors = [
        {**error, "pointer": error["pointer"].replace("/body", part, 1)}
        if error["pointer"].startswith("/body") or part == ""
        else {**error, "pointer": f"{part}{error['pointer']}"}
        for error in problem.pop("errors", ())
    ]
    del problem["type"]
    return {**problem, **({"errors": errors} if errors else {})}


# Task: T-353
class TestFailures:
    @pytest.mark.parametrize("name", FAILURES)
    async def test_are_told_beside_what_is_done_and_are_those_of_a_single_request(
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
            assert derived.wrong(connection, (await alice.get("/me")).json()["id"]) == {}

    @pytest.mark.parametrize("name", FAILURES)
    async def test_leave_nothing_of_an_atomic_batch(self, alice: AsyncClient, name: str) -> None:
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

    async def test_of_a_batch_are_those_of_the_first_that_fails(self, alice: AsyncClient) -> None:
        task = await add_task(alice)

        response = await send(alice, update(task), on("complete", str(uuid4())), create(parent_id=str(uuid4())))

        assert (response.status_code, response.json()["pointer"]) == (404, "/body/operations/1")

    async def test_of_what_was_to_be_created_fail_what_comes_behind(self, alice: AsyncClient) -> None:
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

    async def test_that_only_the_database_finds_leave_nothing_and_say_where(
        self, alice: AsyncClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        task = await add_task(alice)
        monkeypatch.setattr("todo.services.batches._refuse_references", lambda *_: None)

        response = await send(
            alice, create("a"), update(task, title="b"), create("c", parent_id=str(uuid4())), atomic=False
        )

        place = "/body/operations/2/task/parent_id"
        assert (response.status_code, problem_of(response)) == (422, invalid((place, UNKNOWN["parent_id"].detail)))
        assert await tasks_of(alice) == [task]


# Task: T-353
class TestRevision:
    async def test_is_that_of_before_the_batch(self, alice: AsyncClient) -> None:
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
    async def test_that_has_passed_is_told_with_what_there_is(self, alice: AsyncClient, op: str) -> None:
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

    async def test_is_none_of_what_the_batch_creates(self, alice: AsyncClient) -> None:
        response = await send(alice, create("a", "a"), {**update("$a", title="b"), "revision": 1})

        sentence = "The batch itself creates this task. Leave the revision out."
        assert problem_of(response) == invalid(("/body/operations/1/revision", sentence))


# Task: T-353
class TestSameTask:
    async def test_goes_through_everything(self, alice: AsyncClient) -> None:
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

    async def test_may_be_a_series_that_is_completed_three_times(self, alice: AsyncClient) -> None:
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

    async def test_completes_a_named_occurrence_once(self, alice: AsyncClient) -> None:
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

    async def test_may_get_another_rule_twice(self, alice: AsyncClient) -> None:
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

    async def test_is_completed_with_the_child_that_it_has_got(self, alice: AsyncClient) -> None:
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
    async def test_lies_where_an_earlier_operation_has_put_it(self, alice: AsyncClient, way: str) -> None:
        chain = [await add_task(alice, title=str(number)) for number in range(MOST_LEVELS + 1)]

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
    async def test_is_gone_with_what_it_lay_under(self, alice: AsyncClient, *, permanent: bool) -> None:
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

    async def test_may_be_created_again_and_again(self, alice: AsyncClient) -> None:
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

    async def test_may_have_been_created_by_a_single_request(self, alice: AsyncClient) -> None:
        category = await add_category(alice)
        body = {"id": str(uuid7()), "category_id": category["id"], "parent_id": (await add_task(alice))["id"]}
        task = await add_task(alice, **body)
        await alice.delete(f"/categories/{category['id']}")

        [result] = await results_of(alice, create("Buy milk", **body))

        assert (result["status"], result["id"]) == (200, task["id"])


# Task: T-353
class TestRetries:
    async def test_have_no_second_effect_and_the_same_answer(self, alice: AsyncClient) -> None:
        task = await add_task(alice)
        operations = [
            create("Rent", "rent", due_date="2026-01-31", recurrence={"rule": "FREQ=MONTHLY", "missed": "keep"}),
            on("complete", "$rent"),
            update(task, title="Bread"),
            on("delete", task),
            {**update(task), "revision": 9},
            on("complete", str(uuid4())),
        ]
        key = {"Idempotency-Key": "once"}

        first = await send(alice, *operations, atomic=False, headers=key)
        before = (await alice.get("/changes/snapshot")).json()
        again = await send(alice, *operations, atomic=False, headers=key)
        other = await send(alice, *operations[:-1], atomic=False, headers=key)

        assert [result["status"] for result in first.json()["results"]] == [201, 200, 200, 204, 412, 404]
        assert (again.status_code, again.content) == (200, first.content)
        assert again.headers["idempotency-replayed"] == "true"
        assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
        assert (await alice.get("/changes/snapshot")).json() == before

    async def test_may_have_the_key_of_a_batch_that_failed(self, alice: AsyncClient) -> None:
        chosen = str(uuid7())
        key = {"Idempotency-Key": "once"}
        failed = await send(alice, update(chosen, title="x"), headers=key)
        await add_task(alice, id=chosen)

        done = await send(alice, update(chosen, title="x"), headers=key)

        assert [failed.status_code, done.status_code] == [404, 200]

    async def test_at_once_have_one_effect(self, alice: AsyncClient) -> None:
        answers = await asyncio.gather(*[send(alice, create(), headers={"Idempotency-Key": "once"}) for _ in range(5)])

        assert {(answer.status_code, answer.content) for answer in answers} == {(200, answers[0].content)}
        assert len(await tasks_of(alice)) == 1


# Task: T-353
class TestOthers:
    async def test_write_before_or_after_and_never_in_between(self, alice: AsyncClient, database_url: str) -> None:
        series = await add_task(
            alice, due_date="2026-01-31", recurrence={"rule": "FREQ=MONTHLY", "missed": "keep"}, tags=["a"]
        )
        top = await add_task(alice, title="top")

        answers = await asyncio.gather(
            *[
                send(
                    alice,
                    on("complete", series),
                    create("child", "child", parent_id=top["id"]),
                    on("move", "$child", before_id=top["id"]),
                    on("complete", series),
                )
                for _ in range(8)
            ],
            *[alice.post(f"/tasks/{series['id']}/complete") for _ in range(4)],
            *[alice.patch("/tags/a", json={"name": name}) for name in ("A", "a")],
        )

        assert {answer.status_code for answer in answers} == {200}
        tasks = (await alice.get("/tasks", params={"limit": 100})).json()["tasks"]
        assert len([task for task in tasks if task["series_id"] and task["status"] == "completed"]) == 20
        assert (await read(alice, series["id"]))["due_date"] == "2027-09-30"
        assert (await read(alice, top["id"]))["subtasks_total"] == 8
        with psycopg.connect(database_url, autocommit=True) as connection:
            assert derived.wrong(connection, (await alice.get("/me")).json()["id"]) == {}

    @pytest.mark.parametrize("atomic", [True, False])
    async def test_have_tasks_that_are_as_none(self, alice: AsyncClient, bob: AsyncClient, *, atomic: bool) -> None:
        foreign, own = await add_task(alice), await add_task(bob)
        category = await add_category(alice)
        before = (await alice.get("/changes/snapshot")).json()
        about: list[Any] = [
            lambda task, _: update(task, title="Mine"),
            lambda task, _: on("complete", task, occurrence="2026-03-10"),
            lambda task, _: on("reopen", task, revision=1),
            lambda task, _: on("move", task, after_id=None),
            lambda task, _: on("delete", task),
            lambda task, _: on("delete", task, permanent=True),
            lambda task, _: create(parent_id=task),
            lambda task, _: update(own, parent_id=task),
            lambda task, _: on("move", own, after_id=task),
            lambda task, _: on("move", own, before_id=task),
            lambda _, category: create(category_id=category),
            lambda _, category: update(own, category_id=category),
            lambda _, category: on("move", own, category_id=category),
        ]

        for make in about:
            told = []
            for task_id, category_id in ((foreign["id"], category["id"]), (str(uuid4()), str(uuid4()))):
                response = await send(bob, make(task_id, category_id), atomic=atomic)
                status, headers, content = without_request_id(response)
                is_created = atomic or response.json()["results"][0]["op"] == "create"
                known = b"" if not is_created or atomic else response.json()["results"][0]["id"].encode()
                told.append((status, headers, content.replace(task_id.encode(), b"").replace(known or b"\x00", b"")))
            assert told[0] == told[1]
            assert told[0][0] == (200 if not atomic else told[0][0])
            assert not atomic or told[0][0] in (404, 422)

        assert (await alice.get("/changes/snapshot")).json() == before
        assert await tasks_of(bob) == [own]

    async def test_may_have_the_same_ids(self, alice: AsyncClient, bob: AsyncClient) -> None:
        task = await add_task(alice, title="Hers")

        [result, changed] = await results_of(bob, create("His", id=task["id"]), update(task, title="His own"))

        assert (result["status"], changed["task"]["title"]) == (201, "His own")
        assert await read(alice, task["id"]) == task

    @pytest.mark.parametrize("atomic", [True, False])
    @pytest.mark.parametrize(
        "operations",
        [[create()], [create(parent_id=str(uuid4()))], [on("complete", str(uuid4()))], [update(str(uuid4()))]],
    )
    async def test_whose_account_is_gone_are_refused(
        self, charlie: AsyncClient, operations: list[Operation], *, atomic: bool
    ) -> None:
        response = await send(charlie, *operations, atomic=atomic)

        assert (response.status_code, problem_of(response)) == (403, ACCOUNT_GONE)


# Task: T-353
class TestSize:
    async def test_is_that_of_a_hundred_tasks_with_long_descriptions(self, alice: AsyncClient) -> None:
        response = await send(alice, *[create("a" * 100, description="b" * 10_000) for _ in range(100)])

        assert response.status_code == 200
        assert (await alice.get("/tasks")).json()["total"] == 100

    async def test_is_limited_by_the_size_of_the_body(self, alice: AsyncClient) -> None:
        response = await send(alice, *[create("a", description="é" * 10_000) for _ in range(100)])

        assert (response.status_code, response.json()["code"]) == (413, "content_too_large")
        assert await tasks_of(alice) == []


# Task: T-353
class TestTrips:
    @pytest.mark.parametrize("key", [{}, {"Idempotency-Key": "once"}])
    async def test_are_two_however_many_operations(self, database_url: str, key: dict[str, str]) -> None:
        database, trips = watched(database_url)
        await database.open()
        app = create_app(Settings(), database, SecretVerifier(SECRET))
        async with client_of(app, sign_up(database_url, "alice")) as alice:
            category = await add_category(alice)
            top = await add_task(alice)
            series = await add_task(alice, due_date="2026-01-31", recurrence={"rule": "FREQ=DAILY", "missed": "keep"})
            some = [
                create("a", parent_id=top["id"], category_id=category["id"]),
                update(top, description="x"),
                on("complete", series),
                on("move", top, after_id=series["id"]),
                on("reopen", top),
            ]
            trips.count = 0
            response = await send(alice, *some * 19, *[create() for _ in range(4)], on("delete", top), headers=key)
            counted = trips.count
        await database.close()

        assert (response.status_code, len(response.json()["results"])) == (200, 100)
        assert counted == 2


# What differs between two who do the same.
STAMPS = ("created_at", "updated_at", "revision", "position")
MOMENTS = ("completed_at", "last_completed_at", "trashed_at")


async def everything(client: AsyncClient) -> list[dict[str, Any]]:
    """A user's tasks in their order, the trash included, without what is never the same."""
    found = [
        *(await client.get("/tasks", params={"limit": 100})).json()["tasks"],
        *(await client.get("/tasks", params={"limit": 100, "trashed": "true"})).json()["tasks"],
    ]
    return [
        {
            name: value is not None if name in MOMENTS else value
            for name, value in task.items()
            # A closed occurrence has an id that nobody has chosen.
            if name not in STAMPS and not (name == "id" and task["series_id"] not in (None, value))
        }
        for task in sorted(found, key=lambda task: task["position"])
    ]


def story(chance: random.Random) -> list[Operation]:
    """Operations on a few tasks, many of which fail."""
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
class TestEquivalence:
    @pytest.mark.parametrize("seed", range(16))
    async def test_a_batch_does_what_its_operations_do_one_by_one(
        self, alice: AsyncClient, bob: AsyncClient, database_url: str, seed: int
    ) -> None:
        operations = story(random.Random(seed))

        alone = [await send_alone(alice, operation) for operation in operations]
        batched = await results_of(bob, *operations, atomic=False)

        told = [
            (answer.status_code, error_alone(answer, operation["op"]) if answer.is_error else None)
            for answer, operation in zip(alone, operations, strict=True)
        ]
        assert [(result["status"], result["error"]) for result in batched] == told
        assert await everything(bob) == await everything(alice)
        assert len({status for status, _ in told}) > 4
        with psycopg.connect(database_url, autocommit=True) as connection:
            assert derived.wrong(connection, (await bob.get("/me")).json()["id"]) == {}

    @pytest.mark.parametrize("seed", range(4))
    async def test_an_atomic_batch_of_what_succeeds_does_the_same(
        self, alice: AsyncClient, bob: AsyncClient, seed: int
    ) -> None:
        operations = story(random.Random(1_000 + seed))
        alone = [(operation, await send_alone(alice, operation)) for operation in operations]
        good = [operation for operation, answer in alone if answer.is_success]

        results = await results_of(bob, *good)

        assert [result["status"] for result in results] == [a.status_code for _, a in alone if a.is_success]
        assert await everything(bob) == await everything(alice)
