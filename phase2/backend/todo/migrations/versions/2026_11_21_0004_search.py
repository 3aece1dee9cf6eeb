"""The words of each task in a table of their own, so that a search reads an index.

Revision ID: 0004
"""

import sqlalchemy as sa
from alembic import op

from todo.migrations.tables import create_owned_table
from todo.migrations.words import drop_words, fill_words, keep_words, make_searchable

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


# Task: T-361
def upgrade() -> None:
    create_owned_table(
        "task_words",
        sa.Column("task_id", sa.Uuid(), nullable=False),
        # Compared byte by byte: so a prefix is a range.
        sa.Column("word", sa.Text(collation="C"), nullable=False),
        sa.Column("weight", sa.SmallInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        key=("task_id", "word"),
        # It would be checked at every word; app.forget_words() sees to it.
        references_user=False,
    )
    make_searchable()
    # The policies are forced on the owner, who would see no row. Nobody else gets in before the commit.
    for table in ("tasks", "task_words", "revisions"):
        op.execute(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY")
    fill_words()
    for table in ("tasks", "task_words", "revisions"):
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
    keep_words(with_tags=False)
    op.create_index(
        "ix_task_words_user_id_word",
        "task_words",
        ["user_id", "word", "weight", sa.text("created_at DESC"), sa.text("task_id DESC")],
    )


def downgrade() -> None:
    drop_words()
    op.drop_table("task_words")
