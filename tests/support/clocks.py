"""Clocks that tests can set."""

from datetime import UTC, datetime

import pytest


class Clock:
    """A monotonic clock that returns ``now``."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class WallClock:
    """The time at which the task routes read and write. It stands still until it is set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = datetime(2026, 1, 1, 9, tzinfo=UTC)
        monkeypatch.setattr("todo.routes.tasks.utc_now", lambda: self.now)

    def set(self, text: str) -> None:
        """Set the clock to an instant, given with its offset."""
        self.now = datetime.fromisoformat(text).astimezone(UTC)
