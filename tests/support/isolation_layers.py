"""The two protections that isolate users, and ways to remove one of them: each must isolate users alone.

One is the services' filter by owner, the other is row-level security. To remove the first, it is compiled to
``true``; to remove the second, the application uses a role with BYPASSRLS that is otherwise like its own.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import psycopg
from fastapi import FastAPI
from httpx import AsyncClient

from support.databases import open_database
from support.helpers import LONG_TIMEOUTS
from support.idempotency_keys import age_keys, holding_key
from support.users import SECRET, add_user, client_of
from todo.database import DatabaseOptions
from todo.main import create_app
from todo.services.authentication import SecretVerifier
from todo.settings import Settings

BYPASS_ROLE = "todo_bypass"

WALLS: Mapping[str, DatabaseOptions] = {
    "both": LONG_TIMEOUTS,
    "database-alone": replace(LONG_TIMEOUTS, filter_by_owner=False),
    "services-alone": replace(LONG_TIMEOUTS, role=BYPASS_ROLE),
}
NO_WALLS = replace(LONG_TIMEOUTS, role=BYPASS_ROLE, filter_by_owner=False)


@dataclass(frozen=True)
class WalledApp:
    """The application with some of the protections, and a connection that bypasses them."""

    app: FastAPI
    url: str
    # The superuser, in autocommit mode.
    admin: psycopg.Connection[Any]

    def sign_up(self, name: str) -> str:
        return add_user(self.admin, name)

    def client(self, user_id: str, *, events: int = 1) -> AsyncClient:
        """Return a client with the user's token. It disconnects from a stream after ``events`` events."""
        return client_of(self.app, user_id, events=events)

    def age_keys_of(self, user_id: str) -> None:
        """Make the user's idempotency keys older than a day."""
        age_keys(self.url, user_id)

    def holding_key(self, user_id: str, key: str) -> AbstractContextManager[psycopg.Connection[Any]]:
        """Hold the lock of a request of the user with this key, as if it were still running."""
        return holding_key(self.url, user_id, key)

    def rows_of(self, user_id: str) -> dict[str, list[Any]]:
        """Return all rows of the user by table, read as the superuser."""
        tables = self.admin.execute(
            "SELECT c.oid::regclass::text FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid"
            " WHERE a.attname = 'user_id' AND c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace"
        ).fetchall()
        return {
            table: self.admin.execute(
                f"SELECT to_jsonb(t) FROM {table} t WHERE user_id = %s ORDER BY to_jsonb(t)::text",
                (user_id,),
            ).fetchall()
            for (table,) in tables
        }


def make_bypass_role(url: str) -> None:
    """Create the role with BYPASSRLS and the application's grants, if it does not exist."""
    with psycopg.connect(url, autocommit=True) as connection:
        if not connection.execute("SELECT FROM pg_roles WHERE rolname = %s", (BYPASS_ROLE,)).fetchall():
            connection.execute(f"CREATE ROLE {BYPASS_ROLE} NOLOGIN INHERIT BYPASSRLS IN ROLE todo_app")


@asynccontextmanager
async def app_behind(options: DatabaseOptions, *, url: str, direct_url: str) -> AsyncIterator[WalledApp]:
    """Run the application on ``url``, which may lead to a pooler. ``direct_url`` leads to the database directly."""
    make_bypass_role(direct_url)
    async with open_database(url, options) as database:
        with psycopg.connect(direct_url, autocommit=True) as admin:
            yield WalledApp(create_app(Settings(), database, SecretVerifier(SECRET)), direct_url, admin)
