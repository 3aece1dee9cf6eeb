"""The WebSocket sends the same events as the event stream, to authenticated clients only."""

import asyncio
import hashlib
import json
import time
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from support.clocks import Clock
from support.followers import Person
from support.helpers import eventually
from support.live import LiveEvent, LiveServer, websocket, write_tasks
from support.users import sign_up, token_of
from todo.services.authentication import LEEWAY_SECONDS
from todo.services.live import LiveOptions
from todo.web.server.websocket_protocol import MAX_MESSAGE_BYTES, WebSocketProtocol


# Task: T-154
class TestWebSocket:
    async def test_websocket_sends_the_same_events_as_the_event_stream(
        self, server: LiveServer, alice_: Person
    ) -> None:
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

        assert first == [LiveEvent("ready", 1, {"revision": 1})] * 3
        assert told == [await alice_.feed(since=1)] * 3

    async def test_websocket_selects_the_todo_subprotocol_and_does_not_return_the_token(
        self, server: LiveServer, alice_: Person
    ) -> None:
        async with websocket(server.port, alice_.token) as one, websocket(server.port) as other:
            assert one.connection.subprotocol == other.connection.subprotocol == "todo.v1"

    async def test_websocket_token_is_never_logged(
        self, server: LiveServer, alice_: Person, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level("DEBUG")
        token = alice_.token
        async with websocket(server.port, token) as one, websocket(server.port) as other:
            await other.authenticate(token)
            await asyncio.gather(one.next(), other.next())
        # Each connection logs one line when it ends.
        await eventually(lambda: [record.name for record in caplog.records].count("todo.request") == 2)

        # The client runs in this process and may log the token.
        ours = [record for record in caplog.records if record.name != "websockets.client"]
        assert [record for record in ours if token.rpartition(".")[2] in str(vars(record))] == []

    async def test_rejected_websocket_request_is_not_logged_as_an_error(
        self, server: LiveServer, caplog: pytest.LogCaptureFixture
    ) -> None:
        with pytest.raises(InvalidStatus) as refusal:
            async with websocket(server.port, None, "?token=secret"):
                pass
        await eventually(lambda: server.connections() == 0)

        assert refusal.value.response.status_code == 422
        assert [record.message for record in caplog.records if record.levelname == "ERROR"] == []

    async def test_websocket_follows_from_the_current_revision_by_default(
        self, server: LiveServer, alice_: Person
    ) -> None:
        await alice_.add(2)

        async with websocket(server.port) as follower:
            await follower.authenticate(alice_.token)

            assert await follower.next() == LiveEvent("ready", 2, {"revision": 2})

    async def test_websocket_sends_only_the_users_own_changes(
        self, server: LiveServer, alice_: Person, bob_: Person
    ) -> None:
        async with websocket(server.port, bob_.token) as follower:
            await follower.next()
            await alice_.add(3)
            await bob_.add(1)

            assert await follower.changes(1) == await bob_.feed()

    @pytest.mark.parametrize(
        "query", ["?token=x", "?access_token=x", "?since=1&token=x", "?since=x", "?since=1&since=2", "?%ff"]
    )
    async def test_websocket_url_accepts_only_the_since_parameter(
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

    async def test_unknown_websocket_path_returns_404(self, server: LiveServer) -> None:
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
    async def test_websocket_closes_if_the_first_message_is_not_authentication(
        self, server: LiveServer, message: str | bytes
    ) -> None:
        async with websocket(server.port) as follower:
            await follower.connection.send(message)

            code, reason = await follower.closed()

        assert code == 4400
        assert reason is not None
        assert reason.startswith("Expected ")

    @pytest.mark.parametrize("given", ["x", "", "é", "a.b.c", "\x00", "x" * 20_000])
    async def test_websocket_closes_without_a_valid_token(self, server: LiveServer, given: str) -> None:
        async with websocket(server.port) as follower:
            await follower.authenticate(given)

            assert (await follower.closed())[0] == 4401

    async def test_websocket_closes_without_a_valid_token_in_the_subprotocol(
        self, server: LiveServer, alice_: Person
    ) -> None:
        expired = token_of(alice_.user_id, exp=int(time.time()) - 60)

        async with websocket(server.port, "x.y.z") as wrong, websocket(server.port, expired) as late:
            assert (await wrong.closed())[0] == (await late.closed())[0] == 4401

    async def test_websocket_closes_after_a_message_that_is_too_long(self, server: LiveServer) -> None:
        async with websocket(server.port) as follower:
            await follower.authenticate("x" * MAX_MESSAGE_BYTES)

            assert (await follower.closed())[0] == 1009

    async def test_websocket_closes_after_too_many_fragments(self, server: LiveServer) -> None:
        def fragments() -> Any:
            for _ in range(WebSocketProtocol.max_fragments + 10):
                yield ""
                yield "x"

        async with websocket(server.port) as follower:
            sending = asyncio.create_task(follower.connection.send(fragments()))
            code, _ = await follower.closed()
            await asyncio.gather(sending, return_exceptions=True)

        assert code == 1009

    async def test_websocket_closes_if_the_client_does_not_authenticate_in_time(
        self, server: LiveServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(server.live, "options", LiveOptions(authentication_timeout_seconds=0.1))

        async with websocket(server.port) as follower:
            assert await follower.closed() == (4401, "Send a token first.")

        await eventually(lambda: server.connections() == 0)

    async def test_unauthenticated_websockets_are_limited(
        self, server: LiveServer, alice_: Person, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(server.live, "options", LiveOptions(max_unauthenticated=2))

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
        await eventually(lambda: server.live._unauthenticated_count == 0)

    async def test_websocket_stays_open_when_the_client_sends_a_fresh_token(
        self, timed: LiveServer, clock: Clock, database_url: str
    ) -> None:
        alice = sign_up(database_url, "alice")
        first, fresh = (token_of(alice, exp=int(clock.now) + seconds) for seconds in (60, 3_600))
        digest = hashlib.sha256(fresh.encode()).digest()

        async with websocket(timed.port, first) as follower:
            await follower.next()
            await follower.authenticate(fresh)
            await eventually(lambda: digest in timed.app.state.verifier._verified)
            clock.now += 60 + LEEWAY_SECONDS
            # It has looked at the clock after that.
            heartbeats = follower.heartbeats
            following = asyncio.create_task(follower.changes(1))
            await eventually(lambda: follower.heartbeats > heartbeats)
            person = Person(alice, timed.client(alice))
            await person.add()

            assert await following == await person.feed()

    async def test_websocket_closes_with_a_reason_when_the_token_expires(
        self, timed: LiveServer, clock: Clock, database_url: str
    ) -> None:
        alice = sign_up(database_url, "alice")

        async with websocket(timed.port, token_of(alice, exp=int(clock.now) + 60)) as follower:
            ready = await follower.next()
            clock.now += 60 + LEEWAY_SECONDS

            assert [ready, await follower.next()] == [
                LiveEvent("ready", 0, {"revision": 0}),
                LiveEvent("expired", 0, {"since": 0}),
            ]
            assert await follower.closed() == (4408, "expired")

    async def test_websocket_closes_after_a_token_of_another_user(
        self, server: LiveServer, alice_: Person, bob_: Person
    ) -> None:
        async with websocket(server.port, alice_.token) as follower:
            await follower.next()
            await follower.authenticate(bob_.token)

            assert (await follower.closed())[0] == 4401

    async def test_websocket_closes_after_an_invalid_message_or_token_at_any_time(
        self, server: LiveServer, alice_: Person
    ) -> None:
        async with websocket(server.port, alice_.token) as wrong, websocket(server.port, alice_.token) as noisy:
            await asyncio.gather(wrong.next(), noisy.next())
            await wrong.authenticate("x")
            await noisy.connection.send(b"\x00")

            assert ((await wrong.closed())[0], (await noisy.closed())[0]) == (4401, 4400)

    async def test_websocket_closes_if_the_change_log_does_not_hold_the_revision(
        self, server: LiveServer, alice_: Person
    ) -> None:
        async with websocket(server.port, alice_.token, "?since=1") as follower:
            code, reason = await follower.closed()

        assert code == 4410
        assert reason is not None
        assert "/api/v1/changes/snapshot" in reason

    async def test_websocket_connections_per_user_are_limited(self, strict: LiveServer, database_url: str) -> None:
        alice = sign_up(database_url, "alice")

        async with strict.stream(alice) as stream, websocket(strict.port, token_of(alice)) as second:
            await asyncio.gather(stream.next(), second.next())
            async with websocket(strict.port, token_of(alice)) as third:
                assert (await third.closed())[0] == 4429

    async def test_idle_websocket_sends_heartbeats(self, strict: LiveServer, database_url: str) -> None:
        alice = sign_up(database_url, "alice")

        async with websocket(strict.port, token_of(alice)) as follower:
            await follower.next()
            message = json.loads(await follower.connection.recv())

        assert message == {"event": "heartbeat", "revision": 0, "data": None}

    async def test_server_keeps_no_tasks_or_channels_after_a_websocket_closes(
        self, server: LiveServer, alice_: Person
    ) -> None:
        await alice_.add()
        before = len(asyncio.all_tasks())
        for _ in range(3):
            async with websocket(server.port, alice_.token) as one, websocket(server.port, alice_.token) as other:
                await asyncio.gather(one.next(), other.next())
                assert server.channels() == 1
                other.connection.transport.abort()

            await eventually(lambda: server.channels() == 0)
        await eventually(lambda: len(asyncio.all_tasks()) <= before)

    async def test_websocket_of_a_client_that_reads_nothing_is_aborted(
        self, server: LiveServer, alice_: Person, database_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(WebSocketProtocol, "stall_seconds", 0.5)
        await asyncio.to_thread(write_tasks, database_url, alice_.user_id, 3000, length=5000)

        async with websocket(server.port, alice_.token, "?since=0") as follower:
            follower.connection.transport.pause_reading()
            await eventually(lambda: server.channels() == 0 and server.connections() <= 1)
            follower.connection.transport.abort()
