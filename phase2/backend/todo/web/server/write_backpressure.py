"""Limits for bytes that clients do not read: their number for the process, and the time for each client."""

from asyncio import AbstractEventLoop, TimerHandle, Transport

MAX_UNSENT_BYTES = 67_108_864
STALL_SECONDS = 10.0
# Takes the place of STALL_SECONDS when the server stops.
SHUTDOWN_GRACE_SECONDS = 1.0


# Task: T-018
class UnsentBytes:
    """The bytes that wait in the transports of all connections that are paused for writing.

    If they are too many, the connections that have read nothing for the longest time are aborted. A client that reads,
    even slowly, is not affected by clients that do not.
    """

    def __init__(self, max_bytes: int = MAX_UNSENT_BYTES) -> None:
        self._max_bytes = max_bytes
        self._total = 0
        # In the order in which they stalled. A client that reads is removed, and comes last the next time.
        self._stalled: dict[Transport, int] = {}

    def add(self, transport: Transport, size: int) -> None:
        """Count bytes that wait for a client, and abort connections until the total is within the limit."""
        self._stalled[transport] = self._stalled.get(transport, 0) + size
        self._total += size
        while self._total > self._max_bytes:
            longest = next(iter(self._stalled))
            self.remove(longest)
            longest.abort()

    def remove(self, transport: Transport) -> None:
        """Stop counting a client, because it reads again or is gone. Idempotent."""
        self._total -= self._stalled.pop(transport, 0)


# Task: T-018
class WriteStallTimer:
    """Aborts a connection whose client reads nothing of the written bytes for ``seconds``."""

    def __init__(self, loop: AbstractEventLoop, transport: Transport, seconds: float) -> None:
        self._loop = loop
        self._transport = transport
        self._seconds = seconds
        self._timer: TimerHandle | None = None
        self._left = 0

    def start(self) -> None:
        """Start the timer. Idempotent."""
        if self._timer is None:
            self._left = self._transport.get_write_buffer_size()
            self._timer = self._loop.call_later(self._seconds, self._check)

    def stop(self) -> None:
        """Stop the timer. Idempotent."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def shorten(self, seconds: float) -> None:
        """Restart the timer with a new limit."""
        self.stop()
        self._seconds = seconds
        self.start()

    def _check(self) -> None:
        self._timer = None
        if self._transport.get_write_buffer_size() < self._left:
            self.start()
        else:
            self._transport.abort()
