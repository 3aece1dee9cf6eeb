"""The clock."""

from datetime import UTC, datetime, timedelta

from todo.kit.clock import utc_now


# Task: T-010
class TestUtcNow:
    def test_utc_now_returns_the_current_instant_in_utc(self) -> None:
        before = datetime.now(UTC)

        now = utc_now()

        assert before <= now <= datetime.now(UTC)
        assert now.utcoffset() == timedelta(0)
