"""Load over real sockets: by ``wrk`` if it is installed and suitable, otherwise by a client with asyncio streams."""

import asyncio
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

CONNECTIONS = 8
_TIMEOUT_SECONDS = 120

WRK = shutil.which("wrk")
_SCRIPT = """
local requests = {{ {requests} }}
local n = 0
request = function() n = n % #requests + 1; return requests[n] end
done = function(summary, latency)
    local errors = summary.errors
    io.write(string.format("RESULT %d %d %f %f %d\\n", summary.requests, summary.duration, latency:percentile(50),
        latency:percentile(99), errors.status + errors.connect + errors.read + errors.write + errors.timeout))
end
"""


class LoadFailed(Exception):
    """Requests failed, so the measurement is invalid."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request, and its bytes."""

    method: str
    path: str
    token: str
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def wire(self) -> bytes:
        """The bytes to send."""
        headers = {"Host": "127.0.0.1", "Authorization": f"Bearer {self.token}", **self.headers}
        if self.method not in ("GET", "DELETE"):
            headers |= {"Content-Type": "application/json", "Content-Length": str(len(self.body))}
        lines = [f"{self.method} {self.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        return "\r\n".join([*lines, "", ""]).encode() + self.body


@dataclass(frozen=True, slots=True)
class Load:
    """The result of a load. Times are in seconds."""

    requests: int
    seconds: float
    p50: float
    p99: float


async def drive(port: int, requests: Sequence[Request], *, seconds: int) -> Load:
    """Send the requests repeatedly for ``seconds``."""
    if WRK is not None:
        return await _drive_with_wrk(WRK, port, requests, seconds)
    return await _drive(port, _endless(requests, time.perf_counter() + seconds), CONNECTIONS)


async def drive_once(port: int, requests: Sequence[Request], *, connections: int = CONNECTIONS) -> Load:
    """Send each request once."""
    return await _drive(port, iter([request.wire for request in requests]), connections)


async def answer(port: int, request: Request) -> bytes:
    """Send one request and return the whole response."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request.wire)
        return await _read(reader, request.wire)
    finally:
        writer.close()


async def _drive_with_wrk(wrk: str, port: int, requests: Sequence[Request], seconds: int) -> Load:
    with tempfile.TemporaryDirectory(prefix="todo-wrk-") as directory:
        script = Path(directory) / "load.lua"
        script.write_text(_SCRIPT.format(requests=", ".join(_lua(request.wire) for request in requests)))
        process = await asyncio.create_subprocess_exec(
            wrk, "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", str(script), f"http://127.0.0.1:{port}",
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            # Not wait_for(): before Python 3.12 it loses a cancellation that arrives as it completes.
            async with asyncio.timeout(seconds + _TIMEOUT_SECONDS):
                out, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    result = next((line.split() for line in out.decode().splitlines() if line.startswith("RESULT ")), None)
    if result is None or result[5] != "0" or result[1] == "0":
        raise LoadFailed(out.decode())
    return Load(int(result[1]), int(result[2]) / 1e6, float(result[3]) / 1e6, float(result[4]) / 1e6)


def _lua(wire: bytes) -> str:
    return '"' + "".join(f"\\{byte:03}" for byte in wire) + '"'


def _endless(requests: Sequence[Request], until: float) -> Iterator[bytes]:
    wires = [request.wire for request in requests]
    while True:
        for wire in wires:
            if time.perf_counter() >= until:
                return
            yield wire


async def _drive(port: int, wires: Iterator[bytes], connections: int) -> Load:
    latencies: list[float] = []

    async def drive_one() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for wire in wires:
            sent = time.perf_counter()
            writer.write(wire)
            await _read(reader, wire)
            latencies.append(time.perf_counter() - sent)
        writer.close()

    started = time.perf_counter()
    async with asyncio.timeout(_TIMEOUT_SECONDS), asyncio.TaskGroup() as group:
        for _ in range(connections):
            group.create_task(drive_one())
    seconds = time.perf_counter() - started
    hundredths = statistics.quantiles(latencies, n=100, method="inclusive")
    return Load(len(latencies), seconds, hundredths[49], hundredths[98])


async def _read(reader: asyncio.StreamReader, wire: bytes) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    if head[9:10] not in (b"2", b"3"):
        request, status = wire.partition(b" HTTP")[0], head.partition(b"\r\n")[0]
        raise LoadFailed(f"{request.decode()}: {status.decode()}")
    length = 0
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            length = int(line[15:])
    # A 204 of the bare peer has no Content-Length. A 304 has no body, whatever its Content-Length.
    if head[9:12] == b"304":
        length = 0
    return head + await reader.readexactly(length)
