"""Signals: "this user has something new", from the process that wrote to every process that shows it."""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Callable
from typing import Protocol

import psycopg

from todo.database.pool import Database
from todo.errors import Unavailable

log = logging.getLogger(__name__)

_CHANNEL = "todo_changes"
_PAUSE_SECONDS = 0.005
_RETRY_SECONDS = 1.0
_MOST_USERS_AT_ONCE = 500

Listener = Callable[[str | None], None]
"""Called with the user who has something new; ``None`` when signals may have been lost, for all users."""


# Task: T-151
class Signals(Protocol):
    """How processes tell each other. A signal may be lost, doubled or late: it costs delay, never data."""

    def publish(self, user_id: str) -> None:
        """Tell everybody that this user has something new. Returns at once; call it after the commit."""
        ...

    async def start(self, listener: Listener) -> None:
        """Begin to call ``listener`` for the signals of all processes, this one's included."""
        ...

    async def stop(self) -> None:
        """Stop; nothing is called any more."""
        ...


# Task: T-151
class LocalSignals:
    """Signals within one process."""

    def __init__(self) -> None:
        self._listener: Listener | None = None

    def publish(self, user_id: str) -> None:
        if self._listener is not None:
            self._listener(user_id)

    async def start(self, listener: Listener) -> None:
        self._listener = listener

    async def stop(self) -> None:
        self._listener = None


# Task: T-151
class PostgresSignals:
    """Signals over NOTIFY, for several processes on one database.

    Sent from a transaction of their own: in the transaction of a write, NOTIFY takes a lock at commit that all writers
    of the database share. Several at once become one statement. ``direct_url`` must not lead through a pooler.
    """

    def __init__(self, database: Database, direct_url: str) -> None:
        self._database = database
        self._url = direct_url
        self._listener: Listener | None = None
        self._pending: set[str] = set()
        self._something_pending = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        # So that a process does not act twice on what it has told itself.
        self._sender = secrets.token_hex(4)

    def publish(self, user_id: str) -> None:
        if self._listener is not None:
            self._listener(user_id)
        self._pending.add(user_id)
        self._something_pending.set()

    async def start(self, listener: Listener) -> None:
        self._listener = listener
        self._tasks = [asyncio.create_task(self._send()), asyncio.create_task(self._listen())]

    async def stop(self) -> None:
        self._listener = None
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _send(self) -> None:
        while True:
            await self._something_pending.wait()
            batch = [self._pending.pop() for _ in range(min(len(self._pending), _MOST_USERS_AT_ONCE))]
            if not self._pending:
                self._something_pending.clear()
            with contextlib.suppress(Unavailable):
                await self._database.notify(_CHANNEL, [f"{self._sender} {user_id}" for user_id in batch])
            # Under load this is what makes many signals one statement.
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _listen(self) -> None:
        while True:
            try:
                async with await psycopg.AsyncConnection.connect(self._url, autocommit=True) as connection:
                    await connection.execute(f"LISTEN {_CHANNEL}")
                    self._tell(None)
                    async for notify in connection.notifies():
                        sender, _, user_id = notify.payload.partition(" ")
                        if sender != self._sender:
                            self._tell(user_id)
            except psycopg.Error as error:
                log.warning("listening for signals was interrupted: %s", type(error).__name__)
            await asyncio.sleep(_RETRY_SECONDS)

    def _tell(self, user_id: str | None) -> None:
        if self._listener is not None:
            self._listener(user_id)
