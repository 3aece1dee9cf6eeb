"""Idempotency keys, seen and touched from outside."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg


def age_keys(url: str, user_id: str, interval: str = "24 hours 1 second") -> None:
    """Let the keys of the user be older than they are."""
    with psycopg.connect(url) as connection:
        aged = connection.execute(
            "UPDATE idempotency_keys SET created_at = now() - %s::interval WHERE user_id = %s", (interval, user_id)
        )
        assert aged.rowcount


@contextmanager
def holding_key(url: str, user_id: str, key: str) -> Iterator[psycopg.Connection[Any]]:
    """Hold what a request under this key holds while it runs; give the connection that does."""
    with psycopg.connect(url) as connection:
        connection.execute("SELECT pg_advisory_xact_lock(hashtext(%s), hashtext(%s))", (user_id, key))
        yield connection
