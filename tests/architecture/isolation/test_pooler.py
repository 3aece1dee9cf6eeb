"""Users who share the server connections of a pooler are isolated."""

import asyncio
import contextlib
import random
from typing import Any

import psycopg
import pytest
from httpx import AsyncClient

from support.helpers import VERY_LONG_TIMEOUTS, sql
from support.isolation_layers import WalledApp, app_behind
from support.pgbouncer import POOL_SIZE, pgbouncer
from support.tasks import add_task
from todo.database import Database, Session
from todo.database.prepared import OwnNames, SharedNames, TrackedNames
from todo.database.statements import CompiledText

_WHO = sql("SELECT app.uid() AS id, pg_sleep(0.002)::text", repeatable=True)


# Task: T-062
class TestPooler:
    """In transaction mode, transactions of different users alternate on a few server connections."""

    async def test_users_who_share_server_connections_are_isolated(self, pooled_url: str, database_url: str) -> None:
        async with app_behind(VERY_LONG_TIMEOUTS, url=pooled_url, direct_url=database_url) as walled:
            clients = [walled.client(walled.sign_up(f"user{number}")) for number in range(2 * POOL_SIZE)]

            results = await asyncio.gather(*(_use_tasks(client, number) for number, client in enumerate(clients)))

            for client in clients:
                await client.aclose()
        assert results == [[]] * len(clients)

    async def test_users_are_isolated_when_some_requests_are_cancelled(
        self, pooled_url: str, database_url: str
    ) -> None:
        """A cancelled request leaves a running statement on a connection that another user gets next."""
        chance = random.Random(5)
        async with app_behind(VERY_LONG_TIMEOUTS, url=pooled_url, direct_url=database_url) as walled:
            database = walled.app.state.database
            requests = {
                f"user {number}": asyncio.create_task(_identity_of(database, f"user {number}")) for number in range(150)
            }
            cancelled = chance.sample(sorted(requests), 75)
            for user_id in cancelled:
                await asyncio.sleep(chance.uniform(0, 0.003))
                requests[user_id].cancel()
            await asyncio.wait(requests.values())

        finished = [user_id for user_id in requests if not requests[user_id].cancelled()]
        assert set(requests) - set(cancelled) <= set(finished)
        assert [requests[user_id].result() for user_id in finished] == finished

    # Task: T-412
    @pytest.mark.parametrize("tracks_statements", [False, True], ids=["names-pass", "names-are-tracked"])
    async def test_users_are_isolated_while_another_client_changes_prepared_statements(
        self, database_url: str, monkeypatch: pytest.MonkeyPatch, *, tracks_statements: bool
    ) -> None:
        """Two processes and another program share the server connections and their prepared statements."""
        refused = _count_refusals(monkeypatch)
        done = asyncio.Event()
        with pgbouncer(database_url, tracks_statements=tracks_statements) as url:
            async with (
                app_behind(VERY_LONG_TIMEOUTS, url=url, direct_url=database_url) as one,
                app_behind(VERY_LONG_TIMEOUTS, url=url, direct_url=database_url) as other,
                app_behind(VERY_LONG_TIMEOUTS, url=database_url, direct_url=database_url) as direct,
            ):
                user_ids = [one.sign_up(f"user{number}") for number in range(2 * POOL_SIZE)]
                others = [asyncio.create_task(_disturb(url, seed, done)) for seed in range(2)]
                results = await asyncio.gather(
                    *(_use_both(one, other, user_id, number) for number, user_id in enumerate(user_ids))
                )
                pooled = [await _seen(other, user_id) for user_id in user_ids]
                done.set()
                disturbed = await asyncio.gather(*others)
                expected = [await _seen(direct, user_id) for user_id in user_ids]

        assert results == [[]] * len(user_ids)
        assert pooled == expected
        # Otherwise the other program did not disturb anything.
        assert all(times > 20 for times in disturbed)
        assert bool(refused) is not tracks_statements


def _count_refusals(monkeypatch: pytest.MonkeyPatch) -> list[CompiledText]:
    """Return a list that grows with each statement that a server connection lacks."""
    refused: list[CompiledText] = []
    for kind in (SharedNames, TrackedNames):

        def note_refused(self: OwnNames, text: CompiledText, note: Any = kind.note_refused) -> None:
            refused.append(text)
            note(self, text)

        monkeypatch.setattr(kind, "note_refused", note_refused)
    return refused


async def _disturb(url: str, seed: int, done: asyncio.Event) -> int:
    """Change a server connection as other programs do, again and again. Return how often that succeeded."""
    chance, times = random.Random(seed), 0
    while not done.is_set():
        statement = chance.choice(
            [
                *(f"PREPARE other_{number} AS SELECT {number} AS title" for number in range(3)),
                *(f"EXECUTE other_{number}" for number in range(3)),
                "DEALLOCATE ALL",
                "DISCARD ALL",
                "SET search_path = pg_temp",
                "SET enable_sort = on",
                "SELECT 'prepared by a counter'",
            ]
        )
        # Its prepared statements have numbered names, which fail behind a pooler: a name may belong to another client.
        with contextlib.suppress(psycopg.Error):
            async with await psycopg.AsyncConnection.connect(url, autocommit=True, prepare_threshold=0) as connection:
                await connection.execute(statement.encode(), prepare=statement.startswith("SELECT"))
                times += 1
        await asyncio.sleep(0)
    return times


async def _use_both(one: WalledApp, other: WalledApp, user_id: str, number: int) -> list[str]:
    async with one.client(user_id) as client, other.client(user_id) as again:
        return await _use_tasks(client, number) + await _list_tasks(again, number)


async def _list_tasks(client: AsyncClient, number: int) -> list[str]:
    """List the client's tasks in many ways, and return everything unexpected."""
    wrong = []
    for query in ("sort=title", "sort=-priority", f"q={number}", "due=none", "status=pending", "sort=-updated_at"):
        for _ in range(3):
            answer = await client.get(f"/tasks?{query}&limit=100")
            tasks = answer.json().get("tasks", [])
            wrong += [answer.text] if answer.status_code != 200 or not tasks else []
            wrong += [str(task) for task in tasks if not task["title"].startswith(f"{number}.")]
    return wrong


async def _seen(walled: WalledApp, user_id: str) -> Any:
    async with walled.client(user_id) as client:
        return [
            (await client.get(path)).json() for path in ("/tasks?limit=100", "/tasks?sort=title", "/changes?since=0")
        ]


async def _identity_of(database: Database, user_id: str) -> str:
    """Return the identity that a slow statement of the user sees."""
    row = await Session(database, user_id).fetch_one(_WHO)
    return str(row["id"])


async def _use_tasks(client: AsyncClient, number: int) -> list[str]:
    """Create, read and change the client's tasks, and return everything unexpected."""
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
        wrong += [str(task) for task in (read, changed) if task["title"] != title]
        wrong += [str(each) for each in listed["tasks"] if not each["title"].startswith(f"{number}.")]
        wrong += [] if (listed["total"], none["tasks"]) == (round_ + 1, []) else [str(listed)]
    return wrong
