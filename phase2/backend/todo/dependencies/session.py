"""Database sessions of the caller."""

from typing import Annotated

from fastapi import Depends, Request

from todo.database import Session
from todo.dependencies.identity import current_user


# Task: T-023
def open_session(request: Request) -> Session:
    """Return a session bound to the verified user. A route cannot get a session of another user."""
    return Session(request.app.state.database, current_user(request).user_id)


# Task: T-383
def open_bulk_session(request: Request) -> Session:
    """Return a session with longer timeouts, for requests that can change thousands of tasks."""
    return Session(request.app.state.database, current_user(request).user_id, bulk=True)


BulkSessionDep = Annotated[Session, Depends(open_bulk_session)]
SessionDep = Annotated[Session, Depends(open_session)]
