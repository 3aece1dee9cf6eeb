"""Dependencies of routes: none is available without a verified caller."""

from types import SimpleNamespace
from typing import Any

import pytest
from starlette.requests import Request

from todo.dependencies.identity import current_user
from todo.dependencies.session import open_session
from todo.errors import Unauthenticated
from todo.models.users import Identity
from todo.web.context import begin_trace, set_identity

ALICE = Identity("alice", expires_at=0.0)


def request_of(identity: Identity | None) -> Request:
    """Return a request with the state that the middleware leaves for this caller."""
    scope: dict[str, Any] = {
        "type": "http",
        "headers": [],
        "app": SimpleNamespace(state=SimpleNamespace(database=None)),
    }
    begin_trace(scope, "a-request")
    if identity is not None:
        set_identity(scope, identity)
    return Request(scope)


# Task: T-045
class TestCurrentUser:
    def test_current_user_is_the_identity_that_the_middleware_verified(self) -> None:
        assert current_user(request_of(ALICE)) is ALICE

    def test_current_user_raises_unauthenticated_without_a_verified_identity(self) -> None:
        with pytest.raises(Unauthenticated):
            current_user(request_of(None))


# Task: T-023
class TestOpenSession:
    def test_session_is_bound_to_the_caller(self) -> None:
        assert open_session(request_of(ALICE)).user_id == "alice"

    def test_session_raises_unauthenticated_without_a_verified_identity(self) -> None:
        with pytest.raises(Unauthenticated):
            open_session(request_of(None))
