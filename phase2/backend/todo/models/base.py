"""What all tables and shapes share: names of constraints, the owner's column, and strict request bodies."""

import hashlib
from typing import Annotated, Any, cast
from uuid import UUID

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from sqlalchemy import Column, ForeignKey, MetaData, Table, Text
from sqlmodel import SQLModel

from todo.kit.ids import plain_uuid

# Before the first table class exists: SQLModel's tables take their names from here.
SQLModel.metadata.naming_convention = {
    "pk": "pk_%(table_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
}
metadata: MetaData = SQLModel.metadata


def owner_column() -> Column[str]:
    """Make the first key column of every user-owned table. Rows go with their user."""
    return Column("user_id", Text, ForeignKey("user.id", ondelete="CASCADE"), primary_key=True)


def table_of(model: type[SQLModel]) -> Table:
    """Return the table of a ``table=True`` class, typed."""
    return cast("Table", model.__table__)  # type: ignore[attr-defined]


def _without_nul(text: str) -> str:
    if "\x00" in text:
        raise ValueError("The character NUL (U+0000) cannot be stored.")
    return text


NO_NUL = AfterValidator(_without_nul)
"""Text that PostgreSQL can hold. Put it behind StringConstraints, which trim before they count only in the front."""


def _plain(value: Any) -> Any:
    return plain_uuid(value) if isinstance(value, str) else value


Id = Annotated[UUID, BeforeValidator(_plain)]
"""An id as a client sends it: in one form only."""


def _digits_only(value: Any) -> Any:
    # Pydantic also parses "1.0" and "1_000". A query sends text, a JSON body sends a number.
    if isinstance(value, str) and not (value.removeprefix("-").isdecimal() and value.isascii()):
        raise ValueError("Expected a whole number.")
    return value


WholeNumber = Annotated[int, BeforeValidator(_digits_only)]
"""A whole number in a query (digits only) or in a JSON body (a number)."""


def _true_or_false(value: Any) -> Any:
    # Pydantic also parses "1" and "yes". A query sends text, a JSON body sends true or false.
    if isinstance(value, str) and value not in {"true", "false"}:
        raise ValueError("Expected true or false.")
    return value


QueryBool = Annotated[bool, BeforeValidator(_true_or_false)]
"""``true`` or ``false`` in a query (these two words only) or in a JSON body."""


# Task: T-011
# Task: T-464
class RequestBody(BaseModel):
    """A request body: unknown fields are refused, and nothing is coerced (``"1"`` is not ``1``).

    It cannot inherit from SQLModel, whose constructor pydantic would call with Python objects: in strict mode a date's
    text is refused there. The type checker refuses such a class.
    """

    model_config = ConfigDict(extra="forbid", strict=True)


def digest_of(body: RequestBody) -> bytes:
    """Return a digest of what a thing is created from, whatever its ``id``, to know the same body again by.

    Without the defaults, so that a field that a later version adds leaves the digests of older things as they are.
    """
    canonical = body.model_dump_json(exclude={"id"}, exclude_defaults=True)
    return hashlib.blake2b(canonical.encode(), digest_size=16).digest()


def optional_field(*, description: str | None = None, schema_extra: dict[str, Any] | None = None) -> Any:
    """Declare an update's field that may be left out: the column then keeps its value. A ``null`` is validated."""

    def without_default(schema: dict[str, Any]) -> None:
        schema.pop("default", None)
        schema.update(schema_extra or {})

    return Field(default=None, description=description, json_schema_extra=without_default)
