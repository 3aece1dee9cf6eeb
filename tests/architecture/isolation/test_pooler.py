"""Users who share a pooler's connections are kept apart."""

import asyncio
import random

import pytest
from httpx import AsyncClient

from support.pgbouncer import POOL_SIZE
from support.scratch import PATIENT, sql
from support.tasks import add_task
from support.walls import app_behind
from todo.database import Database, DatabaseOptions, Session
from todo.database.statements import raw

_PREPARED = raw("SELECT name::text FROM pg_catalog.pg_prepared_statements WHERE name LIKE 'todo\\_%'")
_WHO = sql("SELECT app.uid() AS id, pg_sleep(0.002)::text", repeatable=True)


# Task: T-062
class TestPooler:
    """In transaction mode the users' transactions take turns on a few connections, in any order."""

    async def test_keeps_users_apart_who_share_its_connections(self, pooled_url: str, database_url: str) -> None:
        async with app_behind(PATIENT, url=pooled_url, direct_url=database_url) as walled:
            clients = [walled.client(walled.sign_up(f"user{number}")) for number in range(2 * POOL_SIZE)]

            results = await asyncio.gather(*(_live(client, number) for number, client in enumerate(clients)))

            for client in clients:
                await client.aclose()
        assert results == [[]] * len(clients)

    async def test_keeps_users_apart_when_some_hang_up(self, pooled_url: str, database_url: str) -> None:
        """Who hangs up leaves a statement behind on a connection that somebody else gets next."""
        chance = random.Random(5)
        async with app_behind(PATIENT, url=pooled_url, direct_url=database_url) as walled:
            database = walled.app.state.database
            asked = {f"user {number}": asyncio.create_task(_who(database, f"user {number}")) for number in range(150)}
            leaving = chance.sample(sorted(asked), 75)
            for user_id in leaving:
                await asyncio.sleep(chance.uniform(0, 0.003))
                asked[user_id].cancel()
            await asyncio.wait(asked.values())

        staying = [user_id for user_id in asked if not asked[user_id].cancelled()]
        assert set(asked) - set(leaving) <= set(staying)
        assert [asked[user_id].result() for user_id in staying] == staying

    @pytest.mark.parametrize(("way", "prepares"), [("database_url", True), ("pooled_url", False)])
    async def test_is_noticed_so_that_nothing_is_prepared_by_name(
        self, request: pytest.FixtureRequest, database_url: str, way: str, *, prepares: bool
    ) -> None:
        url = request.getfixturevalue(way)
        async with app_behind(DatabaseOptions(pool_size=1), url=url, direct_url=database_url) as walled:
            async with walled.client(walled.sign_up("alice")) as alice:
                await add_task(alice)
            connection = await walled.app.state.database.acquire(deadline=asyncio.get_running_loop().time() + 5)
            [result] = await connection.exchange([(_PREPARED, ())], deadline=asyncio.get_running_loop().time() + 5)
            prepared = connection.rows(result, _PREPARED)
            await walled.app.state.database.release(connection)
        assert bool(prepared) is prepares
        assert connection.is_pooled is not prepares


async def _who(database: Database, user_id: str) -> str:
    """Ask as a user who that is, over a statement that takes its time."""
    row = await Session(database, user_id).one(_WHO)
    return str(row["id"])


async def _live(client: AsyncClient, number: int) -> list[str]:
    """Work with one's own tasks for a while; returns what was seen that should not be."""
    wrong = []
    for round_ in range(12):
        title = f"{number}.{round_}"
        task = await add_task(client, title=title)
        path = f"/tasks/{task['id']}"
        answers = await asyncio.gather(
            client.get(path),
            client.get("/tasks", params={"limit": 100}),
            client.patch(path, json={"description": title}),
            client.get("/tasks", params={"status": "cancelled"}),
        )
        wrong += [answer.text for answer in answers if answer.status_code != 200]
        read, listed, changed, none = (answer.json() for answer in answers)
        wrong += [str(seen) for seen in (read, changed) if seen["title"] != title]
        wrong += [str(seen) for seen in listed["tasks"] if not seen["title"].startswith(f"{number}.")]
        wrong += [] if (listed["total"], none["tasks"]) == (round_ + 1, []) else [str(listed)]
    return wrong
