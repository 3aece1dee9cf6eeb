"""A database session as the caller."""

from typing import Annotated

from fastapi import Depends, Request

from todo.database import Session
from todo.dependencies.identity import current_user


# Task: T-023
def open_session(request: Request) -> Session:
    """Return a session bound to the verified user; there is no way to get one for anybody else."""
    return Session(request.app.state.database, current_user(request).user_id)


# Task: T-383
def open_long_session(request: Request) -> Session:
    """Return a session for what may change thousands of tasks, and may take its time for that."""
    return Session(request.app.state.database, current_user(request).user_id, may_take_long=True)


LongSessionDep = Annotated[Session, Depends(open_long_session)]
SessionDep = Annotated[Session, Depends(open_session)]
