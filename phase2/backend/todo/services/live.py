"""Live: every open screen of a user is told what changed, in order, from the log.

A user with open connections has one channel per process. The channel reads the log once, when a signal says that there
is something new (or, in case a signal was lost, now and then), and keeps a short tail of what it read. Each connection
reads from the tail at its own pace: there are no queues that a slow reader could fill.
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
from todo.errors import Gone, TodoError, TooMany, Unavailable
from todo.services import changes

log = logging.getLogger(__name__)

# What a channel keeps for its readers.
_KEPT_EVENTS = 512
_KEPT_BYTES = 4_194_304
# What is handed on at once, if that is more than one event: every reader holds so much until its client has taken it.
_PAGE = 100
_PAGE_BYTES = 65_536
# So many look at the log at the same time, one for each user: the connections to the database are for requests first.
_MOST_READING = 4
_RETRY_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveOptions:
    """Bounds of the live connections of one process. ``strangers`` have connected and not said yet who they are."""

    connections_per_user: int = 50
    heartbeat_seconds: float = 20.0
    poll_seconds: float = 30.0
    strangers: int = 200
    introduction_seconds: float = 10.0


@dataclass(frozen=True, slots=True)
class Event:
    """Something to tell a client. ``revision`` is where to go on from; ``data`` is JSON."""

    name: str
    revision: int
    data: bytes


# Task: T-152
class Live:
    """The channels of one process. ``clock`` counts Unix seconds."""

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
        self._strangers = 0
        self._stopping = False

    def stop(self) -> None:
        """End every connection with a hint to come back. Safe to call again."""
        if not self._stopping:
            self._stopping = True
            for channel in self._channels.values():
                channel.wake()

    @contextlib.contextmanager
    def stranger(self) -> Iterator[None]:
        """Count somebody who has not said yet who they are. Raises Unavailable when there are too many."""
        if self._strangers >= self.options.strangers:
            raise Unavailable("The server is busy. Try again in a moment.", code="overloaded")
        self._strangers += 1
        try:
            yield
        finally:
            self._strangers -= 1

    async def follow(
        self, user_id: str, since: int | None, *, expires_at: Callable[[], float]
    ) -> AsyncGenerator[list[Event], None]:
        """Yield what happens to a user after ``since`` (``None``: from now on), in order.

        ``expires_at`` says until when (Unix seconds); it is asked again and again, since a token can be renewed. An
        empty list is a heartbeat. The last event says why it ended: ``reconnect`` when the server stops, ``resume``
        when the reader was too slow or the log cannot be read, ``expired`` when the token is.
        Before the first event it raises TooMany, Unavailable, and Gone when the log does not hold ``since``. Close
        it: the user has one connection fewer only then.
        """
        with self._channel(user_id) as (channel, news):
            cursor, events = await self._begin(channel, since)
            yield [Event("ready", cursor, orjson.dumps({"revision": cursor}))]
            following, reason = False, "reconnect"
            while True:
                if events:
                    yield events
                    cursor = events[-1].revision
                # Whatever happens from here on sets it again: first this, then all the looking.
                news.clear()
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
                if not events and not await _happens(news, within=min(self.options.heartbeat_seconds, left)):
                    yield []
            yield [Event(reason, cursor, orjson.dumps({"since": cursor}))]

    async def _begin(self, channel: "_Channel", since: int | None) -> tuple[int, list[Event]]:
        """Return where the reader stands, and what is to be told first."""
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
            raise TooMany("Too many live connections. Close one of them first.", code="too_many_connections")
        news = asyncio.Event()
        channel.readers.add(news)
        try:
            yield channel, news
        finally:
            channel.readers.discard(news)
            if not channel.readers:
                channel.close()
                del self._channels[user_id]
                if not self._channels:
                    self._signals.listen(None)

    def _signal(self, user_id: str | None) -> None:
        channels = list(self._channels.values()) if user_id is None else [self._channels.get(user_id)]
        for channel in channels:
            if channel is not None:
                channel.look()


class _Channel:
    """One user's, in one process: the tail of the log that its readers share."""

    def __init__(self, log: "_Log", user_id: str, poll_seconds: float) -> None:
        self.user_id = user_id
        self.readers: set[asyncio.Event] = set()
        self._log = log
        self._poll_seconds = poll_seconds
        self._tail: deque[Event] = deque()
        self._bytes = 0
        # Everything in (_from, _to] is in the tail; None before the first look at the log.
        self._from: int | None = None
        self._to = 0
        self._looks = asyncio.Event()
        # One look at a time, so that a user with many connections leaves room for the others.
        self._turn = asyncio.Lock()
        self._closed = False
        self._reader = asyncio.create_task(self._keep_reading())

    def look(self) -> None:
        """Read the log soon."""
        self._looks.set()

    def wake(self) -> None:
        """Have every reader look at the tail."""
        for news in self.readers:
            news.set()

    def close(self) -> None:
        """Stop reading. A look that has begun is not broken off: that would cost its connection to the database."""
        self._closed = True
        self._looks.set()

    def has(self, cursor: int) -> bool:
        """Tell whether everything after ``cursor`` is in the tail."""
        return self._from is not None and self._from <= cursor <= self._to

    def after(self, cursor: int) -> list[Event]:
        """Return the tail's next events after ``cursor``. Revisions have no gaps, so the place can be computed."""
        return _page_of(islice(self._tail, cursor - (self._from or 0), None))

    async def read(self, cursor: int, *, after: Sequence[Event] = ()) -> list[Event]:
        """Return the log's next events after ``cursor``. ``after`` is the page before, which tells how large they are.

        Raises Gone when the log does not hold it.
        """
        # What does not fit in the page was read for nothing.
        limit = min(_PAGE, 2 * len(after)) or _PAGE
        async with self._turn:
            return _page_of(await self._log.read(self.user_id, cursor, limit=limit))

    async def _keep_reading(self) -> None:
        while not self._closed:
            self._looks.clear()
            patience = self._poll_seconds
            try:
                await self._read()
            except TodoError:
                patience = min(patience, _RETRY_SECONDS)
            except Exception:
                # Without it nobody would be told anything any more, and nobody would know.
                log.exception("a look at the log failed")
            await _happens(self._looks, within=patience)

    async def _read(self) -> None:
        if self._from is None:
            self._from = self._to = await self._log.latest(self.user_id)
            # Those who have read up to here themselves read from the tail now.
            self.wake()
        events: list[Event] = []
        try:
            while events := await self.read(self._to, after=events):
                self._append(events)
                self.wake()
        except Gone:
            # The account is gone, or the log was put back. Readers are behind the tail now, and are told to resume.
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
    """The log as events, read by few at a time. A session is for one request, so each look has its own."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._turns = asyncio.Semaphore(_MOST_READING)

    async def latest(self, user_id: str) -> int:
        """Return the number of the user's last change."""
        async with self._turns:
            return await changes.latest(Session(self._database, user_id))

    async def read(self, user_id: str, cursor: int, *, limit: int) -> list[Event]:
        """Return the next changes after ``cursor``. Raises Gone when the log does not hold it."""
        async with self._turns:
            feed = await changes.since(Session(self._database, user_id), cursor, limit=limit)
        return [Event("change", change["revision"], orjson.dumps(change)) for change in feed.changes]


def _page_of(events: Iterable[Event]) -> list[Event]:
    """Return the first of the events: as many as make a page, and at least one."""
    page: list[Event] = []
    room = _PAGE_BYTES
    for event in islice(events, _PAGE):
        room -= len(event.data)
        if page and room < 0:
            break
        page.append(event)
    return page


async def _happens(event: asyncio.Event, *, within: float) -> bool:
    try:
        async with asyncio.timeout(within):
            return await event.wait()
    except TimeoutError:
        return False
