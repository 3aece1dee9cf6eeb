"""Change idempotency keys and hold their locks by SQL."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg


def age_keys(url: str, user_id: str, interval: str = "24 hours 1 second") -> None:
    """Set the age of all keys of the user to ``interval``."""
    with psycopg.connect(url) as connection:
        aged = connection.execute(
            "UPDATE idempotency_keys SET created_at = now() - %s::interval WHERE user_id = %s", (interval, user_id)
        )
        assert aged.rowcount


@contextmanager
def holding_key(url: str, user_id: str, key: str) -> Iterator[psycopg.Connection[Any]]:
    """Hold the advisory lock that a request with this key holds while it runs. Yields the connection that holds it."""
    with psycopg.connect(url) as connection:
        connection.execute("SELECT pg_advisory_xact_lock(hashtext(%s), hashtext(%s))", (user_id, key))
        yield connection
