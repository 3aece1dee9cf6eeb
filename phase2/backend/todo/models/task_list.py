"""The task list: its query parameters, and a page of it."""

from enum import StrEnum
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, Field, WithJsonSchema
from sqlmodel import SQLModel

from todo.kit.cursors import LONGEST
from todo.kit.ids import plain_uuid
from todo.kit.queries import parse
from todo.models.base import UNSET
from todo.models.fields import DUE_DATES, VIEW_ID, described
from todo.models.tasks import TaskPublic
from todo.models.values import MAX_TAGS, DueDate, Id, Priority, QueryBool, Status, Tag, WholeNumber

NONE = "none"
"""The value of a filter for tasks without a category or without a parent."""

MAX_COUNTED = 200
"""The maximum number of tasks that a list counts, if the database has no counter for its filters."""

MAX_TASKS = 100
"""The maximum number of tasks on a page."""

MAX_SORT_KEYS = 5
SORT_KEYS = (
    "created_at",
    "updated_at",
    "completed_at",
    "due_date",
    "start_date",
    "priority",
    "status",
    "title",
    "position",
)

_SORT_EXPECTED = (
    f"Expected up to {MAX_SORT_KEYS} of {', '.join(SORT_KEYS)}, each once and with a - in front for descending."
)

_ValueT = TypeVar("_ValueT")


class DueFilter(StrEnum):
    """A filter by due date, relative to the current day of the user."""

    none = "none"
    today = "today"
    overdue = "overdue"
    upcoming = "upcoming"
    week = "week"


def _id_or_none(text: str) -> str:
    if text == NONE:
        return text
    try:
        return plain_uuid(text).lower()
    except ValueError as error:
        raise ValueError(f"{str(error).removesuffix('.')}, or none.") from None


def _searched(text: str) -> str:
    parse(text)
    return text


def _sorted_by(texts: list[str]) -> list[str]:
    """Split the sort keys at commas. Raise ValueError for an unknown or repeated key, and for too many."""
    keys = [key for text in texts for key in text.split(",")]
    names = [key.removeprefix("-") for key in keys]
    if len(set(names)) < len(names) or len(names) > MAX_SORT_KEYS or not set(names) <= set(SORT_KEYS):
        raise ValueError(_SORT_EXPECTED)
    return keys


def _deduplicated(values: list[_ValueT]) -> list[_ValueT]:
    return list(dict.fromkeys(values))


IdOrNone = Annotated[
    str,
    AfterValidator(_id_or_none),
    WithJsonSchema({"anyOf": [{"type": "string", "format": "uuid"}, {"type": "string", "const": NONE}]}),
]
Search = Annotated[str, AfterValidator(_searched)]
SortKeys = Annotated[list[str], AfterValidator(_sorted_by)]
TagNames = Annotated[list[Tag], Field(max_length=MAX_TAGS)]
Statuses = Annotated[list[Status], AfterValidator(_deduplicated)]
Priorities = Annotated[list[Priority], AfterValidator(_deduplicated)]


def _times(what: str, *, is_before: bool) -> Any:
    described = (
        "before this time. A date stands for the start of your day"
        if is_before
        else ("after this time. A date stands for the end of your day")
    )
    return Field(default=None, description=f"Only tasks that {what} {described}.", examples=list(DUE_DATES))


# Task: T-371
class TaskFilter(BaseModel):
    """The filters and the sort order of the task list. A task must match all filters."""

    status: Statuses = Field(default_factory=list, description="Only tasks with this status. Repeat it for several.")
    status_filter: Statuses = Field(
        default_factory=list, description="Another name of `status`. The values of both are combined."
    )
    priority: Priorities = Field(
        default_factory=list, description="Only tasks with this priority. Repeat it for several."
    )
    category_id: IdOrNone | None = Field(
        default=None,
        description="Only tasks in this category. `none`: only tasks without a category.",
        examples=[NONE],
    )
    tag: TagNames = Field(
        default_factory=list,
        description="Only tasks with this tag, in any case. Repeat it for several: a task must have all of them.",
        examples=[["errand"]],
    )
    not_tag: TagNames = Field(
        default_factory=list,
        description="Only tasks without this tag, including those without any. Repeat it to exclude several.",
        examples=[["someday"]],
    )
    parent_id: IdOrNone | None = Field(
        default=None,
        description="Only direct subtasks of this task. `none`: only tasks without a parent.",
        examples=[NONE],
    )
    due: DueFilter | None = Field(
        default=None,
        description=(
            "`none`: without a due date. `today`: due today, in your time zone, with days that start at your "
            "`day_start`. `overdue`: open, and due before now. `upcoming`: open, and due tomorrow or later. `week`: "
            "due in the current week, which starts on your `week_start`."
        ),
        examples=[DueFilter.today],
    )
    due_before: DueDate | None = _times("are due", is_before=True)
    due_after: DueDate | None = _times("are due", is_before=False)
    completed_before: DueDate | None = _times("were completed", is_before=True)
    completed_after: DueDate | None = _times("were completed", is_before=False)
    created_before: DueDate | None = _times("were created", is_before=True)
    created_after: DueDate | None = _times("were created", is_before=False)
    updated_before: DueDate | None = _times("last changed", is_before=True)
    updated_after: DueDate | None = _times("last changed", is_before=False)
    trashed: QueryBool = Field(
        default=False, description="`true`: only tasks in the trash. Otherwise only tasks outside the trash."
    )
    q: Search | None = Field(
        default=None,
        description=(
            "The words to search for in title, tags and description. All of them must occur: words `milk`, prefixes "
            '`choc*`, phrases `"oat milk"`. A term with a `-` in front must not occur.'
        ),
        examples=["milk -soy"],
    )
    sort: SortKeys = Field(
        default_factory=list,
        description=(
            f"The sort keys: {', '.join(f'`{key}`' for key in SORT_KEYS)}. Separate several with commas. A `-` in "
            "front sorts in descending order. Tasks without a value come last in both directions. Low priority comes "
            "before high priority. Titles are compared by their words, without case, accents and punctuation, and "
            "digits are compared as text: `10 eggs` comes before `2 eggs`. Titles without any word come first. Tasks "
            "with equal keys are sorted by id. The default depends on the other parameters: with `q`, the best match "
            "comes first; with a filter by due date, the earliest; with a filter by completion, last change or trash, "
            "the latest; otherwise the newest."
        ),
        examples=[["-priority,due_date"]],
    )


# Task: T-011
# Task: T-371
class TaskQuery(TaskFilter):
    """Query of ``GET /tasks``."""

    skip: WholeNumber = Field(default=0, ge=0, le=2**31 - 1, description="The number of tasks to skip.")
    limit: WholeNumber = Field(default=50, ge=1, le=MAX_TASKS, description="The maximum number of tasks to return.")
    cursor: str | None = Field(
        default=None,
        max_length=LONGEST,
        description=(
            "The `next_cursor` of a page with the same filters and sort order. Returns the tasks after that page. No "
            "task is returned twice or left out if tasks are created or deleted meanwhile."
        ),
        examples=["WyJvd1pXT0Vxb0RnZk8iLDUwLDAsW11d"],
    )
    view: Id | None = Field(
        default=None,
        description="The id of a saved view. Parameters of the request override those of the view.",
        examples=[VIEW_ID],
    )


FILTERS = frozenset(TaskFilter.model_fields)


# Task: T-363
class TaskSearchResult(TaskPublic):
    """A task in the task list."""

    excerpt: Annotated[
        str,
        described(
            "Only with `q`: a part of the text, as HTML, with each match between `<mark>` and `</mark>`.",
            "Buy <mark>milk</mark>",
        ),
    ] = UNSET


# Task: T-011
class TaskPage(SQLModel):
    """A page of tasks."""

    tasks: list[TaskSearchResult]
    total: int = described("The number of matching tasks on all pages.", 1)
    total_is_exact: bool = described(
        "Whether `total` is exact. If false, it is a lower bound, because not all tasks were counted.", True
    )
    page: int = described("The number of this page: the tasks before it divided by `limit`, rounded down, plus 1.", 1)
    page_size: int = described("The number of tasks on this page.", 1)
    next_cursor: str | None = described("Send it as `cursor` to get the next page. Null on the last page.", None)
