"""The tests leave no process behind: see the fixture ``no_leftovers``."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.processes import PATIENCE_SECONDS, is_alive, until
from support.repository import ROOT

# A run of tests in small: something in it starts a process that detaches itself, as PostgreSQL does.
RUN = """
import subprocess, sys
from support.leftovers import adopt_orphans, none_left

DAEMON = "import subprocess; print(subprocess.Popen(['sleep', '{}'], start_new_session=True, stdout=-3).pid)"
seconds, within_seconds = sys.argv[1:]
adopt_orphans()
with none_left(within_seconds=float(within_seconds)):
    subprocess.run([sys.executable, "-c", DAEMON.format(seconds)], check=True)
"""


def run(directory: Path, *, seconds: float, within_seconds: float) -> tuple[int, str]:
    """Run it, with a daemon that sleeps for so many ``seconds``; return the daemon's process id and what was said."""
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(seconds), str(within_seconds)],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'tests'}:{ROOT / 'phase2/backend'}"},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    return int(done.stdout), done.stderr


# Task: T-471
@pytest.mark.skipif(sys.platform != "linux", reason="processes are adopted on Linux only")
class TestNoneLeft:
    def test_names_and_ends_a_process_that_has_detached_itself(
        self, tmp_path: Path, request: pytest.FixtureRequest
    ) -> None:
        pid, said = run(tmp_path, seconds=600, within_seconds=0)

        assert said.endswith(
            "AssertionError: Processes that the tests started are still alive:\n"
            f"  {pid} sleep 600 (in {tmp_path}, started by {request.node.nodeid} (call))\n"
        )
        until(lambda: not is_alive(pid))

    def test_waits_for_a_process_that_ends_by_itself(self, tmp_path: Path) -> None:
        pid, said = run(tmp_path, seconds=0.5, within_seconds=PATIENCE_SECONDS)

        assert said == ""
        assert not is_alive(pid)
