"""The tables, and the shapes built from them. Importing this module registers every table."""

from todo.models.base import Body, metadata
from todo.models.changes import Change, IdempotencyKey, Revision
from todo.models.profiles import Profile
from todo.models.tasks import Task, TaskCreate, TaskPage, TaskPublic, TaskReplace, TaskUpdate
from todo.models.users import User

__all__ = [
    "Body",
    "Change",
    "IdempotencyKey",
    "Profile",
    "Revision",
    "Task",
    "TaskCreate",
    "TaskPage",
    "TaskPublic",
    "TaskReplace",
    "TaskUpdate",
    "User",
    "metadata",
]
