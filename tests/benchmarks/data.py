"""The data of the benchmark: users and their tasks, added by SQL in the state that the API would leave."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import jwt
import psycopg

from todo.migrations.change_log import CHANGE_LOG

SECRET = "a secret that only the benchmark knows, long enough"
BIG, SMALL = "big", "small"
FEW = 3
"""The number of tasks that most users have."""

# Without triggers and foreign keys, which would take minutes. ``_DERIVE`` adds the derived data in bulk.
_FILL_TASKS = """
INSERT INTO tasks (user_id, id, title, description, status, priority, due_date, created_at, updated_at, completed_at,
                   position, revision, creation_digest)
SELECT user_id, uuidv7(at - now()), 'Task number ' || n,
       CASE WHEN n %% 2 = 0 THEN 'Two litres, *organic*, from the shop around the corner: it closes at eight.' END,
       status, (ARRAY['low', 'medium', 'high'])[1 + n %% 3],
       CASE WHEN n %% 3 = 0 THEN '2026-03-10' WHEN n %% 3 = 1 THEN '2026-03-10T08:00:00Z' END,
       at, at, CASE status WHEN 'completed' THEN at END, 500000000000000 + n, n, '\\x00'
FROM (
    SELECT user_id, n, %(now)s::timestamptz - (%(tasks)s - n) * make_interval(mins => %(minutes)s) AS at,
           (ARRAY['pending', 'pending', 'in_progress', 'completed', 'cancelled'])[1 + n %% 5] AS status
    FROM unnest(%(users)s::text[]) AS user_id, generate_series(1, %(tasks)s) AS n
) AS made
"""
# Every filter finds a full page for a user with a hundred tasks, as for one with a thousand times as many. Due dates
# are spread over at least six days, so that this holds on any weekday, also if midnight passes before the request.
_FURNISH = """
INSERT INTO categories (user_id, id, name, name_key, archived, position, created_at, updated_at, revision,
                        creation_digest)
SELECT user_id, gen_random_uuid(), 'Category ' || n, 'category ' || n, false, 500000000000000 + tasks + n, %(now)s,
       %(now)s, tasks + n, '\\x00'
FROM unnest(%(users)s::text[]) AS users (user_id), generate_series(1, 4) AS n,
     LATERAL (SELECT max(revision) AS tasks FROM tasks WHERE tasks.user_id = users.user_id) AS counted
"""
_FURNISH_TASKS = """
UPDATE tasks AS t SET
    description = (ARRAY['Ask the bank for the statement of march.', 'Water the tomatoes; not in the noon sun.',
        'Read the *contract* again, then sign.', 'Oat milk, bread, and lemons for the weekend.'])[1 + t.revision %% 4],
    due_date = CASE WHEN t.revision / 4 %% 5 > 0 THEN
        to_char(%(now)s::date + (t.revision * 7919 %% days - days / 3)::int,
                CASE t.revision %% 2 WHEN 0 THEN 'YYYY-MM-DD' ELSE 'YYYY-MM-DD"T"08:00:00"Z"' END) END,
    start_date = CASE WHEN t.revision %% 7 = 0 THEN
        to_char(%(now)s::date + (t.revision * 7919 %% days - days / 3)::int, 'YYYY-MM-DD') END,
    category_id = (SELECT id FROM categories AS c WHERE c.user_id = t.user_id
                   AND name = 'Category ' || t.revision / 5 %% 5),
    tags = tagged.tags, tag_keys = tagged.tags,
    parent_id = parent.id,
    trashed_at = CASE WHEN t.revision %% 20 IN (15, 16) THEN %(now)s::timestamptz END,
    trash_id = CASE WHEN t.revision %% 20 IN (15, 16) THEN t.id END
FROM tasks AS self
CROSS JOIN LATERAL (SELECT greatest(6, %(tasks)s / 30) AS days) AS spread
CROSS JOIN LATERAL (
    SELECT (ARRAY['[]', '["work"]', '["home", "urgent"]', '["errand"]', '["urgent"]']::jsonb[])
        [1 + self.revision / 3 %% 5] AS tags
) AS tagged
LEFT JOIN tasks AS parent ON parent.user_id = self.user_id AND self.revision %% 20 BETWEEN 1 AND 10
    AND parent.revision = self.revision / 20 * 20
WHERE t.user_id = self.user_id AND t.id = self.id AND t.user_id = ANY(%(users)s)
"""
_EXCLUDED = {table.entity: ",".join(table.excluded_columns) for table in CHANGE_LOG}
_DERIVE = f"""
UPDATE tasks AS p SET subtasks_total = below.total, subtasks_completed = below.completed
FROM (
    SELECT user_id, parent_id, count(*) AS total, count(*) FILTER (WHERE status = 'completed') AS completed
    FROM tasks WHERE parent_id IS NOT NULL AND trashed_at IS NULL GROUP BY user_id, parent_id
) AS below WHERE p.user_id = below.user_id AND p.id = below.parent_id;
UPDATE tasks SET due_at = app.resolve_time(due_date, NULL, 'UTC', '00:00'),
    start_at = app.resolve_time(start_date, NULL, 'UTC', '00:00')
WHERE due_date IS NOT NULL OR start_date IS NOT NULL;
INSERT INTO revisions (user_id, revision) SELECT user_id, max(revision) FROM (
    SELECT user_id, revision FROM tasks UNION ALL SELECT user_id, revision FROM categories
) AS things GROUP BY user_id;
INSERT INTO changes (user_id, revision, entity, entity_id, operation, changed_at, state)
SELECT user_id, revision, 'task', id, 'create', created_at,
       to_jsonb(t) - '{{{_EXCLUDED["task"]}}}'::text[]
FROM tasks AS t UNION ALL
SELECT user_id, revision, 'category', id, 'create', created_at, to_jsonb(c) - '{{{_EXCLUDED["category"]}}}'::text[]
FROM categories AS c;
INSERT INTO task_counts (user_id, category_id, status, priority, tasks)
SELECT user_id, coalesce(category_id, '00000000-0000-0000-0000-000000000000'), status, priority, count(*)
FROM tasks WHERE trashed_at IS NULL GROUP BY 1, 2, 3, 4;
INSERT INTO task_tags (user_id, tag_key, task_id, tag, created_at)
SELECT user_id, tag, id, tag, created_at FROM tasks, jsonb_array_elements_text(tags) AS tag WHERE trashed_at IS NULL;
INSERT INTO tag_counts (user_id, tag_key, tag, tasks)
SELECT user_id, tag_key, tag, count(*) FROM task_tags GROUP BY 1, 2, 3;
INSERT INTO task_words (user_id, task_id, word, weight, created_at)
SELECT user_id, id, word, min(weight), created_at FROM tasks, LATERAL (
    SELECT string_to_table(app.normalize_for_search(title), ' '), 1 UNION ALL
    SELECT string_to_table(app.normalize_array_for_search(tags), ' '), 2 UNION ALL
    SELECT string_to_table(app.normalize_for_search(description), ' '), 3
) AS found (word, weight) WHERE word NOT IN ('', '|') GROUP BY user_id, id, word, created_at
"""
# Minutes between two tasks. A user with a hundred thousand tasks has created thirty a day.
_OFTEN, _SELDOM = 1, 48


@dataclass(frozen=True, slots=True)
class Size:
    """The sizes of a run.

    Beside the ``users`` with ``tasks`` each, ``more_users`` have `FEW`. There are ``rounds`` of ``seconds``; requests
    that need a task each come ``fresh`` at a time. Before anything counts, ``warm`` requests are sent. ``delayed``
    requests of each kind go through the network, ``finds`` look for the same, every ``pooled``-th of these kinds goes
    through PgBouncer as well, ``starts`` are timed, and ``live`` clients see ``changes``.
    """

    users: int
    tasks: int
    more_users: int
    big: int
    many_users: int
    rounds: int
    side_rounds: int
    seconds: int
    fresh: int
    warm: int
    delayed: int
    finds: int
    pooled: int
    starts: int
    live: int
    changes: int


FULL = Size(
    users=1_000, tasks=200, more_users=20_000, big=100_000, many_users=100_000,
    rounds=5, side_rounds=3, seconds=3, fresh=1_500, warm=200, delayed=30, finds=60, pooled=1, starts=3,
    live=1_000, changes=200,
)  # fmt: skip
QUICK = Size(
    users=130, tasks=200, more_users=2_000, big=10_000, many_users=2_000,
    rounds=2, side_rounds=1, seconds=1, fresh=200, warm=80, delayed=16, finds=20, pooled=6, starts=1,
    live=200, changes=50,
)  # fmt: skip


def user(number: int) -> str:
    """Return a user id with the length of those of Better Auth."""
    return f"user{number:028}"


def token_of(user_id: str) -> str:
    """Sign a token for a user, with as many claims as Better Auth adds."""
    now = int(time.time())
    claims = {
        "sub": user_id,
        "name": "Alice Liddell",
        "email": f"{user_id}@example.com",
        "iat": now,
        "exp": now + 86_400,
    }
    return jwt.encode(claims, SECRET, "HS256")


def fill(url: str, people: dict[int, list[str]], *, furnished: Sequence[str] = (), now: datetime | None = None) -> None:
    """Add users with as many tasks as their key says, and collect statistics as autovacuum would.

    Those who are ``furnished`` have categories, tags, dates, subtasks and a trash. The newest task is created at
    ``now`` (aware; ``None``: the current time), and all dates are relative to it.
    """
    now = now or datetime.now(UTC)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute("SET timezone = 'UTC'")
        for tasks, users in people.items():
            connection.execute(
                'INSERT INTO "user" (id, name, email, "emailVerified")'
                " SELECT id, 'Alice Liddell', id || '@example.com', true FROM unnest(%s::text[]) AS id",
                [users],
            )
            plain = [user for user in users if user not in furnished]
            connection.execute(_FILL_TASKS, {"users": plain, "tasks": tasks, "minutes": _OFTEN, "now": now})
            rich = {
                "users": [user for user in users if user in furnished],
                "tasks": tasks,
                "minutes": _SELDOM,
                "now": now,
            }
            connection.execute(_FILL_TASKS, rich)
            connection.execute("ANALYZE tasks")
            for statement in (_FURNISH, _FURNISH_TASKS):
                connection.execute(statement, rich)
        connection.execute("ANALYZE tasks")
        connection.execute(_DERIVE)
        connection.execute("VACUUM (ANALYZE)")


def some_tasks(connection: psycopg.Connection[Any], users: list[str], each: int) -> list[tuple[str, str]]:
    """Return owners and ids of some tasks of these users, in random order, so that caches do not help."""
    return connection.execute(
        "SELECT user_id, id FROM ("
        " SELECT user_id, id::text, row_number() OVER (PARTITION BY user_id ORDER BY md5(id::text)) AS n"
        " FROM tasks WHERE user_id = ANY(%s) AND trashed_at IS NULL) AS numbered WHERE n <= %s ORDER BY md5(id)",
        [users, each],
    ).fetchall()


def some_places(connection: psycopg.Connection[Any], user: str) -> tuple[str, str]:
    """Return the ids of a category of a furnished user, and of a task with ten subtasks."""
    [(category_id, task_id)] = connection.execute(
        "SELECT (SELECT id::text FROM categories WHERE user_id = %(user)s ORDER BY name LIMIT 1),"
        " (SELECT id::text FROM tasks WHERE user_id = %(user)s AND subtasks_total = 10 ORDER BY revision LIMIT 1)",
        {"user": user},
    ).fetchall()
    return category_id, task_id


def new_tasks(connection: psycopg.Connection[Any], users: list[str], count: int) -> list[tuple[str, str]]:
    """Add pending tasks for requests that need a new one each, and return owners and ids."""
    return connection.execute(
        "INSERT INTO tasks (user_id, id, title, status, priority, created_at, updated_at, revision, creation_digest)"
        " SELECT (%s::text[])[1 + n %% %s], uuidv7(), 'To be used up', 'pending', 'low', now(), now(), 0, ''"
        " FROM generate_series(1, %s) AS n RETURNING user_id, id::text",
        [users, len(users), count],
    ).fetchall()
