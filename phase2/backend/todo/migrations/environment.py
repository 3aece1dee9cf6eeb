"""Alembic's environment: it runs on the connection of the runner, and touches only our tables."""

from typing import Any, Literal

import sqlalchemy as sa
from alembic.runtime.environment import EnvironmentContext
from sqlmodel.sql.sqltypes import AutoString

from todo.migrations.schema import VERSION_TABLE
from todo.models import metadata

_FOREIGN_TABLES = frozenset({"user"})


# Task: T-024
def run(context: EnvironmentContext) -> None:
    """Run the migrations on the connection in the configuration's attributes."""
    connection: sa.Connection = context.config.attributes["connection"]
    context.configure(
        connection=connection,
        target_metadata=metadata,
        version_table=VERSION_TABLE,
        include_name=_is_ours,
        include_object=lambda _, name, kind, *__: _is_ours(name, kind, None),
        render_item=_render_item,
        compare_server_default=True,
        transaction_per_migration=True,
    )
    with context.begin_transaction():
        context.run_migrations()
    connection.commit()


def _is_ours(name: str | None, kind: str, _parents: Any) -> bool:
    """Return False for Better Auth's tables, including ``"user"``, which we only create if it is missing."""
    return kind != "table" or (name in metadata.tables and name not in _FOREIGN_TABLES)


def _render_item(kind: str, item: Any, _autogen: Any) -> str | Literal[False]:
    """Render SQLModel's string type as plain SQLAlchemy."""
    return "sa.Text()" if kind == "type" and isinstance(item, AutoString) else False
