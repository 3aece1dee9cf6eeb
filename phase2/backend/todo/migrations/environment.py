"""How Alembic runs: over the connection that the runner gives it, touching our tables only."""

from typing import Any, Literal

import sqlalchemy as sa
from alembic.runtime.environment import EnvironmentContext
from sqlmodel.sql.sqltypes import AutoString

from todo.migrations.schema import VERSION_TABLE
from todo.models import metadata

_OTHERS_TABLES = frozenset({"user"})


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
    """Leave Better Auth's tables alone, its ``"user"`` included, which we only make where it is missing."""
    return kind != "table" or (name in metadata.tables and name not in _OTHERS_TABLES)


def _render_item(kind: str, item: Any, _autogen: Any) -> str | Literal[False]:
    """Write SQLModel's string type as plain SQLAlchemy."""
    return "sa.Text()" if kind == "type" and isinstance(item, AutoString) else False
