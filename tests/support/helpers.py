"""Statements for tests, and functions that wait for conditions and locks."""

import asyncio
import inspect
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import psycopg
from sqlalchemy import text

from support.processes import TIMEOUT_SECONDS, until
from todo.database import Database, DatabaseOptions, Session, Statement
from todo.errors import Unavailable

# Timeouts that a busy machine does not reach with twenty requests at once. Waiting for a lock still times out.
LONG_TIMEOUTS = DatabaseOptions(
    budget_seconds=20.0, bulk_budget_seconds=300.0, bulk_statement_timeout_milliseconds=280_000
)
# An advisory lock class that no other code uses.
_GATE = 4_712
# For many writers that wait for each other's locks on a busy machine.
VERY_LONG_TIMEOUTS = replace(LONG_TIMEOUTS, budget_seconds=60.0, statement_timeout_milliseconds=50_000)


def sql(words: str, *, repeatable: bool = False) -> Statement:
    """Return a statement in SQL with ``:name`` for bind parameters. It counts as a write unless ``repeatable``."""
    return Statement(text(words), repeatable=repeatable)


PROCESS = sql("SELECT pg_backend_pid() AS id", repeatable=True)
COUNT = Statement(text("SELECT count(*)::int AS n FROM tasks"), repeatable=True)
ADD = Statement(
    text(
        "INSERT INTO tasks (user_id, id, title, status, priority, created_at, updated_at, creation_digest)"
        " VALUES (:user_id, :task_id, 'A task', 'pending', 'low', now(), now(), '') RETURNING title"
    )
)


async def is_available(database: Database, user_id: str) -> bool:
    """Return whether the database answers a query of a user without tasks."""
    try:
        return await Session(database, user_id).fetch_one(COUNT) == {"n": 0}
    except Unavailable:
        return False


def soon() -> float:
    """Return a deadline in loop time that no test reaches."""
    return asyncio.get_running_loop().time() + TIMEOUT_SECONDS


async def eventually(condition: Callable[[], object]) -> None:
    """Wait until a condition holds; fail after a timeout. The condition may be a coroutine function."""
    loop = asyncio.get_running_loop()
    latest = loop.time() + TIMEOUT_SECONDS
    while not await _value_of(condition):
        assert loop.time() < latest, "the condition never held"
        await asyncio.sleep(0.02)


async def _value_of(condition: Callable[[], object]) -> object:
    value = condition()
    return await value if inspect.isawaitable(value) else value


async def grace_period(seconds: float = 0.1) -> None:
    """Give something that must not happen time to happen. If the time is too short, a broken test passes."""
    await asyncio.sleep(seconds)


@contextmanager
def gate(url: str) -> Iterator[Statement]:
    """Yield a statement that runs on the server until the context ends. ``lock_timeout`` does not apply to it."""
    key = secrets.randbelow(2**31)
    # The statement polls a shared advisory lock instead of waiting for it.
    passes = f"pg_try_advisory_xact_lock_shared({_GATE}, {key})"
    loop = f"DO $$ BEGIN WHILE NOT {passes} LOOP PERFORM pg_sleep(0.01); END LOOP; END $$"
    with psycopg.connect(url) as keeper:
        keeper.execute("SELECT pg_advisory_xact_lock(%s, %s)", (_GATE, key))
        yield sql(loop)


def wait_for_a_lock(connection: psycopg.Connection[Any]) -> None:
    """Block until another transaction waits for a lock of this one. Call it in a thread if the event loop must run."""
    awaited = "SELECT FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY (pg_blocking_pids(pid))"
    until(lambda: connection.execute(awaited).rowcount > 0)


def commit_when_awaited(connection: psycopg.Connection[Any]) -> None:
    """Commit as soon as another transaction waits for a lock of this one."""
    wait_for_a_lock(connection)
    connection.commit()


def waiting(admin: psycopg.Connection[Any]) -> list[int]:
    """Return the ids of the server processes that wait for an advisory lock."""
    rows = admin.execute("SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND NOT granted").fetchall()
    return [pid for (pid,) in rows]
