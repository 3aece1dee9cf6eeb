"""Batches among other requests: idempotency, concurrent writers, isolation and round trips."""

import asyncio
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from httpx import AsyncClient

from support import invariants
from support.batches import (
    Operation,
    create,
    on,
    read,
    results_of,
    send,
    update,
)
from support.categories import add_category
from support.round_trips import watched
from support.tasks import ACCOUNT_GONE, add_task, problem_of, tasks_of, without_request_id
from support.users import SECRET, client_of, sign_up
from todo.kit.ids import uuid7
from todo.main import create_app
from todo.services.authentication import SecretVerifier
from todo.settings import Settings


# Task: T-353
class TestBatchIdempotency:
    async def test_repeated_batch_with_an_idempotency_key_returns_the_first_response(self, alice: AsyncClient) -> None:
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

    async def test_failed_batch_does_not_use_up_its_idempotency_key(self, alice: AsyncClient) -> None:
        chosen = str(uuid7())
        key = {"Idempotency-Key": "once"}
        failed = await send(alice, update(chosen, title="x"), headers=key)
        await add_task(alice, id=chosen)

        done = await send(alice, update(chosen, title="x"), headers=key)

        assert [failed.status_code, done.status_code] == [404, 200]

    async def test_concurrent_batches_with_one_idempotency_key_have_one_effect(self, alice: AsyncClient) -> None:
        answers = await asyncio.gather(*[send(alice, create(), headers={"Idempotency-Key": "once"}) for _ in range(5)])

        assert {(answer.status_code, answer.content) for answer in answers} == {(200, answers[0].content)}
        assert len(await tasks_of(alice)) == 1


# Task: T-353
class TestBatchIsolation:
    async def test_concurrent_writes_never_interleave_with_a_batch(self, alice: AsyncClient, database_url: str) -> None:
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
            assert invariants.violations(connection, (await alice.get("/me")).json()["id"]) == {}

    @pytest.mark.parametrize("atomic", [True, False])
    async def test_batch_treats_another_users_tasks_and_categories_as_unknown(
        self, alice: AsyncClient, bob: AsyncClient, *, atomic: bool
    ) -> None:
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

    async def test_batches_of_two_users_can_use_the_same_ids(self, alice: AsyncClient, bob: AsyncClient) -> None:
        task = await add_task(alice, title="Hers")

        [result, changed] = await results_of(bob, create("His", id=task["id"]), update(task, title="His own"))

        assert (result["status"], changed["task"]["title"]) == (201, "His own")
        assert await read(alice, task["id"]) == task

    @pytest.mark.parametrize("atomic", [True, False])
    @pytest.mark.parametrize(
        "operations",
        [[create()], [create(parent_id=str(uuid4()))], [on("complete", str(uuid4()))], [update(str(uuid4()))]],
    )
    async def test_batch_is_forbidden_after_the_account_was_deleted(
        self, charlie: AsyncClient, operations: list[Operation], *, atomic: bool
    ) -> None:
        response = await send(charlie, *operations, atomic=atomic)

        assert (response.status_code, problem_of(response)) == (403, ACCOUNT_GONE)


# Task: T-353
class TestRoundTrips:
    @pytest.mark.parametrize("key", [{}, {"Idempotency-Key": "once"}])
    async def test_batch_of_100_operations_takes_two_round_trips(self, database_url: str, key: dict[str, str]) -> None:
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
