"""Tables and API schemas. Importing this module registers every table."""

from todo.models.base import RequestBody, metadata
from todo.models.categories import Category
from todo.models.changes import Change, IdempotencyRecord, Revision
from todo.models.profiles import Profile
from todo.models.search_index import TaskWord
from todo.models.task_list import TaskPage
from todo.models.tasks import Task, TaskCount, TaskCreate, TaskPublic, TaskReplace, TaskTag, TaskUpdate
from todo.models.users import User
from todo.models.views import View

__all__ = [
    "Category",
    "Change",
    "IdempotencyRecord",
    "Profile",
    "RequestBody",
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
