"""Live: every open screen of a user is told what changed, in order, from the log.

A user with open connections has one channel per process. The channel reads the log once, when a signal says that there is
something new (or, in case a signal was lost, now and then), and keeps a short tail of what it read. Each connection
reads from the tail at its own pace: there are no queues that a slow reader could fill.
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass

import orjson

from todo.database import Database, Session
from todo.errors import Gone, TodoError, TooMany
from todo.services import changes

_KEPT_EVENTS = 512
_PAGE = 200


@dataclass(frozen=True, slots=True)
class LiveOptions:
    """Bounds of the live connections. Seconds are seconds of the event loop's clock."""

    connections_per_user: int = 50
    heartbeat_seconds: float = 20.0
    poll_seconds: float = 30.0


@dataclass(frozen=True, slots=True)
class Event:
    """Something to tell a client. ``revision`` is where to go on from; ``data`` is JSON."""

    name: str
    revision: int
    data: bytes


# Task: T-152
class Live:
    """The channels of one process."""

    def __init__(self, database: Database, options: LiveOptions | None = None) -> None:
        self.options = options or LiveOptions()
        self._database = database
        self._channels: dict[str, _Channel] = {}
        self._stopping = False

    def signal(self, user_id: str | None) -> None:
        """Take note that a user (``None``: any user) may have something new. Safe to call too often."""
        channels = list(self._channels.values()) if user_id is None else [self._channels.get(user_id)]
        for channel in channels:
            if channel is not None:
                channel.look()

    def stop(self) -> None:
        """End every connection with a hint to come back."""
        self._stopping = True
        for channel in self._channels.values():
            channel.wake()

    async def follow(
        self, user_id: str, since: int | None, *, expires_at: Callable[[], float]
    ) -> AsyncIterator[list[Event]]:
        """Yield what happens to a user after ``since`` (``None``: from now on), in order.

        ``expires_at`` says until when (Unix seconds); it is asked again and again, since a token can be renewed. An
        empty list is a heartbeat. The last event says why it ended: ``reconnect`` when the server stops, ``resume``
        when the reader was too slow, ``expired`` when the token is. Raises TooMany, and Gone when the log does not
        reach back to ``since``.
        """
        with self._channel(user_id) as (channel, news):
            cursor = await _latest(self._database, user_id) if since is None else since
            yield [Event("ready", cursor, orjson.dumps({"revision": cursor}))]
            following = False
            while not self._stopping:
                if time.time() >= expires_at():
                    yield [_farewell("expired", cursor)]
                    return
                news.clear()
                if channel.has(cursor):
                    events, following = channel.after(cursor), True
                elif following:
                    yield [_farewell("resume", cursor)]
                    return
                else:
                    events = await _read(self._database, user_id, cursor)
                if events:
                    yield events
                    cursor = events[-1].revision
                else:
                    patience = min(self.options.heartbeat_seconds, max(0.0, expires_at() - time.time()))
                    if not await _happens(news, within=patience):
                        yield []
            yield [_farewell("reconnect", cursor)]

    @contextlib.contextmanager
    def _channel(self, user_id: str) -> Iterator[tuple["_Channel", asyncio.Event]]:
        channel = self._channels.get(user_id)
        if channel is None:
            channel = self._channels[user_id] = _Channel(self._database, user_id, self.options.poll_seconds)
        if len(channel.readers) >= self.options.connections_per_user:
            raise TooMany("Too many live connections. Close one of them first.", code="too_many_connections")
        news = asyncio.Event()
        channel.readers.add(news)
        try:
            yield channel, news
        finally:
            channel.readers.discard(news)
            if not channel.readers:
                del self._channels[user_id]
                channel.close()


class _Channel:
    """One user's, in one process: the tail of the log that its readers share."""

    def __init__(self, database: Database, user_id: str, poll_seconds: float) -> None:
        self.readers: set[asyncio.Event] = set()
        self._database = database
        self._user_id = user_id
        self._poll_seconds = poll_seconds
        self._tail: deque[Event] = deque(maxlen=_KEPT_EVENTS)
        # Everything in (_from, _to] is in the tail; None before the first look at the log.
        self._from: int | None = None
        self._to = 0
        self._looks = asyncio.Event()
        self._reader = asyncio.create_task(self._keep_reading())

    def look(self) -> None:
        """Read the log soon."""
        self._looks.set()

    def wake(self) -> None:
        """Have every reader look at the tail."""
        for news in self.readers:
            news.set()

    def close(self) -> None:
        """Stop reading."""
        self._reader.cancel()

    def has(self, cursor: int) -> bool:
        """Tell whether everything after ``cursor`` is in the tail."""
        return self._from is not None and self._from <= cursor <= self._to

    def after(self, cursor: int) -> list[Event]:
        """Return the tail's events after ``cursor``. Revisions have no gaps, so the place can be computed."""
        count = self._to - cursor
        return list(self._tail)[-count:] if count else []

    async def _keep_reading(self) -> None:
        while True:
            self._looks.clear()
            with contextlib.suppress(TodoError):
                await self._read()
            await _happens(self._looks, within=self._poll_seconds)

    async def _read(self) -> None:
        if self._from is None:
            self._from = self._to = await _latest(self._database, self._user_id)
        try:
            while events := await _read(self._database, self._user_id, self._to):
                self._tail.extend(events)
                self._to = events[-1].revision
                self._from = self._tail[0].revision - 1
                self.wake()
        except Gone:
            # The log was cut off under us. Readers fall behind the tail, and are told to resume.
            self._tail.clear()
            self._from = None
            self.look()
            self.wake()


async def _happens(event: asyncio.Event, *, within: float) -> bool:
    try:
        async with asyncio.timeout(within):
            return await event.wait()
    except TimeoutError:
        return False


async def _latest(database: Database, user_id: str) -> int:
    return await changes.latest(Session(database, user_id))


async def _read(database: Database, user_id: str, cursor: int) -> list[Event]:
    """Return the next changes as events. A session is for one request, so each look has its own."""
    feed = await changes.since(Session(database, user_id), cursor, limit=_PAGE)
    return [Event("change", change["revision"], orjson.dumps(change)) for change in feed.changes]


def _farewell(name: str, cursor: int) -> Event:
    return Event(name, cursor, orjson.dumps({"since": cursor}))
