"""The connection pool, and the check that statements on its connections cannot bypass the policies."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import orjson
from psycopg import OperationalError
from psycopg.conninfo import conninfo_to_dict
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout, TooManyRequests

from todo.database import isolation, planner
from todo.database.caller_context import CallerContext
from todo.database.cancellation import uncancelled
from todo.database.connection import Connection, Row
from todo.database.errors import RETRYABLE_SQLSTATES, ConnectionLost, DatabaseError
from todo.database.fair_share import PerUserLimiter
from todo.database.prepared import OwnNames, SharedNames, TrackedNames, no_names
from todo.database.statements import Dialect, raw
from todo.errors import Unavailable

APP_ROLE = "todo_app"

_MAX_ATTEMPTS = 3
_PING = raw("SELECT 1")
_NOTIFY = raw("SELECT pg_catalog.pg_notify($1, m) FROM pg_catalog.jsonb_array_elements_text($2::pg_catalog.jsonb) AS m")
APPLY_PLANNER_SETTINGS = raw(f"SELECT {planner.set_config_calls(is_local=False)}")
"""Sent once on each direct connection. Behind a pooler, the identity sets the same."""

# Time limits that detect a dead network, in seconds; the last one in milliseconds. Values in the URL take precedence.
CONNECTION_PARAMETERS = {
    "application_name": "todo",
    "connect_timeout": 5,
    "keepalives_idle": 30,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
_ALWAYS = {"autocommit": True, "client_encoding": "utf8"}
_CONFIGURE_SECONDS = 3.0
_PING_CACHE_SECONDS = 1.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseOptions:
    """Options of the database. Only tests change ``role`` and ``filter_by_owner``: each removes one protection."""

    pool_size: int = 10
    # Less than two seconds, within which every caller gets a response, if only a 503.
    budget_seconds: float = 1.6
    statement_timeout_milliseconds: int = 1_400
    # For bulk routes, which may change very many rows. Less than 30 seconds, after which many load balancers and
    # clients give up.
    bulk_budget_seconds: float = 22.0
    bulk_statement_timeout_milliseconds: int = 20_000
    role: str = APP_ROLE
    filter_by_owner: bool = True


class _Pool(AsyncConnectionPool[Connection]):
    """psycopg's pool, with a check of idle connections that needs no round trip."""

    @staticmethod
    async def check_connection(conn: Connection) -> None:
        """Raise OperationalError if the server has closed this idle connection."""
        if conn.broken:
            await conn.close()
            raise OperationalError("the server has closed the connection")


# Task: T-022
class Database:
    """A pool of connections to one PostgreSQL. Open it inside a running event loop."""

    def __init__(self, url: str, options: DatabaseOptions | None = None) -> None:
        self.options = options or DatabaseOptions()
        self.dialect = Dialect(filter_by_owner=self.options.filter_by_owner)
        self.caller_context = CallerContext(
            role=self.options.role,
            timeout_milliseconds=self.options.statement_timeout_milliseconds,
            bulk_timeout_milliseconds=self.options.bulk_statement_timeout_milliseconds,
        )
        # Called with the user id after a write has been committed.
        self.on_write: Callable[[str], None] | None = None
        # References to background tasks: the event loop holds only weak ones.
        self._tasks: set[asyncio.Task[Any]] = set()
        self._ping: asyncio.Task[Unavailable | None] | None = None
        self._ping_cached_until = 0.0
        # One user gets at most half of the connections, but at least one.
        per_user_limit = max(1, self.options.pool_size // 2)
        self._limiter = PerUserLimiter(limit=per_user_limit, max_waiting=20 * per_user_limit)
        # Users with an extended lease, and an event that is set at its end. One lease per user; together at most a
        # quarter of the connections, and never the only one.
        self._extended_leases: dict[str, asyncio.Event] = {}
        self._max_extended_leases = min(self.options.pool_size - 1, max(1, self.options.pool_size // 4))
        # The statements of the server connections behind a pooler that passes their names through.
        self._shared_names = SharedNames()
        self._pool = _Pool(
            connection_class=Connection,
            kwargs={**CONNECTION_PARAMETERS, **conninfo_to_dict(url), **_ALWAYS},
            min_size=min(2, self.options.pool_size),
            max_size=self.options.pool_size,
            # Callers wait within their time budgets. If this many wait, the next one is refused at once.
            max_waiting=20 * self.options.pool_size,
            # The pool doubles its pauses for this many seconds, then starts again: it reconnects within seconds.
            reconnect_timeout=2.0,
            # Reconnect without a request: while the queue is full, no request reaches the pool.
            reconnect_failed=lambda pool: pool.check(),
            configure=self._configure,
            open=False,
        )

    async def open(self) -> None:
        """Start connecting in the background."""
        await self._pool.open()

    async def close(self) -> None:
        """Close every connection."""
        while self._tasks:
            await asyncio.wait(self._tasks)
        await self._pool.close(timeout=2.0)

    async def ping(self) -> None:
        """Check that the server answers. Raises Unavailable.

        This needs no token. Callers at about the same time share one check, so they take one connection altogether.
        """
        now = asyncio.get_running_loop().time()
        if self._ping is None or (self._ping.done() and now >= self._ping_cached_until):
            self._ping = self._start(self._try_ping())
        # A caller that is cancelled must not cancel the check for the others.
        failure = await asyncio.shield(self._ping)
        if failure is not None:
            raise Unavailable(failure.detail, code=failure.code)

    async def _try_ping(self) -> Unavailable | None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.options.budget_seconds
        failure = None
        try:
            await self.run(
                lambda connection: connection.execute_pipeline([(_PING, ())], deadline=deadline), deadline=deadline
            )
        except Unavailable as error:
            failure = error
        except (ConnectionLost, DatabaseError, TimeoutError):
            failure = _unreachable()
        self._ping_cached_until = loop.time() + _PING_CACHE_SECONDS
        return failure

    def _start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def notify(self, channel: str, messages: Sequence[str]) -> None:
        """Send messages to the listeners of ``channel``, in a transaction of their own. Raises Unavailable."""
        deadline = asyncio.get_running_loop().time() + self.options.budget_seconds
        call = (_NOTIFY, (channel.encode(), orjson.dumps(messages)))
        try:
            await self.run(lambda connection: connection.execute_pipeline([call], deadline=deadline), deadline=deadline)
        except (ConnectionLost, DatabaseError, TimeoutError):
            raise _unreachable() from None

    # Task: T-025
    async def verify_isolation(self, *, budget_seconds: float = 10.0) -> None:
        """Raise UnsafeDatabase if statements could bypass the policies, Unavailable if the database does not answer."""
        deadline = asyncio.get_running_loop().time() + budget_seconds
        try:
            await self.run(
                lambda connection: isolation.verify(connection, role=self.options.role, deadline=deadline),
                deadline=deadline,
            )
        except (ConnectionLost, TimeoutError):
            raise _unreachable() from None

    async def run(
        self,
        work: Callable[[Connection], Awaitable[T]],
        *,
        deadline: float,
        repeatable: bool = True,
        user_id: str | None = None,
    ) -> T:
        """Run ``work``, one transaction, on a connection. Repeat it after a deadlock or a lost connection.

        The connection counts towards the limit of ``user_id``. If the server may have committed before the connection
        was lost, only ``repeatable`` work is repeated. Work with an extended lease is never repeated. Raises what
        ``work`` raises, and Unavailable.
        """
        attempts_left = _MAX_ATTEMPTS
        while True:
            attempts_left -= 1
            connection = await self.acquire(deadline=deadline, user_id=user_id)
            try:
                return await work(connection)
            except ConnectionLost as lost:
                if not (lost.untouched or repeatable) or connection.has_extended_lease or not attempts_left:
                    raise
            except DatabaseError as error:
                if error.sqlstate not in RETRYABLE_SQLSTATES or connection.has_extended_lease or not attempts_left:
                    raise
            finally:
                await self.release(connection)

    async def acquire(self, *, deadline: float, user_id: str | None = None) -> Connection:
        """Take a connection out of the pool; return it with ``release``. Raises Unavailable.

        It counts towards the limit of ``user_id`` until it is returned or replaced. A user at the limit waits until one
        of their own connections is returned.
        """
        if user_id is None:
            return await self._take_from_pool(deadline)
        await self._limiter.acquire(user_id, deadline=deadline)
        try:
            connection = await self._take_from_pool(deadline)
        except BaseException:
            self._limiter.release(user_id)
            raise
        connection.holder = user_id
        return connection

    # Task: T-383
    def grant_extended_lease(self, connection: Connection) -> bool:
        """Grant the user of a connection an extended lease; return whether the connection has one.

        One per user, because another bulk write of the same user would only wait for the user write lock. All users
        together leave most of the pool to quick requests.
        """
        user_id = connection.holder
        if user_id is None or connection.has_extended_lease:
            return connection.has_extended_lease
        if user_id in self._extended_leases or len(self._extended_leases) >= self._max_extended_leases:
            return False
        self._extended_leases[user_id] = asyncio.Event()
        connection.has_extended_lease = True
        return True

    # Task: T-383
    async def wait_for_extended_lease(self, user_id: str, *, deadline: float) -> None:
        """Wait until the user has no extended lease. Raises Unavailable.

        For writes. They would wait for the user write lock anyway; this way they hold no connection meanwhile.
        """
        ended = self._extended_leases.get(user_id)
        if ended is None:
            return
        try:
            async with asyncio.timeout_at(deadline):
                await ended.wait()
        except TimeoutError:
            raise Unavailable(
                "Another request of yours is still changing many tasks. Try again in a moment.", code="overloaded"
            ) from None

    async def _take_from_pool(self, deadline: float) -> Connection:
        loop = asyncio.get_running_loop()
        try:
            while True:
                connection = await self._pool.getconn(timeout=deadline - loop.time())
                if not connection.broken:
                    return connection
                await self.release(connection)
        except TooManyRequests:
            raise Unavailable("The server is busy. Try again in a moment.", code="overloaded") from None
        except (PoolTimeout, PoolClosed):
            raise _unreachable() from None

    async def _configure(self, connection: Connection) -> None:
        """Find out whether there is a pooler, and how statements can be prepared.

        A direct connection gets the planner settings here, once. Behind a pooler in transaction mode, the server's
        process id is not the one that the client was told.
        """
        connection.prepare()
        deadline = asyncio.get_running_loop().time() + _CONFIGURE_SECONDS
        try:
            found = await connection.probe(deadline=deadline)
            connection.is_pooled = found["process_id"] != str(connection.pgconn.backend_pid)
            connection.names = self._names_for(found, is_pooled=connection.is_pooled)
            if not connection.is_pooled:
                await connection.execute_pipeline([(APPLY_PLANNER_SETTINGS, ())], deadline=deadline)
        except (ConnectionLost, DatabaseError, TimeoutError):
            # A server that accepts connections but does not answer must not block the pool's workers.
            await connection.close()
            raise OperationalError("the server accepted the connection but did not answer") from None

    def _names_for(self, found: Row, *, is_pooled: bool) -> OwnNames:
        if not is_pooled:
            return OwnNames()
        if found["passes"]:
            return self._shared_names
        return TrackedNames() if found["tracks"] else no_names()

    async def release(self, connection: Connection) -> None:
        """Return a connection to the pool. One that is broken or not idle is closed and replaced."""
        if connection.is_idle:
            await self._put(connection)
            return
        connection.mark_broken()
        # In the background: the caller has no time left, or may be cancelled.
        self._start(self._replace(connection))

    async def _replace(self, connection: Connection) -> None:
        await connection.close()
        await self._put(connection)

    async def _put(self, connection: Connection) -> None:
        # Reset the connection before the pool has it. Release the user's limit afterwards, so that the next request in
        # the queue finds the connection.
        holder, connection.holder = connection.holder, None
        had_extended_lease, connection.has_extended_lease = connection.has_extended_lease, False
        connection.extend_deadline = None
        try:
            # A request that is cancelled while it waits for the pool's lock must not lose the connection.
            await uncancelled(self._pool.putconn(connection), start=self._start)
        finally:
            if holder is not None:
                if had_extended_lease:
                    self._extended_leases.pop(holder).set()
                self._limiter.release(holder)


def _unreachable() -> Unavailable:
    return Unavailable("The database cannot be reached right now. Try again in a moment.", code="database_unavailable")
