"""``make bench``: run everything, print the tables, write the JSON and the plot."""

import argparse
import asyncio
import os
import platform
import signal
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psycopg

from benchmarks import data, live, load, pooled, report, sections, task_list
from benchmarks.measure import Bench
from benchmarks.sections import Results
from benchmarks.servers import PEERS, postmaster_of, serving
from support.repository import ROOT
from todo.clients import embedded
from todo.migrations import runner

_begun = time.monotonic()


def note(text: str) -> None:
    """Print a progress message."""
    sys.stderr.write(f"{time.monotonic() - _begun:5.0f} s  {text}\n")
    sys.stderr.flush()


# Task: T-201
def main() -> int:
    """Run the benchmark in a temporary directory. If interrupted, stop all processes that it started."""
    options = _options()
    # A process that a shell starts in the background ignores SIGINT.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    note("the load comes from wrk" if load.WRK else "wrk is not installed: the load comes from Python, and is less")
    try:
        with tempfile.TemporaryDirectory(prefix="todo-bench-", ignore_cleanup_errors=True) as scratch:
            found = asyncio.run(_run(Path(scratch), data.QUICK if options.quick else data.FULL))
    except KeyboardInterrupt:
        note("interrupted: everything is stopped")
        return 130
    found["quick"] = options.quick
    report.show(found)
    directory = ROOT / "docs" if options.write else options.output
    report.write(found, directory)
    note(f"wrote benchmark.json and benchmark.svg to {directory}")
    if options.write:
        page = report.PAGE
        page.write_text(report.written_into(page.read_text(encoding="utf-8"), found), encoding="utf-8")
        note(f"wrote the tables into {page.relative_to(ROOT)}")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench")
    parser.add_argument("--quick", action="store_true", help="less of everything: under two minutes")
    parser.add_argument(
        "--output", type=Path, default=Path(".benchmarks"), help="where the files go (default: %(default)s)"
    )
    parser.add_argument(
        "--write", action="store_true", help="put the files into docs/, and the tables into docs/benchmark.md"
    )
    return parser.parse_args()


async def _run(directory: Path, size: data.Size) -> dict[str, Any]:
    found: dict[str, Any] = {"delay_ms": sections.DELAY_SECONDS * 1e3}
    note(
        f"filling PostgreSQL: {size.users:,} users with {size.tasks} tasks each,"
        f" {size.more_users:,} with {data.FEW}, and one with {size.big:,}"
    )
    with embedded.running(directory) as url:
        runner.upgrade(url)
        users = [data.user(n) for n in range(size.users)]
        more = [data.user(size.users + n) for n in range(size.more_users)]
        people = {size.tasks: users, data.FEW: more, 100: [data.SMALL], size.big: [data.BIG]}
        data.fill(url, people, furnished=(data.SMALL, data.BIG))
        with psycopg.connect(url, autocommit=True) as connection:
            _keep_still(connection)
            found["machine"] = _machine(connection)
            bench = Bench(connection, postmaster_of(url), size, users)
            async with AsyncExitStack() as stack:
                peers = [await stack.enter_async_context(serving(name, {"DATABASE_URL": url})) for name in PEERS]
                found["operations"] = _plain(await sections.operations(bench, peers, note))
                found["memory_mb"] = {server.name: server.memory for server in peers}
                found["growth_of_a_user"] = _plain(await sections.growth_of_a_user(bench, peers[0], note))
                found["finding"] = _plain(await task_list.finding(bench, peers[0], note))
                found["pooled"] = await pooled.pooled(bench, peers[0], url, note)
                found["without_the_log"] = _plain(await sections.without_the_log(bench, peers[0], note))
            found["network"] = await sections.network(bench, url, note)
            found["growth_of_the_table"] = _plain(await sections.growth_of_the_table(bench, url, note))
            found["live"] = await live.measure(url, users, size, note)
    found["start_seconds"] = await sections.start(directory, size.starts, note)
    return found


def _keep_still(connection: psycopg.Connection[Any]) -> None:
    """Keep PostgreSQL from vacuuming and from checkpoints during a measurement."""
    for setting in ("autovacuum = off", "checkpoint_timeout = '1h'", "max_wal_size = '8GB'"):
        connection.execute(f"ALTER SYSTEM SET {setting}")
    connection.execute("SELECT pg_reload_conf()")


def _machine(connection: psycopg.Connection[Any]) -> dict[str, Any]:
    """Return the properties of the machine that figures depend on, and no others."""
    return {
        "processors": os.cpu_count(),
        "python": platform.python_version(),
        "postgresql": connection.info.parameter_status("server_version"),
        "load": "wrk" if load.WRK else "Python",
    }


def _plain(results: Results) -> dict[str, Any]:
    return {name: {of: asdict(figures) for of, figures in several.items()} for name, several in results.items()}


if __name__ == "__main__":
    sys.exit(main())
