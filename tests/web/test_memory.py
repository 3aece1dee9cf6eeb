"""Memory of the server process stays bounded, whatever clients send."""

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from httpx import AsyncClient

from support.processes import TIMEOUT_SECONDS
from support.raw_http import JSON, Server, request
from support.users import SECRET, token_of

pytestmark = pytest.mark.slow

# The server as it runs. Tests of rejected requests need no database: these requests never reach it.
SERVER = """
import socket
import sys

import uvicorn

from todo.server import make_app
from todo.settings import Settings
from todo.web.server.http_protocol import HttpProtocol

secret, database_url = sys.argv[1:]
app = make_app(Settings(jwt_secret=secret, database_url=database_url), shared=False)
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
lifespan = "off" if "nobody" in database_url else "on"
config = uvicorn.Config(app, http=HttpProtocol, lifespan=lifespan, access_log=False, log_config=None)
uvicorn.Server(config).run([listener])
"""
NO_DATABASE = "postgresql://nobody@127.0.0.1:1/nothing"
CHUNK = b"186a0\r\n" + b"a" * 100_000 + b"\r\n"
ALLOWED_MEGABYTES = 30
MAX_UNSENT_MEGABYTES = 64


class Process:
    """The server process, with its memory use."""

    def __init__(self, process: asyncio.subprocess.Process, server: Server) -> None:
        self.server = server
        self._process = process

    def megabytes(self) -> float:
        """Return the resident memory in MB."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024


@pytest.fixture
async def process(request: pytest.FixtureRequest) -> AsyncIterator[Process]:
    """Start a server; on the shared database if the test uses Alice.

    Coverage does not trace it: coverage itself keeps data for each request (33 MB in one of these tests).
    """
    url = request.getfixturevalue("database_url") if "alice" in request.fixturenames else NO_DATABASE
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", SERVER, SECRET, url),
        env={name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdout is not None
    try:
        port = int(await asyncio.wait_for(process.stdout.readline(), TIMEOUT_SECONDS))
        yield Process(process, Server(port, set()))
    finally:
        process.terminate()
        await asyncio.wait_for(process.wait(), TIMEOUT_SECONDS)


def post(*headers: str) -> bytes:
    return request("POST", "/api/v1/tasks", f"Authorization: Bearer {token_of('anybody')}", JSON, *headers)


# Task: T-043
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
class TestMemory:
    async def test_memory_stays_flat_under_hundreds_of_bodies_of_10_megabytes(self, process: Process) -> None:
        async def send(number: int) -> int:
            framing = "Transfer-Encoding: chunked" if number % 2 else "Content-Length: 10000000"
            answer = await process.server.ask(post(framing), *([CHUNK if number % 2 else CHUNK[7:-2]] * 100))
            return answer.status

        await asyncio.gather(*(send(number) for number in range(10)))
        before = process.megabytes()

        statuses = {status for _ in range(30) for status in await asyncio.gather(*(send(n) for n in range(10)))}

        assert statuses == {413}
        assert process.megabytes() - before < ALLOWED_MEGABYTES

    async def test_memory_stays_flat_under_bodies_that_are_expensive_to_parse(self, process: Process) -> None:
        bodies = [
            b"{%s}" % b",".join(b'"k%d":1' % number for number in range(80_000)),
            b'{"title":[%s1]}' % (b"[]," * 300_000),
            b"[" * 1_000_000,
            b'{"title":%s}' % (b"1" * 1_000_000),
        ]

        async def send_all() -> set[int]:
            return {(await process.server.ask(post(f"Content-Length: {len(body)}") + body)).status for body in bodies}

        # Measured before the first body: the server returns freed memory to the operating system.
        before = process.megabytes()

        statuses = set().union(*[await send_all() for _ in range(10)])

        assert statuses == {400, 422}
        assert process.megabytes() - before < ALLOWED_MEGABYTES

    async def test_memory_stays_flat_under_connections_that_send_unread_bodies(self, process: Process) -> None:
        async def send() -> None:
            async with process.server.connect() as connection:
                await connection.send(request("GET", "/healthz", "Content-Length: 100000000"), *([b"a" * 65_536] * 200))

        await asyncio.gather(*(send() for _ in range(20)))
        before = process.megabytes()

        for _ in range(5):
            await asyncio.gather(*(send() for _ in range(20)))

        assert process.megabytes() - before < ALLOWED_MEGABYTES

    async def test_memory_stays_bounded_if_clients_do_not_read_large_responses(
        self, process: Process, alice: AsyncClient, bob: AsyncClient
    ) -> None:
        """Each of these control characters takes six bytes in JSON."""
        requests = []
        for client in (alice, bob):
            for _ in range(100):
                await client.post("/tasks", json={"title": "large", "description": "\x01" * 10_000})
            authorization = f"Authorization: {client.headers['authorization']}"
            requests.append(request("GET", "/api/v1/tasks?limit=100", authorization))
        size = len((await process.server.ask(requests[1])).body)
        before = process.megabytes()

        deaf_clients = [deaf_client(process.server, requests[0] * 3) for _ in range(60)]
        peak, sizes, statuses = before, set(), set()
        for _ in range(12):
            sizes.add(len((await process.server.ask(requests[1])).body))
            statuses.add((await process.server.ask(request("GET", "/healthz"))).status)
            peak = max(peak, process.megabytes())

        for each in deaf_clients:
            each.close()
        assert size > 6_000_000
        assert (sizes, statuses) == ({size}, {200})
        assert peak - before < MAX_UNSENT_MEGABYTES + 4 * ALLOWED_MEGABYTES


def deaf_client(server: Server, sent: bytes) -> socket.socket:
    """Send a request and never read the answer."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    client.connect(("127.0.0.1", server.port))
    client.sendall(sent)
    return client
