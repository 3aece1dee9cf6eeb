"""Limits for open connections. Idle connections are closed in favour of new ones."""

from collections import Counter
from typing import Protocol

MAX_PER_ADDRESS = 1_000


class Closable(Protocol):
    """A connection that can be closed while it is idle."""

    def close_idle(self) -> None: ...


# Task: T-503
class ConnectionLimits:
    """The open connections of a process by client address, and those that are idle: without a request.

    A client that opens connections and sends nothing takes the room of its own idle connections if they are too many,
    else that of the connection that has been idle for the longest time, never that of a request. The address of a
    client behind a Unix socket is ``None``; it has no limit of its own.
    """

    def __init__(self, max_per_address: int = MAX_PER_ADDRESS) -> None:
        self._max_per_address = max_per_address
        self._open: Counter[str | None] = Counter()
        # In the order in which they became idle, with their addresses. A connection removes itself when it gets a
        # request, and adds itself after the response: a method call for each would cost 2 us of every request.
        self.idle: dict[Closable, str | None] = {}

    def add(self, connection: Closable, address: str | None, *, is_full: bool) -> bool:
        """Add a new connection. Close an idle one if the process ``is_full``, or the address has too many.

        Return whether the connection is within the limit of its address.
        """
        self._open[address] += 1
        is_excess = address is not None and self._open[address] > self._max_per_address
        if is_excess or is_full:
            # Finds one soon: where an address has too many idle ones, they are the first.
            longest = next((each for each, other in self.idle.items() if not is_excess or other == address), None)
            if longest is not None:
                del self.idle[longest]
                longest.close_idle()
                is_excess = False
        self.idle[connection] = address
        return not is_excess

    def remove(self, connection: Closable, address: str | None) -> None:
        """Forget a connection that was closed."""
        self.idle.pop(connection, None)
        self.release(address)

    def release(self, address: str | None) -> None:
        """Count one connection of the address less."""
        self._open[address] -= 1
        if not self._open[address]:
            del self._open[address]
