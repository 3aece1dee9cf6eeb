"""The HTTP server, based on uvicorn. No other package imports uvicorn."""

from collections.abc import Mapping
from typing import Any

# Key of the lifespan state. The application stores a function under it; it is called when the server begins to stop.
STOPPING = "stopping"


# Task: T-155
# Task: T-465
def notify_application(state: Mapping[str, Any]) -> None:
    """Tell the application that the server stops, so that it ends its streams, which do not end by themselves.

    uvicorn itself tells the application only after the last connection has closed. Idempotent.
    """
    stop = state.get(STOPPING)
    if stop is not None:
        stop()
