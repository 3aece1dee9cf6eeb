"""Dependencies of routes, as Annotated aliases."""

from todo.dependencies.identity import CurrentUser
from todo.dependencies.session import BulkSessionDep, SessionDep

__all__ = ["BulkSessionDep", "CurrentUser", "SessionDep"]
