"""Time: the only place that reads the clock."""

from datetime import UTC, datetime


# Task: T-010
def utc_now() -> datetime:
    """Return the current time, aware, in UTC."""
    return datetime.now(UTC)
