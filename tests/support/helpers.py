"""Statements of the tests' own, and waiting for what happens elsewhere."""

import asyncio
import inspect
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import psycopg
from sqlalchemy import text

from support.processes import PATIENCE_SECONDS, until
from todo.database import Database, DatabaseOptions, Session, Statement
from todo.errors import Unavailable

# A busy machine takes longer for twenty requests at once than they may take. What waits for a lock still gives up.
UNHURRIED = DatabaseOptions(budget_seconds=20.0, bulk_budget_seconds=300.0, bulk_statement_timeout_milliseconds=280_000)
# Any number that nobody else takes advisory locks under.
_GATE = 4_712
# Where many wait for one another's locks, and a busy machine must not make one of them give up.
PATIENT = replace(UNHURRIED, budget_seconds=60.0, statement_timeout_milliseconds=50_000)

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


async def answers(database: Database, user_id: str) -> bool:
    """Tell whether the database answers a user without tasks, instead of saying that it is unavailable."""
    try:
        return await Session(database, user_id).fetch_one(COUNT) == {"n": 0}
    except Unavailable:
        return False


async def eventually(condition: Callable[[], object]) -> None:
    """Wait until a condition holds; fail if that never happens. The condition may be a coroutine function."""
    loop = asyncio.get_running_loop()
    latest = loop.time() + PATIENCE_SECONDS
    while not await _value_of(condition):
        assert loop.time() < latest, "the condition never held"
        await asyncio.sleep(0.02)


async def _value_of(condition: Callable[[], object]) -> object:
    value = condition()
    return await value if inspect.isawaitable(value) else value


async def grace_period(seconds: float = 0.1) -> None:
    """Give something that must not happen the time to happen. If it is too short, a test passes that should not."""
    await asyncio.sleep(seconds)


@contextmanager
def gate(url: str) -> Iterator[Statement]:
    """Give a statement that sleeps at the server until this context ends. No limit on lock waits applies to it."""
    key = secrets.randbelow(2**31)
    # A shared advisory lock, which the statement tries to take again and again.
    passes = f"pg_try_advisory_xact_lock_shared({_GATE}, {key})"
    loop = f"DO $$ BEGIN WHILE NOT {passes} LOOP PERFORM pg_sleep(0.01); END LOOP; END $$"
    with psycopg.connect(url) as keeper:
        keeper.execute("SELECT pg_advisory_xact_lock(%s, %s)", (_GATE, key))
        yield sql(loop)


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
