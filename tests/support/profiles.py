"""The profile of a user who has not set anything."""

from typing import Any

DEFAULTS: dict[str, Any] = {"time_zone": "UTC", "day_start": "00:00", "week_start": "monday", "revision": 0}
