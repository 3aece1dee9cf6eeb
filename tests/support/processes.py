"""Run the command ``todo`` in separate processes, each in its own directory."""

import os
import random
import re
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from todo.clients.embedded import running

# Long enough for a busy machine. No test waits for it to expire.
TIMEOUT_SECONDS = 300
SETTINGS = (
    "DATABASE_URL", "DIRECT_DATABASE_URL", "DATABASE_POOL_SIZE", "TODO_DATA_DIR", "BETTER_AUTH_URL", "JWKS_URL",
    "JWT_ISSUER", "JWT_AUDIENCE", "JWT_SECRET", "CORS_ORIGINS", "LOG_LEVEL", "CHANGES_KEPT_DAYS",
    "TRASH_KEPT_DAYS", "LIVE_CONNECTIONS_PER_USER", "LIVE_HEARTBEAT_SECONDS", "LIVE_POLL_SECONDS",
)  # fmt: skip


# Below the ephemeral ports of any system.
_PORTS = range(20_000, 30_000)


def port_to_keep() -> int:
    """Return a free port that the system gives to no other process while the server on it is down."""
    while True:
        port = random.choice(_PORTS)
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return port


def environment(**settings: str) -> dict[str, str]:
    """Return this process's environment with these settings of the application and no others."""
    return {**{name: value for name, value in os.environ.items() if name not in SETTINGS}, **settings}


def accessible(directory: Path) -> Path:
    """Create a directory that the account which runs PostgreSQL for root can traverse, and return it."""
    directory.mkdir(exist_ok=True)
    if os.geteuid() == 0:
        for path in (directory, *directory.parents):
            path.chmod(path.stat().st_mode | stat.S_IXOTH)
    return directory


def run(directory: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run a ``todo`` command in ``directory`` and wait until it exits."""
    return subprocess.run(
        [sys.executable, "-m", "todo", *arguments],
        cwd=directory,
        env=environment(**settings),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )


@dataclass
class Serving:
    """A running ``todo serve`` that has printed its address."""

    process: subprocess.Popen[bytes]
    banner: str
    address: str
    log: Path

    def interrupt(self) -> None:
        """Send SIGINT to the process group, as a terminal does on Ctrl-C."""
        os.killpg(self.process.pid, signal.SIGINT)

    def until_it_ends(self) -> None:
        """Wait until the server has begun to shut down: it accepts no more connections."""
        until(lambda: not self._listens())

    def _listens(self) -> bool:
        address = urlsplit(self.address)
        with socket.socket() as probe:
            return probe.connect_ex((address.hostname, address.port)) == 0

    def stop(self) -> int:
        """Send SIGINT, wait for the exit, and return the exit code."""
        self.interrupt()
        return self.process.wait(TIMEOUT_SECONDS)


@contextmanager
def serving(directory: Path, *arguments: str, **settings: str) -> Iterator[Serving]:
    """Run ``todo serve`` on a free port in ``directory``, and stop it at the end."""
    out, log = directory / "out", directory / "log"
    with out.open("wb") as stdout, log.open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "todo", "serve", "--port", "0", *arguments],
            cwd=directory,
            env=environment(**settings),
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )
    try:
        until(lambda: "Interactive docs" in out.read_text() or process.poll() is not None)
        assert process.poll() is None, log.read_text()
        banner = out.read_text()
        address = re.search(r"http://[\w.\[\]:]+", banner)
        assert address is not None
        yield Serving(process, banner, address[0], log)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(TIMEOUT_SECONDS)


def until(condition: Callable[[], bool], *, seconds: float = TIMEOUT_SECONDS) -> None:
    """Block until a condition holds; fail after ``seconds``."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition never held"
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    """Return whether a process runs. A zombie does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    done = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return not done.stdout.startswith("Z") and done.stdout.strip() != ""


def stop_embedded(data_dir: Path) -> None:
    """Stop the embedded PostgreSQL in ``data_dir``, which a killed process may have left running."""
    if data_dir.exists():
        # The last user to leave the context stops it.
        with running(data_dir):
            pass


def postmaster_of(data_dir: Path) -> int:
    """Return the process id of the embedded PostgreSQL."""
    return int((data_dir / "postgres" / "postmaster.pid").read_text().splitlines()[0])
