"""The caller of a route."""

from typing import Annotated

from fastapi import Depends, Request

from todo.errors import Unauthenticated
from todo.models.users import Identity
from todo.web.context import identity_of


# Task: T-045
def current_user(request: Request) -> Identity:
    """Return the identity in the verified token. Raises Unauthenticated on a path that requires no token."""
    identity = identity_of(request.scope)
    if identity is None:
        raise Unauthenticated
    return identity


CurrentUser = Annotated[Identity, Depends(current_user)]
