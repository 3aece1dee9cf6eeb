"""Cancel asyncio tasks that may be waiting for the database."""

import asyncio
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
