"""What PgBouncer in transaction mode changes: the same requests directly and through it, in turns.

The goal is about the CPU of the application and of PostgreSQL together: that is what plans and prepared statements
decide. PgBouncer's own CPU stands beside it. It is about the same for each request, and often runs on another machine.
"""

import statistics
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import Any

from benchmarks import data, task_list
from benchmarks.load import Request
from benchmarks.measure import OPERATIONS, Bench, Figures, Operation, median
from benchmarks.sections import Note
from benchmarks.servers import Server, cpu_of, serving
from support import pgbouncer
from support.pgbouncer import PgBouncer

# Fewer than the ten connections of the application: they share.
_SERVER_CONNECTIONS = 4
_CONNECTIONS = 4
# How many of an operation there are for each of a query, which is dearer.
_OPERATIONS_PER_QUERY = 5

MODES = {"names pass through": False, "names are tracked": True}
"""By whether the pooler tracks prepared statements."""


# Task: T-414
async def pooled(bench: Bench, direct: Server, url: str, note: Note) -> dict[str, Any] | None:
    """Return what each request costs directly and pooled, by mode and request; ``None`` without PgBouncer.

    The queries are those of the user with most tasks, the operations those of many users.
    """
    program = pgbouncer.installed()
    if program is None:
        note("left out: PgBouncer is not installed")
        return None
    modes: dict[str, Any] = {}
    for mode, tracks in MODES.items():
        if tracks and not pgbouncer.can_track_statements(program):
            note(f"left out: {mode}, for which this PgBouncer is too old")
            continue
        with pgbouncer.running(program, url, pool_size=_SERVER_CONNECTIONS, tracks_statements=tracks) as pooler:
            settings = {"DATABASE_URL": pooler.url, "DIRECT_DATABASE_URL": url}
            async with serving("ours", settings) as through:
                modes[mode] = await _compare(bench, direct, through, pooler, partial(_note_mode, note, mode))
    return {"version": ".".join(map(str, pgbouncer.version_of(program))), "modes": modes}


def _note_mode(note: Note, mode: str, text: str) -> None:
    note(f"{mode}: {text}")


async def _compare(
    bench: Bench, direct: Server, through: Server, pooler: PgBouncer, note: Note
) -> dict[str, dict[str, Any]]:
    """Return the figures by request, under the names of the other sections."""
    queries = list((await task_list.requests(bench, direct, data.BIG)).items())
    asked = {name: partial(_query, bench, request) for name, request in queries[:: bench.size.pooled]}
    asked |= {operation.name: partial(_operation, bench, operation) for operation in OPERATIONS}
    results = {}
    for name, requests in asked.items():
        note(f"{name}, directly and through PgBouncer")
        results[name] = await _in_turns(bench, requests, [("direct", direct), ("pooled", through)], pooler)
    return results


def _query(bench: Bench, request: Request) -> list[Request]:
    return [request] * bench.size.finds


def _operation(bench: Bench, operation: Operation) -> list[Request]:
    return bench.requests(operation, _OPERATIONS_PER_QUERY * bench.size.finds)


async def _in_turns(
    bench: Bench, requests: Callable[[], list[Request]], sides: list[tuple[str, Server]], pooler: PgBouncer
) -> dict[str, Any]:
    """Return the medians of each side, and PgBouncer's own. Whoever began last time is last the next time."""
    turns: dict[str, list[Figures]] = {name: [] for name, _ in sides}
    own: list[float] = []
    for number in range(1 + bench.size.side_rounds):
        for name, server in sides if number % 2 == 0 else reversed(sides):
            sent = requests()
            before = cpu_of(pooler.pid)
            figures = await bench.figures(server, sent, once=True, connections=_CONNECTIONS)
            spent = cpu_of(pooler.pid) - before
            # The first time statements are prepared, and the caches filled.
            if number:
                turns[name].append(figures)
                own += [spent / len(sent) * 1e6] if name == "pooled" else []
    return {**{name: asdict(median(each)) for name, each in turns.items()}, "pooler_us": statistics.median(own)}
