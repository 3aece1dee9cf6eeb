"""Add changes and idempotency keys of a given age, and read which of them are left."""

from typing import Any

import psycopg

Connection = psycopg.Connection[Any]


def log_days_ago(admin: Connection, user_id: str, *days: int) -> None:
    """Add one change for each age in ``days``, in this order."""
    admin.execute(
        "INSERT INTO tasks (user_id, id, title, status, priority, created_at, updated_at, creation_digest)"
        " SELECT %s, gen_random_uuid(), n, 'pending', 'low', now(), now(), '' FROM generate_series(1, %s) n",
        (user_id, len(days)),
    )
    admin.execute(
        "UPDATE changes SET changed_at = now() - make_interval(days => age)"
        " FROM unnest(%s::int[]) WITH ORDINALITY AS ages (age, n) WHERE user_id = %s AND revision = n",
        (list(days), user_id),
    )


def keep_key(admin: Connection, user_id: str, key: str, *, hours_ago: int) -> None:
    admin.execute(
        "INSERT INTO idempotency_keys VALUES (%s, %s, '', '[]', now() - make_interval(hours => %s))",
        (user_id, key, hours_ago),
    )


def revisions_left(admin: Connection, user_id: str) -> list[int]:
    rows = admin.execute("SELECT revision FROM changes WHERE user_id = %s ORDER BY revision", (user_id,)).fetchall()
    return [revision for (revision,) in rows]


def keys_left(admin: Connection, user_id: str) -> set[str]:
    return {key for (key,) in admin.execute("SELECT key FROM idempotency_keys WHERE user_id = %s", (user_id,))}
