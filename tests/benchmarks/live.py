"""Live events at scale: the delay between a write and its events, and the memory of an open connection."""

import asyncio
import statistics
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import orjson

from benchmarks import data
from benchmarks.load import LoadFailed, Request, answer
from benchmarks.measure import ROOT
from benchmarks.servers import serving

_PATH = "/api/v1/events"
_PER_USER = 5
_PAUSE_SECONDS = 0.02
_TIMEOUT_SECONDS = 30
_BODY = orjson.dumps({"title": "Buy milk"})


# Task: T-206
async def measure(url: str, users: list[str], size: data.Size, note: Callable[[str], None]) -> dict[str, Any] | None:
    """Measure events to ``size.live`` clients of two workers during writes. Returns ``None`` if streams do not work."""
    note(f"{size.live} clients follow what happens, on two workers")
    tokens = [data.token_of(user) for user in users[: size.live // _PER_USER]]
    async with serving("ours", {"DATABASE_URL": url}, workers=2) as server:
        before = server.memory
        delays: list[float] = []
        arrived = asyncio.Event()
        followers: list[asyncio.Task[None]] = []
        try:
            ready = [asyncio.Event() for _ in range(_PER_USER * len(tokens))]
            for n, event in enumerate(ready):
                following = _follow(server.port, tokens[n % len(tokens)], event, delays, arrived)
                followers.append(asyncio.create_task(following))
            async with asyncio.timeout(_TIMEOUT_SECONDS):
                await asyncio.gather(*(event.wait() for event in ready))
            _ensure_open(followers)
            memory = server.memory - before
            expected = 0
            for n in range(size.changes):
                await answer(server.port, Request("POST", ROOT, tokens[n % len(tokens)], _BODY))
                expected += _PER_USER
                await asyncio.sleep(_PAUSE_SECONDS)
            async with asyncio.timeout(_TIMEOUT_SECONDS):
                while len(delays) < expected:
                    arrived.clear()
                    await arrived.wait()
        except (LoadFailed, TimeoutError, OSError, asyncio.IncompleteReadError) as error:
            failed = [f.exception() for f in followers if f.done() and not f.cancelled()]
            note(f"left out: following does not work ({next(iter(filter(None, failed)), error)!r})")
            return None
        finally:
            for follower in followers:
                follower.cancel()
            await asyncio.gather(*followers, return_exceptions=True)
    hundredths = statistics.quantiles(delays, n=100, method="inclusive")
    each = memory * 1024 / len(ready)
    return {
        "clients": len(ready),
        "events": len(delays),
        "p50_ms": hundredths[49] * 1e3,
        "p99_ms": hundredths[98] * 1e3,
        "memory_kb_per_connection": each,
        "connections_in_1_gb": int((1024 - before / 2) * 1024 / max(each, 1)),
    }


def _ensure_open(followers: list[asyncio.Task[None]]) -> None:
    if any(follower.done() for follower in followers):
        raise LoadFailed("a stream ended before anything happened")


async def _follow(port: int, token: str, ready: asyncio.Event, delays: list[float], arrived: asyncio.Event) -> None:
    """Append the time since the start of its transaction (before its commit) for every change."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(Request("GET", _PATH, token, headers={"Accept": "text/event-stream"}).wire)
        head = await reader.readuntil(b"\r\n\r\n")
        if b" 200 " not in head.partition(b"\r\n")[0]:
            raise LoadFailed(head.partition(b"\r\n")[0].decode())
        event = b""
        while line := await reader.readline():
            name, _, value = line.strip().partition(b":")
            if name == b"event":
                event = value.strip()
                if event == b"ready":
                    ready.set()
            elif name == b"data" and event == b"change":
                began_at = datetime.fromisoformat(orjson.loads(value)["at"])
                delays.append((datetime.now(UTC) - began_at).total_seconds())
                arrived.set()
    finally:
        ready.set()
        writer.close()
