"""Limits for open connections. Idle connections are closed in favour of new ones."""

from collections import Counter, defaultdict
from typing import Protocol

MAX_PER_ADDRESS = 1_000


class Closable(Protocol):
    """A connection that can be closed while it is idle."""

    def close_idle(self) -> None: ...


# Task: T-503
class ConnectionLimits:
    """The open HTTP connections of a process by client address, and those that are idle: without a request.

    If an address has too many connections, a new one replaces the idle connection of that address that has been idle
    for the longest time. If the process is full, a new one replaces the connection that has been idle for the longest
    time. A connection with a request is never closed. The address of a client behind a Unix socket is ``None``; it has
    no limit of its own.
    """

    def __init__(self, max_per_address: int = MAX_PER_ADDRESS) -> None:
        self._max_per_address = max_per_address
        self._open: Counter[str | None] = Counter()
        # Both in the order in which the connections became idle.
        self._idle: dict[Closable, str | None] = {}
        self._idle_of: defaultdict[str | None, dict[Closable, None]] = defaultdict(dict)

    def add(self, connection: Closable, address: str | None, *, is_full: bool) -> bool:
        """Add a new connection. Close an idle one if the process ``is_full``, or the address has too many.

        Return whether the connection is within the limit of its address.
        """
        self._open[address] += 1
        is_excess = address is not None and self._open[address] > self._max_per_address
        idle = self._idle_of[address] if is_excess else self._idle
        if (is_excess or is_full) and idle:
            longest = next(iter(idle))
            self.set_busy(longest)
            longest.close_idle()
            is_excess = False
        self.set_idle(connection, address)
        return not is_excess

    def set_busy(self, connection: Closable) -> None:
        """Keep a connection open: it has a request. Idempotent."""
        address = self._idle.pop(connection, "")
        if address != "":
            idle = self._idle_of[address]
            del idle[connection]
            if not idle:
                del self._idle_of[address]

    def set_idle(self, connection: Closable, address: str | None) -> None:
        """Allow that a connection is closed in favour of a new one. It has no request."""
        self._idle[connection] = address
        self._idle_of[address][connection] = None

    def remove(self, connection: Closable, address: str | None) -> None:
        """Forget a connection that was closed."""
        self.set_busy(connection)
        self.release(address)

    def release(self, address: str | None) -> None:
        """Count one connection of the address less."""
        self._open[address] -= 1
        if not self._open[address]:
            del self._open[address]
