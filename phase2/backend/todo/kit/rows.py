"""Rows that went through PostgreSQL's JSON and come back as the API shows them."""

from collections.abc import Iterable, Mapping
from typing import Any

_UTC = "+00:00"


# Task: T-112
def instants_in_utc(state: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Return the ``names`` of ``state``, its instants (``_at``) ending in ``Z``, where PostgreSQL's JSON has an offset.

    A name that ``state`` lacks, because it was logged before the column was there, is ``None``.
    """
    return {name: _in_utc(state.get(name)) if name.endswith("_at") else state.get(name) for name in names}


def _in_utc(instant: str | None) -> str | None:
    if instant is not None and instant.endswith(_UTC):
        return instant[: -len(_UTC)] + "Z"
    return instant
