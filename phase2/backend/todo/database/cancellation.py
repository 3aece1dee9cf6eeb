"""Cancel asyncio tasks that may wait for the database, and protect work that must not end halfway."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

_PAUSE_SECONDS = 0.5


async def cancelled(*tasks: "asyncio.Task[Any]") -> None:
    """Cancel the tasks and wait until all have ended. Ignores their results and exceptions.

    Repeats the cancellation every 0.5 seconds: the driver uses ``asyncio.wait_for``, which before Python 3.12 loses a
    cancellation that arrives at the same moment as the awaited result.
    """
    pending = {task for task in tasks if not task.done()}
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=_PAUSE_SECONDS)
    # Retrieve the exceptions, so that asyncio does not log "Task exception was never retrieved".
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
