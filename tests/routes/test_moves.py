"""Moves over HTTP: manual order, category and parent of a task."""

import asyncio
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from httpx import AsyncClient

from support.categories import add_category
from support.round_trips import watched
from support.subtrees import (
    IN_TRASH,
    NO_SUCH_CATEGORY,
    STAMPS,
    UNDER_TRASH,
    Task,
    act,
    add_line,
    faults_of,
    read,
    read_all,
    revision_of,
    trash,
    undo,
    without_stamps,
)
from support.tasks import ACCOUNT_GONE, NO_SUCH_FIELD, NOT_FOUND, UUID_EXPECTED, add_task, invalid, problem_of
from support.users import SECRET, client_of, sign_up
from todo.main import create_app
from todo.services.authentication import SecretVerifier
from todo.settings import Settings

NO_SUCH_NEIGHBOUR = "Expected the id of another task of yours."


async def add_row(client: AsyncClient, titles: str) -> dict[str, Task]:
    """Create tasks with these letters as titles, in this order."""
    return {title: await add_task(client, title=title) for title in titles}


async def order_of(client: AsyncClient) -> str:
    """Return the titles in the manual order."""
    tasks = (await client.get("/tasks", params={"limit": 100})).json()["tasks"]
    return "".join(task["title"] for task in sorted(tasks, key=lambda task: task["position"]))


# Task: T-343
class TestPosition:
    @pytest.mark.parametrize(
        ("moved", "side", "neighbour", "order"),
        [
            ("A", "after_id", "B", "BACD"),
            ("A", "after_id", "D", "BCDA"),
            ("D", "after_id", "A", "ADBC"),
            ("D", "before_id", "A", "DABC"),
            ("D", "before_id", "B", "ADBC"),
            ("A", "before_id", "D", "BCAD"),
            ("C", "after_id", None, "CABD"),
            ("B", "before_id", None, "ACDB"),
        ],
    )
    async def test_moved_task_is_placed_beside_its_neighbour_and_no_other_task_changes(
        self, alice: AsyncClient, moved: str, side: str, neighbour: str | None, order: str
    ) -> None:
        row = await add_row(alice, "ABCD")

        answer = await act(alice, row[moved], "move", json={side: row[neighbour]["id"] if neighbour else None})

        now = {title: await read(alice, task) for title, task in row.items()}
        assert await order_of(alice) == order
        assert now == {**row, moved: answer}
        changed = {"position", *STAMPS}
        assert {name for name in answer if answer[name] != row[moved][name]} == changed

    @pytest.mark.parametrize(
        ("side", "neighbour"), [("after_id", "A"), ("before_id", "C"), ("after_id", "first"), ("before_id", "last")]
    )
    async def test_move_to_the_current_position_changes_nothing(
        self, alice: AsyncClient, side: str, neighbour: str
    ) -> None:
        row = await add_row(alice, "ABC")
        task = {"first": row["A"], "last": row["C"]}.get(neighbour, row["B"])

        answer = await act(alice, task, "move", json={side: row[neighbour]["id"] if neighbour in row else None})

        assert answer == task
        assert await revision_of(alice) == 3

    async def test_fifty_concurrent_moves_after_one_task_yield_fifty_positions(
        self, alice: AsyncClient, database_url: str
    ) -> None:
        anchor = await add_task(alice, title="Anchor")
        rest = await asyncio.gather(*(add_task(alice, title=f"{n}") for n in range(51)))
        last, fifty = rest[0], rest[1:]

        answers = await asyncio.gather(*(act(alice, task, "move", json={"after_id": anchor["id"]}) for task in fifty))

        assert len({answer["position"] for answer in answers}) == 50
        assert await read_all(alice, *fifty) == answers
        assert await read_all(alice, anchor, last) == [anchor, last]
        by_place = sorted(answers, key=lambda task: task["position"])
        assert by_place == sorted(answers, key=lambda task: -task["revision"])
        assert all(anchor["position"] < answer["position"] for answer in answers)
        assert await faults_of(alice, database_url) == []

    async def test_fifty_concurrent_moves_to_different_places_keep_positions_unique(
        self, alice: AsyncClient, database_url: str
    ) -> None:
        tasks = await asyncio.gather(*(add_task(alice, title=f"{n}") for n in range(50)))

        answers = await asyncio.gather(
            *(
                act(alice, task, "move", json={("after_id", "before_id")[n % 2]: tasks[n * 7 % 50 - 1]["id"]})
                for n, task in enumerate(tasks)
                if tasks[n * 7 % 50 - 1] is not task
            )
        )

        assert await faults_of(alice, database_url) == []
        assert await read_all(alice, *answers) == answers

    async def test_new_task_is_placed_last(self, alice: AsyncClient) -> None:
        row = await add_row(alice, "ABC")
        await act(alice, row["A"], "move", json={"before_id": None})
        await act(alice, row["B"], "move", json={"before_id": None})

        await add_task(alice, title="D")

        assert await order_of(alice) == "CABD"

    @pytest.mark.parametrize("side", ["after_id", "before_id"])
    async def test_neighbour_of_another_user_is_rejected_like_an_unknown_one(
        self, alice: AsyncClient, bob: AsyncClient, side: str
    ) -> None:
        hers, his = await add_task(alice), await add_task(bob)

        responses = [
            await bob.post(f"/tasks/{his['id']}/move", json={side: neighbour})
            for neighbour in (hers["id"], str(uuid4()), his["id"])
        ]

        expected = (422, invalid((f"/body/{side}", NO_SUCH_NEIGHBOUR)))
        assert [(response.status_code, problem_of(response)) for response in responses] == [expected] * 3
        assert await read(bob, his) == his

    async def test_trashed_task_is_accepted_as_neighbour(self, alice: AsyncClient) -> None:
        """A trashed task keeps its position and has it again when it is restored."""
        row = await add_row(alice, "ABC")
        await trash(alice, row["A"])

        await act(alice, row["C"], "move", json={"after_id": row["A"]["id"]})

        await act(alice, row["A"], "restore")
        assert await order_of(alice) == "ACB"


# Task: T-343
class TestCategoryAndParent:
    async def test_move_sets_category_parent_and_position_at_once(self, alice: AsyncClient) -> None:
        category, parent = await add_category(alice), await add_task(alice, title="Party")
        row = await add_row(alice, "ABC")

        answer = await act(
            alice,
            row["C"],
            "move",
            json={"category_id": category["id"], "parent_id": parent["id"], "after_id": row["A"]["id"]},
        )

        assert (answer["category_id"], answer["parent_id"]) == (category["id"], parent["id"])
        assert row["A"]["position"] < answer["position"] < row["B"]["position"]
        assert answer["revision"] == row["C"]["revision"] + 1

    async def test_move_keeps_all_other_fields(self, alice: AsyncClient) -> None:
        fields = {
            "title": "Pay the rent",
            "description": "To the landlord.",
            "status": "in_progress",
            "priority": "high",
            "due_date": "2027-01-31",
            "start_date": "2027-01-29",
            "recurrence": {"rule": "FREQ=MONTHLY", "from": "due", "month_end": "clamp", "missed": "skip"},
            "tags": ["Home", "money"],
        }
        category, parent = await add_category(alice), await add_task(alice, title="Home")
        task = await add_task(alice, **fields)
        child = await add_task(alice, title="Ask", parent_id=task["id"])
        task = await read(alice, task)

        answer = await act(alice, task, "move", json={"category_id": category["id"], "parent_id": parent["id"]})

        moved = {"category_id": category["id"], "parent_id": parent["id"]}
        stamps = {name: answer[name] for name in STAMPS}
        assert answer == {**task, **moved, **stamps}
        assert await read(alice, child) == child

    async def test_move_with_null_clears_category_and_parent(self, alice: AsyncClient) -> None:
        category, parent = await add_category(alice), await add_task(alice)
        task = await add_task(alice, category_id=category["id"], parent_id=parent["id"])

        answer = await act(alice, task, "move", json={"category_id": None, "parent_id": None})

        assert (answer["category_id"], answer["parent_id"], answer["position"]) == (None, None, task["position"])

    async def test_move_to_the_current_parent_changes_nothing(self, alice: AsyncClient) -> None:
        parent, child = await add_line(alice, 2)

        assert await act(alice, child, "move", json={"parent_id": parent["id"]}) == child

    async def test_category_of_another_user_is_rejected_like_an_unknown_one(
        self, alice: AsyncClient, bob: AsyncClient
    ) -> None:
        hers, his = await add_category(alice), await add_task(bob)

        responses = [
            await bob.post(f"/tasks/{his['id']}/move", json={"category_id": category_id})
            for category_id in (hers["id"], str(uuid4()))
        ]

        expected = (422, invalid(("/body/category_id", NO_SUCH_CATEGORY)))
        assert [(response.status_code, problem_of(response)) for response in responses] == [expected] * 2
        assert await read(bob, his) == his

    async def test_rejected_move_changes_nothing(self, alice: AsyncClient) -> None:
        parent, task = await add_task(alice), await add_task(alice)

        response = await alice.post(
            f"/tasks/{task['id']}/move",
            json={"parent_id": parent["id"], "after_id": None, "category_id": str(uuid4())},
        )

        assert response.status_code == 422
        assert await read_all(alice, parent, task) == [parent, task]


# Task: T-343
class TestMoveRequest:
    @pytest.mark.parametrize(
        ("body", "pointer", "detail"),
        [
            ({}, "/body", "Give at least one of after_id, before_id, category_id and parent_id."),
            ({"after_id": None, "before_id": None}, "/body", "Give either after_id or before_id."),
            ({"after_id": "first"}, "/body/after_id", UUID_EXPECTED),
            ({"parent_id": 7}, "/body/parent_id", UUID_EXPECTED),
            ({"position": "5"}, "/body/position", NO_SUCH_FIELD),
        ],
    )
    async def test_invalid_move_is_rejected_with_a_pointer(
        self, alice: AsyncClient, body: dict[str, Any], pointer: str, detail: str
    ) -> None:
        task = await add_task(alice)

        response = await alice.post(f"/tasks/{task['id']}/move", json=body)

        assert (response.status_code, problem_of(response)) == (422, invalid((pointer, detail)))
        assert await read(alice, task) == task

    @pytest.mark.parametrize("body", [{"after_id": None}, {"after_id": str(uuid4())}, {"parent_id": str(uuid4())}])
    async def test_moving_another_users_task_returns_404(
        self, alice: AsyncClient, bob: AsyncClient, body: dict[str, Any]
    ) -> None:
        hers = await add_task(alice)

        responses = [await bob.post(f"/tasks/{task_id}/move", json=body) for task_id in (hers["id"], uuid4())]

        assert [(response.status_code, problem_of(response)) for response in responses] == [(404, NOT_FOUND)] * 2
        assert await read(alice, hers) == hers

    async def test_move_is_forbidden_after_the_account_was_deleted(self, charlie: AsyncClient) -> None:
        response = await charlie.post(f"/tasks/{uuid4()}/move", json={"after_id": None})

        assert problem_of(response) == ACCOUNT_GONE

    async def test_moving_a_trashed_task_is_rejected(self, alice: AsyncClient) -> None:
        task = await trash(alice, await add_task(alice))

        response = await alice.post(f"/tasks/{task['id']}/move", json={"after_id": None})

        assert (response.status_code, problem_of(response)) == (409, IN_TRASH)
        assert await read(alice, task) == task

    async def test_move_with_a_stale_revision_is_rejected(self, alice: AsyncClient) -> None:
        row = await add_row(alice, "AB")
        path = f"/tasks/{row['B']['id']}/move"

        stale = await alice.post(path, json={"after_id": None}, headers={"If-Match": '"1"'})
        current = await alice.post(path, json={"after_id": None}, headers={"If-Match": '"2"'})

        assert (stale.status_code, stale.json()["current"]) == (412, row["B"])
        assert (current.status_code, current.headers["etag"]) == (200, '"3"')
        assert await order_of(alice) == "BA"

    async def test_move_with_a_known_idempotency_key_has_no_second_effect(self, alice: AsyncClient) -> None:
        row = await add_row(alice, "ABC")
        headers = {"Idempotency-Key": "one"}
        first = await act(alice, row["A"], "move", json={"before_id": None}, headers=headers)
        await act(alice, row["B"], "move", json={"before_id": None})

        again = await act(alice, row["A"], "move", json={"before_id": None}, headers=headers)

        assert again == first
        assert await order_of(alice) == "CAB"

    async def test_move_succeeds_if_the_task_is_restored_from_the_trash_meanwhile(self, database_url: str) -> None:
        """The task is restored after the update matched no row and before the reason is read."""
        database, trips = watched(database_url)
        await database.open()
        user_id = sign_up(database_url, "alice")
        async with client_of(create_app(Settings(), database, SecretVerifier(SECRET)), user_id) as client:
            row = await add_row(client, "AB")
            await trash(client, row["B"])
            trips.count = 0

            def restore(trip: int) -> None:
                if trip == 2:
                    with psycopg.connect(database_url) as meanwhile:
                        meanwhile.execute(
                            "UPDATE tasks SET trashed_at = NULL, trash_id = NULL WHERE user_id = %s", (user_id,)
                        )

            trips.before = restore
            answer = await act(client, row["B"], "move", json={"after_id": None})

            assert answer["position"] < row["A"]["position"]
            assert await order_of(client) == "BA"
        await database.close()

    async def test_move_takes_one_round_trip(self, database_url: str) -> None:
        database, trips = watched(database_url)
        await database.open()
        async with client_of(
            create_app(Settings(), database, SecretVerifier(SECRET)), sign_up(database_url, "alice")
        ) as client:
            parent, task = await add_task(client), await add_task(client)
            trips.count = 0

            await act(client, task, "move", json={"parent_id": parent["id"], "after_id": None})

            assert trips.count == 1
        await database.close()

    async def test_move_below_a_trashed_task_is_rejected(self, alice: AsyncClient, database_url: str) -> None:
        parent, task = await add_task(alice), await add_task(alice)
        await trash(alice, parent)

        response = await alice.post(f"/tasks/{task['id']}/move", json={"parent_id": parent["id"]})

        assert (response.status_code, problem_of(response)) == (409, UNDER_TRASH)
        assert await read(alice, task) == task
        assert await faults_of(alice, database_url) == []


# Task: T-343
# Task: T-144
class TestUndoMove:
    async def test_undoing_a_move_restores_category_parent_and_position(self, alice: AsyncClient) -> None:
        category, parent = await add_category(alice), await add_task(alice)
        task = await add_task(alice)
        body = {"category_id": category["id"], "parent_id": parent["id"], "after_id": None}
        moved = await act(alice, task, "move", json=body)

        response = await undo(alice, moved["revision"])

        assert (response.status_code, without_stamps(response.json()["state"])) == (200, without_stamps(task))

    async def test_undoing_a_move_chooses_a_near_position_if_the_previous_one_is_taken(
        self, alice: AsyncClient, database_url: str
    ) -> None:
        row = await add_row(alice, "ABCD")
        between = await act(alice, row["D"], "move", json={"after_id": row["A"]["id"]})
        moved = await act(alice, row["D"], "move", json={"before_id": None})
        taken = await act(alice, row["C"], "move", json={"after_id": row["A"]["id"]})

        response = await undo(alice, moved["revision"])

        assert taken["position"] == between["position"]
        assert response.status_code == 200
        assert await order_of(alice) == "ACDB"
        assert await faults_of(alice, database_url) == []

    async def test_undoing_a_move_is_rejected_while_the_previous_category_is_deleted(self, alice: AsyncClient) -> None:
        category = await add_category(alice)
        task = await add_task(alice, category_id=category["id"])
        moved = await act(alice, task, "move", json={"category_id": None})
        await alice.delete(f"/categories/{category['id']}")
        deleted = await revision_of(alice)

        refused = await undo(alice, moved["revision"])
        await undo(alice, deleted)
        done = await undo(alice, moved["revision"])

        assert (refused.status_code, problem_of(refused)["code"]) == (409, "parent_deleted")
        assert (done.status_code, done.json()["state"]["category_id"]) == (200, category["id"])
