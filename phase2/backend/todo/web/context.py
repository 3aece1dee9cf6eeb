"""What a request carries with it: its id, and who is calling."""

from collections.abc import Mapping, MutableMapping
from typing import Any

from todo.models.users import Identity

_REQUEST_ID = "todo.request_id"
_IDENTITY = "todo.identity"

Scope = MutableMapping[str, Any]


def request_id_of(scope: Mapping[str, Any]) -> str:
    """Return the request's id; empty before one was given."""
    return str(scope.get(_REQUEST_ID, ""))


def set_request_id(scope: Scope, request_id: str) -> None:
    """Name the request: in its answer, its problem and its line in the log."""
    scope[_REQUEST_ID] = request_id


def identity_of(scope: Mapping[str, Any]) -> Identity | None:
    """Return who is calling, if the request was authenticated."""
    identity: Identity | None = scope.get(_IDENTITY)
    return identity


def set_identity(scope: Scope, identity: Identity) -> None:
    """Note who is calling: only the authentication does so."""
    scope[_IDENTITY] = identity
