"""Serving: all that knows uvicorn. Nothing else in the package imports it."""

from collections.abc import Mapping
from typing import Any

# The key of the lifespan's state under which an application puts a function to call when the server begins to stop.
STOPPING = "stopping"


# Task: T-155
# Task: T-465
def notify_application(state: Mapping[str, Any]) -> None:
    """Tell the application that the server stops, so that it ends streams, which do not end by themselves.

    uvicorn tells each connection, and the application only after the last connection is gone. Safe to call again.
    """
    stop = state.get(STOPPING)
    if stop is not None:
        stop()
