"""When tasks are due and start, in any form, resolved; and what repeats.

Revision ID: 0007
"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from todo.migrations.log import define_log
from todo.migrations.times import drop_times, make_times

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_SILENT = ("due_at", "start_at")


def _columns() -> list[sa.Column[Any]]:
    return [
        sa.Column("due_time_zone", sa.Text(), nullable=True),
        sa.Column("start_date", sa.Text(), nullable=True),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("start_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("recurrence", JSONB(), nullable=True),
        sa.Column("recurrence_anchor", sa.Text(), nullable=True),
        sa.Column("recurrence_number", sa.Integer(), nullable=True),
        sa.Column("recurrence_due", sa.Text(), nullable=True),
        sa.Column("recurrence_start", sa.Text(), nullable=True),
        sa.Column("series_id", sa.Uuid(), nullable=True),
        sa.Column("last_occurrence", sa.Text(), nullable=True),
        sa.Column("last_skipped", sa.Text(), nullable=True),
        sa.Column("last_completed_at", sa.DateTime(timezone=True), nullable=True),
    ]


def upgrade() -> None:
    for column in _columns():
        op.add_column("tasks", column)
    op.create_check_constraint(
        op.f("ck_tasks_recurrence"),
        "tasks",
        "num_nulls(recurrence, recurrence_anchor, recurrence_number, recurrence_due) IN (0, 4)"
        " AND (recurrence IS NULL OR (due_date IS NOT NULL AND series_id IS NOT NULL))",
    )
    define_log("tasks", "task", silent=_SILENT)
    make_times()
    # Whoever owns the table is under its policies, and would see no row. Nobody else gets in before the commit.
    op.execute("ALTER TABLE tasks NO FORCE ROW LEVEL SECURITY")
    op.execute("UPDATE tasks SET due_at = 'infinity' WHERE due_date IS NOT NULL")
    op.execute("ALTER TABLE tasks FORCE ROW LEVEL SECURITY")
    op.create_index(
        "ix_tasks_user_id_due_at", "tasks", ["user_id", "due_at", "id"], postgresql_where=sa.text("due_at IS NOT NULL")
    )
    op.create_index(
        "ix_tasks_user_id_open_due_at",
        "tasks",
        ["user_id", "due_at", "id"],
        postgresql_where=sa.text("due_at IS NOT NULL AND status IN ('pending', 'in_progress')"),
    )


def downgrade() -> None:
    op.drop_index("ix_tasks_user_id_open_due_at", "tasks")
    op.drop_index("ix_tasks_user_id_due_at", "tasks")
    drop_times()
    define_log("tasks", "task")
    op.drop_constraint(op.f("ck_tasks_recurrence"), "tasks")
    for column in reversed(_columns()):
        op.drop_column("tasks", column.name)
