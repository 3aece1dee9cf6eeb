"""All processes of the tests have the same clock, which ``scripts/test-clock`` can shift."""

import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

from support.processes import TIMEOUT_SECONDS
from support.repository import ROOT
from todo.clients.embedded import running

# Runs instead of pytest: prints the time, sleeps in two ways, and prints whether the duration is right.
PROGRAM = """\
import datetime, sys, threading, time
print(datetime.datetime.now().astimezone().isoformat())
began = time.monotonic()
time.sleep(0.1)
threading.Event().wait(0.1)
print(0.2 <= time.monotonic() - began < 60)
print(*sys.argv[1:])
sys.exit(3)
"""


def clock_of(url: str) -> datetime:
    with psycopg.connect(url) as connection:
        [(now,)] = connection.execute("SELECT clock_timestamp()").fetchall()
    assert isinstance(now, datetime)
    return now


# Task: T-405
class TestClock:
    def test_postgresql_of_the_tests_has_the_time_of_the_tests(self, database_url: str) -> None:
        before = datetime.now(UTC)

        now = clock_of(database_url)

        assert before <= now <= datetime.now(UTC)

    def test_embedded_postgresql_has_the_time_of_its_parent_process(self, tmp_path: Path) -> None:
        with running(tmp_path / "data") as url:
            before = datetime.now(UTC)

            now = clock_of(url)

            assert before <= now <= datetime.now(UTC)


# Task: T-405
@pytest.mark.skipif(sys.platform != "linux", reason="the clock can be shifted on Linux only")
class TestShiftedClock:
    @pytest.mark.skipif(
        shutil.which("cc") is None and os.environ.get("CI") != "true", reason="there is no C compiler here"
    )
    def test_clock_runs_tests_at_another_time_and_reports_failures(self, tmp_path: Path) -> None:
        program = tmp_path / "program.py"
        program.write_text(f"#!{sys.executable}\n{PROGRAM}")
        program.chmod(0o755)

        done = subprocess.run(
            [ROOT / "scripts" / "test-clock", "tests/kit", "-q"],
            env={**os.environ, "AT": "2028-02-29T12:00Z Asia/Kathmandu", "PYTEST": str(program)},
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )

        heading, now, is_true, arguments = done.stdout.splitlines()
        assert heading == "==> Tests at 2028-02-29T12:00Z in Asia/Kathmandu"
        assert now.startswith("2028-02-29T17:4")
        assert now.endswith("+05:45")
        assert (is_true, arguments) == ("True", "tests/kit -q")
        assert (done.returncode, done.stderr) == (1, "==> Tests failed at:\n    2028-02-29T12:00Z Asia/Kathmandu\n")

    def test_clock_reports_missing_programs_in_one_line(self, tmp_path: Path) -> None:
        for name in ("dirname", "uname", "sh"):
            (tmp_path / name).symlink_to(str(shutil.which(name)))

        done = subprocess.run(
            [ROOT / "scripts" / "test-clock"], env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=False
        )

        needs = "scripts/test-clock needs Linux and a C compiler: apt-get install gcc libc6-dev\n"
        assert (done.returncode, done.stdout, done.stderr) == (2, "", needs)
