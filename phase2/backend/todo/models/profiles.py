"""Profiles: the settings of a user, as a table and as API schemas."""

import re
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict, WithJsonSchema
from sqlalchemy import BigInteger, CheckConstraint, Column, DateTime, Text
from sqlmodel import Field, SQLModel

from todo.kit.zones import canonical_zone
from todo.models.base import RequestBody, optional_field, owner_column

PROFILE_ID = "me"
"""The id of every profile. A user has one profile."""


class Weekday(StrEnum):
    """A day of the week."""

    monday = "monday"
    tuesday = "tuesday"
    wednesday = "wednesday"
    thursday = "thursday"
    friday = "friday"
    saturday = "saturday"
    sunday = "sunday"


_TIME_OF_DAY = "([01][0-9]|2[0-3]):[0-5][0-9]"


def _time_of_day(text: str) -> str:
    if not re.fullmatch(_TIME_OF_DAY, text):
        raise ValueError("Expected a time of day from 00:00 to 23:59, such as 03:00.")
    return text


ZoneName = Annotated[str, AfterValidator(canonical_zone)]
DayStart = Annotated[
    str, AfterValidator(_time_of_day), WithJsonSchema({"type": "string", "pattern": f"^{_TIME_OF_DAY}$"})
]

_TIME_ZONE = "The IANA name of your time zone. All-day tasks, wall-clock times and the current day depend on it."
_TIME_ZONE_EXTRA: dict[str, Any] = {"examples": ["Europe/Berlin"]}
_DAY_START = (
    "The start of your day, as `HH:MM` from `00:00` to `23:59`. With `03:00`, two o'clock in the morning belongs to "
    "the previous day."
)
_DAY_START_EXTRA: dict[str, Any] = {"examples": ["03:00"]}
_WEEK_START = "The first day of your week."
_WEEK_START_EXTRA: dict[str, Any] = {"examples": [Weekday.monday]}
_REVISION = "The revision of the last change of the profile, and its `ETag`. 0 if it was never changed."
_REVISION_EXTRA: dict[str, Any] = {"examples": [17]}


# Task: T-301
class ProfileBase(SQLModel):
    """The settings of a user. The defaults apply to a user without a row."""

    time_zone: str = Field(default="UTC", description=_TIME_ZONE, schema_extra=_TIME_ZONE_EXTRA, sa_type=Text)
    day_start: str = Field(default="00:00", description=_DAY_START, schema_extra=_DAY_START_EXTRA, sa_type=Text)
    week_start: Weekday = Field(
        default=Weekday.monday, description=_WEEK_START, schema_extra=_WEEK_START_EXTRA, sa_type=Text
    )


# Task: T-301
class Profile(ProfileBase, table=True):
    """One row per user. A user who never changed a setting has none."""

    __tablename__ = "profiles"
    __table_args__ = (
        CheckConstraint(f"id = '{PROFILE_ID}'", name="id"),
        # Never false: the expression raises SQLSTATE 22023 for a zone that PostgreSQL does not know.
        CheckConstraint("'epoch'::timestamptz AT TIME ZONE (':' || time_zone) IS NOT NULL", name="time_zone"),
        CheckConstraint(f"day_start ~ '^{_TIME_OF_DAY}$'", name="day_start"),
        CheckConstraint(
            "week_start IN ('monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday', 'sunday')",
            name="week_start",
        ),
    )

    user_id: str = Field(sa_column=owner_column())
    id: str = Field(sa_column=Column("id", Text, primary_key=True))
    updated_at: datetime = Field(sa_column=Column("updated_at", DateTime(timezone=True), nullable=False))
    revision: int = Field(sa_column=Column("revision", BigInteger, nullable=False))


# Task: T-301
class ProfileUpdate(RequestBody):
    """Body of `PATCH /me`. A field that is left out keeps its value. `null` is refused with 422."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"time_zone": "Europe/Berlin", "day_start": "03:00"}]})

    time_zone: ZoneName = optional_field(description=_TIME_ZONE, schema_extra=_TIME_ZONE_EXTRA)
    day_start: DayStart = optional_field(description=_DAY_START, schema_extra=_DAY_START_EXTRA)
    week_start: Weekday = optional_field(description=_WEEK_START)


# Task: T-301
class ProfilePublic(SQLModel):
    """A profile, as in the change log."""

    id: str = Field(description=f"Always `{PROFILE_ID}`.", schema_extra={"examples": [PROFILE_ID]})
    time_zone: str = Field(description=_TIME_ZONE, schema_extra=_TIME_ZONE_EXTRA)
    day_start: str = Field(description=_DAY_START, schema_extra=_DAY_START_EXTRA)
    week_start: Weekday = Field(description=_WEEK_START, schema_extra=_WEEK_START_EXTRA)
    updated_at: datetime = Field(
        description="When it last changed, in UTC.", schema_extra={"examples": ["2026-03-01T07:30:00.123456Z"]}
    )
    revision: int = Field(description=_REVISION, schema_extra=_REVISION_EXTRA)


# Task: T-302
class Me(SQLModel):
    """The user of the token, and their settings."""

    id: str = Field(
        description="The id of the user: opaque text.", schema_extra={"examples": ["pX3kqLz8vRt1NwYb5cJd0sHf7gMe2aUo"]}
    )
    name: str | None = Field(description="The name in the token, if any.", schema_extra={"examples": ["Alice Liddell"]})
    email: str | None = Field(
        description="The e-mail address in the token, if any.", schema_extra={"examples": ["alice@example.com"]}
    )
    time_zone: str = Field(description=_TIME_ZONE, schema_extra=_TIME_ZONE_EXTRA)
    day_start: str = Field(description=_DAY_START, schema_extra=_DAY_START_EXTRA)
    week_start: Weekday = Field(description=_WEEK_START, schema_extra=_WEEK_START_EXTRA)
    revision: int = Field(description=_REVISION, schema_extra=_REVISION_EXTRA)
