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
            asyncio.create_task(asyncio.Event().wait()),
            asyncio.create_task(fail()),
            asyncio.create_task(asyncio.sleep(0)),
        ]
        await asyncio.wait(tasks[1:])

        await cancelled(*tasks)

        assert [task.done() for task in tasks] == [True] * 3

    async def test_ends_what_loses_a_cancellation(self) -> None:
        async def lose_one() -> None:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
            await asyncio.Event().wait()

        task = asyncio.create_task(lose_one())
        await asyncio.sleep(0)

        await cancelled(task)

        assert task.cancelled()
