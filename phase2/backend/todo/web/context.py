"""The state of a request: its id, its caller, and the status of its response."""

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

from todo.models.users import Identity

_TRACE = "todo.trace"

Scope = MutableMapping[str, Any]


@dataclass(slots=True)
class Trace:
    """The state of a request. ``status`` is 0 until the response has started."""

    request_id: str
    identity: Identity | None = None
    status: int = 0


_UNTRACED = Trace("")


def begin_trace(scope: Scope, request_id: str) -> Trace:
    """Start the trace of a request. Its id is in the response, in problems and in the log."""
    trace = scope[_TRACE] = Trace(request_id)
    return trace


def trace_of(scope: Mapping[str, Any]) -> Trace:
    """Return the trace of a request; an empty one if none was started."""
    trace: Trace = scope.get(_TRACE, _UNTRACED)
    return trace


def request_id_of(scope: Mapping[str, Any]) -> str:
    """Return the id of a request; empty if none was given yet."""
    return trace_of(scope).request_id


def identity_of(scope: Mapping[str, Any]) -> Identity | None:
    """Return the caller; ``None`` if the request is not authenticated."""
    return trace_of(scope).identity


def set_identity(scope: Scope, identity: Identity) -> None:
    """Set the caller. Only authentication does this."""
    scope[_TRACE].identity = identity
