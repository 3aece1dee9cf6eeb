"""The cost of PgBouncer in transaction mode: the same requests directly and through it, in turns.

The goal is for the CPU of the application and PostgreSQL together, which depends on plans and prepared statements. The
CPU of PgBouncer is reported separately: it is similar for all requests, and PgBouncer often runs on another machine.
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

# Fewer than the ten connections of the application, so that they share server connections.
_SERVER_CONNECTIONS = 4
_CONNECTIONS = 4
# Each of the many queries is sent this many times less often than in the section that compares users.
_FEWER = 3

MODES = {"names pass through": False, "names are tracked": True}
"""For each mode, whether the pooler tracks prepared statements."""


# Task: T-414
async def pooled(bench: Bench, direct: Server, url: str, note: Note) -> dict[str, Any] | None:
    """Return the cost of each request, direct and pooled, by mode and request. Returns ``None`` without PgBouncer.

    The queries are those of the user with the most tasks; the operations are those of many users.
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
    """Return the figures by request, with the names of the other sections."""
    queries = list((await task_list.requests(bench, direct, data.BIG)).items())
    builders = {name: partial(_query, bench, request) for name, request in queries[:: bench.size.pooled]}
    builders |= {operation.name: partial(_operation, bench, operation) for operation in OPERATIONS}
    results = {}
    for name, requests in builders.items():
        note(f"{name}, directly and through PgBouncer")
        results[name] = await _in_turns(bench, requests, [("direct", direct), ("pooled", through)], pooler)
    return results


def _query(bench: Bench, request: Request) -> list[Request]:
    return [request] * (bench.size.finds // _FEWER)


def _operation(bench: Bench, operation: Operation) -> list[Request]:
    return bench.requests(operation, bench.size.finds)


async def _in_turns(
    bench: Bench, requests: Callable[[], list[Request]], sides: list[tuple[str, Server]], pooler: PgBouncer
) -> dict[str, Any]:
    """Return the medians of each side and of PgBouncer. The order of the sides alternates."""
    turns: dict[str, list[Figures]] = {name: [] for name, _ in sides}
    own: list[float] = []
    for number in range(1 + bench.size.side_rounds):
        for name, server in sides if number % 2 == 0 else reversed(sides):
            sent = requests()
            before = cpu_of(pooler.pid)
            figures = await bench.figures(server, sent, once=True, connections=_CONNECTIONS)
            spent = cpu_of(pooler.pid) - before
            # The first turn only prepares statements and fills caches.
            if number:
                turns[name].append(figures)
                own += [spent / len(sent) * 1e6] if name == "pooled" else []
    return {**{name: asdict(median(each)) for name, each in turns.items()}, "pooler_us": statistics.median(own)}
