"""Twenty concurrent writers of one user, and readers of the feed that never miss or repeat a revision."""

import asyncio
import random
from collections import Counter

import psycopg
from httpx import AsyncClient

from support.invariants import violations
from support.sync import Change, Copy, read_everything, whole_log
from support.tasks import add_task

WRITERS = 20
WRITES = 25
SQL_WRITERS = 3


async def write(client: AsyncClient, seed: int, shared: str) -> int:
    """Write to own tasks and to a shared task, and return the number of changes."""
    chance = random.Random(seed)
    effects = 0
    own: list[str] = []
    for n in range(WRITES):
        match chance.choice(["create", "put below", "change", "share", "trash", "remove"]) if own else "create":
            case "create":
                response = await client.post("/tasks", json={"title": f"{seed}.{n}"})
                own.append(response.json()["id"])
                effects += 1
            case "put below":
                # The counters of the shared task change, too.
                response = await client.post("/tasks", json={"title": f"{seed}.{n}", "parent_id": shared})
                effects += 2
            case "change":
                response = await client.patch(f"/tasks/{chance.choice(own)}", json={"title": f"{seed}.{n}"})
                effects += 1
            case "share":
                response = await client.patch(f"/tasks/{shared}", json={"title": f"{seed}.{n}"})
                effects += 1
            case "trash":
                response = await client.delete(f"/tasks/{own.pop()}")
                effects += 1
            case "remove":
                response = await client.delete(f"/tasks/{own.pop()}", params={"permanent": "true"})
                effects += 1
        assert response.status_code < 300, response.text
    return effects


def write_by_sql(url: str, user_id: str, seed: int) -> int:
    """Write in transactions, roll back half of them, and return the number of committed rows."""
    chance = random.Random(seed)
    effects = 0
    with psycopg.connect(url, autocommit=True) as connection:
        for n in range(WRITES):
            keep = chance.random() < 0.5
            with connection.transaction(force_rollback=not keep):
                count = connection.execute(
                    "INSERT INTO tasks (user_id, id, title, status, priority, created_at, updated_at, creation_digest)"
                    " SELECT %s, gen_random_uuid(), %s, 'pending', 'low', now(), now(), '' FROM generate_series(1, %s)",
                    (user_id, f"sql {seed}.{n}", chance.randint(1, 3)),
                ).rowcount
            effects += count if keep else 0
    return effects


async def read(client: AsyncClient, writing: asyncio.Event) -> tuple[list[Change], Copy]:
    """Follow the feed from the first change until writing has ended and everything is read."""
    copy = Copy(client)
    copy.revision = 0
    changes: list[Change] = []
    while writing.is_set() or copy.is_behind:
        copy.is_behind = True
        # follow() asserts that each page continues where the last one ended.
        changes += await copy.follow(limit=7)
    changes += await copy.follow()
    return changes, copy


# Task: T-172
# Task: T-343
class TestTwentyWriters:
    async def test_feed_of_concurrent_writers_has_no_gaps_and_no_duplicates(
        self, alice: AsyncClient, database_url: str
    ) -> None:
        user_id = (await alice.get("/me")).json()["id"]
        shared = await add_task(alice)
        writing = asyncio.Event()
        writing.set()
        reading = [asyncio.create_task(read(alice, writing)) for _ in range(2)]

        effects = await asyncio.gather(
            *(write(alice, seed, shared["id"]) for seed in range(WRITERS)),
            *(asyncio.to_thread(write_by_sql, database_url, user_id, seed) for seed in range(SQL_WRITERS)),
        )
        writing.clear()

        last = 1 + sum(effects)
        for changes, copy in await asyncio.gather(*reading):
            assert [change["revision"] for change in changes] == list(range(1, last + 1))
            assert changes == await whole_log(alice)
            assert copy.objects == await read_everything(alice)
        with psycopg.connect(database_url, autocommit=True) as connection:
            assert violations(connection, user_id) == {}
        assert Counter(change["operation"] for change in changes).keys() == {"create", "update", "delete"}

    async def test_device_that_starts_during_writes_converges(self, alice: AsyncClient) -> None:
        tasks = [await add_task(alice, title=str(n)) for n in range(40)]
        copies = [Copy(alice) for _ in range(5)]

        await asyncio.gather(
            *(write(alice, seed, tasks[0]["id"]) for seed in range(8)), *(copy.catch_up(limit=5) for copy in copies)
        )

        now = await read_everything(alice)
        for copy in copies:
            await copy.catch_up()
            assert copy.objects == now


# Task: T-326
class TestTwentyDevices:
    async def test_twenty_devices_that_complete_one_occurrence_complete_it_once(self, alice: AsyncClient) -> None:
        recurrence = {"rule": "FREQ=DAILY", "missed": "keep"}
        task = await add_task(alice, due_date="2026-03-10", recurrence=recurrence)

        responses = await asyncio.gather(
            *(alice.post(f"/tasks/{task['id']}/complete", json={"occurrence": "2026-03-10"}) for _ in range(20))
        )

        assert {response.json()["due_date"] for response in responses} == {"2026-03-11"}
        assert [change["operation"] for change in await whole_log(alice)] == ["create", "create", "update"]

    async def test_concurrent_trash_restore_and_add_leave_no_task_below_a_trashed_one(
        self, alice: AsyncClient, database_url: str
    ) -> None:
        user_id = (await alice.get("/me")).json()["id"]
        top = await add_task(alice)
        middle = await add_task(alice, parent_id=top["id"])

        async def add_below(n: int) -> int:
            response = await alice.post("/tasks", json={"title": str(n), "parent_id": middle["id"]})
            return response.status_code

        async def trash_and_restore(_: int) -> int:
            response = await alice.delete(f"/tasks/{top['id']}")
            back = await alice.post(f"/tasks/{top['id']}/restore")
            return max(response.status_code, back.status_code)

        # Once before the others: all of them may find the parent in the trash.
        assert await add_below(20) == 201
        statuses = await asyncio.gather(*(each(n) for n in range(20) for each in (add_below, trash_and_restore)))

        assert set(statuses) <= {200, 201, 204, 409}
        with psycopg.connect(database_url, autocommit=True) as connection:
            assert violations(connection, user_id) == {}
        made = 1 + statuses[::2].count(201)
        copy = Copy(alice)
        await copy.catch_up()
        assert copy.objects == await read_everything(alice)
        assert len(copy.objects) == 2 + made
