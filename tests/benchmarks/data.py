"""What the benchmark measures on: users and their tasks, filled in by SQL, and as the API would leave them."""

import time
from dataclasses import dataclass
from typing import Any

import jwt
import psycopg

SECRET = "a secret that only the benchmark knows, long enough"
BIG, SMALL = "big", "small"

# Without triggers and keys, which would take minutes; what they do is done below, at once.
_FILL_TASKS = """
INSERT INTO tasks (user_id, id, title, description, status, priority, due_date, created_at, updated_at, completed_at,
                   revision, creation_digest)
SELECT user_id, uuidv7(at - now()), 'Task number ' || n,
       CASE WHEN n %% 2 = 0 THEN 'Two litres, *organic*, from the shop around the corner: it closes at eight.' END,
       status, (ARRAY['low', 'medium', 'high'])[1 + n %% 3],
       CASE WHEN n %% 3 = 0 THEN '2026-03-10' WHEN n %% 3 = 1 THEN '2026-03-10T08:00:00Z' END,
       at, at, CASE status WHEN 'completed' THEN at END, n, '\\x00'
FROM (
    SELECT user_id, n, now() - (%(tasks)s - n) * interval '1 minute' AS at,
           (ARRAY['pending', 'pending', 'in_progress', 'completed', 'cancelled'])[1 + n %% 5] AS status
    FROM unnest(%(users)s::text[]) AS user_id, generate_series(1, %(tasks)s) AS n
) AS made
"""
_FILL_LOG = """
INSERT INTO revisions (user_id, revision) SELECT user_id, max(revision) FROM tasks GROUP BY user_id;
INSERT INTO changes (user_id, revision, entity, entity_id, operation, changed_at, state)
SELECT user_id, revision, 'task', id, 'create', created_at, to_jsonb(t) - 'user_id' FROM tasks AS t;
INSERT INTO task_counts (user_id, status, priority, tasks)
SELECT user_id, status, priority, count(*) FROM tasks GROUP BY user_id, status, priority
"""


@dataclass(frozen=True, slots=True)
class Size:
    """How much of everything. ``rounds`` of ``seconds``; requests that need a task each come ``fresh`` at a time.

    Before anything counts, ``warm`` requests are sent. ``delayed`` requests of each kind go through the network,
    ``starts`` are timed, and ``live`` clients see ``changes``.
    """

    users: int
    tasks: int
    big: int
    many_users: int
    rounds: int
    side_rounds: int
    seconds: int
    fresh: int
    warm: int
    delayed: int
    starts: int
    live: int
    changes: int


FULL = Size(
    users=1_000, tasks=200, big=100_000, many_users=100_000,
    rounds=5, side_rounds=3, seconds=3, fresh=1_500, warm=200, delayed=30, starts=3, live=1_000, changes=200,
)  # fmt: skip
QUICK = Size(
    users=130, tasks=200, big=10_000, many_users=2_000,
    rounds=2, side_rounds=1, seconds=1, fresh=200, warm=80, delayed=16, starts=1, live=200, changes=50,
)  # fmt: skip


def user(number: int) -> str:
    """Return a user's id, of the length that Better Auth's have."""
    return f"user{number:028}"


def token_of(user_id: str) -> str:
    """Sign a token for a user, with as many claims as Better Auth puts in."""
    now = int(time.time())
    claims = {
        "sub": user_id,
        "name": "Alice Liddell",
        "email": f"{user_id}@example.com",
        "iat": now,
        "exp": now + 86_400,
    }
    return jwt.encode(claims, SECRET, "HS256")


def fill(url: str, people: dict[int, list[str]]) -> None:
    """Make users with as many tasks as their key says, and look at the tables as autovacuum would."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")
        for tasks, users in people.items():
            connection.execute(
                'INSERT INTO "user" (id, name, email, "emailVerified")'
                " SELECT id, 'Alice Liddell', id || '@example.com', true FROM unnest(%s::text[]) AS id",
                [users],
            )
            connection.execute(_FILL_TASKS, {"users": users, "tasks": tasks})
        connection.execute(_FILL_LOG)
        connection.execute("VACUUM (ANALYZE)")


def some_tasks(connection: psycopg.Connection[Any], users: list[str], each: int) -> list[tuple[str, str]]:
    """Return owners and ids of some tasks of these users, in no order that would help a cache."""
    return connection.execute(
        "SELECT user_id, id FROM ("
        " SELECT user_id, id::text, row_number() OVER (PARTITION BY user_id ORDER BY md5(id::text)) AS n"
        " FROM tasks WHERE user_id = ANY(%s)) AS numbered WHERE n <= %s ORDER BY md5(id)",
        [users, each],
    ).fetchall()


def new_tasks(connection: psycopg.Connection[Any], users: list[str], count: int) -> list[tuple[str, str]]:
    """Make pending tasks for requests that use one up each; return owners and ids."""
    return connection.execute(
        "INSERT INTO tasks (user_id, id, title, status, priority, created_at, updated_at, revision, creation_digest)"
        " SELECT (%s::text[])[1 + n %% %s], uuidv7(), 'To be used up', 'pending', 'low', now(), now(), 0, ''"
        " FROM generate_series(1, %s) AS n RETURNING user_id, id::text",
        [users, len(users), count],
    ).fetchall()
