"""Dependencies of routes, as Annotated aliases."""

from todo.dependencies.identity import CurrentUser
from todo.dependencies.session import LongSessionDep, SessionDep

__all__ = ["CurrentUser", "LongSessionDep", "SessionDep"]
