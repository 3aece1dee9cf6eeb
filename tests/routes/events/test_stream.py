"""The event stream, over a real socket. Bob must not see what Alice does."""

import asyncio
import itertools

import psycopg
import pytest

from support.clocks import Clock
from support.followers import Person
from support.helpers import eventually
from support.live import LiveEvent, LiveServer, Stream, write_tasks
from support.users import sign_up
from todo.database import cancelled
from todo.services.authentication import LEEWAY_SECONDS
from todo.web.server.http_protocol import HttpProtocol


def delete_changes(database_url: str, user_id: str, revision: int) -> None:
    """Delete the changes of a user up to ``revision``."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("DELETE FROM changes WHERE user_id = %s AND revision <= %s", (user_id, revision))


# Task: T-153
class TestEventStream:
    async def test_stream_sends_changes_from_the_current_revision(self, server: LiveServer, alice_: Person) -> None:
        await alice_.add()

        async with server.stream(alice_.user_id) as stream:
            first = await stream.next()
            [task] = await alice_.add()
            await alice_.client.patch(f"/tasks/{task['id']}", json={"title": "Buy bread"})
            await alice_.client.delete(f"/tasks/{task['id']}", params={"permanent": "true"})
            told = await stream.changes(3)

        assert first == LiveEvent("ready", 1, {"revision": 1})
        assert told == await alice_.feed(since=1)
        assert [event.data["operation"] for event in told] == ["create", "update", "delete"]

    async def test_stream_has_headers_that_prevent_buffering(self, server: LiveServer, alice_: Person) -> None:
        async with server.stream(alice_.user_id) as stream:
            await stream.next()

            assert stream.status == 200
            assert stream.headers["content-type"] == "text/event-stream; charset=utf-8"
            assert stream.headers["x-accel-buffering"] == "no"
            assert "no-cache" in stream.headers["cache-control"]
            assert stream.retry is not None
            assert 500 <= stream.retry < 2500

    async def test_stream_continues_after_the_last_event_id(self, server: LiveServer, alice_: Person) -> None:
        await alice_.add(5)

        async with server.stream(alice_.user_id, "", "Last-Event-ID: 2") as stream:
            first, told = await stream.next(), await stream.changes(3)

        assert first == LiveEvent("ready", 2, {"revision": 2})
        assert told == await alice_.feed(since=2)

    async def test_last_event_id_takes_precedence_over_since(self, server: LiveServer, alice_: Person) -> None:
        await alice_.add(3)

        async with server.stream(alice_.user_id, "?since=0", "Last-Event-ID: 2") as stream:
            await stream.next()
            [told] = await stream.changes(1)

        assert told.revision == 3

    async def test_reconnecting_stream_misses_and_repeats_no_event_while_others_write(
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

    async def test_stream_sends_only_the_users_own_changes(
        self, server: LiveServer, alice_: Person, bob_: Person
    ) -> None:
        await alice_.add(3)

        async with server.stream(bob_.user_id) as stream:
            first = await stream.next()
            await alice_.add(3)
            await bob_.add(1)
            [told] = await stream.changes(1)

        assert first == LiveEvent("ready", 0, {"revision": 0})
        assert [told] == await bob_.feed()

    async def test_last_event_id_is_a_revision_of_the_user_even_if_it_came_from_another_user(
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

    async def test_stream_requires_a_valid_token(self, server: LiveServer) -> None:
        async with Stream(server.port, None) as nobody, Stream(server.port, "no.such.token") as somebody:
            refused = [await nobody.problem(), await somebody.problem()]

        assert [problem["status"] for problem in refused] == [401, 401]

    @pytest.mark.parametrize("given", ["x", "", "-1", "1.0", "\u0661", "9" * 19])
    async def test_invalid_last_event_id_is_rejected(self, server: LiveServer, alice_: Person, given: str) -> None:
        given = given.encode().decode("latin-1")
        stream = server.stream(alice_.user_id)
        stream._request = stream._request[:-2] + f"Last-Event-ID: {given}\r\n\r\n".encode("latin-1")

        async with stream:
            problem = await stream.problem()

        assert (problem["status"], problem["errors"][0]["pointer"]) == (422, "/header/Last-Event-ID".lower())

    @pytest.mark.parametrize(
        "query", ["?since=x", "?since=-1", "?since=1&since=2", "?token=x", "?since=99999999999999999999"]
    )
    async def test_invalid_query_parameter_is_rejected(self, server: LiveServer, alice_: Person, query: str) -> None:
        async with server.stream(alice_.user_id, query) as stream:
            assert (await stream.problem())["status"] == 422

    async def test_stream_requires_a_resync_for_a_revision_that_is_pruned(
        self, server: LiveServer, alice_: Person, database_url: str
    ) -> None:
        await alice_.add(3)
        delete_changes(database_url, alice_.user_id, 2)

        async with (
            server.stream(alice_.user_id, "?since=1") as too_old,
            server.stream(alice_.user_id, "?since=2") as just_right,
        ):
            problem = await too_old.problem()
            await just_right.next()
            [told] = await just_right.changes(1)

        assert (problem["status"], problem["code"]) == (410, "resync_required")
        assert told.revision == 3

    async def test_stream_connections_per_user_are_limited(self, strict: LiveServer, database_url: str) -> None:
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

    async def test_idle_stream_sends_heartbeats(self, strict: LiveServer, database_url: str) -> None:
        alice = sign_up(database_url, "alice")

        async with strict.stream(alice) as stream:
            await stream.next()
            following = asyncio.create_task(stream.next())

            await eventually(lambda: stream.heartbeats >= 1)

            await cancelled(following)

    async def test_stream_ends_when_the_token_expires(self, timed: LiveServer, clock: Clock, database_url: str) -> None:
        alice = sign_up(database_url, "alice")
        write_tasks(database_url, alice, 1)

        async with timed.stream(alice, exp=int(clock.now) + 60) as stream:
            ready = await stream.next()
            clock.now += 60 + LEEWAY_SECONDS
            told = [ready, await stream.next(), await stream.next()]

        assert told == [LiveEvent("ready", 1, {"revision": 1}), LiveEvent("expired", 1, {"since": 1}), None]

    async def test_server_keeps_no_tasks_or_channels_after_a_stream_closes(
        self, server: LiveServer, alice_: Person
    ) -> None:
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

    async def test_slow_reader_is_told_the_revision_from_which_to_resume_and_is_disconnected(
        self, server: LiveServer, alice_: Person, database_url: str
    ) -> None:
        async with server.stream(alice_.user_id) as stream:
            await stream.next()
            await alice_.add()
            await stream.changes(1)
            # More than the socket buffers hold, while this client reads nothing.
            await asyncio.to_thread(write_tasks, database_url, alice_.user_id, 3000, length=5000)
            await alice_.add()
            await eventually(lambda: next(iter(server.live._channels.values()))._to == 3002)

            told = []
            while (event := await stream.next()) is not None:
                told.append(event)

        assert [event.revision for event in told[:-1]] == list(range(2, told[-1].revision + 1))
        assert told[-1] == LiveEvent("resume", told[-2].revision, {"since": told[-2].revision})
        await eventually(lambda: server.channels() == 0)

    async def test_stream_of_a_client_that_reads_nothing_is_aborted(
        self, server: LiveServer, alice_: Person, database_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(HttpProtocol, "stall_seconds", 0.5)
        stream = server.stream(alice_.user_id, "?since=0")
        await asyncio.to_thread(write_tasks, database_url, alice_.user_id, 3000, length=5000)

        async with stream:
            await eventually(lambda: server.channels() == 0)
