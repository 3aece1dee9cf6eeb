"""The command of the benchmark: its description of the machine, and an interrupted run."""

import os
import platform
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from benchmarks.__main__ import _machine
from benchmarks.servers import children_of
from support.processes import TIMEOUT_SECONDS, accessible, environment, is_alive, until
from support.repository import ROOT

pytestmark = pytest.mark.slow


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A directory with a short path for the files of a run."""
    with tempfile.TemporaryDirectory(prefix="todo-b-") as directory:
        yield accessible(Path(directory))


def descendants_of(pid: int) -> list[int]:
    """Return the descendants of a process."""
    return [one for child in children_of(pid) for one in (child, *descendants_of(child))]


# Task: T-201
class TestMachine:
    def test_machine_is_described_without_its_name(self, admin_url: str) -> None:
        with psycopg.connect(admin_url) as connection:
            described = _machine(connection)

        assert described.keys() == {"processors", "python", "postgresql", "load"}
        assert str(described["postgresql"]).startswith("18.")
        assert platform.node() not in map(str, described.values())


# Task: T-201
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
class TestMain:
    def test_interrupted_benchmark_stops_all_of_its_processes(self, temporary: Path) -> None:
        log = temporary / "log"
        with log.open("wb") as stderr:
            process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks", "--quick", "--output", temporary / "results"],
                cwd=ROOT,
                env=environment(PYTHONPATH=str(ROOT / "tests"), TMPDIR=str(temporary)),
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                start_new_session=True,
            )
        try:
            until(lambda: "read one" in log.read_text() or process.poll() is not None)
            [postmaster] = temporary.glob("todo-bench-*/postgres/postmaster.pid")
            started = [*descendants_of(process.pid), int(postmaster.read_text().splitlines()[0])]

            process.send_signal(signal.SIGTERM)

            assert process.wait(TIMEOUT_SECONDS) == 130, log.read_text()
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(TIMEOUT_SECONDS)
        # Three servers and PostgreSQL, and perhaps wrk.
        assert len(started) >= 4
        assert [pid for pid in started if is_alive(pid)] == []
        assert [path.name for path in temporary.iterdir()] == ["log"]
        assert log.read_text().splitlines()[-1].endswith("interrupted: everything is stopped")
