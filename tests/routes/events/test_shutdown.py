"""Shutdown: every follower receives a reconnect event, and the server waits for nobody."""

import asyncio

import pytest

from support.followers import Person
from support.helpers import eventually
from support.live import LiveEvent, LiveServer, websocket, write_tasks
from todo.web.server import STOPPING, notify_application
from todo.web.server.http_protocol import HttpProtocol


def errors_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the logged errors. Waiting until the grace period of requests ends would log one."""
    return [record.message for record in caplog.records if record.levelname == "ERROR"]


# Task: T-155
class TestShutdown:
    async def test_shutdown_sends_a_reconnect_event_to_every_follower(
        self, server: LiveServer, alice_: Person, bob_: Person, caplog: pytest.LogCaptureFixture
    ) -> None:
        await alice_.add()
        async with (
            server.stream(alice_.user_id) as stream,
            websocket(server.port, alice_.token) as follower,
            websocket(server.port, bob_.token) as other,
        ):
            for one in (stream, follower, other):
                await one.next()

            await server.stop()

            assert [await stream.next(), await stream.next()] == [LiveEvent("reconnect", 1, {"since": 1}), None]
            assert await follower.next() == LiveEvent("reconnect", 1, {"since": 1})
            assert await other.next() == LiveEvent("reconnect", 0, {"since": 0})
            assert await follower.closed() == await other.closed() == (1012, "reconnect")
        assert errors_in(caplog) == []

    async def test_shutdown_does_not_wait_for_clients_that_read_nothing(
        self, server: LiveServer, alice_: Person, database_url: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        await asyncio.to_thread(write_tasks, database_url, alice_.user_id, 3000, length=5000)
        async with server.stream(alice_.user_id, "?since=0"), websocket(server.port, alice_.token, "?since=0") as deaf:
            deaf.connection.transport.pause_reading()
            await eventually(lambda: _paused(server) == 2)

            await server.stop()

            deaf.connection.transport.abort()
        assert errors_in(caplog) == []

    async def test_shutdown_closes_unauthenticated_websockets(
        self, server: LiveServer, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with websocket(server.port) as follower:
            await server.stop()

            assert (await follower.closed())[0] == 1012
        assert errors_in(caplog) == []

    def test_protocol_tells_the_application_of_the_shutdown_through_the_lifespan_state(self) -> None:
        told: list[str] = []

        notify_application({STOPPING: lambda: told.append("stop")})
        notify_application({})

        assert told == ["stop"]


def _paused(server: LiveServer) -> int:
    connections = list(server.server.server_state.connections)
    return sum(
        connection.flow.write_paused if isinstance(connection, HttpProtocol) else not connection.writable.is_set()  # type: ignore[union-attr]
        for connection in connections
    )
