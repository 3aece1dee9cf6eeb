"""Statements of the tests' own, and waiting for what happens elsewhere."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import psycopg
from sqlalchemy import text

from support.processes import PATIENCE_SECONDS, until
from todo.database import DatabaseOptions, Statement

# A busy machine takes longer for twenty requests at once than they may take. What waits for a lock still gives up.
UNHURRIED = DatabaseOptions(budget_seconds=20.0, long_budget_seconds=300.0, long_statement_timeout_milliseconds=280_000)
# Where many wait for one another's locks, and a busy machine must not make one of them give up.
PATIENT = replace(UNHURRIED, budget_seconds=60.0, statement_timeout_milliseconds=50_000)

# Seconds. What takes less ended at the limit that the test set, well below, and not at the next one, well above.
SOON = 5.0

COUNT = Statement(text("SELECT count(*)::int AS n FROM tasks"), repeatable=True)
ADD = Statement(
    text(
        "INSERT INTO tasks (user_id, id, title, status, priority, created_at, updated_at, creation_digest)"
        " VALUES (:user_id, :task_id, 'A task', 'pending', 'low', now(), now(), '') RETURNING title"
    )
)


def sql(words: str, *, repeatable: bool = False) -> Statement:
    """A statement in SQL, with ``:name`` for its values. Not repeatable unless it says so: it may do anything."""
    return Statement(text(words), repeatable=repeatable)


async def eventually(true: Callable[[], object]) -> None:
    """Wait until ``true`` is; fail if that never comes."""
    loop = asyncio.get_running_loop()
    latest = loop.time() + PATIENCE_SECONDS
    while not true():
        assert loop.time() < latest, "waited in vain"
        await asyncio.sleep(0.02)


def wait_for_a_lock(connection: psycopg.Connection[Any]) -> None:
    """Wait until somebody waits for a lock of this transaction. In a thread, where the event loop has to go on."""
    awaited = "SELECT FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY (pg_blocking_pids(pid))"
    until(lambda: connection.execute(awaited).rowcount > 0)


def commit_when_awaited(connection: psycopg.Connection[Any]) -> None:
    """Commit once somebody waits for a lock of this transaction."""
    wait_for_a_lock(connection)
    connection.commit()


def waiting(admin: psycopg.Connection[Any]) -> list[int]:
    """The processes of the server that wait for an advisory lock."""
    rows = admin.execute("SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND NOT granted").fetchall()
    return [pid for (pid,) in rows]
