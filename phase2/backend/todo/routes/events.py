"""Live: the same events as server-sent events and over a WebSocket."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Header, Query, Request
from starlette.responses import Response
from starlette.websockets import WebSocket, WebSocketDisconnect

from todo.dependencies import CurrentUser
from todo.errors import Fault, Gone, Invalid, TodoError, TooMany, Unauthenticated
from todo.models.changes import EventsQuery
from todo.models.users import Identity
from todo.services.live import Event, Live
from todo.web.route import Route
from todo.web.streams import HEARTBEAT, EventStream, sse

router = APIRouter(prefix="/api/v1", tags=["live"], route_class=Route)

_PROTOCOL = "todo.v1"
_TOKEN_PREFIX = "bearer."  # noqa: S105  the prefix of a subprotocol, not a token
_AUTHENTICATE_SECONDS = 10.0
_SEND_SECONDS = 30.0

# Codes of our own (RFC 6455, section 7.4.2), named after the HTTP status that says the same.
_UNAUTHENTICATED = 4401
_EXPIRED = 4408
_RESYNC_REQUIRED = 4410
_TOO_MANY = 4429
# Registered: the server restarts; try again later.
_RESTART = 1012
_TRY_AGAIN_LATER = 1013

_CODE_OF_FAREWELL = {"reconnect": _RESTART, "resume": _TRY_AGAIN_LATER, "expired": _EXPIRED}


def live_of(request: Request) -> Live:
    """Return the live channels of this process."""
    live: Live = request.app.state.live
    return live


LiveDep = Annotated[Live, Depends(live_of)]


# Task: T-153
@router.get("/events", response_class=EventStream)
async def follow_events(
    query: Annotated[EventsQuery, Query()],
    user: CurrentUser,
    live: LiveDep,
    last_event_id: Annotated[str | None, Header()] = None,
) -> Response:
    """Follow what changes, as server-sent events. The id of an event is its revision.

    With `Last-Event-ID` (or `since`) nothing is missed after a lost connection. Events: `ready` (the revision from which
    you follow), `change` (as in the feed), and at the end `reconnect`, `resume` or `expired`, which say from where to go
    on. A comment is a heartbeat.
    """
    since = query.since if last_event_id is None else _revision(last_event_id)
    batches = live.follow(user.user_id, since, expires_at=lambda: user.expires_at)
    # The first step now: what is wrong with the request is still an ordinary answer.
    first = await anext(batches)
    return EventStream(_as_sse(first, batches))


def _revision(last_event_id: str) -> int:
    if not (last_event_id.isascii() and last_event_id.isdecimal() and len(last_event_id) < 19):
        raise Invalid(Fault("/header/last-event-id", "Expected the id of an event: a revision."))
    return int(last_event_id)


async def _as_sse(first: list[Event], batches: AsyncIterator[list[Event]]) -> AsyncIterator[bytes]:
    yield b"retry: 1000\n" + _written(first)
    async for batch in batches:
        yield _written(batch)


def _written(batch: list[Event]) -> bytes:
    return b"".join(sse(event.name, event.revision, event.data) for event in batch) or HEARTBEAT


@dataclass(slots=True)
class _Caller:
    """Who is at the other end of a WebSocket; renewed when a fresh token comes."""

    identity: Identity


# Task: T-154
@router.websocket("/ws")
async def follow_over_websocket(websocket: WebSocket) -> None:
    """Follow what changes, over a WebSocket: the same events, as JSON messages ``{event, revision, data}``.

    The token comes as the subprotocol ``bearer.<token>`` beside ``todo.v1``, or in the first message,
    ``{"type": "authenticate", "token": "...", "since": 17}``; the same message renews it later.
    """
    offered = websocket.scope.get("subprotocols", [])
    await websocket.accept(_PROTOCOL if _PROTOCOL in offered else None)
    with contextlib.suppress(WebSocketDisconnect):
        try:
            caller, since = await _introduced(websocket, offered)
        except (TodoError, TimeoutError):
            await websocket.close(_UNAUTHENTICATED, "Send a valid token first.")
            return
        await _converse(websocket, caller, since)


async def _introduced(websocket: WebSocket, offered: list[str]) -> tuple[_Caller, int | None]:
    since = websocket.query_params.get("since")
    for protocol in offered:
        if protocol.startswith(_TOKEN_PREFIX):
            identity = await _verified(websocket, protocol.removeprefix(_TOKEN_PREFIX))
            return _Caller(identity), _revision(since) if since is not None else None
    async with asyncio.timeout(_AUTHENTICATE_SECONDS):
        message = _parsed(await websocket.receive_text())
    identity = await _verified(websocket, message.get("token"))
    known = message.get("since")
    return _Caller(identity), known if isinstance(known, int) and known >= 0 else None


async def _verified(websocket: WebSocket, token: Any) -> Identity:
    if not isinstance(token, str) or not token.isascii():
        raise Unauthenticated
    identity: Identity = await websocket.app.state.verifier.verify(token.encode())
    return identity


def _parsed(text: str) -> dict[str, Any]:
    try:
        message = orjson.loads(text)
    except orjson.JSONDecodeError:
        message = None
    if not isinstance(message, dict) or message.get("type") != "authenticate":
        raise Unauthenticated
    return message


async def _converse(websocket: WebSocket, caller: _Caller, since: int | None) -> None:
    """Send events until one side has enough; meanwhile take fresh tokens."""
    telling = asyncio.create_task(_tell(websocket, caller, since))
    hearing = asyncio.create_task(_hear(websocket, caller))
    try:
        done, _ = await asyncio.wait((telling, hearing), return_when=asyncio.FIRST_COMPLETED)
        code, reason = next(iter(done)).result()
        await websocket.close(code, reason)
    finally:
        for task in (telling, hearing):
            task.cancel()
        await asyncio.gather(telling, hearing, return_exceptions=True)


async def _tell(websocket: WebSocket, caller: _Caller, since: int | None) -> tuple[int, str]:
    live: Live = websocket.app.state.live
    try:
        async for batch in live.follow(user.user_id, since, expires_at=lambda: caller.identity.expires_at):
            for event in batch or [_HEARTBEAT]:
                async with asyncio.timeout(_SEND_SECONDS):
                    await websocket.send_text(_message(event))
                if event.name in _CODE_OF_FAREWELL:
                    return _CODE_OF_FAREWELL[event.name], event.name
    except TooMany as error:
        return _TOO_MANY, error.detail
    except Gone as error:
        return _RESYNC_REQUIRED, error.detail
    except (TodoError, TimeoutError):
        pass
    return _TRY_AGAIN_LATER, "Try again in a moment."


_HEARTBEAT = Event("heartbeat", 0, b"null")


def _message(event: Event) -> str:
    return (b'{"event":"%b","revision":%d,"data":%b}' % (event.name.encode(), event.revision, event.data)).decode()


async def _hear(websocket: WebSocket, caller: _Caller) -> tuple[int, str]:
    """Take fresh tokens of the same user. Returns when something else comes."""
    while True:
        try:
            identity = await _verified(websocket, _parsed(await websocket.receive_text()).get("token"))
        except (TodoError, KeyError):
            return _UNAUTHENTICATED, "That is not a valid token."
        if identity.user_id != caller.identity.user_id:
            return _UNAUTHENTICATED, "That is somebody else's token. Open another connection for it."
        caller.identity = identity
