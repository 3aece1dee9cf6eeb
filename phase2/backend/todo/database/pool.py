"""The pool of connections, and the check that what runs on them cannot pass the policies."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout, TooManyRequests

from todo.database.connection import Connection
from todo.database.errors import ConnectionLost, DatabaseFault
from todo.database.statements import Dialect, raw
from todo.errors import Unavailable

log = logging.getLogger(__name__)

APP_ROLE = "todo_app"
_PING = raw("SELECT 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseOptions:
    """How to use the database. Only tests change ``role`` and ``filter_by_owner``: each takes one wall away."""

    pool_size: int = 10
    budget_seconds: float = 1.8
    statement_timeout_milliseconds: int = 1_500
    role: str = APP_ROLE
    filter_by_owner: bool = True


# Task: T-022
class Database:
    """A pool of connections to one PostgreSQL. Open it inside a running event loop."""

    def __init__(self, url: str, options: DatabaseOptions | None = None) -> None:
        self.options = options or DatabaseOptions()
        self.dialect = Dialect(filter_by_owner=self.options.filter_by_owner)
        self._pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            url,
            connection_class=Connection,
            kwargs={"autocommit": True, "connect_timeout": 5, "application_name": "todo"},
            min_size=min(2, self.options.pool_size),
            max_size=self.options.pool_size,
            # Waiting is bounded by the caller's budget; this many callers may do so, the next is told at once.
            max_waiting=20 * self.options.pool_size,
            # After this the pool stops trying by itself, and the next request tries anew: back within a second.
            reconnect_timeout=2.0,
            configure=_configure,
            open=False,
        )

    async def open(self) -> None:
        """Start connecting in the background."""
        await self._pool.open()

    async def close(self) -> None:
        """Close every connection."""
        await self._pool.close(timeout=2.0)

    async def ping(self) -> None:
        """Ask the server for an answer. Raises Unavailable."""
        deadline = asyncio.get_running_loop().time() + self.options.budget_seconds
        async with self.connection(deadline=deadline) as connection:
            try:
                await connection.exchange([(_PING, ())], deadline=deadline)
            except (ConnectionLost, DatabaseFault, TimeoutError):
                raise _unreachable() from None

    @asynccontextmanager
    async def connection(self, *, deadline: float) -> AsyncIterator[Connection]:
        """Lend a connection that is not known to be dead. Raises Unavailable when none comes in time."""
        connection = await self.acquire(deadline=deadline)
        try:
            yield connection
        finally:
            await self.release(connection)

    async def acquire(self, *, deadline: float) -> Connection:
        """Take a connection out of the pool; give it back with ``release``. Raises Unavailable."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                connection = await self._pool.getconn(timeout=deadline - loop.time())
                if not connection.lost:
                    return connection
                await self.release(connection)
        except TooManyRequests:
            raise Unavailable("The server is busy. Try again in a moment.", code="overloaded") from None
        except (PoolTimeout, PoolClosed):
            raise _unreachable() from None

    async def release(self, connection: Connection) -> None:
        """Give a connection back; a lost one is closed, and the pool opens another."""
        if connection.lost:
            await connection.close()
        await self._pool.putconn(connection)


def _unreachable() -> Unavailable:
    return Unavailable("The database cannot be reached right now. Try again in a moment.", code="database_unavailable")


async def _configure(connection: Connection) -> None:
    # A pooler in transaction mode gives its clients a process id of its own making. Behind one, statements
    # must not be prepared by name: an old pooler would run another client's statement under that name.
    cursor = await connection.execute("SELECT pg_catalog.pg_backend_pid()")
    row = await cursor.fetchone()
    connection.pooled = row is None or row[0] != connection.pgconn.backend_pid
    connection.prepare()
