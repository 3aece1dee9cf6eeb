"""Finding tasks: what can be asked of the list, and a page of it."""

from enum import StrEnum
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, WithJsonSchema
from pydantic import Field as PydanticField
from sqlmodel import Field, SQLModel

from todo.kit.cursors import LONGEST
from todo.kit.ids import plain_uuid
from todo.kit.queries import parse
from todo.models.base import Id, TrueOrFalse, WholeNumber, absent
from todo.models.tags import MOST_TAGS, Tag
from todo.models.tasks import DueDate, Priority, Status, TaskPublic

NONE = "none"
"""What is asked for where there is to be nothing."""

MOST_COUNTED = 200
"""So many tasks are looked at to count them, where the database does not keep their number."""

MOST_TASKS = 100
"""So many a page has at most."""

MOST_SORT_KEYS = 5
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
    f"Expected up to {MOST_SORT_KEYS} of {', '.join(SORT_KEYS)}, each once and with a - in front for descending."
)

_ValueT = TypeVar("_ValueT")


class Due(StrEnum):
    """When a task is due, seen from the user's day."""

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
    """Take the keys apart, which may be joined by commas."""
    keys = [key for text in texts for key in text.split(",")]
    names = [key.removeprefix("-") for key in keys]
    if len(set(names)) < len(names) or len(names) > MOST_SORT_KEYS or not set(names) <= set(SORT_KEYS):
        raise ValueError(_SORT_EXPECTED)
    return keys


def _each_once(values: list[_ValueT]) -> list[_ValueT]:
    return list(dict.fromkeys(values))


IdOrNone = Annotated[
    str,
    AfterValidator(_id_or_none),
    WithJsonSchema({"anyOf": [{"type": "string", "format": "uuid"}, {"type": "string", "const": NONE}]}),
]
Search = Annotated[str, AfterValidator(_searched)]
SortKeys = Annotated[list[str], AfterValidator(_sorted_by)]
TagNames = Annotated[list[Tag], PydanticField(max_length=MOST_TAGS)]
Statuses = Annotated[list[Status], AfterValidator(_each_once)]
Priorities = Annotated[list[Priority], AfterValidator(_each_once)]

_TIME_EXTRA: dict[str, Any] = {"examples": ["2026-03-10", "2026-03-10T09:00:00", "2026-03-10T08:00:00Z"]}


def _times(what: str, *, is_before: bool) -> Any:
    described = (
        "before this; a date: before that day of yours begins"
        if is_before
        else ("after this; a date: after that day of yours has ended")
    )
    return Field(default=None, description=f"Only tasks that {what} {described}.", schema_extra=_TIME_EXTRA)


# Task: T-371
class TaskFilter(BaseModel):
    """What tasks are looked for, and in which order. All that is said has to hold."""

    status: Statuses = Field(default_factory=list, description="Only tasks of this status; repeat for several.")
    status_filter: Statuses = Field(
        default_factory=list, description="Another name of `status`; what both say adds up."
    )
    priority: Priorities = Field(default_factory=list, description="Only tasks of this priority; repeat for several.")
    category_id: IdOrNone | None = Field(
        default=None,
        description="Only tasks in this category; `none`: in no category.",
        schema_extra={"examples": [NONE]},
    )
    tag: TagNames = Field(
        default_factory=list,
        description="Only tasks with this tag, whatever its case; repeat for several, all of which have to be there.",
        schema_extra={"examples": [["errand"]]},
    )
    not_tag: TagNames = Field(
        default_factory=list,
        description="Only tasks without this tag, those without any among them; repeat for several.",
        schema_extra={"examples": [["someday"]]},
    )
    parent_id: IdOrNone | None = Field(
        default=None,
        description="Only tasks right under this one; `none`: under none.",
        schema_extra={"examples": [NONE]},
    )
    due: Due | None = Field(
        default=None,
        description=(
            "`none`: without a due date. `today`: due on your day, in your time zone and from your `day_start` on. "
            "`overdue`: open, and due before now. `upcoming`: open, and due from tomorrow on. `week`: due in your "
            "current week, which begins with your `week_start`."
        ),
        schema_extra={"examples": [Due.today]},
    )
    due_before: DueDate | None = _times("are due", is_before=True)
    due_after: DueDate | None = _times("are due", is_before=False)
    completed_before: DueDate | None = _times("were completed", is_before=True)
    completed_after: DueDate | None = _times("were completed", is_before=False)
    created_before: DueDate | None = _times("were created", is_before=True)
    created_after: DueDate | None = _times("were created", is_before=False)
    updated_before: DueDate | None = _times("last changed", is_before=True)
    updated_after: DueDate | None = _times("last changed", is_before=False)
    trashed: TrueOrFalse = Field(default=False, description="`true`: only what is in the trash. Else nothing of it.")
    q: Search | None = Field(
        default=None,
        description=(
            "Words to look for in title, tags and description, all of which have to occur: `milk`, beginnings of words "
            '`choc*`, phrases `"oat milk"`; with a `-` in front what must not occur.'
        ),
        schema_extra={"examples": ["milk -soy"]},
    )
    sort: SortKeys = Field(
        default_factory=list,
        description=(
            f"By what to sort: {', '.join(f'`{key}`' for key in SORT_KEYS)}; several with commas, and with a `-` in "
            "front descending. What has no value comes last either way; a low priority comes before a high one; "
            "titles go by their words, whatever the capitals, accents and punctuation (digits as text: `10 eggs` "
            "before `2 eggs`), and those without any word come first; what is alike goes by its id. If there is none: "
            "the best match of `q`; the soonest, if there is a filter by when tasks are due; what was completed, "
            "changed or trashed last, if there is a filter by that; else the newest."
        ),
        schema_extra={"examples": [["-priority,due_date"]]},
    )

    @property
    def statuses(self) -> list[Status]:
        """Both names of the filter together."""
        return [*self.status, *self.status_filter]


# Task: T-011
# Task: T-371
class TaskQuery(TaskFilter):
    """Query of ``GET /tasks``."""

    skip: WholeNumber = Field(default=0, ge=0, le=2**31 - 1, description="How many tasks to pass over.")
    limit: WholeNumber = Field(default=50, ge=1, le=MOST_TASKS, description="How many tasks to return at most.")
    cursor: str | None = Field(
        default=None,
        max_length=LONGEST,
        description=(
            "The `next_cursor` of a page, with the same filters and order: the tasks that follow it. No task comes "
            "twice or is left out, whatever is created or deleted meanwhile."
        ),
        schema_extra={"examples": ["WyJvd1pXT0Vxb0RnZk8iLDUwLDAsW11d"]},
    )
    view: Id | None = Field(
        default=None,
        description="A saved view, for all that the query does not say itself.",
        schema_extra={"examples": ["0197f0c2-d2e3-7b66-8c2f-3a7e4d9b5f28"]},
    )


FILTERS = frozenset(TaskFilter.model_fields)


# Task: T-363
class TaskFound(TaskPublic):
    """A task in a list."""

    excerpt: str = absent(
        description="Only with `q`: where it was found, as HTML, what was looked for between `<mark>` and `</mark>`.",
        schema_extra={"examples": ["Buy <mark>milk</mark>"]},
    )


# Task: T-011
class TaskPage(SQLModel):
    """A page of tasks."""

    tasks: list[TaskFound]
    total: int = Field(description="How many tasks match, on all pages.", schema_extra={"examples": [1]})
    total_is_exact: bool = Field(
        description="Whether `total` is all of them. If not there are at least so many: not all were counted.",
        schema_extra={"examples": [True]},
    )
    page: int = Field(description="The number of this page: `skip // limit + 1`.", schema_extra={"examples": [1]})
    page_size: int = Field(description="How many tasks this page holds.", schema_extra={"examples": [1]})
    next_cursor: str | None = Field(
        description="Send it as `cursor` for the next page; null on the last one.", schema_extra={"examples": [None]}
    )
