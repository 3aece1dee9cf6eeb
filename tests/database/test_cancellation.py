"""Ending tasks, those that do not want to included."""

import asyncio
import contextlib

from todo.database import cancelled


# Task: T-152
class TestCancelled:
    async def test_ends_what_waits_what_fails_and_what_has_ended(self) -> None:
        async def fail() -> None:
            raise ValueError("its own business")

        tasks = [
            asyncio.create_task(asyncio.sleep(60)),
            asyncio.create_task(fail()),
            asyncio.create_task(asyncio.sleep(0)),
        ]
        await asyncio.sleep(0.01)

        await cancelled(*tasks)

        assert [task.done() for task in tasks] == [True] * 3

    async def test_ends_what_loses_a_cancellation(self) -> None:
        async def lose_one() -> None:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(60)
            await asyncio.sleep(60)

        task = asyncio.create_task(lose_one())
        await asyncio.sleep(0)

        await cancelled(task)

        assert task.cancelled()
