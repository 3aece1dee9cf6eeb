"""The event stream, at the socket. Bob must not see what Alice does."""

import asyncio
import itertools
import time

import psycopg
import pytest

from support.followers import NEARLY_OVER, Person
from support.live import LiveServer, Stream, Told, write_tasks
from support.people import sign_up
from support.scratch import eventually
from todo.web.server.http_protocol import HttpProtocol


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
            await alice_.client.delete(f"/tasks/{task['id']}", params={"permanent": "true"})
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
        monkeypatch.setattr(HttpProtocol, "stall_seconds", 0.5)
        stream = server.stream(alice_.user_id, "?since=0")
        await asyncio.to_thread(write_tasks, database_url, alice_.user_id, 3000, length=5000)

        async with stream:
            await eventually(lambda: server.channels() == 0)
