"""The two walls between users, and ways to take one away: each has to hold by itself.

One wall is the services' filter by owner, the other the database's policies. A run without the first compiles it to
``true``; a run without the second uses a role that passes the policies and is otherwise like the application's.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import psycopg
from fastapi import FastAPI
from httpx import AsyncClient

from support.helpers import UNHURRIED
from support.keys import age_keys, holding_key
from support.people import SECRET, add_user, client_of
from todo.database import Database, DatabaseOptions
from todo.main import create_app
from todo.services.authentication import SecretVerifier
from todo.settings import Settings

_BYPASS_ROLE = "todo_bypass"

WALLS: Mapping[str, DatabaseOptions] = {
    "both": UNHURRIED,
    "database-alone": replace(UNHURRIED, filter_by_owner=False),
    "services-alone": replace(UNHURRIED, role=_BYPASS_ROLE),
}
NO_WALLS = replace(UNHURRIED, role=_BYPASS_ROLE, filter_by_owner=False)


@dataclass(frozen=True)
class Walled:
    """The application behind some of the walls, and a way past all of them for the test."""

    app: FastAPI
    url: str
    # The superuser, outside of any transaction.
    admin: psycopg.Connection[Any]

    def sign_up(self, name: str) -> str:
        """Make a user and return the id."""
        return add_user(self.admin, name)

    def client(self, user_id: str, *, events: int = 1) -> AsyncClient:
        """A client with the user's token, which leaves a stream after so many ``events``."""
        return client_of(self.app, user_id, events=events)

    def age_keys_of(self, user_id: str) -> None:
        """Let the user's idempotency keys be older than a day."""
        age_keys(self.url, user_id)

    def holding_key(self, user_id: str, key: str) -> AbstractContextManager[psycopg.Connection[Any]]:
        """Pretend meanwhile that a request of the user under this key is still running."""
        return holding_key(self.url, user_id, key)

    def rows_of(self, user_id: str) -> dict[str, list[Any]]:
        """Every row that the user owns, whole, by table: as the superuser sees it."""
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
    """Make the role that passes the policies and has the application's grants. Safe to repeat."""
    with psycopg.connect(url, autocommit=True) as connection:
        if not connection.execute("SELECT FROM pg_roles WHERE rolname = %s", (_BYPASS_ROLE,)).fetchall():
            connection.execute(f"CREATE ROLE {_BYPASS_ROLE} NOLOGIN INHERIT BYPASSRLS IN ROLE todo_app")


@asynccontextmanager
async def app_behind(options: DatabaseOptions, *, url: str, direct_url: str) -> AsyncIterator[Walled]:
    """The application on ``url``, which may be a pooler's; ``direct_url`` is the same database without one."""
    make_bypass_role(direct_url)
    database = Database(url, options)
    await database.open()
    try:
        with psycopg.connect(direct_url, autocommit=True) as admin:
            yield Walled(create_app(Settings(), database, SecretVerifier(SECRET)), direct_url, admin)
    finally:
        await database.close()
