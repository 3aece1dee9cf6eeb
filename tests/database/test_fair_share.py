"""The limit of connections per user: first come, first served, without state for users who hold none."""

import asyncio

import pytest

from support.helpers import soon
from todo.database.fair_share import PerUserLimiter
from todo.errors import Unavailable


def _is_empty(limiter: PerUserLimiter) -> bool:
    return not (limiter._held or limiter._queues)


async def _acquire(limiter: PerUserLimiter, order: list[int], number: int) -> None:
    await limiter.acquire("alice", deadline=soon())
    order.append(number)


# Task: T-022
class TestAcquire:
    async def test_users_do_not_wait_for_each_other(self) -> None:
        limiter = PerUserLimiter(limit=1, max_waiting=1)

        for user_id in ("alice", "bob", "charlie"):
            await limiter.acquire(user_id, deadline=soon())

        for user_id in ("alice", "bob", "charlie"):
            limiter.release(user_id)
        assert _is_empty(limiter)

    async def test_requests_of_a_user_are_served_in_order(self) -> None:
        limiter = PerUserLimiter(limit=2, max_waiting=10)
        order: list[int] = []
        tasks = [asyncio.create_task(_acquire(limiter, order, number)) for number in range(6)]
        await asyncio.sleep(0)
        acquired = [len(order)]

        for _ in range(6):
            limiter.release("alice")
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            acquired.append(len(order))

        await asyncio.gather(*tasks)
        assert order == [0, 1, 2, 3, 4, 5]
        assert acquired == [2, 3, 4, 5, 6, 6, 6]
        assert _is_empty(limiter)

    async def test_waiting_past_the_deadline_raises_unavailable(self) -> None:
        limiter = PerUserLimiter(limit=1, max_waiting=1)
        await limiter.acquire("alice", deadline=soon())

        with pytest.raises(Unavailable) as unavailable:
            await limiter.acquire("alice", deadline=asyncio.get_running_loop().time() + 0.01)

        assert (unavailable.value.code, unavailable.value.headers) == ("overloaded", {"Retry-After": "1"})
        limiter.release("alice")
        assert _is_empty(limiter)

    async def test_too_many_waiting_requests_raise_unavailable_at_once(self) -> None:
        limiter = PerUserLimiter(limit=1, max_waiting=2)
        order: list[int] = []
        tasks = [asyncio.create_task(_acquire(limiter, order, number)) for number in range(3)]
        await asyncio.sleep(0)

        with pytest.raises(Unavailable):
            await limiter.acquire("alice", deadline=float("inf"))

        for _ in range(3):
            limiter.release("alice")
            await asyncio.sleep(0)
        await asyncio.gather(*tasks)
        assert _is_empty(limiter)

    @pytest.mark.parametrize("pause", range(4))
    async def test_no_slot_is_lost_when_a_waiting_request_is_cancelled(self, pause: int) -> None:
        """The cancellation comes before, during or after the slot is handed over."""
        limiter = PerUserLimiter(limit=1, max_waiting=2)
        await limiter.acquire("alice", deadline=soon())
        order: list[int] = []
        first, second = (asyncio.create_task(_acquire(limiter, order, number)) for number in range(2))
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
