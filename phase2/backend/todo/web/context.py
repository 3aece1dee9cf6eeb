"""What a request carries with it: its id, who is calling, and how it was answered."""

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

from todo.models.users import Identity

_TRACE = "todo.trace"

Scope = MutableMapping[str, Any]


@dataclass(slots=True)
class Trace:
    """What is known of a request so far. ``status`` is 0 until the answer has begun."""

    request_id: str
    identity: Identity | None = None
    status: int = 0


_UNTRACED = Trace("")


def begin_trace(scope: Scope, request_id: str) -> Trace:
    """Name the request: in its answer, its problem and its line in the log."""
    trace = scope[_TRACE] = Trace(request_id)
    return trace


def trace_of(scope: Mapping[str, Any]) -> Trace:
    """Return what is known of the request; an empty trace before it was begun."""
    trace: Trace = scope.get(_TRACE, _UNTRACED)
    return trace


def request_id_of(scope: Mapping[str, Any]) -> str:
    """Return the request's id; empty before one was given."""
    return trace_of(scope).request_id


def identity_of(scope: Mapping[str, Any]) -> Identity | None:
    """Return who is calling, if the request was authenticated."""
    return trace_of(scope).identity


def set_identity(scope: Scope, identity: Identity) -> None:
    """Note who is calling: only the authentication does so."""
    scope[_TRACE].identity = identity
