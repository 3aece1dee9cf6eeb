"""Find processes that are still alive after the tests.

On Linux, the test process adopts orphans of the processes that it started, such as a PostgreSQL that daemonised. So
each process that the tests started, directly or not, stays a descendant.
"""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from support.processes import until

# linux/prctl.h
_PR_SET_CHILD_SUBREAPER = 36


@dataclass(frozen=True)
class Process:
    """A process. Its text names the command, the directory and the test that started it, if they are known."""

    pid: int
    command: str

    def __str__(self) -> str:
        return f"{self.pid} {self.command} (in {self._directory()}, started by {self._test() or 'a process of a test'})"

    def _directory(self) -> str:
        try:
            return str(Path(f"/proc/{self.pid}/cwd").readlink())
        except OSError:
            return "an unknown directory"

    def _test(self) -> str:
        """Return the test that started the process: pytest puts its name into the environment."""
        try:
            variables = Path(f"/proc/{self.pid}/environ").read_bytes().split(b"\0")
        except OSError:
            return ""
        return next((each[20:].decode() for each in variables if each.startswith(b"PYTEST_CURRENT_TEST=")), "")


def adopt_orphans() -> None:
    """Become the parent of descendants whose parent exits. Does nothing on systems other than Linux."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def descendants(ancestor: int | None = None) -> list[Process]:
    """Return the running descendants of the process ``ancestor`` (``None``: this process)."""
    command = ["ps", "-e", "-ww", "-o", "pid=,ppid=,stat=,args="]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as listing:
        lines = listing.communicate()[0].splitlines()
    rows = [
        (int(pid), int(parent), state, args) for pid, parent, state, args in (line.split(None, 3) for line in lines)
    ]
    children: dict[int, list[tuple[int, str, str]]] = {}
    for pid, parent, state, args in rows:
        if pid != listing.pid:
            children.setdefault(parent, []).append((pid, state, args))
    found, to_visit = [], [ancestor or os.getpid()]
    while to_visit:
        for pid, state, args in children.get(to_visit.pop(), ()):
            to_visit.append(pid)
            if not state.startswith("Z"):
                found.append(Process(pid, args.strip()))
    return found


@contextmanager
def assert_no_process_left(*, within_seconds: float) -> Iterator[None]:
    """Raise AssertionError if processes started in this context are alive ``within_seconds`` later, and stop them."""
    before = {process.pid for process in descendants()}

    def left() -> list[Process]:
        return [process for process in descendants() if process.pid not in before]

    yield
    with suppress(AssertionError):
        until(lambda: not left(), seconds=within_seconds)
    remaining = left()
    # Describe them before they exit: afterwards /proc has no entry.
    lines = ["Processes that the tests started are still alive:", *map(str, remaining)]
    for process in remaining:
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGTERM)
    assert not remaining, "\n  ".join(lines)
