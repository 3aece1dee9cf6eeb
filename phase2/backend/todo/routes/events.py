"""Live events: changes as they happen, as server-sent events or over a WebSocket.

Both send the same events:

* `ready`, first: the revision at which the stream begins, `{"revision": 17}`.
* `change`: a change, as in `GET /api/v1/changes`.
* `reconnect`, last: the server stops. Connect again and continue from `{"since": 18}`.
* `resume`, last: you read too slowly, or the log could not be read. Connect again and continue from `{"since": 18}`.
* `expired`, last: the token has expired. Connect again with a new token and continue from `{"since": 18}`.

A client that continues from the last revision that it has received misses no change and receives none twice.

**WebSocket**: `/api/v1/ws?since=17`, with the subprotocol `todo.v1`. A browser cannot set headers on a WebSocket, and a
token in the URL would end up in logs. Therefore send the token as a second subprotocol, `bearer.<token>`, or in the
first message, within ten seconds:

    {"type": "authenticate", "token": "eyJhbGciOi...", "since": 17}

Send the same message with a new token before the first one expires, and the connection stays open. The server sends

    {"event": "change", "revision": 18, "data": {"revision": 18, "type": "task", "operation": "delete", ...}}

and, if there was no other event for a while, `{"event": "heartbeat", "revision": 18, "data": null}`. The close code
tells the reason:

* 1012: the server stops. Connect again.
* 1013: you read too slowly, or the database is not available. Connect again after a moment.
* 4400: your message does not have the format above.
* 4401: the token is missing, invalid, or belongs to another user.
* 4408: the token has expired. Connect again with a new token.
* 4410: `since` is not in the log. Start again with the snapshot, as after `resync_required`.
* 4429: you have too many connections.
"""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import parse_qsl

import orjson
from fastapi import APIRouter, Depends, Header, Query, Request
from pydantic import PlainValidator, WithJsonSchema
from starlette.responses import Response
from starlette.websockets import WebSocket, WebSocketDisconnect

from todo.database import cancelled
from todo.dependencies import CurrentUser
from todo.errors import BadRequest, FieldError, Gone, Invalid, TodoError, TooManyRequests, Unauthenticated
from todo.models.changes import EventsQuery
from todo.models.users import Identity
from todo.services.live import Event, Live
from todo.web.context import set_identity
from todo.web.route import Route
from todo.web.streams import HEARTBEAT, EventStream, sse

router = APIRouter(prefix="/api/v1", tags=["live"], route_class=Route)

_PROTOCOL = "todo.v1"
_TOKEN_PREFIX = "bearer."  # noqa: S105  the prefix of a subprotocol, not a token
_MAX_DIGITS = 18

# Registered close codes (RFC 6455, section 7.4.1, and IANA).
_SERVICE_RESTART = 1012
_TRY_AGAIN_LATER = 1013
# Private close codes: 4000 plus the HTTP status with a similar meaning.
_MALFORMED = 4400
_UNAUTHENTICATED = 4401
_EXPIRED = 4408
_RESYNC_REQUIRED = 4410
_TOO_MANY = 4429

_CODE_OF_LAST_EVENT = {"reconnect": _SERVICE_RESTART, "resume": _TRY_AGAIN_LATER, "expired": _EXPIRED}
_CODES: dict[type[TodoError], int] = {
    Unauthenticated: _UNAUTHENTICATED,
    Gone: _RESYNC_REQUIRED,
    TooManyRequests: _TOO_MANY,
}

_EXAMPLE = """\
retry: 1500
id: 17
event: ready
data: {"revision":17}

id: 18
event: change
data: {"revision":18,"type":"task","id":"0197f0c2-a6b4-7e0b-8d3c-5a1e9f60b7d2","operation":"delete",\
"at":"2026-03-10T09:00:00Z","fields":[],"state":null}

: heartbeat

id: 18
event: reconnect
data: {"since":18}

"""
_STREAM: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/event-stream": {"schema": {"type": "string", "examples": [_EXAMPLE]}}}},
    410: {},
    429: {},
}


def live_of(request: Request) -> Live:
    """Return the live channels of this process."""
    live: Live = request.app.state.live
    return live


LiveDep = Annotated[Live, Depends(live_of)]


def _revision(text: str) -> int:
    """Parse a revision from a header or from the URL of a WebSocket. Raises ValueError."""
    if not (text.isascii() and text.isdecimal() and len(text) <= _MAX_DIGITS):
        raise ValueError("Expected the id of an event: a revision.")
    return int(text)


LastEventId = Annotated[
    int | None,
    PlainValidator(_revision),
    WithJsonSchema({"type": "string", "examples": ["17"]}),
    Header(alias="Last-Event-ID", description="The id of the last event that you have received. It overrides `since`."),
]


# Task: T-153
@router.get(
    "/events",
    status_code=200,
    response_class=EventStream,
    response_description="The events, as they happen.",
    responses=_STREAM,
)
async def follow_events(
    query: Annotated[EventsQuery, Query()], user: CurrentUser, live: LiveDep, last_event_id: LastEventId = None
) -> Response:
    """Stream live events.

    Sends changes as server-sent events. The id of an event is its revision. With `Last-Event-ID` or `since`, no change
    is missed after a lost connection; without them, the stream starts now. A revision that is not in the log returns
    410 with the code `resync_required`. A comment is a heartbeat.
    """
    since = query.since if last_event_id is None else last_event_id
    batches = live.follow(user.user_id, since, expires_at=lambda: user.expires_at)
    # Read the first events before the response starts, so that an error can still be an ordinary response.
    first = await anext(batches)
    return EventStream(_chunks_of(first, batches))


async def _chunks_of(first: list[Event], batches: AsyncGenerator[list[Event], None]) -> AsyncGenerator[bytes, None]:
    async with contextlib.aclosing(batches):
        # A random delay, so that after a restart the clients do not all connect at the same moment.
        yield b"retry: %d\n" % (500 + secrets.randbelow(2_000)) + _chunk(first)
        async for batch in batches:
            yield _chunk(batch)


def _chunk(batch: list[Event]) -> bytes:
    return b"".join(sse(event.name, event.revision, event.data) for event in batch) or HEARTBEAT


class _Closing(Exception):
    """The end of a WebSocket: the close code, and the reason in words (at most 123 bytes)."""

    def __init__(self, code: int, reason: str) -> None:
        self.code = code
        self.reason = reason
        super().__init__(reason)


@dataclass(slots=True)
class _Caller:
    """The client of a WebSocket: the identity in its latest token, and the revision to start from."""

    identity: Identity
    since: int | None


# Task: T-154
@router.websocket("/ws")
async def follow_over_websocket(websocket: WebSocket) -> None:
    """Send live events over a WebSocket. An error before it is accepted becomes the response to the handshake."""
    since = _since_in_query(websocket)
    live: Live = websocket.app.state.live
    offered: list[str] = websocket.scope["subprotocols"]
    try:
        token = next((p.removeprefix(_TOKEN_PREFIX) for p in offered if p.startswith(_TOKEN_PREFIX)), None)
        # A client with a token does not count towards the limit of unauthenticated connections.
        with live.unauthenticated() if token is None else contextlib.nullcontext():
            await websocket.accept(_PROTOCOL if _PROTOCOL in offered else None)
            caller = await _authenticate(websocket, token, since)
        set_identity(websocket.scope, caller.identity)
        await _handle_websocket(websocket, caller, live)
    except _Closing as closing:
        with contextlib.suppress(WebSocketDisconnect):
            await websocket.close(closing.code, closing.reason)
    except WebSocketDisconnect:
        pass


def _since_in_query(websocket: WebSocket) -> int | None:
    """Return ``since``, the only parameter. A token in the URL is refused like any other parameter."""
    try:
        given = parse_qsl(websocket.scope["query_string"].decode("ascii"), keep_blank_values=True, errors="strict")
    except ValueError:
        raise BadRequest("The query string could not be read: it has to be percent-encoded UTF-8.") from None
    if not given:
        return None
    if len(given) > 1 or given[0][0] != "since":
        raise Invalid(FieldError("/query", "The only parameter here is since. Do not send a token in the URL."))
    try:
        return _revision(given[0][1])
    except ValueError as error:
        raise Invalid(FieldError("/query/since", str(error))) from None


async def _authenticate(websocket: WebSocket, token: str | None, since: int | None) -> _Caller:
    if token is not None:
        return _Caller(await _verify(websocket, token), since)
    try:
        async with asyncio.timeout(websocket.app.state.live.options.authentication_timeout_seconds):
            token, asked = await _receive_token(websocket)
    except TimeoutError:
        raise _Closing(_UNAUTHENTICATED, "Send a token first.") from None
    return _Caller(await _verify(websocket, token), since if asked is None else asked)


async def _receive_token(websocket: WebSocket) -> tuple[str, int | None]:
    """Wait for the next message, and return its token and ``since``. Raises _Closing and WebSocketDisconnect."""
    message = await websocket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message["code"], message.get("reason"))
    try:
        content = orjson.loads(message.get("text") or b"")
    except orjson.JSONDecodeError:
        content = None
    match content:
        case {"type": "authenticate", "token": str(token), **others} if others.keys() <= {"since"}:
            since = others.get("since")
            if since is None or (type(since) is int and 0 <= since < 10**_MAX_DIGITS):
                return token, since
    raise _Closing(_MALFORMED, 'Expected {"type": "authenticate", "token": "...", "since": 17}.')


async def _verify(websocket: WebSocket, token: str) -> Identity:
    try:
        identity: Identity = await websocket.app.state.verifier.verify(token.encode())
    except TodoError as error:
        raise _closing_of(error) from None
    return identity


def _closing_of(error: TodoError) -> _Closing:
    return _Closing(_CODES.get(type(error), _TRY_AGAIN_LATER), error.detail)


async def _handle_websocket(websocket: WebSocket, caller: _Caller, live: Live) -> None:
    """Send events and receive new tokens until one side ends. Raises _Closing and WebSocketDisconnect."""
    sending = asyncio.create_task(_send_events(websocket, caller, live))
    receiving = asyncio.create_task(_receive_tokens(websocket, caller))
    try:
        done, _ = await asyncio.wait((sending, receiving), return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        await cancelled(sending, receiving)


async def _send_events(websocket: WebSocket, caller: _Caller, live: Live) -> None:
    batches = live.follow(caller.identity.user_id, caller.since, expires_at=lambda: caller.identity.expires_at)
    last = caller.since or 0
    try:
        async with contextlib.aclosing(batches):
            async for batch in batches:
                for event in batch or [Event("heartbeat", last, b"null")]:
                    await websocket.send_text(_message(event))
                    last = event.revision
                    if event.name in _CODE_OF_LAST_EVENT:
                        raise _Closing(_CODE_OF_LAST_EVENT[event.name], event.name)
    except TodoError as error:
        raise _closing_of(error) from None


def _message(event: Event) -> str:
    return f'{{"event":"{event.name}","revision":{event.revision},"data":{event.data.decode()}}}'


async def _receive_tokens(websocket: WebSocket, caller: _Caller) -> None:
    """Receive new tokens of the same user."""
    while True:
        token, _ = await _receive_token(websocket)
        identity = await _verify(websocket, token)
        if identity.user_id != caller.identity.user_id:
            raise _Closing(_UNAUTHENTICATED, "This token belongs to another user. Open another connection for it.")
        caller.identity = identity
