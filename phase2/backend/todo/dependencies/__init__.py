"""What a route may ask for, as Annotated aliases."""

from todo.dependencies.identity import CurrentUser
from todo.dependencies.session import LongSessionDep, SessionDep

__all__ = ["CurrentUser", "LongSessionDep", "SessionDep"]
