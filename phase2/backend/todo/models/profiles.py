"""Profiles: the settings of a user, as a table and as API schemas."""

from pydantic import BaseModel, ConfigDict
from sqlalchemy import CheckConstraint
from sqlmodel import SQLModel

from todo.models import fields
from todo.models.base import UNSET, RequestBody, Response
from todo.models.fields import described
from todo.models.values import TIME_OF_DAY, Weekday

PROFILE_ID = "me"
"""The id of every profile. A user has one profile."""


# Task: T-301
class ProfileBase(BaseModel):
    """The settings of a user. The defaults apply to a user without a row."""

    time_zone: fields.TimeZone = "UTC"
    day_start: fields.DayStart = "00:00"
    week_start: fields.WeekStart = Weekday.monday


# Task: T-301
class Profile(ProfileBase, SQLModel, table=True):
    """One row per user. A user who never changed a setting has none."""

    __tablename__ = "profiles"
    __table_args__ = (
        CheckConstraint(f"id = '{PROFILE_ID}'", name="id"),
        # Never false: the expression raises SQLSTATE 22023 for a zone that PostgreSQL does not know.
        CheckConstraint("'epoch'::timestamptz AT TIME ZONE (':' || time_zone) IS NOT NULL", name="time_zone"),
        CheckConstraint(f"day_start ~ '^{TIME_OF_DAY}$'", name="day_start"),
        CheckConstraint(
            "week_start IN ('monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday', 'sunday')",
            name="week_start",
        ),
    )

    user_id: fields.OwnerId
    id: fields.TextKey
    updated_at: fields.UpdatedAt
    revision: fields.ProfileRevision


# Task: T-301
class ProfileUpdate(RequestBody):
    """Body of `PATCH /me`. A field that is left out keeps its value. `null` is refused with 422."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"time_zone": "Europe/Berlin", "day_start": "03:00"}]})

    time_zone: fields.TimeZone = UNSET
    day_start: fields.DayStart = UNSET
    week_start: fields.WeekStart = UNSET


# Task: T-301
class ProfilePublic(Response, ProfileBase):
    """A profile, as in the change log."""

    id: str = described(f"Always `{PROFILE_ID}`.", PROFILE_ID)
    updated_at: fields.UpdatedAt
    revision: fields.ProfileRevision


# Task: T-302
class Me(Response, ProfileBase):
    """The user of the token, and their settings."""

    leading = ("id", "name", "email")

    id: str = described("The id of the user: opaque text.", "pX3kqLz8vRt1NwYb5cJd0sHf7gMe2aUo")
    name: str | None = described("The name in the token, if any.", "Alice Liddell")
    email: str | None = described("The e-mail address in the token, if any.", "alice@example.com")
    revision: fields.ProfileRevision
