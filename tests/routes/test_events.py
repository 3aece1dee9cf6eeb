"""Live over HTTP: event streams and WebSockets, at the socket. Bob must not see what Alice does."""

import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from httpx import AsyncClient
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from support.live import LiveServer, Stream, Told, eventually, live_server, websocket, write_tasks
from support.people import sign_up, token_of
from support.tasks import add_task
from todo.services.live import LiveOptions
from todo.settings import Settings
from todo.web import protocol
from todo.web.protocol import Protocol
from todo.web.sockets import MOST_BYTES, SocketProtocol

# The leeway for clocks is in it: such a token is good for about a second.
NEARLY_OVER = 29


@pytest.fixture
async def server(database_url: str) -> AsyncIterator[LiveServer]:
    """The application as served."""
    async with live_server(database_url) as server:
        yield server


@pytest.fixture
async def strict(database_url: str) -> AsyncIterator[LiveServer]:
    """A server that is quick to lose patience, and allows two connections."""
    settings = Settings(live_connections_per_user=2, live_heartbeat_seconds=1)
    async with live_server(database_url, settings) as server:
        yield server


@dataclass
class Person:
    """Somebody with an account, and a client."""

    user_id: str
    client: AsyncClient

    @property
    def token(self) -> str:
        return token_of(self.user_id)

    async def add(self, count: int = 1) -> list[dict[str, Any]]:
        """Make tasks."""
        return [await add_task(self.client, title=f"Task {n}") for n in range(count)]

    async def feed(self, since: int = 0) -> list[Told]:
        """The feed, as events."""
        page = (await self.client.get("/changes", params={"since": since, "limit": 500})).json()
        return [Told("change", change["revision"], change) for change in page["changes"]]


@pytest.fixture
def alice_(server: LiveServer, database_url: str) -> Person:
    """Alice, at the server."""
    user_id = sign_up(database_url, "alice")
    return Person(user_id, server.client(user_id))


@pytest.fixture
def bob_(server: LiveServer, database_url: str) -> Person:
    """Bob, at the server."""
    user_id = sign_up(database_url, "bob")
    return Person(user_id, server.client(user_id))


def forget(database_url: str, user_id: str, revision: int) -> None:
    """Have the log forget what is old."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("DELETE FROM changes WHERE user_id = %s AND revision <= %s", (user_id, revision))


# Task: T-153
class TestEventStream:
    async def test_tells_what_happens_from_now_on(self, server: LiveServer, alice_: Person) -> None:
        await alice_.add()

        async with server.stream(alice_.user_id) as stream:
            first = await stream.next()
            [task] = await alice_.add()
            await alice_.client.patch(f"/tasks/{task['id']}", json={"title": "Buy bread"})
            await alice_.client.delete(f"/tasks/{task['id']}")
            told = await stream.changes(3)

        assert first == Told("ready", 1, {"revision": 1})
        assert told == await alice_.feed(since=1)
        assert [event.data["operation"] for event in told] == ["create", "update", "delete"]

    async def test_is_a_stream_that_nobody_on_the_way_holds_back(self, server: LiveServer, alice_: Person) -> None:
        async with server.stream(alice_.user_id) as stream:
            await stream.next()

            assert stream.status == 200
            assert stream.headers["content-type"] == "text/event-stream; charset=utf-8"
            assert stream.headers["x-accel-buffering"] == "no"
            assert "no-cache" in stream.headers["cache-control"]
            assert stream.retry is not None
            assert 500 <= stream.retry < 2500

    async def test_catches_up_from_the_last_event_id(self, server: LiveServer, alice_: Person) -> None:
        await alice_.add(5)

        async with server.stream(alice_.user_id, "", "Last-Event-ID: 2") as stream:
            first, told = await stream.next(), await stream.changes(3)

        assert first == Told("ready", 2, {"revision": 2})
        assert told == await alice_.feed(since=2)

    async def test_lets_the_last_event_id_win_over_since(self, server: LiveServer, alice_: Person) -> None:
        await alice_.add(3)

        async with server.stream(alice_.user_id, "?since=0", "Last-Event-ID: 2") as stream:
            await stream.next()
            [told] = await stream.changes(1)

        assert told.revision == 3

    async def test_misses_and_doubles_nothing_however_often_one_reconnects_while_others_write(
        self, server: LiveServer, alice_: Person
    ) -> None:
        most = 120

        async def write() -> None:
            for _ in range(most // 2):
                await asyncio.gather(alice_.add(), alice_.add())

        async def read() -> list[int]:
            seen: list[int] = []
            for patience in itertools.cycle([1, 7, 3]):
                cursor = seen[-1] if seen else 0
                async with server.stream(alice_.user_id, f"?since={cursor}") as stream:
                    await stream.next()
                    seen += [event.revision for event in await stream.changes(min(patience, most - len(seen)))]
                if len(seen) == most:
                    return seen
            return seen

        *everything, _ = await asyncio.gather(*(read() for _ in range(4)), write())

        assert everything == [list(range(1, most + 1))] * 4

    async def test_shows_nothing_of_a_stranger(self, server: LiveServer, alice_: Person, bob_: Person) -> None:
        await alice_.add(3)

        async with server.stream(bob_.user_id) as stream:
            first = await stream.next()
            await alice_.add(3)
            await bob_.add(1)
            [told] = await stream.changes(1)

        assert first == Told("ready", 0, {"revision": 0})
        assert [told] == await bob_.feed()

    async def test_takes_a_strangers_event_id_for_ones_own_number(
        self, server: LiveServer, alice_: Person, bob_: Person
    ) -> None:
        await alice_.add(3)
        await bob_.add(2)

        async with server.stream(bob_.user_id, "", "Last-Event-ID: 1") as own:
            await own.next()
            told = await own.changes(1)
        async with server.stream(bob_.user_id, "", "Last-Event-ID: 3") as beyond:
            problem = await beyond.problem()

        assert told == await bob_.feed(since=1)
        assert (problem["status"], problem["code"]) == (410, "resync_required")

    async def test_needs_a_token(self, server: LiveServer) -> None:
        async with Stream(server.port, None) as nobody, Stream(server.port, "no.such.token") as somebody:
            refused = [await nobody.problem(), await somebody.problem()]

        assert [problem["status"] for problem in refused] == [401, 401]

    @pytest.mark.parametrize("given", ["x", "", "-1", "1.0", "\u0661", "9" * 19])
    async def test_refuses_an_id_that_is_none(self, server: LiveServer, alice_: Person, given: str) -> None:
        given = given.encode().decode("latin-1")
        stream = server.stream(alice_.user_id)
        stream._request = stream._request[:-2] + f"Last-Event-ID: {given}\r\n\r\n".encode("latin-1")

        async with stream:
            problem = await stream.problem()

        assert (problem["status"], problem["errors"][0]["pointer"]) == (422, "/header/Last-Event-ID".lower())

    @pytest.mark.parametrize(
        "query", ["?since=x", "?since=-1", "?since=1&since=2", "?token=x", "?since=99999999999999999999"]
    )
    async def test_refuses_what_it_does_not_know_in_the_address(
        self, server: LiveServer, alice_: Person, query: str
    ) -> None:
        async with server.stream(alice_.user_id, query) as stream:
            assert (await stream.problem())["status"] == 422

    async def test_asks_to_start_again_where_the_log_has_forgotten(
        self, server: LiveServer, alice_: Person, database_url: str
    ) -> None:
        await alice_.add(3)
        forget(database_url, alice_.user_id, 2)

        async with (
            server.stream(alice_.user_id, "?since=1") as too_old,
            server.stream(alice_.user_id, "?since=2") as just_right,
        ):
            problem = await too_old.problem()
            await just_right.next()
            [told] = await just_right.changes(1)

        assert (problem["status"], problem["code"]) == (410, "resync_required")
        assert told.revision == 3

    async def test_allows_so_many_connections_of_one_user(self, strict: LiveServer, database_url: str) -> None:
        alice, bob = sign_up(database_url, "alice"), sign_up(database_url, "bob")

        async with strict.stream(alice) as first, strict.stream(alice) as second:
            await asyncio.gather(first.next(), second.next())
            async with strict.stream(alice) as third, strict.stream(bob) as other:
                problem = await third.problem()
                assert other.status == 200
            await first.leave()
            await eventually(
                lambda: strict.channels() == 1 and len(next(iter(strict.live._channels.values())).readers) == 1
            )
            async with strict.stream(alice) as fourth:
                assert fourth.status == 200

        assert (problem["status"], problem["code"]) == (429, "too_many_connections")

    async def test_shows_that_it_lives_while_nothing_happens(self, strict: LiveServer, database_url: str) -> None:
        alice = sign_up(database_url, "alice")

        async with strict.stream(alice, exp=int(time.time()) - NEARLY_OVER + 2) as stream:
            while await stream.next() is not None:
                pass

        assert stream.heartbeats >= 1

    async def test_ends_with_the_token(self, server: LiveServer, alice_: Person) -> None:
        await alice_.add()

        async with server.stream(alice_.user_id, exp=int(time.time()) - NEARLY_OVER) as stream:
            told = [await stream.next() for _ in range(3)]

        assert told == [Told("ready", 1, {"revision": 1}), Told("expired", 1, {"since": 1}), None]

    async def test_leaves_nothing_behind_when_the_client_leaves(self, server: LiveServer, alice_: Person) -> None:
        await alice_.add()
        await eventually(lambda: server.channels() == 0)
        before = len(asyncio.all_tasks())
        for _ in range(3):
            streams = [server.stream(alice_.user_id) for _ in range(5)]
            for stream in streams:
                await stream.__aenter__()
                await stream.next()
            assert server.channels() == 1

            for stream in streams:
                await stream.leave()

            await eventually(lambda: server.channels() == 0)
        await eventually(lambda: len(asyncio.all_tasks()) <= before)

    async def test_tells_a_reader_who_falls_behind_where_to_resume_and_lets_go(
        self, server: LiveServer, alice_: Person, database_url: str
    ) -> None:
        async with server.stream(alice_.user_id) as stream:
            await stream.next()
            await alice_.add()
            await stream.changes(1)
            # More than the sockets between us can hold, while we read nothing.
            await asyncio.to_thread(write_tasks, database_url, alice_.user_id, 3000, length=5000)
            await alice_.add()
            await eventually(lambda: next(iter(server.live._channels.values()))._to == 3002)

            told = []
            while (event := await stream.next()) is not None:
                told.append(event)

        assert [event.revision for event in told[:-1]] == list(range(2, told[-1].revision + 1))
        assert told[-1] == Told("resume", told[-2].revision, {"since": told[-2].revision})
        await eventually(lambda: server.channels() == 0)

    async def test_cuts_off_who_reads_nothing_at_all(
        self, server: LiveServer, alice_: Person, database_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Protocol, "flush_seconds", 0.5)
        stream = server.stream(alice_.user_id, "?since=0")
        await asyncio.to_thread(write_tasks, database_url, alice_.user_id, 3000, length=5000)

        async with stream:
            await eventually(lambda: server.channels() == 0)


# Task: T-154
class TestWebSocket:
    async def test_tells_the_same_as_the_event_stream(self, server: LiveServer, alice_: Person) -> None:
        await alice_.add(2)

        async with (
            websocket(server.port, alice_.token, "?since=1") as one,
            websocket(server.port) as other,
            server.stream(alice_.user_id, "?since=1") as stream,
        ):
            await other.authenticate(alice_.token, since=1)
            first = [await follower.next() for follower in (one, other, stream)]
            await alice_.add(3)
            told = [await follower.changes(4) for follower in (one, other, stream)]

        assert first == [Told("ready", 1, {"revision": 1})] * 3
        assert told == [await alice_.feed(since=1)] * 3

    async def test_speaks_our_protocol_and_keeps_the_token_to_itself(self, server: LiveServer, alice_: Person) -> None:
        async with websocket(server.port, alice_.token) as one, websocket(server.port) as other:
            assert one.connection.subprotocol == other.connection.subprotocol == "todo.v1"

    async def test_writes_no_token_into_the_log_at_any_level(
        self, server: LiveServer, alice_: Person, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level("DEBUG")
        token = alice_.token
        async with websocket(server.port, token) as one, websocket(server.port) as other:
            await other.authenticate(token)
            await asyncio.gather(one.next(), other.next())
        # Each has its line at the end.
        await eventually(lambda: [record.name for record in caplog.records].count("todo.request") == 2)

        # The client in this process is free to.
        ours = [record for record in caplog.records if record.name != "websockets.client"]
        assert [record for record in ours if token.rpartition(".")[2] in str(vars(record))] == []

    async def test_does_not_take_a_refusal_for_an_error_of_its_own(
        self, server: LiveServer, caplog: pytest.LogCaptureFixture
    ) -> None:
        with pytest.raises(InvalidStatus) as refusal:
            async with websocket(server.port, None, "?token=secret"):
                pass
        await eventually(lambda: server.connections() == 0)

        assert refusal.value.response.status_code == 422
        assert [record.message for record in caplog.records if record.levelname == "ERROR"] == []

    async def test_follows_from_now_on_by_default(self, server: LiveServer, alice_: Person) -> None:
        await alice_.add(2)

        async with websocket(server.port) as follower:
            await follower.authenticate(alice_.token)

            assert await follower.next() == Told("ready", 2, {"revision": 2})

    async def test_shows_nothing_of_a_stranger(self, server: LiveServer, alice_: Person, bob_: Person) -> None:
        async with websocket(server.port, bob_.token) as follower:
            await follower.next()
            await alice_.add(3)
            await bob_.add(1)

            assert await follower.changes(1) == await bob_.feed()

    @pytest.mark.parametrize(
        "query", ["?token=x", "?access_token=x", "?since=1&token=x", "?since=x", "?since=1&since=2", "?%ff"]
    )
    async def test_takes_nothing_but_since_in_the_address(
        self, server: LiveServer, alice_: Person, query: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        with pytest.raises(InvalidStatus) as refusal:
            async with websocket(server.port, alice_.token, query):
                pass

        response = refusal.value.response
        assert response.status_code in {400, 422}
        assert response.headers["content-type"] == "application/problem+json"
        assert json.loads(response.body)["request_id"] == response.headers["x-request-id"]
        assert "token=x" not in caplog.text

    async def test_is_nowhere_else(self, server: LiveServer) -> None:
        with pytest.raises(InvalidStatus) as refusal:
            async with connect(f"ws://127.0.0.1:{server.port}/api/v1/wss", proxy=None):
                pass

        assert refusal.value.response.status_code == 404
        assert json.loads(refusal.value.response.body)["detail"] == "There is nothing at this path."

    @pytest.mark.parametrize(
        "message",
        [
            "",
            "x",
            "null",
            "[]",
            "{}",
            '{"type": "authenticate"}',
            '{"type": "authenticate", "token": 1}',
            '{"type": "subscribe", "token": "x"}',
            '{"type": "authenticate", "token": "x", "since": "1"}',
            '{"type": "authenticate", "token": "x", "since": true}',
            '{"type": "authenticate", "token": "x", "since": -1}',
            '{"type": "authenticate", "token": "x", "since": 1e3}',
            '{"type": "authenticate", "token": "x", "since": 1000000000000000000}',
            '{"type": "authenticate", "token": "x", "more": 1}',
            "[" * 30_000,
            b"\x00\xff",
        ],
    )
    async def test_closes_on_anything_but_an_introduction(self, server: LiveServer, message: str | bytes) -> None:
        async with websocket(server.port) as follower:
            await follower.connection.send(message)

            code, reason = await follower.closed()

        assert code == 4400
        assert reason is not None
        assert reason.startswith("Expected ")

    @pytest.mark.parametrize("given", ["x", "", "é", "a.b.c", "\x00", "x" * 20_000])
    async def test_closes_without_a_valid_token(self, server: LiveServer, given: str) -> None:
        async with websocket(server.port) as follower:
            await follower.authenticate(given)

            assert (await follower.closed())[0] == 4401

    async def test_closes_without_a_valid_token_in_the_subprotocol(self, server: LiveServer, alice_: Person) -> None:
        expired = token_of(alice_.user_id, exp=int(time.time()) - 60)

        async with websocket(server.port, "x.y.z") as wrong, websocket(server.port, expired) as late:
            assert (await wrong.closed())[0] == (await late.closed())[0] == 4401

    async def test_closes_on_a_message_that_is_too_long(self, server: LiveServer) -> None:
        async with websocket(server.port) as follower:
            await follower.authenticate("x" * MOST_BYTES)

            assert (await follower.closed())[0] == 1009

    async def test_closes_on_fragments_without_end(self, server: LiveServer) -> None:
        def fragments() -> Any:
            for _ in range(SocketProtocol.most_fragments + 10):
                yield ""
                yield "x"

        async with websocket(server.port) as follower:
            sending = asyncio.create_task(follower.connection.send(fragments()))
            code, _ = await follower.closed()
            await asyncio.gather(sending, return_exceptions=True)

        assert code == 1009

    async def test_closes_on_who_does_not_say_who_it_is(
        self, server: LiveServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(server.live, "options", LiveOptions(introduction_seconds=0.1))

        async with websocket(server.port) as follower:
            assert await follower.closed() == (4401, "Send a token first.")

        await eventually(lambda: server.connections() == 0)

    async def test_lets_only_so_many_in_who_have_not_said_who_they_are(
        self, server: LiveServer, alice_: Person, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(server.live, "options", LiveOptions(strangers=2))

        async with websocket(server.port) as one, websocket(server.port):
            with pytest.raises(InvalidStatus) as refusal:
                async with websocket(server.port):
                    pass
            async with websocket(server.port, alice_.token) as known:
                await known.next()
            await one.authenticate(alice_.token)
            await one.next()
            async with websocket(server.port, alice_.token) as other:
                await other.next()

        assert refusal.value.response.status_code == 503
        await eventually(lambda: server.live._strangers == 0)

    async def test_stays_beyond_the_first_token_when_a_fresh_one_comes(
        self, server: LiveServer, alice_: Person
    ) -> None:
        async with websocket(server.port, token_of(alice_.user_id, exp=int(time.time()) - NEARLY_OVER)) as follower:
            await follower.next()
            await follower.authenticate(alice_.token)
            await asyncio.sleep(1.5)
            await alice_.add()

            assert await follower.changes(1) == await alice_.feed()

    async def test_closes_when_the_token_expires_and_says_so(self, server: LiveServer, alice_: Person) -> None:
        async with websocket(server.port, token_of(alice_.user_id, exp=int(time.time()) - NEARLY_OVER)) as follower:
            told = [await follower.next() for _ in range(2)]

            assert told == [Told("ready", 0, {"revision": 0}), Told("expired", 0, {"since": 0})]
            assert await follower.closed() == (4408, "expired")

    async def test_closes_on_somebody_elses_token(self, server: LiveServer, alice_: Person, bob_: Person) -> None:
        async with websocket(server.port, alice_.token) as follower:
            await follower.next()
            await follower.authenticate(bob_.token)

            assert (await follower.closed())[0] == 4401

    async def test_closes_on_a_token_that_is_not_good_later_too(self, server: LiveServer, alice_: Person) -> None:
        async with websocket(server.port, alice_.token) as wrong, websocket(server.port, alice_.token) as noisy:
            await asyncio.gather(wrong.next(), noisy.next())
            await wrong.authenticate("x")
            await noisy.connection.send(b"\x00")

            assert ((await wrong.closed())[0], (await noisy.closed())[0]) == (4401, 4400)

    async def test_closes_where_the_log_does_not_hold_since(self, server: LiveServer, alice_: Person) -> None:
        async with websocket(server.port, alice_.token, "?since=1") as follower:
            code, reason = await follower.closed()

        assert code == 4410
        assert reason is not None
        assert "/api/v1/changes/snapshot" in reason

    async def test_allows_so_many_connections_of_one_user(self, strict: LiveServer, database_url: str) -> None:
        alice = sign_up(database_url, "alice")

        async with strict.stream(alice) as stream, websocket(strict.port, token_of(alice)) as second:
            await asyncio.gather(stream.next(), second.next())
            async with websocket(strict.port, token_of(alice)) as third:
                assert (await third.closed())[0] == 4429

    async def test_shows_that_it_lives_while_nothing_happens(self, strict: LiveServer, database_url: str) -> None:
        alice = sign_up(database_url, "alice")

        async with websocket(strict.port, token_of(alice)) as follower:
            await follower.next()
            message = json.loads(await follower.connection.recv())

        assert message == {"event": "heartbeat", "revision": 0, "data": None}

    async def test_leaves_nothing_behind_when_the_client_leaves(self, server: LiveServer, alice_: Person) -> None:
        await alice_.add()
        before = len(asyncio.all_tasks())
        for _ in range(3):
            async with websocket(server.port, alice_.token) as one, websocket(server.port, alice_.token) as other:
                await asyncio.gather(one.next(), other.next())
                assert server.channels() == 1
                other.connection.transport.abort()

            await eventually(lambda: server.channels() == 0)
        await eventually(lambda: len(asyncio.all_tasks()) <= before)

    async def test_cuts_off_who_reads_nothing_at_all(
        self, server: LiveServer, alice_: Person, database_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(SocketProtocol, "flush_seconds", 0.5)
        await asyncio.to_thread(write_tasks, database_url, alice_.user_id, 3000, length=5000)

        async with websocket(server.port, alice_.token, "?since=0") as follower:
            follower.connection.transport.pause_reading()
            await eventually(lambda: server.channels() == 0 and server.connections() <= 1)
            follower.connection.transport.abort()


# Task: T-155
class TestEnd:
    async def test_tells_everybody_to_come_back_and_is_quick_about_it(
        self, server: LiveServer, alice_: Person, bob_: Person
    ) -> None:
        await alice_.add()
        async with (
            server.stream(alice_.user_id) as stream,
            websocket(server.port, alice_.token) as follower,
            websocket(server.port, bob_.token) as other,
        ):
            for one in (stream, follower, other):
                await one.next()
            started = time.monotonic()

            await server.stop()

            assert time.monotonic() - started < 5
            assert [await stream.next(), await stream.next()] == [Told("reconnect", 1, {"since": 1}), None]
            assert await follower.next() == Told("reconnect", 1, {"since": 1})
            assert await other.next() == Told("reconnect", 0, {"since": 0})
            assert await follower.closed() == await other.closed() == (1012, "reconnect")

    async def test_does_not_wait_for_who_reads_nothing(
        self, server: LiveServer, alice_: Person, database_url: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        await asyncio.to_thread(write_tasks, database_url, alice_.user_id, 3000, length=5000)
        async with server.stream(alice_.user_id, "?since=0"), websocket(server.port, alice_.token, "?since=0") as deaf:
            deaf.connection.transport.pause_reading()
            await eventually(lambda: _paused(server) == 2)
            started = time.monotonic()

            await server.stop()

            # uvicorn's own grace would be ten seconds.
            assert time.monotonic() - started < 8
            deaf.connection.transport.abort()
        assert [record.message for record in caplog.records if record.levelname == "ERROR"] == []

    async def test_tells_who_has_not_said_who_it_is(self, server: LiveServer) -> None:
        async with websocket(server.port) as follower:
            started = time.monotonic()

            await server.stop()

            assert time.monotonic() - started < 8
            assert (await follower.closed())[0] == 1012

    def test_says_it_through_the_lifespans_state(self) -> None:
        told: list[str] = []

        protocol.tell_application({protocol.STOPPING: lambda: told.append("stop")})
        protocol.tell_application({})

        assert told == ["stop"]


def _paused(server: LiveServer) -> int:
    connections = list(server.server.server_state.connections)
    return sum(
        connection.flow.write_paused if isinstance(connection, Protocol) else not connection.writable.is_set()  # type: ignore[union-attr]
        for connection in connections
    )
