"""Indexes that statistics are counted from alone: what is in the trash is not in them.

Revision ID: 0011
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_OPEN = "due_at IS NOT NULL AND status IN ('pending', 'in_progress')"
_COMPLETED = "completed_at IS NOT NULL"
_ALIVE = " AND trashed_at IS NULL"


def _index(name: str, column: str, where: str) -> None:
    columns = ["user_id", column, "id"]
    op.create_index(f"ix_tasks_user_id_{name}", "tasks", columns, postgresql_where=sa.text(where))


# Task: T-381
def upgrade() -> None:
    for name, column, where in (("open_due_at", "due_at", _OPEN), ("completed_at", "completed_at", _COMPLETED)):
        op.drop_index(f"ix_tasks_user_id_{name}", "tasks")
        _index(name, column, where + _ALIVE)
    _index("closed_created_at", "created_at", "series_id <> id" + _ALIVE)


def downgrade() -> None:
    op.drop_index("ix_tasks_user_id_closed_created_at", "tasks")
    for name, column, where in (("open_due_at", "due_at", _OPEN), ("completed_at", "completed_at", _COMPLETED)):
        op.drop_index(f"ix_tasks_user_id_{name}", "tasks")
        _index(name, column, where)
