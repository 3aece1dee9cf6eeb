"""Conversion of rows from PostgreSQL's JSON to the format of the API."""

from collections.abc import Iterable, Mapping
from typing import Any

_UTC = "+00:00"


# Task: T-112
def instants_in_utc(state: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Return the ``names`` of ``state``. Instants (``_at``) end in ``Z`` instead of the offset in PostgreSQL's JSON.

    The value is ``None`` for a name that ``state`` lacks because it was logged before the column existed.
    """
    return {name: _in_utc(state.get(name)) if name.endswith("_at") else state.get(name) for name in names}


def _in_utc(instant: str | None) -> str | None:
    if instant is not None and instant.endswith(_UTC):
        return instant[: -len(_UTC)] + "Z"
    return instant
