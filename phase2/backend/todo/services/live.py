"""Live events: every open connection of a user gets the user's changes, in order, from the change log.

A user with open connections has one channel per process. The channel reads the log once when a signal announces new
changes, and every ``poll_seconds`` in case a signal was lost. It keeps a short tail of the log in memory. Each
connection reads from the tail at its own pace, so there are no queues that a slow reader could fill.
"""

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import orjson

from todo.database import Database, Session
from todo.database.signals import Signals
from todo.errors import Gone, TodoError, TooManyRequests, Unavailable
from todo.services import changes

log = logging.getLogger(__name__)

# Limits of the tail that a channel keeps for its readers.
_KEPT_EVENTS = 512
_KEPT_BYTES = 4_194_304
# Limits of a page of several events. Every reader holds one page until its client has received it.
_PAGE = 100
_PAGE_BYTES = 65_536
# Concurrent reads of the log, at most one per user: requests have priority on the database connections.
_MAX_READING = 4
_RETRY_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveOptions:
    """Limits of the live connections of one process. ``max_unauthenticated``: connections not yet authenticated."""

    connections_per_user: int = 50
    heartbeat_seconds: float = 20.0
    poll_seconds: float = 30.0
    max_unauthenticated: int = 200
    authentication_timeout_seconds: float = 10.0


@dataclass(frozen=True, slots=True)
class Event:
    """A message to a client. ``revision`` is the place to resume from; ``data`` is JSON."""

    name: str
    revision: int
    data: bytes


# Task: T-152
class Live:
    """The channels of one process. ``clock`` returns Unix seconds."""

    def __init__(
        self,
        database: Database,
        signals: Signals,
        options: LiveOptions | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.options = options or LiveOptions()
        self._log = _Log(database)
        self._signals = signals
        self._clock = clock
        self._channels: dict[str, _Channel] = {}
        self._unauthenticated_count = 0
        self._stopping = False

    def stop(self) -> None:
        """End every connection with the event ``reconnect``. Idempotent."""
        if not self._stopping:
            self._stopping = True
            for channel in self._channels.values():
                channel.wake()

    @contextlib.contextmanager
    def unauthenticated(self) -> Iterator[None]:
        """Count a connection that is not yet authenticated. Raises Unavailable if there are too many."""
        if self._unauthenticated_count >= self.options.max_unauthenticated:
            raise Unavailable("The server is busy. Try again in a moment.", code="overloaded")
        self._unauthenticated_count += 1
        try:
            yield
        finally:
            self._unauthenticated_count -= 1

    async def follow(
        self, user_id: str, since: int | None, *, expires_at: Callable[[], float]
    ) -> AsyncGenerator[list[Event], None]:
        """Yield the user's events after revision ``since`` (``None``: from now on), in order.

        ``expires_at`` returns the expiry of the token in Unix seconds; it is called repeatedly, because a token can be
        renewed. An empty list is a heartbeat. The last event gives the reason for the end: ``reconnect`` when the
        server stops, ``resume`` when the reader was too slow or the log cannot be read, ``expired`` when the token has
        expired. Before the first event it may raise TooManyRequests, Unavailable, and Gone if the log does not contain
        ``since``. Close the generator: the connection counts towards the user's limit until then.
        """
        with self._channel(user_id) as (channel, wakeup):
            cursor, events = await self._begin(channel, since)
            yield [Event("ready", cursor, orjson.dumps({"revision": cursor}))]
            following, reason = False, "reconnect"
            while True:
                if events:
                    yield events
                    cursor = events[-1].revision
                # Clear before all checks: anything that happens from here on sets it again.
                wakeup.clear()
                if self._stopping:
                    break
                left = expires_at() - self._clock()
                if left <= 0:
                    reason = "expired"
                    break
                if following and not channel.has(cursor):
                    reason = "resume"
                    break
                following = channel.has(cursor)
                try:
                    events = channel.after(cursor) if following else await channel.read(cursor, after=events)
                except TodoError:
                    reason = "resume"
                    break
                if not events and not await _wait_for_event(wakeup, within=min(self.options.heartbeat_seconds, left)):
                    yield []
            yield [Event(reason, cursor, orjson.dumps({"since": cursor}))]

    async def _begin(self, channel: "_Channel", since: int | None) -> tuple[int, list[Event]]:
        """Return the revision at which the reader starts, and its first events."""
        if since is None:
            return await self._log.latest(channel.user_id), []
        if channel.has(since):
            return since, channel.after(since)
        return since, await channel.read(since)

    @contextlib.contextmanager
    def _channel(self, user_id: str) -> Iterator[tuple["_Channel", asyncio.Event]]:
        channel = self._channels.get(user_id)
        if channel is None:
            if not self._channels:
                self._signals.listen(self._signal)
            channel = self._channels[user_id] = _Channel(self._log, user_id, self.options.poll_seconds)
        if len(channel.readers) >= self.options.connections_per_user:
            raise TooManyRequests("Too many live connections. Close one of them first.", code="too_many_connections")
        wakeup = asyncio.Event()
        channel.readers.add(wakeup)
        try:
            yield channel, wakeup
        finally:
            channel.readers.discard(wakeup)
            if not channel.readers:
                channel.close()
                del self._channels[user_id]
                if not self._channels:
                    self._signals.listen(None)

    def _signal(self, user_id: str | None) -> None:
        channels = list(self._channels.values()) if user_id is None else [self._channels.get(user_id)]
        for channel in channels:
            if channel is not None:
                channel.poll()


class _Channel:
    """The channel of one user in one process: the tail of the log that its readers share."""

    def __init__(self, log: "_Log", user_id: str, poll_seconds: float) -> None:
        self.user_id = user_id
        self.readers: set[asyncio.Event] = set()
        self._log = log
        self._poll_seconds = poll_seconds
        self._tail: deque[Event] = deque()
        self._bytes = 0
        # The tail contains everything in (_from, _to]. ``_from`` is None before the first read of the log.
        self._from: int | None = None
        self._to = 0
        self._poll_requested = asyncio.Event()
        # One read at a time, so that a user with many connections does not crowd out other users.
        self._read_lock = asyncio.Lock()
        self._closed = False
        self._reader = asyncio.create_task(self._keep_reading())

    def poll(self) -> None:
        """Request a read of the log. Returns at once."""
        self._poll_requested.set()

    def wake(self) -> None:
        """Wake every reader, so that it checks the tail."""
        for wakeup in self.readers:
            wakeup.set()

    def close(self) -> None:
        """Stop reading. A read in progress is not cancelled: that would cost its database connection."""
        self._closed = True
        self._poll_requested.set()

    def has(self, cursor: int) -> bool:
        """Return whether the tail contains everything after ``cursor``."""
        return self._from is not None and self._from <= cursor <= self._to

    def after(self, cursor: int) -> list[Event]:
        """Return the next events after ``cursor`` from the tail. Revisions have no gaps, so their index is computed."""
        return _page_of(islice(self._tail, cursor - (self._from or 0), None))

    async def read(self, cursor: int, *, after: Sequence[Event] = ()) -> list[Event]:
        """Return the next events after ``cursor`` from the log. ``after`` is the previous page.

        Raises Gone if the log does not contain ``cursor``.
        """
        # Rows that do not fit in the page would be read for nothing. The previous page shows how many fit.
        limit = min(_PAGE, 2 * len(after)) or _PAGE
        async with self._read_lock:
            return _page_of(await self._log.read(self.user_id, cursor, limit=limit))

    async def _keep_reading(self) -> None:
        while not self._closed:
            self._poll_requested.clear()
            pause = self._poll_seconds
            try:
                await self._read()
            except TodoError:
                pause = min(pause, _RETRY_SECONDS)
            except Exception:
                # If this task ended, the user would get no more events, without any notice.
                log.exception("reading the change log failed")
            await _wait_for_event(self._poll_requested, within=pause)

    async def _read(self) -> None:
        if self._from is None:
            self._from = self._to = await self._log.latest(self.user_id)
            # Readers that have read the log up to here can use the tail from now on.
            self.wake()
        events: list[Event] = []
        try:
            while events := await self.read(self._to, after=events):
                self._append(events)
                self.wake()
        except Gone:
            # The account was deleted, or the log was restored from a backup. The readers are outside of the tail now,
            # and end with ``resume``.
            self._tail.clear()
            self._bytes, self._from = 0, None
            self.wake()
            raise

    def _append(self, events: list[Event]) -> None:
        self._tail.extend(events)
        self._bytes += sum(len(event.data) for event in events)
        while len(self._tail) > _KEPT_EVENTS or self._bytes > _KEPT_BYTES:
            self._bytes -= len(self._tail.popleft().data)
        self._to = events[-1].revision
        self._from = self._to - len(self._tail)


class _Log:
    """The log as events, with few concurrent reads. A session is for one request, so each read opens its own."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._read_slots = asyncio.Semaphore(_MAX_READING)

    async def latest(self, user_id: str) -> int:
        """Return the user's latest revision."""
        async with self._read_slots:
            return await changes.latest(Session(self._database, user_id))

    async def read(self, user_id: str, cursor: int, *, limit: int) -> list[Event]:
        """Return the next changes after ``cursor``. Raises Gone if the log does not contain it."""
        async with self._read_slots:
            feed = await changes.since(Session(self._database, user_id), cursor, limit=limit)
        return [Event("change", change["revision"], orjson.dumps(change)) for change in feed.changes]


def _page_of(events: Iterable[Event]) -> list[Event]:
    """Return the first events that fit in a page; the first one even if it is larger than a page."""
    page: list[Event] = []
    room = _PAGE_BYTES
    for event in islice(events, _PAGE):
        room -= len(event.data)
        if page and room < 0:
            break
        page.append(event)
    return page


async def _wait_for_event(event: asyncio.Event, *, within: float) -> bool:
    try:
        async with asyncio.timeout(within):
            return await event.wait()
    except TimeoutError:
        return False
