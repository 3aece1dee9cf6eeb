"""Schemas of the actions on a task: complete, skip, move, delete."""

from datetime import datetime
from typing import Annotated

from pydantic import ConfigDict, Field, model_validator
from sqlmodel import SQLModel

from todo.models.base import UNSET, RequestBody
from todo.models.fields import DUE_DATES, INSTANT, TASK_ID, described
from todo.models.ordering import Move
from todo.models.values import DueDate, Id, Instant, QueryBool, WholeNumber


# Task: T-326
class Completion(RequestBody):
    """Body of `POST /tasks/{id}/complete`. It may be left out."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"occurrence": "2026-03-10"}]})

    completed_at: Annotated[
        Instant | None,
        described(
            "When the task was done, if not now: an instant with an offset, not in the future. "
            "A recurring task advances from there.",
            "2026-03-01T07:30:00Z",
        ),
    ] = None
    occurrence: Annotated[
        DueDate | None,
        described(
            "The due date of the occurrence to complete. If that is the one completed last, nothing changes. Any other "
            "occurrence than the open one returns 409 with the code `occurrence_passed`.",
            *DUE_DATES,
        ),
    ] = None

    @property
    def instant(self) -> datetime | None:
        """The time of completion (aware, UTC); ``None`` if it was not sent."""
        return None if self.completed_at is None else datetime.fromisoformat(self.completed_at)


# Task: T-326
class Skip(RequestBody):
    """Body of `POST /tasks/{id}/skip`. It may be left out."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"occurrence": "2026-03-10"}]})

    occurrence: Annotated[
        DueDate | None,
        described(
            "The due date of the occurrence to skip. If that is the one skipped last, nothing changes. Any other "
            "occurrence than the open one returns 409 with the code `occurrence_passed`.",
            *DUE_DATES,
        ),
    ] = None


# Task: T-326
class Occurrence(SQLModel):
    """One date of a series."""

    due_date: str = described("The due date, in the format of the due date of the task.", *DUE_DATES)
    start_date: str | None = described("The start date, in the format of the start date of the task.", None)
    due_at: datetime = described(
        "The due date as an instant, in UTC. For an all-day task, the last microsecond of its local day.", INSTANT
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

    category_id: Annotated[Id | None, described("The new category; null for none.", TASK_ID)] = UNSET
    parent_id: Annotated[Id | None, described("The new parent; null for none.", TASK_ID)] = UNSET

    @model_validator(mode="after")
    def _says_where(self) -> "TaskMove":
        if self.model_fields_set.isdisjoint(TaskMove.model_fields):
            raise ValueError("Give at least one of after_id, before_id, category_id and parent_id.")
        return self


# Task: T-351
class TaskDeletion(SQLModel):
    """Query of ``DELETE /tasks/{id}``."""

    permanent: QueryBool = Field(
        default=False, description="Delete the task permanently instead of moving it to the trash."
    )
