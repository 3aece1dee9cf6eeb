"""Cancelling tasks, including those that lose a cancellation, and protecting work from cancellation."""

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any

import pytest

from todo.database import cancelled
from todo.database.cancellation import uncancelled


# Task: T-152
class TestCancelled:
    async def test_cancelled_ends_waiting_failing_and_finished_tasks(self) -> None:
        async def fail() -> None:
            raise ValueError("an error of the work")

        tasks = [
            asyncio.create_task(asyncio.Event().wait()),
            asyncio.create_task(fail()),
            asyncio.create_task(asyncio.sleep(0)),
        ]
        await asyncio.wait(tasks[1:])

        await cancelled(*tasks)

        assert [task.done() for task in tasks] == [True] * 3

    async def test_cancelled_ends_a_task_that_swallows_a_cancellation(self) -> None:
        async def lose_one() -> None:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
            await asyncio.Event().wait()

        task = asyncio.create_task(lose_one())
        await asyncio.sleep(0)

        await cancelled(task)

        assert task.cancelled()


class Starter:
    """Creates tasks, and records them."""

    def __init__(self) -> None:
        self.tasks: list[asyncio.Task[None]] = []

    def __call__(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        self.tasks.append(asyncio.create_task(work))
        return self.tasks[-1]


# Task: T-462
class TestUncancelled:
    async def test_uncancelled_work_that_never_waits_needs_no_task(self) -> None:
        start, done = Starter(), []

        async def work() -> None:
            done.append(1)

        await uncancelled(work(), start=start)

        assert (done, start.tasks) == ([1], [])

    @pytest.mark.parametrize("turns", [1, 3])
    async def test_uncancelled_work_continues_after_its_caller_was_cancelled(self, turns: int) -> None:
        start, lock, done = Starter(), asyncio.Lock(), []

        async def work() -> None:
            for _ in range(turns):
                async with lock:
                    done.append(1)
                await asyncio.sleep(0)

        async with lock:
            caller = asyncio.create_task(uncancelled(work(), start=start))
            await asyncio.sleep(0)
            caller.cancel()
            with pytest.raises(asyncio.CancelledError):
                await caller
            assert done == []
        await asyncio.gather(*start.tasks)

        assert (len(done), len(start.tasks), lock.locked()) == (turns, 1, False)

    @pytest.mark.parametrize("turns", [0, 2])
    async def test_error_of_uncancelled_work_reaches_the_caller(self, turns: int) -> None:
        async def work() -> None:
            for _ in range(turns):
                await asyncio.sleep(0)
            raise ValueError("an error of the work")

        with pytest.raises(ValueError, match="an error of the work"):
            await uncancelled(work(), start=Starter())

    async def test_error_of_an_awaited_future_reaches_uncancelled_work(self) -> None:
        future = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(future.set_exception, KeyError("gone"))

        async def work() -> None:
            with pytest.raises(KeyError):
                await future

        await uncancelled(work(), start=Starter())
