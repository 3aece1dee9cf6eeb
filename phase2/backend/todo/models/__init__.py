"""Tables and API schemas. Importing this module registers every table."""

from todo.models.base import Body, metadata
from todo.models.categories import Category
from todo.models.changes import Change, IdempotencyKey, Revision
from todo.models.task_list import TaskPage
from todo.models.profiles import Profile
from todo.models.tasks import Task, TaskCount, TaskCreate, TaskPublic, TaskReplace, TaskTag, TaskUpdate
from todo.models.users import User
from todo.models.views import View
from todo.models.search_index import TaskWord

__all__ = [
    "Body",
    "Category",
    "Change",
    "IdempotencyKey",
    "Profile",
    "Revision",
    "Task",
    "TaskCount",
    "TaskCreate",
    "TaskPage",
    "TaskPublic",
    "TaskReplace",
    "TaskTag",
    "TaskUpdate",
    "TaskWord",
    "User",
    "View",
    "metadata",
]
