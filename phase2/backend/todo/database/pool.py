"""The pool of connections, and the check that what runs on them cannot pass the policies."""

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
"""What a direct connection is told once. Behind a pooler it travels with the identity."""

# Seconds (and, for the last, milliseconds) until a dead network is noticed. What the URL says goes first.
CONNECTING = {
    "application_name": "todo",
    "connect_timeout": 5,
    "keepalives_idle": 30,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
_ALWAYS = {"autocommit": True, "client_encoding": "utf8"}
_CONFIGURE_SECONDS = 3.0
_PING_IS_GOOD_SECONDS = 1.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseOptions:
    """How to use the database. Only tests change ``role`` and ``filter_by_owner``: each takes one wall away."""

    pool_size: int = 10
    # Less than the two seconds after which a caller is promised an answer, if only a 503.
    budget_seconds: float = 1.6
    statement_timeout_milliseconds: int = 1_400
    # What changes very many rows may take longer, where its route says so: less than the 30 seconds after which the
    # usual load balancer, or an impatient client, gives up.
    bulk_budget_seconds: float = 22.0
    bulk_statement_timeout_milliseconds: int = 20_000
    role: str = APP_ROLE
    filter_by_owner: bool = True


class _Pool(AsyncConnectionPool[Connection]):
    """psycopg's pool, which checks an idle connection without a round trip."""

    @staticmethod
    async def check_connection(conn: Connection) -> None:
        """Raise OperationalError if the server has closed this idle connection."""
        if conn.broken:
            await conn.close()
            raise OperationalError("the server has hung up")


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
        # Called with the user after a write has been committed.
        self.on_write: Callable[[str], None] | None = None
        # What nobody waits for any more: the event loop holds tasks weakly.
        self._tasks: set[asyncio.Task[Any]] = set()
        self._ping: asyncio.Task[Unavailable | None] | None = None
        self._ping_is_good_until = 0.0
        # One user never has more than half of the connections, if there are two.
        per_user_limit = max(1, self.options.pool_size // 2)
        self._limiter = PerUserLimiter(limit=per_user_limit, max_waiting=20 * per_user_limit)
        # Who has a connection for longer, until the end: one each, and together a quarter of them, never the only one.
        self._extended_leases: dict[str, asyncio.Event] = {}
        self._max_extended_leases = min(self.options.pool_size - 1, max(1, self.options.pool_size // 4))
        # What the server connections behind a pooler have, if it passes names of prepared statements through.
        self._shared_names = SharedNames()
        self._pool = _Pool(
            connection_class=Connection,
            kwargs={**CONNECTING, **conninfo_to_dict(url), **_ALWAYS},
            min_size=min(2, self.options.pool_size),
            max_size=self.options.pool_size,
            # Waiting is bounded by the caller's budget; this many callers may do so, the next is told at once.
            max_waiting=20 * self.options.pool_size,
            # The pool doubles its pauses up to here, and then starts anew: back within seconds.
            reconnect_timeout=2.0,
            # It connects again without being asked: while the queue is full, no request could ask.
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
        """Ask the server for an answer, once for all who ask at about the same time. Raises Unavailable.

        Anybody may ask, without a token: however many do, they take one place in the pool.
        """
        now = asyncio.get_running_loop().time()
        if self._ping is None or (self._ping.done() and now >= self._ping_is_good_until):
            self._ping = self._start(self._try_ping())
        # Who leaves does not take the answer along.
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
        self._ping_is_good_until = loop.time() + _PING_IS_GOOD_SECONDS
        return failure

    def _start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def notify(self, channel: str, messages: Sequence[str]) -> None:
        """Send messages to whoever listens on ``channel``, in a transaction of their own. Raises Unavailable."""
        deadline = asyncio.get_running_loop().time() + self.options.budget_seconds
        call = (_NOTIFY, (channel.encode(), orjson.dumps(messages)))
        try:
            await self.run(lambda connection: connection.execute_pipeline([call], deadline=deadline), deadline=deadline)
        except (ConnectionLost, DatabaseError, TimeoutError):
            raise _unreachable() from None

    # Task: T-025
    async def verify_isolation(self, *, budget_seconds: float = 10.0) -> None:
        """Raise UnsafeDatabase if what runs here could pass the policies, Unavailable if the database is not there."""
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
        """Do ``work``, one transaction, on a connection; and again after a deadlock, or on another if that was lost.

        The connection counts as ``user_id``'s. One that was lost in the middle is no reason to repeat what is not
        ``repeatable``: it may have been done. What has taken long is not done twice. Raises what ``work`` raises, and
        Unavailable.
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
        """Take a connection out of the pool; give it back with ``release``. Raises Unavailable.

        It counts as ``user_id``'s until it is back, or replaced; who has a share of them waits for one's own.
        """
        if user_id is None:
            return await self._lend(deadline)
        await self._limiter.acquire(user_id, deadline=deadline)
        try:
            connection = await self._lend(deadline)
        except BaseException:
            self._limiter.release(user_id)
            raise
        connection.holder = user_id
        return connection

    # Task: T-383
    def grant_extended_lease(self, connection: Connection) -> bool:
        """Let a user keep a connection for longer than a request takes; say whether that can be.

        One user has one of these, since the others would only wait for their turn behind it, and all users together
        leave most of the pool to what is quick.
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
        """Wait until the user keeps no connection for longer. Raises Unavailable.

        For what writes, which would wait for its turn behind that anyway: so it takes no connection meanwhile.
        """
        ended = self._extended_leases.get(user_id)
        if ended is None:
            return
        try:
            async with asyncio.timeout_at(deadline):
                await ended.wait()
        except TimeoutError:
            raise Unavailable(
                "Another request of yours still changes very much. Try again in a moment.", code="overloaded"
            ) from None

    async def _lend(self, deadline: float) -> Connection:
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
        """Find out what stands between, and prepare statements accordingly.

        A direct connection gets the planner settings here, for its life. A pooler in transaction mode gives its clients
        a process id of its own.
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
            # A server that takes connections and says nothing must not keep the pool's workers waiting.
            await connection.close()
            raise OperationalError("the server took the connection and did not answer") from None

    def _names_for(self, found: Row, *, is_pooled: bool) -> OwnNames:
        if not is_pooled:
            return OwnNames()
        if found["passes"]:
            return self._shared_names
        return TrackedNames() if found["tracks"] else no_names()

    async def release(self, connection: Connection) -> None:
        """Give a connection back. One that is lost, or in the middle of something, is closed and replaced."""
        if connection.is_idle:
            await self._put(connection)
            return
        connection.mark_broken()
        # The caller has no time for it, and may be cancelled.
        self._start(self._replace(connection))

    async def _replace(self, connection: Connection) -> None:
        await connection.close()
        await self._put(connection)

    async def _put(self, connection: Connection) -> None:
        # Before anybody else has it, and given back after: who waits for the share finds the connection.
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
