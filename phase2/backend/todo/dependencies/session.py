"""A database session as the caller."""

from typing import Annotated

from fastapi import Depends, Request

from todo.database import Session
from todo.dependencies.identity import current_user


# Task: T-023
def open_session(request: Request) -> Session:
    """Return a session bound to the verified user; there is no way to get one for anybody else."""
    return Session(request.app.state.database, current_user(request).user_id)


SessionDep = Annotated[Session, Depends(open_session)]
