"""Shares: however many requests one user sends, some of the pool's connections are left for the others."""

import asyncio
from collections import deque

from todo.errors import Unavailable


# Task: T-022
class Shares:
    """Counts what each user holds, up to a share; more of the same user's wait in their order.

    Nothing is kept of a user who holds nothing.
    """

    def __init__(self, *, most: int, most_waiting: int) -> None:
        self._most = most
        self._most_waiting = most_waiting
        self._held: dict[str, int] = {}
        # Only of users who hold all that they may: what becomes free is handed on, and not counted anew.
        self._queues: dict[str, deque[asyncio.Future[None]]] = {}

    async def take(self, user_id: str, *, deadline: float) -> None:
        """Take one, if need be after those who came before. ``deadline`` is the event loop's. Raises Unavailable.

        It is no 429: who waited in vain cannot tell whether the user's other requests are too many, or the database is
        too slow for them.
        """
        held = self._held.get(user_id, 0)
        if held < self._most:
            self._held[user_id] = held + 1
            return
        queue = self._queues.setdefault(user_id, deque())
        if len(queue) >= self._most_waiting:
            raise _too_many()
        turn = asyncio.get_running_loop().create_future()
        queue.append(turn)
        try:
            async with asyncio.timeout_at(deadline):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                # It came at the same moment.
                self.give_back(user_id)
            else:
                self._leave(user_id, queue, turn)
            if isinstance(error, TimeoutError):
                raise _too_many() from None
            raise

    def give_back(self, user_id: str) -> None:
        """Give one back, to the first who waits for it."""
        queue = self._queues.get(user_id)
        while queue:
            turn = queue.popleft()
            if not queue:
                del self._queues[user_id]
            if not turn.done():
                turn.set_result(None)
                return
        held = self._held[user_id]
        if held > 1:
            self._held[user_id] = held - 1
        else:
            del self._held[user_id]

    def _leave(self, user_id: str, queue: deque[asyncio.Future[None]], turn: asyncio.Future[None]) -> None:
        if turn in queue:
            queue.remove(turn)
            if not queue:
                del self._queues[user_id]


def _too_many() -> Unavailable:
    return Unavailable("Too many of your requests have no answer yet. Try again in a moment.", code="overloaded")
