"""What finding walks along: titles in their order, starts, and how many tasks have a tag.

Revision ID: 0012
"""

import sqlalchemy as sa
from alembic import op

from todo.migrations.log import define_log
from todo.migrations.positions import STAMP
from todo.migrations.tables import create_owned_table
from todo.migrations.tags import count_tags, stop_counting_tags

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_SILENT = ("due_at", "start_at")
# As 0008 has it.
_STAMP = f"{STAMP} NEW.subtasks_total := 0; NEW.subtasks_completed := 0;"
_ALIVE = "trashed_at IS NULL"


# Task: T-374
# Task: T-375
def upgrade() -> None:
    # Filled for all there are, whatever the policies, and nobody can write it.
    op.add_column(
        "tasks",
        sa.Column(
            "title_key",
            sa.Text(collation="C"),
            sa.Computed("left(btrim(app.searchable(title)), 200)", persisted=True),
            nullable=False,
        ),
    )
    define_log("tasks", "task", silent=(*_SILENT, "title_key"), stamp=_STAMP)
    for column, where in (("title_key", _ALIVE), ("start_at", f"start_at IS NOT NULL AND {_ALIVE}")):
        op.create_index(
            f"ix_tasks_user_id_{column}", "tasks", ["user_id", column, "id"], postgresql_where=sa.text(where)
        )
    create_owned_table(
        "tag_counts",
        sa.Column("tag_key", sa.Text(collation="C"), nullable=False),
        sa.Column("tag", sa.Text(collation="C"), nullable=False),
        sa.Column("tasks", sa.BigInteger(), nullable=False),
        key=("tag_key", "tag"),
    )
    count_tags()


def downgrade() -> None:
    stop_counting_tags()
    op.drop_table("tag_counts")
    for column in ("start_at", "title_key"):
        op.drop_index(f"ix_tasks_user_id_{column}", "tasks")
    define_log("tasks", "task", silent=_SILENT, stamp=_STAMP)
    op.drop_column("tasks", "title_key")
