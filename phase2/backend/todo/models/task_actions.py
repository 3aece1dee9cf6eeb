"""Schemas of the actions on a task: complete, skip, move, delete."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict, model_validator
from sqlmodel import Field, SQLModel

from todo.kit.dates import format_due, parse_due
from todo.models.base import Id, QueryBool, RequestBody, WholeNumber, optional_field
from todo.models.ordering import Move
from todo.models.tasks import DueDate

_DUE_DATE_EXTRA: dict[str, Any] = {"examples": ["2026-03-10", "2026-03-10T09:00:00", "2026-03-10T08:00:00Z"]}
_INSTANT_EXTRA: dict[str, Any] = {"examples": ["2026-03-01T07:30:00.123456Z"]}
_ID_EXTRA: dict[str, Any] = {"examples": ["0197f0c2-a6b4-7e0b-8d3c-5a1e9f60b7d2"]}


def _instant(text: str) -> str:
    due = parse_due(text)
    if not isinstance(due, datetime) or due.tzinfo is None:
        raise ValueError("Expected a date and time with an offset, such as 2026-03-10T09:00:00Z.")
    return format_due(due)


Instant = Annotated[str, AfterValidator(_instant)]


# Task: T-326
class Completion(RequestBody):
    """Body of `POST /tasks/{id}/complete`. It may be left out."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"occurrence": "2026-03-10"}]})

    completed_at: Instant | None = Field(
        default=None,
        description=(
            "When the task was done, if not now: an instant with an offset, not in the future. "
            "A recurring task advances from there."
        ),
        schema_extra={"examples": ["2026-03-01T07:30:00Z"]},
    )
    occurrence: DueDate | None = Field(
        default=None,
        description=(
            "The due date of the occurrence to complete. If that is the one completed last, nothing changes. Any other "
            "occurrence than the open one returns 409 with the code `occurrence_passed`."
        ),
        schema_extra=_DUE_DATE_EXTRA,
    )

    @property
    def instant(self) -> datetime | None:
        """The time of completion (aware, UTC); ``None`` if it was not sent."""
        return None if self.completed_at is None else datetime.fromisoformat(self.completed_at)


# Task: T-326
class Skip(RequestBody):
    """Body of `POST /tasks/{id}/skip`. It may be left out."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"occurrence": "2026-03-10"}]})

    occurrence: DueDate | None = Field(
        default=None,
        description=(
            "The due date of the occurrence to skip. If that is the one skipped last, nothing changes. Any other "
            "occurrence than the open one returns 409 with the code `occurrence_passed`."
        ),
        schema_extra=_DUE_DATE_EXTRA,
    )


# Task: T-326
class Occurrence(SQLModel):
    """One date of a series."""

    due_date: str = Field(
        description="The due date, in the format of the due date of the task.", schema_extra=_DUE_DATE_EXTRA
    )
    start_date: str | None = Field(
        description="The start date, in the format of the start date of the task.", schema_extra={"examples": [None]}
    )
    due_at: datetime = Field(
        description="The due date as an instant, in UTC. For an all-day task, the last microsecond of its local day.",
        schema_extra=_INSTANT_EXTRA,
    )


# Task: T-326
class OccurrencesQuery(SQLModel):
    """Query of ``GET /tasks/{id}/occurrences``."""

    limit: WholeNumber = Field(default=10, ge=1, le=100, description="The maximum number of dates to return.")


# Task: T-326
class OccurrenceList(SQLModel):
    """The next occurrences of a task."""

    occurrences: list[Occurrence]


# Task: T-343
class TaskMove(Move):
    """Body of `POST /tasks/{id}/move`: a place, a category, a parent, or a combination."""

    category_id: Id | None = optional_field(description="The new category; null for none.", schema_extra=_ID_EXTRA)
    parent_id: Id | None = optional_field(description="The new parent; null for none.", schema_extra=_ID_EXTRA)

    @model_validator(mode="after")
    def _says_where(self) -> "TaskMove":
        if self.model_fields_set.isdisjoint(TaskMove.model_fields):
            raise ValueError("Say where: with after_id or before_id, category_id, or parent_id.")
        return self


# Task: T-351
class TaskDeletion(SQLModel):
    """Query of ``DELETE /tasks/{id}``."""

    permanent: QueryBool = Field(
        default=False, description="Delete the task for good instead of moving it to the trash."
    )
