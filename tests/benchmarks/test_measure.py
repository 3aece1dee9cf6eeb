"""Measuring CPU and memory of processes, medians, and the order of turns."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import psycopg
import pytest

from benchmarks import data
from benchmarks.measure import OPERATIONS, Bench, Figures, Operation, median
from benchmarks.sections import in_turns
from benchmarks.servers import Server, children_of, cpu_of, database_cpu, memory_of, postmaster_of, used

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

# Print the CPU seconds used, and run until standard input is closed.
BURN = """
import sys, time
while time.process_time() < 0.3: pass
held = bytearray(50_000_000)
print(time.process_time(), flush=True)
sys.stdin.read()
"""
WITH_A_CHILD = f"""
import subprocess, sys
subprocess.run([sys.executable, "-c", {BURN!r}])
"""
FIGURES = Figures(per_second=1.0, p50_ms=2.0, p99_ms=3.0, app_us=4.0, database_us=5.0)


@contextmanager
def burnt(program: str) -> Iterator[tuple[int, float]]:
    """Run a program until it has used CPU. Yield its process id, and the CPU seconds that it reports."""
    arguments = [sys.executable, "-c", program]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.pid, float(process.stdout.readline())


# Task: T-201
class TestCpuAndMemory:
    def test_cpu_of_a_process_equals_its_own_count(self) -> None:
        with burnt(BURN) as (pid, seconds):
            assert cpu_of(pid) == pytest.approx(seconds, abs=0.1)

    def test_cpu_of_a_server_includes_its_children(self) -> None:
        with burnt(WITH_A_CHILD) as (pid, seconds):
            [child] = children_of(pid)
            server = Server("ours", 0, pid, 0.0)

            assert cpu_of(pid) < seconds
            assert server.cpu >= cpu_of(child) >= 0.3

    def test_memory_of_a_server_is_that_of_its_workers(self) -> None:
        with burnt(WITH_A_CHILD) as (pid, _):
            [child] = children_of(pid)

            assert Server("ours", 0, pid, 0.0).memory == pytest.approx(memory_of(child), abs=1)
            assert memory_of(child) > 50_000_000 / 2**20

    def test_cpu_of_postgresql_includes_the_backend_of_a_query(self, admin_url: str) -> None:
        postmaster = postmaster_of(admin_url)
        with psycopg.connect(admin_url, autocommit=True) as connection:
            before = database_cpu(postmaster)

            connection.execute("SELECT count(*) FROM generate_series(1, 2000000)")

            after = database_cpu(postmaster)
            backend = connection.info.backend_pid
        assert after[backend] > before[backend]
        assert used(before, after) >= after[backend] - before[backend]

    def test_used_cpu_counts_new_processes_and_ignores_exited_ones(self) -> None:
        assert used({1: 1.0, 2: 5.0}, {1: 1.5, 3: 0.25}) == 0.75


# Task: T-201
class TestMedian:
    def test_median_is_computed_for_each_figure(self) -> None:
        turns = [replace(FIGURES, app_us=n, p50_ms=-n) for n in (10.0, 90.0, 20.0)]

        assert median(turns) == replace(FIGURES, app_us=20.0, p50_ms=-20.0)


class Recorded(Bench):
    """A benchmark that records the turns."""

    def __init__(self) -> None:
        self.turns: list[str] = []

    async def warm(self, server: Server, operation: Operation) -> None:  # noqa: ARG002
        self.turns.append(f"warm {server.name}")

    async def turn(self, server: Server, operation: Operation) -> Figures:  # noqa: ARG002
        self.turns.append(server.name)
        return replace(FIGURES, app_us=float(len(self.turns)))


# Task: T-201
class TestInTurns:
    async def test_order_of_turns_alternates(self) -> None:
        bench = Recorded()
        what = [(name, Server(name, 0, 0, 0.0), OPERATIONS[0]) for name in ("ours", "bare")]

        figures = await in_turns(bench, what, 3)

        assert bench.turns == ["warm ours", "warm bare", "ours", "bare", "bare", "ours", "ours", "bare"]
        assert {name: found.app_us for name, found in figures.items()} == {"ours": 6.0, "bare": 5.0}


# Task: T-201
class TestSizes:
    def test_quick_run_has_smaller_sizes(self) -> None:
        # "pooled" is a stride: the quick run sends every sixth query through the pooler.
        names = [name for name in data.Size.__slots__ if name != "pooled"]

        sizes = [(getattr(data.QUICK, name), getattr(data.FULL, name)) for name in names]

        assert all(quick <= full for quick, full in sizes)
        assert sum(quick < full for quick, full in sizes) > 5
        assert data.QUICK.pooled > data.FULL.pooled
