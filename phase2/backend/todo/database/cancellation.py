"""Cancellation: ending tasks that may be waiting for the database, and work that must not end halfway."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

_PAUSE_SECONDS = 0.5


async def cancelled(*tasks: "asyncio.Task[Any]") -> None:
    """Cancel tasks, and wait until they have ended, however they do.

    Once may not be enough: the driver stands on ``asyncio.wait_for``, which before Python 3.12 loses a cancellation
    that comes together with what it waits for.
    """
    pending = {task for task in tasks if not task.done()}
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=_PAUSE_SECONDS)
    # What they raised is theirs; nobody has to be told that nobody asked.
    await asyncio.gather(*tasks, return_exceptions=True)


# Task: T-462
async def uncancelled(
    work: Coroutine[Any, Any, None], *, start: Callable[[Coroutine[Any, Any, None]], "asyncio.Task[None]"]
) -> None:
    """Run ``work`` to its end, even if the caller is cancelled meanwhile; the caller still sees its cancellation.

    ``start`` makes a task and keeps a reference to it. It is called only if ``work`` has to wait: a task for each call
    costs 6 us more, and most calls never wait.
    """
    try:
        awaited = work.send(None)
    except StopIteration:
        return
    await asyncio.shield(start(_continue(work, awaited)))


async def _continue(work: Coroutine[Any, Any, None], awaited: "asyncio.Future[Any] | None") -> None:
    """Run the rest of ``work``, which waits for ``awaited``; ``None`` stands for one turn of the event loop."""
    while True:
        await (asyncio.sleep(0) if awaited is None else asyncio.wait([awaited]))
        try:
            awaited = work.send(None)
        except StopIteration:
            return
