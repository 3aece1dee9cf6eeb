"""The command: what it says of the machine, and that an interrupted run leaves nothing behind."""

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
from support.processes import PATIENCE_SECONDS, environment, is_alive, opened, until
from support.repository import ROOT

pytestmark = pytest.mark.slow


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A directory with a short path, for everything that a run makes."""
    with tempfile.TemporaryDirectory(prefix="todo-b-") as directory:
        yield opened(Path(directory))


def family_of(pid: int) -> list[int]:
    """Return a process's children, and theirs."""
    return [one for child in children_of(pid) for one in (child, *family_of(child))]


# Task: T-201
class TestMachine:
    def test_is_described_by_what_figures_depend_on(self, admin_url: str) -> None:
        with psycopg.connect(admin_url) as connection:
            described = _machine(connection)

        assert described.keys() == {"processors", "python", "postgresql", "load"}
        assert str(described["postgresql"]).startswith("18.")
        assert platform.node() not in map(str, described.values())


# Task: T-201
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
class TestMain:
    def test_stops_what_it_has_started_when_it_is_interrupted(self, temporary: Path) -> None:
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
            started = [*family_of(process.pid), int(postmaster.read_text().splitlines()[0])]

            process.send_signal(signal.SIGTERM)

            assert process.wait(PATIENCE_SECONDS) == 130, log.read_text()
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(PATIENCE_SECONDS)
        # Three servers and PostgreSQL; and the load, if it was on its way.
        assert len(started) >= 4
        assert [pid for pid in started if is_alive(pid)] == []
        assert [path.name for path in temporary.iterdir()] == ["log"]
        assert log.read_text().splitlines()[-1].endswith("interrupted: everything is stopped")
