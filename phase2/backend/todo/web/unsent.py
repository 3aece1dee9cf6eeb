"""What was written for clients that do not read: bounded for the whole process, and for each in time."""

from asyncio import AbstractEventLoop, TimerHandle, Transport

MOST_BYTES = 67_108_864
PATIENCE_SECONDS = 10.0


# Task: T-018
class Unsent:
    """The bytes that wait for clients, over all connections. Only those count that the transport holds up.

    When they are too many, those go first that have taken nothing for the longest time: a client that reads, however
    slowly, is not harmed by those that do not.
    """

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._total = 0
        # In the order in which they got stuck; each starts at the end again once it has taken something.
        self._waiting: dict[Transport, int] = {}

    def add(self, transport: Transport, size: int) -> None:
        """Count what waits for a client from now on, and cut off whom there is no room for."""
        self._waiting[transport] = self._waiting.get(transport, 0) + size
        self._total += size
        while self._total > self._most_bytes:
            stuck = next(iter(self._waiting))
            self.forget(stuck)
            stuck.abort()

    def forget(self, transport: Transport) -> None:
        """Count a client no longer, because it reads again, or is gone. Safe to call again."""
        self._total -= self._waiting.pop(transport, 0)


# Task: T-018
class Patience:
    """Waits for one client to take what was written for it, and drops it if it takes nothing for a while."""

    def __init__(self, loop: AbstractEventLoop, transport: Transport, seconds: float) -> None:
        self.seconds = seconds
        self._loop = loop
        self._transport = transport
        self._timer: TimerHandle | None = None
        self._left = 0

    def begin(self) -> None:
        """Begin to wait, unless that was done."""
        if self._timer is None:
            self._left = self._transport.get_write_buffer_size()
            self._timer = self._loop.call_later(self.seconds, self._look)

    def end(self) -> None:
        """Wait no longer. Safe to call again."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        if self._transport.get_write_buffer_size() < self._left:
            self.begin()
        else:
            self._transport.abort()
