"""Find the route of a request in one walk along its path, independent of the number of routes.

FastAPI's router tries one route after the other, twice, and lists only the methods of the first one in a 405.

A path that answers GET answers HEAD (RFC 9110, section 9.3.2): with the same function, so that all headers are the
same. The OpenAPI document does not list HEAD.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import unquote

from fastapi.routing import APIWebSocketRoute, iter_route_contexts
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from todo.errors import MethodNotAllowed, NotFound, TodoError
from todo.web.problems import not_found, problem_response
from todo.web.route import Handler, Route, user_text_in
from todo.web.streams import EventStream


class _Answer(NamedTuple):
    """The handler of a method, the position and name of each path parameter, and the names of those that are ids."""

    handler: Handler
    parameters: tuple[tuple[int, str], ...]
    ids: tuple[str, ...]


@dataclass(slots=True)
class _Node:
    """A node in the tree of paths: the segments that may follow, and the methods of the path that ends here."""

    literals: dict[str, "_Node"] = field(default_factory=dict)
    parameter: "_Node | None" = None
    methods: dict[str, _Answer] = field(default_factory=dict)


# Task: T-042
class TrieRouter:
    """Sends requests to our routes, and all other requests to ``fallback``.

    A concrete path takes precedence over a templated one, as in OpenAPI, in whatever order they were declared.
    """

    def __init__(self, routes: Sequence[BaseRoute], fallback: ASGIApp) -> None:
        self._fallback = fallback
        self._root = _Node()
        self._sockets: dict[str, Callable[[WebSocket], Awaitable[None]]] = {}
        for found in iter_route_contexts(routes):
            if isinstance(found.original_route, Route):
                self._add(found.path or "", found.methods or (), found.original_route)
            elif isinstance(found.original_route, APIWebSocketRoute):
                self._sockets[found.path or ""] = found.original_route.endpoint

    def _add(self, template: str, methods: Iterable[str], route: Route) -> None:
        node = self._root
        parameters = []
        for position, segment in enumerate(template.split("/")):
            if not segment.startswith("{"):
                node = node.literals.setdefault(segment, _Node())
                continue
            if ":" in segment or not segment.endswith("}"):
                raise TypeError(f"{template}: a parameter is a whole segment of the path, and plain text")
            parameters.append((position, segment[1:-1]))
            node.parameter = node = node.parameter or _Node()
        user_text = user_text_in(route)
        ids = tuple(name for _, name in parameters if name not in user_text)
        answer = _Answer(route.get_route_handler(), tuple(parameters), ids)
        for method in methods:
            node.methods.setdefault(method, answer)
            if method == "GET":
                node.methods.setdefault("HEAD", answer._replace(handler=_without_body(answer.handler)))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await self._handle_websocket(WebSocket(scope, receive, send))
            else:
                await self._fallback(scope, receive, send)
            return
        raw_path = scope.get("raw_path") or b""
        # An encoded slash does not separate segments: the route would be another one than a proxy in front has seen.
        has_encoded_slash = b"%" in raw_path and b"%2f" in raw_path.lower()
        segments = _segments_of(raw_path) if has_encoded_slash else scope["path"].split("/")
        node = _find(self._root, segments, 0)
        if node is None:
            if has_encoded_slash:
                raise not_found()
            if not segments[-1] and _find(self._root, segments[:-1], 0):
                raise NotFound("There is nothing at this path. Leave out the slash at its end.")
            await self._fallback(scope, receive, send)
            return
        try:
            handler, parameters, ids = node.methods[scope["method"]]
        except KeyError:
            raise MethodNotAllowed(list(node.methods)) from None
        scope["path_params"] = {name: segments[position] for position, name in parameters}
        if has_encoded_slash and any("/" in scope["path_params"][name] for name in ids):
            raise not_found()
        response = await handler(Request(scope, receive, send))
        await response(scope, receive, send)

    # Task: T-154
    async def _handle_websocket(self, websocket: WebSocket) -> None:
        """Call the route of a WebSocket. An error before it is accepted becomes the response to the handshake."""
        try:
            endpoint = self._sockets.get(websocket.scope["path"])
            if endpoint is None:
                raise not_found()
            await endpoint(websocket)
        except TodoError as error:
            await websocket.send_denial_response(problem_response(error, websocket.scope))


def _segments_of(raw_path: bytes) -> list[str]:
    """Split a path as it was sent, then decode its segments, which may contain a slash."""
    return [unquote(segment) for segment in raw_path.decode("ascii", "replace").split("/")]


def _without_body(handler: Handler) -> Handler:
    async def handle(request: Request) -> Response:
        full = await handler(request)
        if isinstance(full, EventStream):
            await full.close()
        response = Response(None, full.status_code)
        response.raw_headers = full.raw_headers
        return response

    return handle


def _find(node: _Node, segments: Sequence[str], position: int) -> _Node | None:
    if position == len(segments):
        return node if node.methods else None
    segment = segments[position]
    literal = node.literals.get(segment)
    found = _find(literal, segments, position + 1) if literal else None
    if found is None and node.parameter is not None and segment:
        return _find(node.parameter, segments, position + 1)
    return found
