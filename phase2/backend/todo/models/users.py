"""Users: the table of Better Auth, and the identity in a verified token."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Boolean, Column, DateTime, Text, text
from sqlmodel import Field, SQLModel


# Task: T-013
class User(SQLModel, table=True):
    """A row of Better Auth's table ``"user"``. Better Auth owns it; only tests and ``todo token`` write to it."""

    __tablename__ = "user"

    id: str = Field(sa_column=Column("id", Text, primary_key=True))
    name: str = Field(sa_column=Column("name", Text, nullable=False))
    email: str = Field(sa_column=Column("email", Text, nullable=False, unique=True))
    email_verified: bool = Field(sa_column=Column("emailVerified", Boolean, nullable=False))
    image: str | None = Field(default=None, sa_column=Column("image", Text))
    created_at: datetime = Field(
        sa_column=Column("createdAt", DateTime(timezone=True), nullable=False, server_default=text("CURRENT_TIMESTAMP"))
    )
    updated_at: datetime = Field(
        sa_column=Column("updatedAt", DateTime(timezone=True), nullable=False, server_default=text("CURRENT_TIMESTAMP"))
    )


# Task: T-013
@dataclass(frozen=True, slots=True)
class Identity:
    """The user that a verified token identifies, and the end of its validity.

    ``expires_at`` is in Unix seconds and includes the leeway for clock differences; from then on the token is refused.
    ``name`` and ``email`` come from the token and may be out of date.
    """

    user_id: str
    expires_at: float
    name: str | None = None
    email: str | None = None
