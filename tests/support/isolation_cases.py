"""Strangers: what they may send around any operation, and the kinds of operation that they may meet it at."""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from httpx import AsyncClient

Request = Mapping[str, Any]

_METHODS = frozenset({"get", "put", "post", "delete", "options", "head", "patch", "trace"})
_JSON = {"Content-Type": "application/json"}

# What a stranger may put around any request, to learn something by it.
CONDITIONS: tuple[Request, ...] = (
    {"headers": {"If-Match": "*"}},
    {"headers": {"If-Match": '"1"'}},
    {"headers": {"If-None-Match": "*"}},
    {"headers": {"If-None-Match": '"1"', "If-Modified-Since": "Mon, 01 Jan 2001 00:00:00 GMT"}},
    {"headers": {"If-Unmodified-Since": "Mon, 01 Jan 2001 00:00:00 GMT"}},
    {"headers": {"Range": "bytes=0-0", "Prefer": "return=minimal"}},
    {"params": {"fields": "id"}},
)

# Bodies that no operation takes.
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
    """Things that users have. ``add`` makes some and returns their ids, which paths call ``key``."""

    table: str
    key: str
    add: Callable[[AsyncClient], Awaitable[list[str]]]


@dataclass(frozen=True)
class ById:
    """An operation on one row, which belongs to somebody else: there is no such row, whatever is sent."""

    of: Resource
    bodies: tuple[Request, ...] = ()
    reads: bool = False

    @property
    def requests(self) -> Iterator[Request]:
        """Good ones first, which have to be answered 404; then everything that a stranger may try."""
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
    """An operation that gives many rows: the caller's only, whatever the filters. ``ids`` finds whose they are."""

    of: Resource
    queries: tuple[Mapping[str, Any], ...]
    ids: Callable[[Any], list[str]]


@dataclass(frozen=True)
class Creating:
    """An operation that makes a row, under an id that somebody else may have. ``other`` makes it another row."""

    of: Resource
    body: Mapping[str, Any]
    other: Mapping[str, Any]


@dataclass(frozen=True)
class Naming:
    """An operation whose body names a row that belongs to somebody else: it is refused, as one that there is not."""

    of: Resource
    bodies: tuple[Callable[[str], Mapping[str, Any]], ...]


@dataclass(frozen=True)
class OfOwnLog:
    """An operation on a change, by its number: everybody's count from 1, so that a stranger's is one's own or none."""


@dataclass(frozen=True)
class OfOwnProfile:
    """An operation on the caller's profile, of which everybody has one or none. ``body`` changes it."""

    body: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Counting:
    """An operation that counts the caller's rows, and nobody else's."""

    of: Resource


@dataclass(frozen=True)
class Following:
    """A stream of the caller's own changes."""


@dataclass(frozen=True)
class OfNobody:
    """An operation that tells of no user's rows."""

    status: int = 200


def operations_of(description: Mapping[str, Any]) -> set[str]:
    """Every operation of an OpenAPI document, as ``METHOD /path``."""
    return {
        f"{method.upper()} {path}"
        for path, item in description["paths"].items()
        for method in item
        if method in _METHODS
    }


async def send(client: AsyncClient, operation: str, row_id: str, request: Request) -> Any:
    """Send a request for an ``operation``, with ``row_id`` where its path wants an id."""
    method, path = operation.split(" ")
    assert path.count("{") <= 1, "an operation on two ids needs a row that says which of them is foreign"
    url = "http://todo.test" + (path[: path.index("{")] + row_id + path[path.index("}") + 1 :] if "{" in path else path)
    return await client.request(method, url, **request)


async def user_of(client: AsyncClient) -> str:
    """Return the client's user id."""
    user_id: str = (await client.get("/me")).json()["id"]
    return user_id
