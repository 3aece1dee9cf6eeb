"""Kinds of operations in the isolation matrix, and the requests that another user tries on them."""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from httpx import AsyncClient

Request = Mapping[str, Any]

_METHODS = frozenset({"get", "put", "post", "delete", "options", "head", "patch", "trace"})
_JSON = {"Content-Type": "application/json"}

# Headers and parameters that another user adds to a request to learn whether a row exists.
CONDITIONS: tuple[Request, ...] = (
    {"headers": {"If-Match": "*"}},
    {"headers": {"If-Match": '"1"'}},
    {"headers": {"If-None-Match": "*"}},
    {"headers": {"If-None-Match": '"1"', "If-Modified-Since": "Mon, 01 Jan 2001 00:00:00 GMT"}},
    {"headers": {"If-Unmodified-Since": "Mon, 01 Jan 2001 00:00:00 GMT"}},
    {"headers": {"Range": "bytes=0-0", "Prefer": "return=minimal"}},
    {"params": {"fields": "id"}},
)

# Bodies that every operation rejects.
_BAD_BODIES: tuple[Request, ...] = (
    {"content": b""},
    {"content": b"{", "headers": _JSON},
    {"content": b'{"title": "\\ud800"}', "headers": _JSON},
    {"content": b'{"title": "Mine"}', "headers": {"Content-Type": "text/plain"}},
    {"content": b'{"title": "Mine"}'},
    {"json": None},
    {"json": []},
    {"json": {"user_id": "somebody", "title": "Mine"}},
    {"json": {"title": ""}},
    {"json": {"title": "x" * 201}},
    {"json": {"title": "nul \x00"}},
    {"json": {"title": None, "status": "no such status", "due_date": "2026-02-30"}},
    {"content": b'{"title": "%s"}' % (b"x" * 1_100_000), "headers": _JSON},
)


@dataclass(frozen=True)
class Resource:
    """A kind of object. ``add`` creates some and returns their ids; ``key`` is the path parameter of such an id."""

    table: str
    key: str
    add: Callable[[AsyncClient], Awaitable[list[str]]]


@dataclass(frozen=True)
class ById:
    """An operation on one row. For a row of another user, it answers as if there were no such row."""

    of: Resource
    bodies: tuple[Request, ...] = ()
    reads: bool = False

    @property
    def requests(self) -> Iterator[Request]:
        """Yield valid requests, which must be answered 404, and then all that another user may try."""
        plain = self.bodies or ({},)
        yield from plain
        for condition in CONDITIONS:
            yield {**plain[0], **condition}
        if self.bodies:
            yield from _BAD_BODIES
            for condition in CONDITIONS:
                yield {**_BAD_BODIES[-4], **condition}


@dataclass(frozen=True)
class Listing:
    """An operation that returns many rows: only the caller's. ``ids`` returns the ids in a response."""

    of: Resource
    queries: tuple[Mapping[str, Any], ...]
    ids: Callable[[Any], list[str]]


@dataclass(frozen=True)
class Creation:
    """An operation that creates a row, under an id that another user may have. ``other`` are different fields."""

    of: Resource
    body: Mapping[str, Any]
    other: Mapping[str, Any]


@dataclass(frozen=True)
class ByIdInBody:
    """An operation whose body contains the id of a row. An id of another user is rejected like an unknown id."""

    of: Resource
    bodies: tuple[Callable[[str], Mapping[str, Any]], ...]


@dataclass(frozen=True)
class OnOwnChange:
    """An operation on a change of the caller, by its revision. Each user's revisions start at 1."""


@dataclass(frozen=True)
class OnOwnProfile:
    """An operation on the caller's profile. ``body`` changes it."""

    body: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Aggregate:
    """An operation that counts rows: only the caller's."""

    of: Resource


@dataclass(frozen=True)
class EventStream:
    """A stream of the caller's own changes."""


@dataclass(frozen=True)
class WithoutUserData:
    """An operation that returns no user data."""

    status: int = 200


def operations_of(description: Mapping[str, Any]) -> set[str]:
    """Return every operation of an OpenAPI document as ``METHOD /path``."""
    return {
        f"{method.upper()} {path}"
        for path, item in description["paths"].items()
        for method in item
        if method in _METHODS
    }


async def send(client: AsyncClient, operation: str, row_id: str, request: Request) -> Any:
    """Send a request for an ``operation``, with ``row_id`` as the id in its path."""
    method, path = operation.split(" ")
    assert path.count("{") <= 1, "the path has two ids: the matrix does not know which of them belongs to another user"
    url = "http://todo.test" + (path[: path.index("{")] + row_id + path[path.index("}") + 1 :] if "{" in path else path)
    return await client.request(method, url, **request)


async def user_of(client: AsyncClient) -> str:
    user_id: str = (await client.get("/me")).json()["id"]
    return user_id
