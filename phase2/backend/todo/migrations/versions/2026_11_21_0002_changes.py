"""One log of changes per user, and answers kept for repeated requests.

Revision ID: 0002
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from todo.migrations.log import drop_log, join_log, leave_log, make_log
from todo.migrations.tables import create_owned_table

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_owned_table(
        "revisions",
        sa.Column("revision", sa.BigInteger(), nullable=False),
        key=(),
    )
    # The row is updated by every write: room beside it lets PostgreSQL do so in place (a HOT update).
    op.execute("ALTER TABLE revisions SET (fillfactor = 50)")
    create_owned_table(
        "changes",
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("entity", sa.Text(), nullable=False),
        sa.Column("entity_id", sa.Text(), nullable=False),
        sa.Column("operation", sa.Text(), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("state", JSONB(), nullable=True),
        sa.Column("before", JSONB(), nullable=True),
        sa.CheckConstraint("operation IN ('create', 'update', 'delete')", name=op.f("ck_changes_operation")),
        key=("revision",),
        # It would be checked at every write; app.forget_user() sees to it.
        references_user=False,
    )
    op.create_index("ix_changes_user_id_entity", "changes", ["user_id", "entity", "entity_id", "revision"])
    create_owned_table(
        "idempotency_keys",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("request_digest", sa.LargeBinary(), nullable=False),
        # What the effect returned, in the order in which it did. It is kept together with its effect, or not at all.
        sa.Column("answer", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        key=("key",),
    )
    op.create_index("ix_idempotency_keys_user_id_created_at", "idempotency_keys", ["user_id", "created_at"])
    make_log()
    op.add_column("tasks", sa.Column("revision", sa.BigInteger(), server_default="0", nullable=False))
    op.alter_column("tasks", "revision", server_default=None)
    join_log("tasks", "task")


def downgrade() -> None:
    leave_log("tasks")
    op.drop_column("tasks", "revision")
    drop_log()
    op.drop_table("idempotency_keys")
    op.drop_table("changes")
    op.drop_table("revisions")
