"""Signals: notices that a user has new changes, from the process that wrote to every process that pushes live events.

A signal may be lost, duplicated or late. This delays live events but loses no data: events are read from the change
log.
"""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Callable
from typing import Any, Protocol

import psycopg
from psycopg.conninfo import conninfo_to_dict

from todo.database.cancellation import cancelled
from todo.database.pool import CONNECTION_PARAMETERS, Database
from todo.errors import Unavailable

log = logging.getLogger(__name__)

_CHANNEL = "todo_changes"
# Pause between two batches. Under load, one statement sends all signals of this interval.
_PAUSE_SECONDS = 0.005
_MAX_USERS_AT_ONCE = 500
# First and longest pause; the pause doubles after each failure.
_RECONNECT_SECONDS = (0.5, 30.0)
# At shutdown: time limit for sending the last signals.
_FLUSH_SECONDS = 2.0

Listener = Callable[[str | None], None]
"""Called with the id of the user who has new changes; ``None`` if signals of any user may have been lost."""


# Task: T-151
class Signals(Protocol):
    """Signals between processes. Call ``publish`` and ``listen`` in the event loop; both return at once."""

    def publish(self, user_id: str) -> None:
        """Notify every process, including this one, that a user has new changes. Call it after the commit."""
        ...

    def listen(self, listener: Listener | None) -> None:
        """Call ``listener`` for the signals of all processes from now on. ``None`` stops listening."""
        ...

    async def close(self) -> None:
        """Stop listening, send the pending signals and release all resources."""
        ...


# Task: T-151
class LocalSignals:
    """Signals within one process. For a process that is the only one on its database."""

    def __init__(self) -> None:
        self._listener: Listener | None = None

    def publish(self, user_id: str) -> None:
        if self._listener is not None:
            self._listener(user_id)

    def listen(self, listener: Listener | None) -> None:
        self._listener = listener

    async def close(self) -> None:
        self._listener = None


# Task: T-151
class PostgresSignals:
    """Signals over NOTIFY, for several processes on one database. ``direct_url`` must not lead through a pooler.

    Each batch of signals is sent in its own transaction: inside a write transaction, NOTIFY takes a lock at commit that
    all writers of the database share. The listening connection is open only while there is a listener, so that an idle
    database can be suspended.
    """

    def __init__(self, database: Database, direct_url: str) -> None:
        self._database = database
        self._parameters: dict[str, Any] = {**CONNECTION_PARAMETERS, **conninfo_to_dict(direct_url), "autocommit": True}
        self._listener: Listener | None = None
        self._listening: asyncio.Task[None] | None = None
        self._pending: set[str] = set()
        self._sending: asyncio.Task[None] | None = None
        # Tasks that cancel former listening tasks. ``close`` waits for them.
        self._ending: set[asyncio.Task[None]] = set()
        # Marks the notices of this process: ``publish`` calls its listener directly, so it must skip their NOTIFY.
        self._sender = secrets.token_hex(4)

    def publish(self, user_id: str) -> None:
        self._notify_listener(user_id)
        self._pending.add(user_id)
        if self._sending is None or self._sending.done():
            self._sending = asyncio.create_task(self._send())

    def listen(self, listener: Listener | None) -> None:
        self._listener = listener
        if self._listening is not None and listener is None:
            ending = asyncio.create_task(cancelled(self._listening))
            self._ending.add(ending)
            ending.add_done_callback(self._ending.discard)
            self._listening = None
        elif self._listening is None and listener is not None:
            self._listening = asyncio.create_task(self._listen())

    async def close(self) -> None:
        self.listen(None)
        if self._sending is not None:
            await asyncio.wait([self._sending], timeout=_FLUSH_SECONDS)
            await cancelled(self._sending)
        if self._ending:
            await asyncio.wait(self._ending)

    async def _send(self) -> None:
        while self._pending:
            batch = [self._pending.pop() for _ in range(min(len(self._pending), _MAX_USERS_AT_ONCE))]
            with contextlib.suppress(Unavailable):
                await self._database.notify(_CHANNEL, [f"{self._sender} {user_id}" for user_id in batch])
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _listen(self) -> None:
        pause, longest = _RECONNECT_SECONDS
        while True:
            try:
                async with await psycopg.AsyncConnection.connect(**self._parameters) as connection:
                    await connection.execute(f"LISTEN {_CHANNEL}")
                    pause = _RECONNECT_SECONDS[0]
                    # Signals from before LISTEN are lost.
                    self._notify_listener(None)
                    async for notify in connection.notifies():
                        sender, _, user_id = notify.payload.partition(" ")
                        if sender != self._sender:
                            self._notify_listener(user_id)
            except psycopg.Error as error:
                log.warning("listening for signals was interrupted: %s", type(error).__name__)
            await asyncio.sleep(pause)
            pause = min(2 * pause, longest)

    def _notify_listener(self, user_id: str | None) -> None:
        if self._listener is not None:
            self._listener(user_id)
