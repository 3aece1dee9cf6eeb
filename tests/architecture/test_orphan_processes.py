"""The check that tests leave no process behind: see the fixture ``no_leftovers``."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.processes import TIMEOUT_SECONDS, is_alive, until
from support.repository import ROOT

# A program with the check that starts a process which daemonises, as PostgreSQL does.
RUN = """
import subprocess, sys
from support.orphan_processes import adopt_orphans, assert_no_process_left

DAEMON = "import subprocess; print(subprocess.Popen(['sleep', '{}'], start_new_session=True, stdout=-3).pid)"
seconds, within_seconds = sys.argv[1:]
adopt_orphans()
with assert_no_process_left(within_seconds=float(within_seconds)):
    subprocess.run([sys.executable, "-c", DAEMON.format(seconds)], check=True)
"""


def run(directory: Path, *, seconds: float, within_seconds: float) -> tuple[int, str]:
    """Run the program with a daemon that sleeps for ``seconds``. Return the daemon's pid and standard error."""
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(seconds), str(within_seconds)],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'tests'}:{ROOT / 'phase2/backend'}"},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    return int(done.stdout), done.stderr


# Task: T-471
@pytest.mark.skipif(sys.platform != "linux", reason="processes are adopted on Linux only")
class TestAssertNoProcessLeft:
    def test_check_names_and_stops_a_daemonised_process(self, tmp_path: Path, request: pytest.FixtureRequest) -> None:
        pid, output = run(tmp_path, seconds=600, within_seconds=0)

        assert output.endswith(
            "AssertionError: Processes that the tests started are still alive:\n"
            f"  {pid} sleep 600 (in {tmp_path}, started by {request.node.nodeid} (call))\n"
        )
        until(lambda: not is_alive(pid))

    def test_check_waits_for_a_process_that_exits_in_time(self, tmp_path: Path) -> None:
        pid, output = run(tmp_path, seconds=0.5, within_seconds=TIMEOUT_SECONDS)

        assert output == ""
        assert not is_alive(pid)
