"""Signals: "this user has something new", from the process that wrote to every process that shows it.

A signal may be lost, doubled or late. That costs delay, never data: what is shown is read from the log.
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
from todo.database.pool import CONNECTING, Database
from todo.errors import Unavailable

log = logging.getLogger(__name__)

_CHANNEL = "todo_changes"
# Under load this is what makes one statement of many signals.
_PAUSE_SECONDS = 0.005
_MOST_USERS_AT_ONCE = 500
# From the first to the last, doubled in between.
_RECONNECT_SECONDS = (0.5, 30.0)
# How long the last signals of a process that ends may take.
_FLUSH_SECONDS = 2.0

Listener = Callable[[str | None], None]
"""Called with the user who has something new; ``None`` when signals may have been lost, for any user."""


# Task: T-151
class Signals(Protocol):
    """How processes tell each other. Both methods return at once, and are called inside of the event loop."""

    def publish(self, user_id: str) -> None:
        """Tell every process, this one included, that a user has something new. Call it after the commit."""
        ...

    def listen(self, listener: Listener | None) -> None:
        """Call ``listener`` for the signals of all processes from now on; ``None``: listen no more."""
        ...

    async def close(self) -> None:
        """Let go of everything."""
        ...


# Task: T-151
class LocalSignals:
    """Signals within one process, for one that has its database for itself."""

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

    They are sent in transactions of their own: in that of a write, NOTIFY takes a lock at commit that all writers of
    the database share. A connection listens only as long as somebody does: a database that idles may go to sleep.
    """

    def __init__(self, database: Database, direct_url: str) -> None:
        self._database = database
        self._parameters: dict[str, Any] = {**CONNECTING, **conninfo_to_dict(direct_url), "autocommit": True}
        self._listener: Listener | None = None
        self._listening: asyncio.Task[None] | None = None
        self._pending: set[str] = set()
        self._sending: asyncio.Task[None] | None = None
        # What sees listeners out, so that none is forgotten in the middle.
        self._ending: set[asyncio.Task[None]] = set()
        # So that a process does not act twice on what it has told itself.
        self._sender = secrets.token_hex(4)

    def publish(self, user_id: str) -> None:
        self._tell(user_id)
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
            batch = [self._pending.pop() for _ in range(min(len(self._pending), _MOST_USERS_AT_ONCE))]
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
                    # What was said before is lost.
                    self._tell(None)
                    async for notify in connection.notifies():
                        sender, _, user_id = notify.payload.partition(" ")
                        if sender != self._sender:
                            self._tell(user_id)
            except psycopg.Error as error:
                log.warning("listening for signals was interrupted: %s", type(error).__name__)
            await asyncio.sleep(pause)
            pause = min(2 * pause, longest)

    def _tell(self, user_id: str | None) -> None:
        if self._listener is not None:
            self._listener(user_id)
