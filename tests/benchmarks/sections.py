"""The sections of the benchmark, one function each."""

import asyncio
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import psycopg

from benchmarks import data
from benchmarks.load import Request, answer, drive_once
from benchmarks.measure import OPERATIONS, ROOT, Bench, Figures, Operation, median
from benchmarks.network import Network
from benchmarks.report import GOALS
from benchmarks.servers import PEERS, Server, serving
from todo.migrations import runner

DELAY_SECONDS = 0.005
_DELAYED_CONNECTIONS = 2
_LOG_TRIGGERS = ("t10_lock_user_writes", "t40_log_write")

Note = Callable[[str], None]
Results = dict[str, dict[str, Figures]]
"""Figures by operation or size, and then by peer or operation."""


# Task: T-201
async def operations(bench: Bench, servers: list[Server], note: Note) -> Results:
    """Measure each operation on the servers in turns. The order of the servers alternates."""
    results: Results = {}
    for operation in OPERATIONS:
        able = [server for server in servers if server.name in operation.peers]
        rounds = bench.size.rounds if operation.name in GOALS else bench.size.side_rounds
        note(f"{operation.name}: {rounds} rounds of {', '.join(server.name for server in able)}")
        figures = await in_turns(bench, [(server.name, server, operation) for server in able], rounds)
        results[operation.name] = figures
    return results


async def in_turns(bench: Bench, what: list[tuple[str, Server, Operation]], rounds: int) -> dict[str, Figures]:
    """Return the medians by name of rounds in which each of ``what`` has a turn."""
    for _, server, operation in what:
        await bench.warm(server, operation)
    turns: dict[str, list[Figures]] = {name: [] for name, _, _ in what}
    for number in range(rounds):
        for name, server, operation in what if number % 2 == 0 else reversed(what):
            turns[name].append(await bench.turn(server, operation))
    return {name: median(figures) for name, figures in turns.items()}


# Task: T-204
async def network(bench: Bench, url: str, note: Note) -> dict[str, dict[str, dict[str, float]]]:
    """Return the round trips of each operation, and its p50 with a delay for each round trip."""
    results: dict[str, dict[str, dict[str, float]]] = {operation.name: {} for operation in OPERATIONS}
    for peer in PEERS:
        note(f"{peer}, with {DELAY_SECONDS * 1e3:g} ms on the way to the database")
        async with (
            Network(url, DELAY_SECONDS) as between,
            serving(peer, {"DATABASE_URL": between.url}) as server,
        ):
            for operation in OPERATIONS:
                if peer not in operation.peers:
                    continue
                # Twice: the first run prepares the statements on each connection of the pool.
                for _ in range(2):
                    requests = bench.requests(operation, bench.size.delayed)
                    before = between.trips
                    done = await drive_once(server.port, requests, connections=_DELAYED_CONNECTIONS)
                    trips = (between.trips - before) / done.requests
                results[operation.name][peer] = {"trips": trips, "p50_ms": done.p50 * 1e3}
    return results


# Task: T-205
async def growth_of_a_user(bench: Bench, server: Server, note: Note) -> Results:
    """Return the cost of reading for a user with few tasks and for one with many."""
    results: Results = {}
    sizes = {"100 tasks": data.SMALL, f"{bench.size.big:,} tasks": data.BIG}
    for operation in OPERATIONS[:3]:
        note(f"{operation.name}, of {' and '.join(sizes)}")
        turns = [(name, server, _of(user, bench, operation)) for name, user in sizes.items()]
        figures = await in_turns(bench, turns, bench.size.side_rounds)
        for name, found in figures.items():
            results.setdefault(name, {})[operation.name] = found
    return results


# Task: T-205
async def growth_of_the_table(bench: Bench, url: str, note: Note) -> Results:
    """Return the cost of reading with few other users and with many."""
    results: Results = {}
    for count in (10, bench.size.many_users):
        name = f"{count:,} users"
        note(f"reading among {name}")
        bench.execute(f"CREATE DATABASE among_{count}")
        other = url.replace("/todo?", f"/among_{count}?")
        await asyncio.to_thread(runner.upgrade, other)
        await asyncio.to_thread(
            data.fill, other, {data.FEW: [data.user(n) for n in range(count - 1)], 100: [data.SMALL]}
        )
        with psycopg.connect(other, autocommit=True) as connection:
            there = Bench(connection, bench.postmaster, bench.size, [data.SMALL, data.SMALL])
            async with serving("ours", {"DATABASE_URL": other}) as server:
                results[name] = {}
                for operation in OPERATIONS[:3]:
                    turns = [(name, server, _of(data.SMALL, there, operation))]
                    results[name][operation.name] = (await in_turns(there, turns, bench.size.side_rounds))[name]
    return results


def _of(user: str, bench: Bench, operation: Operation) -> Operation:
    """Return the operation for ``user`` instead of the user that it is called with."""
    token, tasks = data.token_of(user), bench.some_tasks(user)

    def make(_token: str, _target: tuple[str, str], turn: int) -> Request:
        return operation.make(token, tasks[turn % len(tasks)], turn)

    return Operation(operation.name, make)


async def without_the_log(bench: Bench, server: Server, note: Note) -> Results:
    """Return the cost of creating and patching with and without the triggers of the change log."""
    results: Results = {}
    for operation in (operation for operation in OPERATIONS if operation.name in ("create", "patch")):
        note(f"{operation.name}, with and without the log's triggers")
        turns: dict[str, list[Figures]] = {"with": [], "without": []}
        try:
            for _ in range(bench.size.side_rounds):
                for how, figures in turns.items():
                    # Without the trigger, a new row needs default values for its revision and position.
                    bench.execute("ALTER TABLE tasks ALTER revision SET DEFAULT 0, ALTER position SET DEFAULT '5'")
                    for trigger in _LOG_TRIGGERS:
                        bench.execute(f"ALTER TABLE tasks {'ENABLE' if how == 'with' else 'DISABLE'} TRIGGER {trigger}")
                    await bench.warm(server, operation)
                    figures.append(await bench.turn(server, operation))
        finally:
            bench.execute("ALTER TABLE tasks ENABLE TRIGGER USER")
            bench.execute("ALTER TABLE tasks ALTER revision DROP DEFAULT, ALTER position DROP DEFAULT")
        results[operation.name] = {how: median(figures) for how, figures in turns.items()}
    return results


# Task: T-201
async def start(directory: Path, times: int, note: Note) -> float:
    """Return the seconds from the command to the first response, with existing data in the embedded database."""
    note("starting with existing data")
    seconds = []
    for _ in range(times):
        started = time.perf_counter()
        async with serving("ours", {"TODO_DATA_DIR": str(directory)}) as server:
            await answer(server.port, Request("GET", ROOT, data.token_of(data.SMALL)))
            seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)
