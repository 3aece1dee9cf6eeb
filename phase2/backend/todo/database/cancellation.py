"""Ending tasks that may be waiting for the database."""

import asyncio
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
