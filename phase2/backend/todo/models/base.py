"""The base of tables and schemas: constraint names, typed access to tables, request bodies, and responses."""

import hashlib
from collections.abc import Iterable
from typing import Any, ClassVar, cast

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import PydanticUndefined
from sqlalchemy import Column, MetaData, Table
from sqlmodel import SQLModel

# Before the first table class exists: SQLModel's tables take their names from here.
SQLModel.metadata.naming_convention = {
    "pk": "pk_%(table_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
}
metadata: MetaData = SQLModel.metadata


def table_of(model: type[SQLModel]) -> Table:
    """Return the table of a ``table=True`` class, typed."""
    return cast("Table", model.__table__)  # type: ignore[attr-defined]


def columns_of(model: type[SQLModel], names: Iterable[str]) -> tuple[Column[Any], ...]:
    """Return the named columns of a table. If the name is known, write ``col(Task.title)``."""
    return tuple(table_of(model).c[name] for name in names)


# Task: T-011
# Task: T-464
class RequestBody(BaseModel):
    """A request body: unknown fields are refused, and nothing is coerced (``"1"`` is not ``1``).

    It does not inherit from SQLModel: pydantic would call SQLModel's constructor with Python objects, and strict mode
    refuses a date as text there. The type checker reports a class that inherits from both.
    """

    model_config = ConfigDict(extra="forbid", strict=True)


def digest_of(body: RequestBody) -> bytes:
    """Return a digest of the body that creates an object, to recognize a repeated request. The ``id`` does not count.

    Defaults are left out, so that a field that a later version adds does not change the digests of older objects.
    """
    canonical = body.model_dump_json(exclude={"id"}, exclude_defaults=True)
    return hashlib.blake2b(canonical.encode(), digest_size=16).digest()


def _without_default(schema: dict[str, Any]) -> None:
    schema.pop("default", None)


UNSET: Any = Field(default=None, json_schema_extra=_without_default)
"""The default of a field that may be absent. In an update, the column then keeps its value; a ``null`` is validated."""


class Response(SQLModel):
    """An object in a response. ``leading`` are its first fields, in order; the others follow as declared.

    Every field is always present, except for ``UNSET`` ones. Other defaults apply to request bodies only.
    """

    leading: ClassVar[tuple[str, ...]] = ("id",)

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Put the fields in order, and make them required."""
        super().__pydantic_init_subclass__(**kwargs)
        fields = dict(cls.model_fields)
        cls.model_fields.clear()
        for name in (*(name for name in cls.leading if name in fields), *fields):
            field = cls.model_fields[name] = fields[name]
            if field.json_schema_extra is not _without_default:
                field.default, field.default_factory = PydanticUndefined, None
        cls.model_rebuild(force=True)
