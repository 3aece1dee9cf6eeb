"""Query plans, as EXPLAIN returns them."""

from collections.abc import Iterator
from typing import Any

import psycopg

from todo.database.statements import CompiledText


def nodes_of(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield every node of a plan."""
    yield plan
    for child in plan.get("Plans", []):
        yield from nodes_of(child)


def plan_of(connection: psycopg.Connection[Any], text: CompiledText) -> dict[str, Any]:
    """Return the plan of a statement whose parameters are all NULL. The connection must use ``RawCursor``."""
    connection.execute(b"PREPARE explained AS " + text.sql)
    nulls = f"({', '.join(['NULL'] * len(text.names))})" if text.names else ""
    [(explained,)] = connection.execute(f"EXPLAIN (FORMAT JSON) EXECUTE explained{nulls}".encode()).fetchall()
    connection.execute("DEALLOCATE explained")
    plan: dict[str, Any] = explained[0]["Plan"]
    return plan
