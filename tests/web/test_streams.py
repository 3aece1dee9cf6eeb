"""Server-sent event streams as ASGI messages."""

import asyncio
from collections.abc import AsyncGenerator

import pytest
from starlette.types import Message

from support.helpers import eventually, grace_period
from support.processes import TIMEOUT_SECONDS
from todo.web.streams import EventStream, sse


class Client:
    """A client that accepts ``most`` messages, and disconnects when ``gone`` is set."""

    def __init__(self, most: int = 100) -> None:
        self.sent: list[Message] = []
        self.gone = asyncio.Event()
        self._room = asyncio.Semaphore(most)

    async def receive(self) -> Message:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        await self._room.acquire()
        self.sent.append(message)

    @property
    def bodies(self) -> list[bytes]:
        return [message["body"] for message in self.sent[1:]]


class Chunks:
    """A generator of chunks that records ``taken`` and ``closed``. At its end it stops, fails or waits forever."""

    def __init__(self, *chunks: bytes, then: str = "end") -> None:
        self._chunks = chunks
        self._then = then
        self.closed = False
        self.taken = 0

    async def __call__(self) -> AsyncGenerator[bytes, None]:
        try:
            for chunk in self._chunks:
                self.taken += 1
                yield chunk
            if self._then == "fail":
                raise ValueError("broken")
            if self._then == "wait":
                await asyncio.Event().wait()
        finally:
            self.closed = True


async def send(chunks: Chunks, client: Client) -> None:
    await EventStream(chunks())({"type": "http"}, client.receive, client.send)


# Task: T-153
class TestEventStream:
    async def test_stream_sends_chunks_as_they_come_and_ends_with_them(self) -> None:
        chunks, client = Chunks(b"one", b"two"), Client()

        await send(chunks, client)

        assert client.sent[0]["status"] == 200
        assert dict(client.sent[0]["headers"]) == {
            b"content-type": b"text/event-stream; charset=utf-8",
            b"x-accel-buffering": b"no",
        }
        assert client.bodies == [b"one", b"two", b""]
        assert [message["more_body"] for message in client.sent[1:]] == [True, True, False]
        assert chunks.closed

    @pytest.mark.parametrize("most", [1, 2, 100])
    async def test_stream_ends_when_the_client_disconnects_in_any_state(self, most: int) -> None:
        chunks, client = Chunks(b"one", b"two", then="wait"), Client(most)
        before = asyncio.all_tasks()
        sending = asyncio.create_task(send(chunks, client))
        await grace_period()
        assert not sending.done()

        client.gone.set()
        await asyncio.wait_for(sending, TIMEOUT_SECONDS)

        assert chunks.closed
        assert asyncio.all_tasks() <= before

    async def test_stream_takes_the_next_chunk_only_when_the_previous_one_is_sent(self) -> None:
        chunks, client = Chunks(b"one", b"two", b"three", then="wait"), Client(most=2)
        sending = asyncio.create_task(send(chunks, client))

        await grace_period()

        assert (client.bodies, chunks.taken) == ([b"one"], 2)
        client.gone.set()
        await sending

    async def test_cancelled_stream_closes_its_generator(self) -> None:
        chunks, client = Chunks(b"one", then="wait"), Client()
        before = asyncio.all_tasks()
        sending = asyncio.create_task(send(chunks, client))
        await eventually(lambda: client.bodies)

        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending

        assert chunks.closed
        assert asyncio.all_tasks() <= before

    async def test_stream_that_was_never_sent_closes_its_generator(self) -> None:
        chunks = Chunks(b"one", then="wait")

        await EventStream(chunks()).close()

        assert chunks.closed

    async def test_error_of_the_generator_is_raised(self) -> None:
        chunks, client = Chunks(b"one", then="fail"), Client()

        with pytest.raises(ValueError, match="broken"):
            await send(chunks, client)

        assert client.bodies == [b"one"]


# Task: T-153
class TestSse:
    def test_event_ends_with_an_empty_line(self) -> None:
        assert sse("change", 17, b'{"a":"b\\n"}') == b'id: 17\nevent: change\ndata: {"a":"b\\n"}\n\n'
