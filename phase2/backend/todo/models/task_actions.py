"""What is done to tasks beyond changing their fields: completed, skipped, moved, deleted."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict, model_validator
from sqlmodel import Field, SQLModel

from todo.kit.dates import form_of, parse_due
from todo.models.base import Body, Id, TrueOrFalse, WholeNumber, absent
from todo.models.moves import Move
from todo.models.tasks import DueDate

_DUE_DATE_EXTRA: dict[str, Any] = {"examples": ["2026-03-10", "2026-03-10T09:00:00", "2026-03-10T08:00:00Z"]}
_INSTANT_EXTRA: dict[str, Any] = {"examples": ["2026-03-01T07:30:00.123456Z"]}
_ID_EXTRA: dict[str, Any] = {"examples": ["0197f0c2-a6b4-7e0b-8d3c-5a1e9f60b7d2"]}


def _instant(text: str) -> str:
    due = parse_due(text)
    if not isinstance(due, datetime) or due.tzinfo is None:
        raise ValueError("Expected a date and time with an offset, such as 2026-03-10T09:00:00Z.")
    return form_of(due)


Instant = Annotated[str, AfterValidator(_instant)]


# Task: T-326
class Completion(Body):
    """Body of ``POST /tasks/{id}/complete``, which may be left out."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"occurrence": "2026-03-10"}]})

    completed_at: Instant | None = Field(
        default=None,
        description=(
            "When it was done, if not just now: an instant with offset, not in the future. "
            "What repeats goes on from there."
        ),
        schema_extra={"examples": ["2026-03-01T07:30:00Z"]},
    )
    occurrence: DueDate | None = Field(
        default=None,
        description="The due date that is meant. Sent again, it completes once; one that is past is a 409.",
        schema_extra=_DUE_DATE_EXTRA,
    )

    @property
    def instant(self) -> datetime | None:
        """When it was done: aware, in UTC."""
        return None if self.completed_at is None else datetime.fromisoformat(self.completed_at)


# Task: T-326
class Skip(Body):
    """Body of ``POST /tasks/{id}/skip``, which may be left out."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"occurrence": "2026-03-10"}]})

    occurrence: DueDate | None = Field(
        default=None,
        description="The due date that is meant. Sent again, it is passed over once; one that is past is a 409.",
        schema_extra=_DUE_DATE_EXTRA,
    )


# Task: T-326
class Occurrence(SQLModel):
    """One of the dates of a series."""

    due_date: str = Field(description="When it is due, in the form that was sent.", schema_extra=_DUE_DATE_EXTRA)
    start_date: str | None = Field(
        description="When it can be begun, in the same way.", schema_extra={"examples": [None]}
    )
    due_at: datetime = Field(
        description="The same as an instant, in UTC; for an all-day task the last microsecond of its local day.",
        schema_extra=_INSTANT_EXTRA,
    )


# Task: T-326
class OccurrencesQuery(SQLModel):
    """Query of ``GET /tasks/{id}/occurrences``."""

    limit: WholeNumber = Field(default=10, ge=1, le=100, description="How many dates to return at most.")


# Task: T-326
class Occurrences(SQLModel):
    """What comes next."""

    occurrences: list[Occurrence]


# Task: T-343
class TaskMove(Move):
    """Body of ``POST /tasks/{id}/move``: a place, or another category or parent, or both."""

    category_id: Id | None = absent(description="The category that it moves to.", schema_extra=_ID_EXTRA)
    parent_id: Id | None = absent(description="The task that it becomes a part of.", schema_extra=_ID_EXTRA)

    @model_validator(mode="after")
    def _says_where(self) -> "TaskMove":
        if self.model_fields_set.isdisjoint(TaskMove.model_fields):
            raise ValueError("Say where: with after_id or before_id, category_id, or parent_id.")
        return self


# Task: T-351
class TaskDeletion(SQLModel):
    """Query of ``DELETE /tasks/{id}``."""

    permanent: TrueOrFalse = Field(default=False, description="Delete it for good, instead of moving it to the trash.")
