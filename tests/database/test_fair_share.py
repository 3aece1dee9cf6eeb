"""How many connections one user may hold: first come, first served, and nothing is kept of those who are done."""

import asyncio

import pytest

from todo.database.fair_share import PerUserLimiter
from todo.errors import Unavailable


def _soon() -> float:
    return asyncio.get_running_loop().time() + 5


def _is_empty(limiter: PerUserLimiter) -> bool:
    return not (limiter._held or limiter._queues)


async def _taking(limiter: PerUserLimiter, order: list[int], number: int) -> None:
    await limiter.acquire("alice", deadline=_soon())
    order.append(number)


# Task: T-022
class TestTake:
    async def test_waits_for_nobody_else(self) -> None:
        limiter = PerUserLimiter(limit=1, max_waiting=1)

        for user_id in ("alice", "bob", "charlie"):
            await limiter.acquire(user_id, deadline=_soon())

        for user_id in ("alice", "bob", "charlie"):
            limiter.release(user_id)
        assert _is_empty(limiter)

    async def test_serves_in_the_order_of_coming(self) -> None:
        limiter = PerUserLimiter(limit=2, max_waiting=10)
        order: list[int] = []
        tasks = [asyncio.create_task(_taking(limiter, order, number)) for number in range(6)]
        await asyncio.sleep(0)
        taken = [len(order)]

        for _ in range(6):
            limiter.release("alice")
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            taken.append(len(order))

        await asyncio.gather(*tasks)
        assert order == [0, 1, 2, 3, 4, 5]
        assert taken == [2, 3, 4, 5, 6, 6, 6]
        assert _is_empty(limiter)

    async def test_says_in_time_that_there_was_none(self) -> None:
        limiter = PerUserLimiter(limit=1, max_waiting=1)
        await limiter.acquire("alice", deadline=_soon())

        with pytest.raises(Unavailable) as unavailable:
            await limiter.acquire("alice", deadline=asyncio.get_running_loop().time() + 0.01)

        assert (unavailable.value.code, unavailable.value.headers) == ("overloaded", {"Retry-After": "1"})
        limiter.release("alice")
        assert _is_empty(limiter)

    async def test_says_at_once_that_too_many_wait(self) -> None:
        limiter = PerUserLimiter(limit=1, max_waiting=2)
        order: list[int] = []
        tasks = [asyncio.create_task(_taking(limiter, order, number)) for number in range(3)]
        await asyncio.sleep(0)

        with pytest.raises(Unavailable):
            await limiter.acquire("alice", deadline=float("inf"))

        for _ in range(3):
            limiter.release("alice")
            await asyncio.sleep(0)
        await asyncio.gather(*tasks)
        assert _is_empty(limiter)

    @pytest.mark.parametrize("pause", range(4))
    async def test_loses_none_when_somebody_who_waits_is_cancelled(self, pause: int) -> None:
        """Before it is handed on, at the same moment, or after."""
        limiter = PerUserLimiter(limit=1, max_waiting=2)
        await limiter.acquire("alice", deadline=_soon())
        order: list[int] = []
        first, second = (asyncio.create_task(_taking(limiter, order, number)) for number in range(2))
        await asyncio.sleep(0)
        if pause:
            limiter.release("alice")
            for _ in range(pause - 1):
                await asyncio.sleep(0)
        first.cancel()
        await asyncio.wait([first])
        if not pause or not first.cancelled():
            limiter.release("alice")

        await second

        limiter.release("alice")
        assert order[-1] == 1
        assert _is_empty(limiter)
