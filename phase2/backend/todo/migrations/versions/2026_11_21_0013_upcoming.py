"""The next occurrences of a series, kept in its row. Those that are there have none, until their rule is asked again.

Revision ID: 0013
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from todo.migrations.log import define_log
from todo.migrations.positions import STAMP
from todo.migrations.upcoming import drop_upcoming, make_upcoming

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_SILENT = ("due_at", "start_at", "title_key")
_STAMP = f"{STAMP} NEW.subtasks_total := 0; NEW.subtasks_completed := 0;"


# Task: T-327
def upgrade() -> None:
    op.add_column("tasks", sa.Column("upcoming", JSONB(), nullable=True))
    define_log("tasks", "task", silent=(*_SILENT, "upcoming"), stamp=_STAMP)
    make_upcoming()


def downgrade() -> None:
    drop_upcoming()
    define_log("tasks", "task", silent=_SILENT, stamp=_STAMP)
    op.drop_column("tasks", "upcoming")
