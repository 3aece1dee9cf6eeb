"""Fair share: limit connections per user, so that one user cannot occupy the whole pool."""

import asyncio
from collections import deque

from todo.errors import Unavailable


# Task: T-022
class PerUserLimiter:
    """Counts the connections of each user. Requests beyond the limit wait in a FIFO queue per user.

    A user without connections has no entry.
    """

    def __init__(self, *, limit: int, max_waiting: int) -> None:
        self._most = limit
        self._most_waiting = max_waiting
        self._held: dict[str, int] = {}
        # Only for users at their limit. A released connection passes to the first in the queue; the count stays.
        self._queues: dict[str, deque[asyncio.Future[None]]] = {}

    async def acquire(self, user_id: str, *, deadline: float) -> None:
        """Wait for a free connection of the user's limit. ``deadline`` is a time of the event loop's clock.

        Raises Unavailable if the queue is full or the deadline passes. This is a 503 and not a 429: the cause may be
        too many requests of the user or a slow database.
        """
        held = self._held.get(user_id, 0)
        if held < self._most:
            self._held[user_id] = held + 1
            return
        queue = self._queues.setdefault(user_id, deque())
        if len(queue) >= self._most_waiting:
            raise _too_many()
        slot = asyncio.get_running_loop().create_future()
        queue.append(slot)
        try:
            async with asyncio.timeout_at(deadline):
                await slot
        except BaseException as error:
            if slot.done() and not slot.cancelled():
                # The connection was granted at the same moment.
                self.release(user_id)
            else:
                self._leave(user_id, queue, slot)
            if isinstance(error, TimeoutError):
                raise _too_many() from None
            raise

    def release(self, user_id: str) -> None:
        """Release one connection, and pass it to the first request in the queue."""
        queue = self._queues.get(user_id)
        while queue:
            slot = queue.popleft()
            if not queue:
                del self._queues[user_id]
            if not slot.done():
                slot.set_result(None)
                return
        held = self._held[user_id]
        if held > 1:
            self._held[user_id] = held - 1
        else:
            del self._held[user_id]

    def _leave(self, user_id: str, queue: deque[asyncio.Future[None]], slot: asyncio.Future[None]) -> None:
        if slot in queue:
            queue.remove(slot)
            if not queue:
                del self._queues[user_id]


def _too_many() -> Unavailable:
    return Unavailable("Too many of your requests are still running. Try again in a moment.", code="overloaded")
