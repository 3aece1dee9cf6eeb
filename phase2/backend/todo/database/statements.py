"""Statements: SQLAlchemy expressions, each compiled once to the SQL that PostgreSQL receives."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from psycopg.abc import Transformer
from psycopg.adapt import PyFormat
from sqlalchemy import ColumnElement, Executable, FromClause, bindparam, inspect
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.expression import Select

from todo.database import planner

USER_ID = "user_id"

MAX_CACHED_STATEMENTS = 500
"""The size of a cache of statements that depend on what a request contains. One takes up to 60 KB."""

# Part of every name, so that no plan is used that an older version made with other planner settings.
_PLANNED_WITH = hashlib.blake2b(planner.set_config_calls(is_local=True).encode()).digest()


class Dialect(PGDialect_psycopg):
    """psycopg's dialect with PostgreSQL's own placeholders (``$1``). ``filter_by_owner`` is for the isolation tests."""

    supports_statement_cache = False

    def __init__(self, *, filter_by_owner: bool = True) -> None:
        super().__init__(paramstyle="numeric_dollar")  # type: ignore[no-untyped-call]
        self.filter_by_owner = filter_by_owner


# Task: T-021
class OwnedByCaller(ColumnElement[bool]):
    """``user_id = <the caller>``: the owner filter of the services. A statement has one per model, table or alias.

    The isolation tests compile it to ``true`` to show that row-level security alone isolates users.
    """

    inherit_cache = False

    def __init__(self, owned: FromClause | type[Any]) -> None:
        self.comparison = inspect(owned).selectable.c.user_id == bindparam(USER_ID)


@compiles(OwnedByCaller)
def _compile_owned_by_caller(element: OwnedByCaller, compiler: SQLCompiler, **kw: Any) -> str:
    if getattr(compiler.dialect, "filter_by_owner", True):
        return compiler.process(element.comparison, **kw)
    return "true"


# Task: T-021
class Statement:
    """A statement that can be executed any number of times, with values by name.

    ``writes``: it changes data. Default: true unless it is a SELECT; a SELECT may write by calling a function.
    ``repeatable``: executing it twice equals executing it once, so it may be sent again after a lost connection.
    Default: true if it only reads. ``part_of_write``: a missing row means that a write failed, so a deleted account is
    Forbidden and not NotFound. Default: as ``writes``.
    """

    def __init__(
        self,
        expression: Executable,
        *,
        writes: bool | None = None,
        repeatable: bool | None = None,
        part_of_write: bool | None = None,
    ) -> None:
        self.expression = expression
        self.writes = not isinstance(expression, Select) if writes is None else writes
        self.repeatable = not self.writes if repeatable is None else repeatable
        self.part_of_write = self.writes if part_of_write is None else part_of_write
        self._texts: dict[bool, CompiledText] = {}

    def text(self, dialect: Dialect) -> "CompiledText":
        """Return the SQL for ``dialect``, compiled at the first call."""
        compiled = self._texts.get(dialect.filter_by_owner)
        if compiled is None:
            compiled = self._texts[dialect.filter_by_owner] = CompiledText.of(self.expression, dialect)
        return compiled


class CompiledText:
    """SQL as bytes, the order of its parameters, and the name of its prepared statement.

    The name is a 128-bit hash of the SQL and of the planner settings: clients that share a server connection behind a
    pooler execute each other's statements by name (``database/prepared.py``).
    """

    __slots__ = ("_formats", "constants", "is_identity", "name", "names", "shape", "sql")

    def __init__(
        self, sql: str, names: Sequence[str], constants: Mapping[str, Any], *, is_identity: bool = False
    ) -> None:
        self.sql = sql.encode()
        self.names = tuple(names)
        self.constants = {name: value for name, value in constants.items() if value is not None}
        self.name = b"todo_" + hashlib.blake2b(self.sql, digest_size=16, key=_PLANNED_WITH).hexdigest().encode()
        # Whether it sets the caller and the search path for the rest of the transaction.
        self.is_identity = is_identity
        # The names of all columns, of the timestamptz and of the JSONB columns; None before the first result.
        self.shape: tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]] | None = None
        self._formats = [PyFormat.TEXT] * len(self.names)

    @classmethod
    def of(cls, expression: Executable, dialect: Dialect) -> "CompiledText":
        compiled = expression.compile(dialect=dialect)  # type: ignore[attr-defined]
        return cls(compiled.string, compiled.positiontup or (), compiled.params)

    def encode(self, values: Mapping[str, Any], transformer: Transformer) -> Sequence[Any]:
        """Return ``values`` in PostgreSQL's text format, in the order of the placeholders.

        Raises KeyError for a parameter without a value, psycopg.DataError for text with a NUL.
        """
        if not self.names:
            return ()
        constants = self.constants
        ordered = [values[name] if name in values else constants[name] for name in self.names]
        return transformer.dump_sequence(ordered, self._formats)


def raw(sql: str, *names: str, is_identity: bool = False) -> CompiledText:
    """Return a statement of hand-written SQL with ``$1`` placeholders, for use in this package only."""
    return CompiledText(sql, names, {}, is_identity=is_identity)
