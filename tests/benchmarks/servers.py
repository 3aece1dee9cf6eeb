"""The measured processes: starting and stopping them, and reading their CPU and memory use."""

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from benchmarks.data import SECRET
from support.processes import environment

_TIMEOUT_SECONDS = 60
_TICKS = os.sysconf("SC_CLK_TCK")
_TESTS = Path(__file__).absolute().parents[1]

PEERS = ("ours", "conventional", "bare")


@dataclass(frozen=True, slots=True)
class Server:
    """A running server, and its main process."""

    name: str
    port: int
    pid: int
    start_seconds: float

    @property
    def cpu(self) -> float:
        """CPU seconds used so far by the process and its workers."""
        return sum(cpu_of(pid) for pid in (self.pid, *children_of(self.pid)))

    @property
    def memory(self) -> float:
        """Resident memory in MB; for several workers, the sum."""
        return sum(memory_of(pid) for pid in children_of(self.pid) or [self.pid])


@asynccontextmanager
async def serving(name: str, settings: dict[str, str], *, workers: int = 1) -> AsyncIterator[Server]:
    """Run one of the peers on a free port."""
    port = _free_port()
    ours = ["todo", "serve", "--port", str(port), "--workers", str(workers)]
    uvicorn = ["uvicorn", f"benchmarks.{name}:app", "--port", str(port), "--loop", "uvloop", "--http", "httptools"]
    # The others log a line per request, as in production; the bare peer does not.
    quiet = ["--no-access-log"] if name == "bare" else []
    paths = os.pathsep.join(filter(None, [str(_TESTS), os.environ.get("PYTHONPATH")]))
    started = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", *(ours if name == "ours" else [*uvicorn, *quiet]),
        env=environment(JWT_SECRET=SECRET, PYTHONPATH=paths, **settings),
        # A directory without .env, which only our application would read.
        cwd=_TESTS / "benchmarks",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        await _listening(name, port, process)
        yield Server(name, port, process.pid, time.perf_counter() - started)
    finally:
        if process.returncode is None:
            process.terminate()
        try:
            async with asyncio.timeout(_TIMEOUT_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def _listening(name: str, port: int, process: asyncio.subprocess.Process) -> None:
    """Wait until the server answers with any response."""
    async with asyncio.timeout(_TIMEOUT_SECONDS):
        while process.returncode is None:
            with suppress(ConnectionError):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer -\r\n\r\n")
                answered = await reader.read(1)
                writer.close()
                if answered:
                    return
            await asyncio.sleep(0.02)
    raise RuntimeError(f"{name} did not start")


def postmaster_of(url: str) -> int:
    """Return the process id of the server that listens on the socket in ``url``."""
    directory = Path(parse_qs(urlsplit(url).query)["host"][0])
    return int((directory / ".s.PGSQL.5432.lock").read_text().splitlines()[0])


def database_cpu(postmaster: int) -> dict[int, float]:
    """Return the CPU seconds that each process of PostgreSQL has used so far."""
    return {pid: cpu_of(pid) for pid in (postmaster, *children_of(postmaster))}


def used(before: dict[int, float], after: dict[int, float]) -> float:
    """Return the CPU seconds used in between. Processes that have exited are not counted."""
    return sum(seconds - before.get(pid, 0.0) for pid, seconds in after.items())


def children_of(parent: int) -> list[int]:
    """Return the child processes of ``parent``, without Python's resource tracker."""
    listed = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [int(pid) for pid in listed if b"resource_tracker" not in Path(f"/proc/{pid}/cmdline").read_bytes()]


def cpu_of(pid: int) -> float:
    """Return the CPU seconds of all threads of a process, from the scheduler's statistics if available."""
    try:
        threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
        return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9
    except OSError:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS


def memory_of(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmRSS"))
