"""``make bench``: run everything, print the tables, write the JSON and the plot."""

import argparse
import asyncio
import os
import platform
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson
import psycopg

from benchmarks import data, live, load, plot, sections
from benchmarks.measure import Bench
from benchmarks.sections import Results
from benchmarks.servers import PEERS, postmaster_of, serving
from todo.clients import embedded
from todo.migrations import runner

# specs/003-speed: conventional/ours at least, ours/bare at most; of each the floor and the goal.
GOALS = {
    "read one": ((3.3, 4.5), (2.6, 1.8)),
    "list 50, total": ((6.0, 9.0), (1.8, 1.3)),
    "create": ((2.5, 3.5), (2.4, 1.7)),
    "patch": ((2.5, 3.5), (2.4, 1.7)),
}

_begun = time.monotonic()


def say(text: str = "") -> None:
    """Print a line of the result."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def note(text: str) -> None:
    """Print what is being done."""
    sys.stderr.write(f"{time.monotonic() - _begun:5.0f} s  {text}\n")
    sys.stderr.flush()


# Task: T-201
def main() -> None:
    """Run the benchmark in a directory that is removed at the end."""
    options = _options()
    note("the load comes from wrk" if load.WRK else "wrk is not installed: the load comes from Python, and is less")
    with tempfile.TemporaryDirectory(prefix="todo-bench-", ignore_cleanup_errors=True) as directory:
        report = asyncio.run(_run(Path(directory), data.QUICK if options.quick else data.FULL))
    report["quick"] = options.quick
    report["machine"] = {"processors": os.cpu_count(), "python": platform.python_version(), "system": platform.system()}
    _print(report)
    _write(report, options.output)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench")
    parser.add_argument("--quick", action="store_true", help="less of everything: under two minutes")
    parser.add_argument("--output", type=Path, default=Path("docs"), help="where the files go (default: %(default)s)")
    return parser.parse_args()


async def _run(directory: Path, size: data.Size) -> dict[str, Any]:
    report: dict[str, Any] = {}
    note(f"filling PostgreSQL: {size.users:,} users with {size.tasks} tasks each, one with {size.big:,}")
    with embedded.running(directory) as url:
        runner.upgrade(url)
        users = [data.user(n) for n in range(size.users)]
        data.fill(url, {size.tasks: users, 100: [data.SMALL], size.big: [data.BIG]})
        with psycopg.connect(url, autocommit=True) as connection:
            _keep_still(connection)
            bench = Bench(connection, postmaster_of(url), size, users)
            async with AsyncExitStack() as stack:
                peers = [await stack.enter_async_context(serving(name, {"DATABASE_URL": url})) for name in PEERS]
                report["operations"] = _plain(await sections.operations(bench, peers, note))
                report["memory_mb"] = {server.name: server.memory for server in peers}
                report["growth_of_a_user"] = _plain(await sections.growth_of_a_user(bench, peers[0], note))
                report["without_the_log"] = _plain(await sections.without_the_log(bench, peers[0], note))
            report["network"] = await sections.network(bench, url, note)
            report["growth_of_the_table"] = _plain(await sections.growth_of_the_table(bench, url, note))
            report["live"] = await live.measure(url, users, size.live, note)
    report["start_seconds"] = await sections.start(directory, note)
    return report


def _keep_still(connection: psycopg.Connection[Any]) -> None:
    """Keep PostgreSQL from cleaning up in the middle of somebody's turn."""
    for setting in ("autovacuum = off", "checkpoint_timeout = '1h'", "max_wal_size = '8GB'"):
        connection.execute(f"ALTER SYSTEM SET {setting}")
    connection.execute("SELECT pg_reload_conf()")


def _plain(results: Results) -> dict[str, Any]:
    return {name: {of: asdict(figures) for of, figures in several.items()} for name, several in results.items()}


def _cpu(figures: dict[str, float]) -> float:
    return figures["app_us"] + figures["database_us"]


def _print(report: dict[str, Any]) -> None:
    rows: list[tuple[str, ...]] = []
    for name, peers in report["operations"].items():
        for peer, f in peers.items():
            away = report["network"][name][peer]
            figures = (
                f"{f['per_second']:,.0f}", f"{f['p50_ms']:.2f}", f"{f['p99_ms']:.2f}", f"{f['app_us']:,.0f}",
                f"{f['database_us']:,.0f}", f"{_cpu(f):,.0f}", f"{away['trips']:.1f}", f"{away['p50_ms']:.1f}",
            )  # fmt: skip
            rows.append((name if peer == "ours" else "", peer, *figures))
    delay = f"p50 ms, {sections.DELAY_SECONDS * 1e3:g} ms away"
    _table(("operation", "peer", "1/s", "p50 ms", "p99 ms", "app us", "PostgreSQL us", "CPU us", "trips", delay), rows)
    _table(
        ("CPU per request", "conventional/ours", "floor", "goal", "ours/bare", "floor", "goal"), list(_ratios(report))
    )
    for growth in ("growth_of_a_user", "growth_of_the_table"):
        (few, small), (many, large) = report[growth].items()
        rows = [(n, f"{_cpu(small[n]):,.0f}", f"{_cpu(large[n]):,.0f}", _over(large[n], small[n])) for n in small]
        _table(("CPU us", few, many, "ratio"), rows)
    log = report["without_the_log"].items()
    rows = [
        (n, f"{_cpu(f['with']):,.0f}", f"{_cpu(f['without']):,.0f}", _over(f["with"], f["without"])) for n, f in log
    ]
    _table(("CPU us", "with the log", "without", "ratio"), rows)
    memory = ", ".join(f"{name} {mb:.0f} MB" for name, mb in report["memory_mb"].items())
    say(f"A worker after the load: {memory} (goal for ours: 110)")
    say(f"Start with existing data to the first answer: {report['start_seconds']:.1f} s (goal: 3)")
    if followed := report["live"]:
        say(
            f"Live: {followed['clients']} clients, {followed['events']} events; from a write's begin to the event"
            f" p50 {followed['p50_ms']:.1f} ms, p99 {followed['p99_ms']:.1f} ms;"
            f" {followed['memory_kb_per_connection']:.0f} KB per connection,"
            f" {followed['connections_in_1_gb']:,} in a worker of 1 GB"
        )


def _ratios(report: dict[str, Any]) -> list[tuple[str, ...]]:
    rows = []
    for name, (least, most) in GOALS.items():
        peers = report["operations"][name]
        ours, bare = _over(peers["conventional"], peers["ours"]), _over(peers["ours"], peers["bare"])
        rows.append((name, ours, *map(str, least), bare, *map(str, most)))
    return rows


def _over(one: dict[str, float], other: dict[str, float]) -> str:
    return f"{_cpu(one) / _cpu(other):.2f}"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print in columns: words to the left, figures to the right."""
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    for row in (heads, ["-" * width for width in widths], *rows):
        cells = [
            cell.rjust(width) if n and not heads[n].startswith("peer") else cell.ljust(width)
            for n, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        say("  ".join(cells).rstrip())
    say()


def _write(report: dict[str, Any], directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "benchmark.json").write_bytes(orjson.dumps(report, option=orjson.OPT_INDENT_2) + b"\n")
    bars = [
        (name, {peer: (f["app_us"], f["database_us"]) for peer, f in report["operations"][name].items()})
        for name in GOALS
    ]
    (directory / "benchmark.svg").write_text(plot.svg(bars), encoding="utf-8")
    note(f"wrote benchmark.json and benchmark.svg to {directory}")


if __name__ == "__main__":
    main()
