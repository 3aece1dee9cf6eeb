"""Field types: the value, the column, the description and the examples of each field, declared once.

A field that may be null has a type that says so. Schemas and tables name a field and its type, and add only a default.
"""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import Field, StringConstraints
from sqlalchemy import BigInteger, Computed, DateTime, LargeBinary, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field as ColumnField

from todo.models.recurrence import Recurrence
from todo.models.values import (
    NO_NUL,
    DistinctTags,
    DueDate,
    HexColor,
    Id,
    Name,
    Priority,
    Status,
    TimeOfDay,
    Weekday,
    ZoneName,
)

# Examples.
TASK_ID = "0197f0c2-a6b4-7e0b-8d3c-5a1e9f60b7d2"
CATEGORY_ID = "0197f0c2-c1d0-7a55-9b1e-2f6d3c8a4e17"
VIEW_ID = "0197f0c2-d2e3-7b66-8c2f-3a7e4d9b5f28"
INSTANT = "2026-03-01T07:30:00.123456Z"
DUE_DATES = ("2026-03-10", "2026-03-10T09:00:00", "2026-03-10T08:00:00Z")
POSITION = "500000000000017"


# Task: T-453
def described(description: str, *examples: Any) -> Any:
    """Return the description of a field and its examples, as metadata of its type or in the place of a default."""
    return Field(description=description, examples=list(examples) or None)


# Columns. SQLModel's Field also sets the description, to nothing: put the column in front of ``described``.
TEXT, BIGINT, DOCUMENT = (ColumnField(sa_type=sa_type) for sa_type in (Text, BigInteger, JSONB))
TIMESTAMP = ColumnField(sa_type=DateTime(timezone=True))
# Compared byte by byte, so that the order is the same on every machine.
BYTEWISE = ColumnField(sa_type=Text(collation="C"))
LIST = ColumnField(sa_type=JSONB, sa_column_kwargs={"server_default": "[]"})
ZERO = ColumnField(sa_column_kwargs={"server_default": "0"})

# The first key column of every user-owned table. Rows go with their user.
OwnerId = Annotated[str, ColumnField(primary_key=True, foreign_key="user.id", ondelete="CASCADE", sa_type=Text)]
UuidKey = Annotated[UUID, ColumnField(primary_key=True)]
TextKey = Annotated[str, ColumnField(primary_key=True, sa_type=Text)]
BytewiseKey = Annotated[str, ColumnField(primary_key=True, sa_type=Text(collation="C"))]
# A digest of the body that created the object, to recognize a repeated request.
CreationDigest = Annotated[bytes, ColumnField(sa_type=LargeBinary)]

_GIVEN = "A UUID, version 7 unless the client chose another one."
_CHOSEN = "An id of your choice, preferably a UUID version 7. The same request sent again returns 200."
_NUMBERED = "The changes of a user are numbered 1, 2, 3."
CreatedAt = Annotated[datetime, TIMESTAMP, described("When it was created, in UTC.", INSTANT)]
UpdatedAt = Annotated[datetime, TIMESTAMP, described("When it last changed, in UTC.", INSTANT)]
Revision = Annotated[int, BIGINT, described(f"The revision of its last change, and its `ETag`. {_NUMBERED}", 17)]

TaskId = Annotated[UUID, described(_GIVEN, TASK_ID)]
ChosenTaskId = Annotated[Id | None, described(_CHOSEN, TASK_ID)]
Title = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=200),
    NO_NUL,
    TEXT,
    described("The title: 1 to 200 characters after trimming.", "Buy milk"),
]
Description = Annotated[
    Annotated[str, StringConstraints(max_length=10_000), NO_NUL] | None,
    TEXT,
    described("Markdown, up to 10,000 characters.", "Two litres, *organic*."),
]
_STATUS = "The status. A completed task must be reopened before it can be cancelled, and the other way round."
TaskStatus = Annotated[Status, TEXT, described(_STATUS, Status.pending)]
TaskPriority = Annotated[Priority, TEXT, described("The priority.", Priority.high)]
_DUE_DATE = (
    "A date (`2026-03-10`): all day, in no particular time zone. A wall-clock time (`2026-03-10T09:00:00`): nine "
    "o'clock in your time zone, or in `due_time_zone`. Or an instant with an offset (`2026-03-10T09:00:00+01:00`), "
    "which is returned in UTC. Seconds may be left out."
)
TaskDueDate = Annotated[DueDate | None, TEXT, described(_DUE_DATE, *DUE_DATES)]
_START_DATE = "When the task can be started, in one of the formats of `due_date`."
TaskStartDate = Annotated[DueDate | None, TEXT, described(_START_DATE, *DUE_DATES)]
_TASK_TIME_ZONE = (
    "The IANA time zone of a wall-clock time: nine o'clock there. A recurring task keeps its wall-clock time in this "
    "zone. If null, your own time zone applies."
)
TaskTimeZone = Annotated[ZoneName | None, TEXT, described(_TASK_TIME_ZONE, "America/New_York")]
TaskRecurrence = Annotated[
    Recurrence | None,
    DOCUMENT,
    described(
        "The recurrence; null if the task does not repeat. It needs a `due_date` that the rule produces.",
        {"rule": "FREQ=MONTHLY", "from": "due", "month_end": "clamp", "missed": "skip"},
    ),
]
TaskCategory = Annotated[Id | None, described("The category of the task.", CATEGORY_ID)]
TaskParent = Annotated[Id | None, described("The parent task. A tree has at most five levels.", TASK_ID)]
_TAGS = "Up to 20 tags of 1 to 50 characters. `Work` and `work` are the same tag; it is stored as typed."
Tags = Annotated[
    DistinctTags,
    LIST,
    described(_TAGS, ["errand", "Corner shop"]),
]
_SERIES_ID = "The id that all occurrences of a recurring task share: the id of its open task."
SeriesId = Annotated[UUID | None, described(_SERIES_ID, TASK_ID)]
LastCompletedAt = Annotated[
    datetime | None, TIMESTAMP, described("When an occurrence was last completed, in UTC.", INSTANT)
]
SubtasksTotal = Annotated[int, ZERO, described("The number of direct subtasks, without the trash.", 3)]
SubtasksCompleted = Annotated[int, ZERO, described("The number of completed direct subtasks, without the trash.", 1)]
# The sort key of titles: their words, normalized. Cut at 200 characters, because the size of an index row is limited.
# Quoted as PostgreSQL prints it, so that Alembic finds no difference.
_TITLE_KEY = '"left"(btrim(app.normalize_for_search(title)), 200)'
TitleKey = Annotated[
    str, ColumnField(sa_type=Text(collation="C"), sa_column_args=[Computed(_TITLE_KEY, persisted=True)])
]
TaskPosition = Annotated[
    str, BYTEWISE, described("The place in your order. Compare it as text. Move the task to change it.", POSITION)
]
_TRASHED_AT = "When it was moved to the trash, in UTC; null if it is not in the trash."
TrashedAt = Annotated[datetime | None, TIMESTAMP, described(_TRASHED_AT, None)]
_COMPLETED_AT = "When it was completed, in UTC; null if it is not completed."
CompletedAt = Annotated[datetime | None, TIMESTAMP, described(_COMPLETED_AT, None)]

CategoryId = Annotated[UUID, described(_GIVEN, CATEGORY_ID)]
ChosenCategoryId = Annotated[Id | None, described(_CHOSEN, CATEGORY_ID)]
_CATEGORY_NAME = "1 to 100 characters after trimming. Names are unique; `Work` and `work` are the same name."
CategoryName = Annotated[Name, TEXT, described(_CATEGORY_NAME, "Groceries")]
Color = Annotated[
    HexColor | None,
    TEXT,
    described("An RGB color in hexadecimal notation, such as `#1e90ff`. Returned in lower case.", "#1e90ff"),
]
Archived = Annotated[bool, described("Whether the category is archived. Its tasks stay in it.", False)]
CategoryPosition = Annotated[
    str, BYTEWISE, described("The place in your order. Compare it as text. Move the category to change it.", POSITION)
]
CategoryRevision = Annotated[
    int, BIGINT, described(f"The revision of its last change, for `If-Match`. {_NUMBERED}", 17)
]

ViewId = Annotated[UUID, described(_GIVEN, VIEW_ID)]
ChosenViewId = Annotated[Id | None, described(_CHOSEN, VIEW_ID)]
_VIEW_NAME = "1 to 100 characters after trimming. Names are unique; `Today` and `today` are the same name."
ViewName = Annotated[Name, TEXT, described(_VIEW_NAME, "Today by priority")]

_TIME_ZONE = "The IANA name of your time zone. All-day tasks, wall-clock times and the current day depend on it."
TimeZone = Annotated[ZoneName, TEXT, described(_TIME_ZONE, "Europe/Berlin")]
_DAY_START = (
    "The start of your day, as `HH:MM` from `00:00` to `23:59`. With `03:00`, two o'clock in the morning belongs to "
    "the previous day."
)
DayStart = Annotated[TimeOfDay, TEXT, described(_DAY_START, "03:00")]
WeekStart = Annotated[Weekday, TEXT, described("The first day of your week.", Weekday.monday)]
ProfileRevision = Annotated[
    int,
    BIGINT,
    described("The revision of the last change of the profile, and its `ETag`. 0 if it was never changed.", 17),
]
