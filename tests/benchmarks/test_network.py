"""The simulated network of the benchmark: it delays requests to PostgreSQL and counts round trips."""

import time

from psycopg import AsyncConnection

from benchmarks.network import Network

DELAY_SECONDS = 0.05


# Task: T-204
class TestNetwork:
    async def test_network_counts_one_trip_per_statement(self, admin_url: str) -> None:
        async with Network(admin_url, 0) as between, await AsyncConnection.connect(between.url) as connection:
            before = between.trips

            async with connection.transaction():
                await connection.execute("SELECT 1")
                await connection.execute("SELECT 2")

            # BEGIN and COMMIT are two more.
            assert between.trips - before == 4

    async def test_network_counts_one_trip_for_a_pipeline(self, admin_url: str) -> None:
        async with (
            Network(admin_url, 0) as between,
            await AsyncConnection.connect(between.url, autocommit=True) as connection,
        ):
            before = between.trips

            async with connection.pipeline():
                for _ in range(3):
                    await connection.execute("SELECT 1")

            assert between.trips - before == 1

    async def test_network_delays_every_request(self, admin_url: str) -> None:
        async with (
            Network(admin_url, DELAY_SECONDS) as between,
            await AsyncConnection.connect(between.url, autocommit=True) as connection,
        ):
            started = time.perf_counter()

            for _ in range(3):
                await connection.execute("SELECT 1")

            assert time.perf_counter() - started >= 3 * DELAY_SECONDS

    async def test_network_does_not_change_data(self, admin_url: str) -> None:
        text = "ä" * 200_000
        async with Network(admin_url, 0) as between, await AsyncConnection.connect(between.url) as connection:
            row = await (await connection.execute("SELECT %s::text", [text])).fetchone()

        assert row == (text,)
