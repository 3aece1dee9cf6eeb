"""Write tasks and read the change log by SQL."""

from typing import Any
from uuid import UUID, uuid4

import psycopg

Connection = psycopg.Connection[Any]
INSERT = (
    "INSERT INTO tasks (user_id, id, title, status, priority, created_at, updated_at, creation_digest)"
    " VALUES (%s, %s, %s, 'pending', 'low', '2026-03-01 07:30Z', '2026-03-01 07:30Z', '\\x0102')"
)


def add(connection: Connection, user_id: str, *, title: str = "Buy milk", then: str = "") -> UUID:
    task_id = uuid4()
    connection.execute(INSERT + then, (user_id, task_id, title))
    return task_id


def log_of(connection: Connection, user_id: str) -> list[tuple[int, str, str]]:
    """Return revision, operation and entity id of each change of a user, in order."""
    return connection.execute(
        "SELECT revision, operation, entity_id FROM changes WHERE user_id = %s ORDER BY revision", (user_id,)
    ).fetchall()


def operations(connection: Connection, user_id: str) -> list[tuple[int, str]]:
    return [(revision, operation) for revision, operation, _ in log_of(connection, user_id)]


def counter_of(connection: Connection, user_id: str) -> int | None:
    row = connection.execute("SELECT revision FROM revisions WHERE user_id = %s", (user_id,)).fetchone()
    return row[0] if row else None


def revisions_of(connection: Connection, user_id: str) -> set[tuple[UUID, int]]:
    return set(connection.execute("SELECT id, revision FROM tasks WHERE user_id = %s", (user_id,)).fetchall())


def last(connection: Connection, user_id: str) -> tuple[Any, Any]:
    """Return ``state`` and ``before`` of the user's last change."""
    rows = connection.execute(
        "SELECT state, before FROM changes WHERE user_id = %s ORDER BY revision DESC LIMIT 1", (user_id,)
    ).fetchall()
    state, before = rows[0]
    return state, before


def become(connection: Connection, user_id: str) -> None:
    """Take the application's role and the user's identity until the end of the transaction."""
    connection.execute(
        "SELECT set_config('role', 'todo_app', true),"
        " set_config('app.user', extract(epoch FROM now()) || ' ' || %s, true)",
        (user_id,),
    )
