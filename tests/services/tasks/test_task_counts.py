"""The total of a list is a stored counter. It stays correct for every kind of write."""

import itertools
from collections import Counter

import psycopg
from httpx import AsyncClient

from support.categories import add_category, categories_of
from support.tasks import add_task

STATUSES = ("pending", "in_progress", "completed", "cancelled")
PRIORITIES = ("low", "medium", "high")


async def totals_are_right(client: AsyncClient) -> bool:
    """Return whether the total under every filter equals the number of listed tasks."""
    tasks = (await client.get("/tasks", params={"limit": 100})).json()["tasks"]
    found = Counter((task["status"], task["priority"]) for task in tasks)
    for statuses, priorities in itertools.product(
        [(), STATUSES[:1], STATUSES[1:3], STATUSES], [(), PRIORITIES[:1], PRIORITIES[1:]]
    ):
        page = await client.get("/tasks", params={"status": statuses, "priority": priorities, "limit": 1})
        wanted = sum(
            count
            for (status, priority), count in found.items()
            if (not statuses or status in statuses) and (not priorities or priority in priorities)
        )
        if page.json()["total"] != wanted:
            return False
    return True


# Task: T-210
class TestTotals:
    async def test_totals_are_correct_after_every_kind_of_write(self, alice: AsyncClient) -> None:
        tasks = [await add_task(alice, priority=priority) for priority in PRIORITIES for _ in range(3)]
        await alice.post(f"/tasks/{tasks[0]['id']}/complete")
        await alice.patch(f"/tasks/{tasks[1]['id']}", json={"status": "in_progress", "priority": "high"})
        await alice.patch(f"/tasks/{tasks[2]['id']}", json={"title": "Buy bread"})
        await alice.delete(f"/tasks/{tasks[3]['id']}")
        revision = (await alice.get("/changes")).json()["revision"]
        await alice.post(f"/changes/{revision}/undo")
        await alice.post("/tasks", json={"id": tasks[4]["id"], "title": "Taken"})

        assert (await alice.get("/tasks")).json()["total"] == 9
        assert await totals_are_right(alice)

    async def test_totals_are_correct_after_plain_sql(self, alice: AsyncClient, database_url: str) -> None:
        for _ in range(6):
            await add_task(alice)
        user_id = (await alice.get("/me")).json()["id"]

        with psycopg.connect(database_url, autocommit=True) as connection:
            connection.execute(
                "UPDATE tasks SET status = 'cancelled' WHERE ctid IN"
                " (SELECT ctid FROM tasks WHERE user_id = %s LIMIT 2)",
                (user_id,),
            )
            connection.execute(
                "DELETE FROM tasks WHERE ctid IN (SELECT ctid FROM tasks WHERE user_id = %s LIMIT 1)", (user_id,)
            )

        assert (await alice.get("/tasks")).json()["total"] == 5
        assert await totals_are_right(alice)

    async def test_totals_exclude_trashed_subtrees(self, alice: AsyncClient) -> None:
        top = await add_task(alice, priority="high")
        below = await add_task(alice, parent_id=top["id"])
        await add_task(alice, parent_id=below["id"])
        await add_task(alice, priority="low")

        await alice.delete(f"/tasks/{top['id']}")
        without = (await alice.get("/tasks")).json()["total"]
        is_right = await totals_are_right(alice)
        await alice.post(f"/tasks/{top['id']}/restore")
        restored = (await alice.get("/tasks")).json()["total"]
        await alice.delete(f"/tasks/{below['id']}")
        await alice.delete(f"/tasks/{top['id']}", params={"permanent": "true"})

        assert (without, is_right, restored) == (1, True, 4)
        assert (await alice.get("/tasks")).json()["total"] == 1
        assert await totals_are_right(alice)

    async def test_totals_follow_tasks_that_change_category(self, alice: AsyncClient) -> None:
        work, home = [(await add_category(alice, name=name))["id"] for name in ("Work", "Home")]
        tasks = [await add_task(alice, category_id=category) for category in (work, work, home, None)]
        await alice.post(f"/tasks/{tasks[0]['id']}/complete")
        await alice.post(f"/tasks/{tasks[1]['id']}/move", json={"category_id": home})
        await alice.delete(f"/tasks/{tasks[2]['id']}")

        counts = {c["name"]: (c["tasks_open"], c["tasks_completed"]) for c in await categories_of(alice)}
        totals = [
            (await alice.get("/tasks", params={"category_id": category})).json()["total"]
            for category in (work, home, "none")
        ]
        await alice.delete(f"/categories/{work}")

        assert counts == {"Work": (0, 1), "Home": (1, 0)}
        assert totals == [1, 1, 1]
        assert (await alice.get("/tasks", params={"category_id": "none"})).json()["total"] == 2
        assert await totals_are_right(alice)

    async def test_totals_count_only_the_users_own_tasks(self, alice: AsyncClient, bob: AsyncClient) -> None:
        await add_task(alice)

        assert (await bob.get("/tasks")).json()["total"] == 0


# Task: T-211
class TestInstants:
    async def test_instants_are_in_utc_in_single_tasks_and_in_lists(self, alice: AsyncClient) -> None:
        task = await add_task(alice)
        done = (await alice.post(f"/tasks/{task['id']}/complete")).json()

        [listed] = (await alice.get("/tasks")).json()["tasks"]

        assert listed == done
        assert task["completed_at"] is None
        assert all(done[name][10] == "T" and done[name][-1] == "Z" for name in ("created_at", "completed_at"))
