"""Live connections of a server run as in production, with one worker and with several."""

import asyncio
import signal
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from support.live import LiveEvent, Stream, websocket, write_tasks
from support.processes import TIMEOUT_SECONDS, Serving, serving
from support.users import SECRET, sign_up, token_of

pytestmark = pytest.mark.slow

FOLLOWERS = 8
_READY = LiveEvent("ready", 0, {"revision": 0})
_GOODBYE = LiveEvent("reconnect", 0, {"since": 0})


def port_of(server: Serving) -> int:
    port = urlsplit(server.address).port
    assert port is not None
    return port


# Task: T-151
class TestSeveralWorkers:
    async def test_followers_receive_changes_of_other_processes_without_a_signal(
        self, database_url: str, tmp_path: Path
    ) -> None:
        user_id = sign_up(database_url, "alice")
        settings = {"DATABASE_URL": database_url, "JWT_SECRET": SECRET, "LIVE_POLL_SECONDS": "1"}
        with serving(tmp_path, "--workers", "2", **settings) as server:
            streams = [Stream(port_of(server), token_of(user_id)) for _ in range(FOLLOWERS)]
            for stream in streams:
                await stream.__aenter__()
                await stream.next()

            write_tasks(database_url, user_id, 3)
            told = await asyncio.gather(*(stream.changes(3) for stream in streams))

            for stream in streams:
                await stream.leave()
        assert [[event.revision for event in events] for events in told] == [[1, 2, 3]] * FOLLOWERS


# Task: T-155
class TestShutdown:
    @pytest.mark.parametrize("workers", ["1", "2"])
    @pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
    async def test_shutdown_is_prompt_and_sends_a_goodbye_to_every_connection(
        self, database_url: str, tmp_path: Path, workers: str, how: signal.Signals
    ) -> None:
        user_id = sign_up(database_url, "alice")
        with serving(tmp_path, "--workers", workers, DATABASE_URL=database_url, JWT_SECRET=SECRET) as server:
            port, token = port_of(server), token_of(user_id)
            async with (
                Stream(port, token) as one,
                Stream(port, token) as two,
                websocket(port, token) as three,
                websocket(port, token) as four,
            ):
                assert [await follower.next() for follower in (one, two, three, four)] == [_READY] * 4

                if how == signal.SIGINT:
                    server.interrupt()
                else:
                    server.process.send_signal(how)

                code = await asyncio.to_thread(server.process.wait, TIMEOUT_SECONDS)
                assert [await stream.next() for stream in (one, one, two, two)] == [_GOODBYE, None] * 2
                assert [await socket.next() for socket in (three, four)] == [_GOODBYE] * 2
                assert [await socket.closed() for socket in (three, four)] == [(1012, "reconnect")] * 2
        assert code == 0
        log = server.log.read_text()
        assert "Traceback" not in log
        # The server would log this if it had waited until the grace period of requests ended.
        assert '"level":"ERROR"' not in log
