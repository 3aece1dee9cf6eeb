"""Where tasks belong: categories, tags, parents, an order, and the trash.

Revision ID: 0008
"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from todo.migrations.counts import count_by_category, count_without_category
from todo.migrations.families import drop_families, make_families
from todo.migrations.log import define_log
from todo.migrations.positions import STAMP, drop_positions, make_positions
from todo.migrations.tables import create_owned_table
from todo.migrations.tags import drop_tags, make_tags
from todo.migrations.words import keep_words

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_SILENT = ("due_at", "start_at")
_NEWEST_FIRST = (sa.text("created_at DESC"), sa.text("id DESC"))
_ALIVE = sa.text("trashed_at IS NULL")

# A new row has nothing under it yet, also where undo brings it back.
_STAMP = f"{STAMP} NEW.subtasks_total := 0; NEW.subtasks_completed := 0;"


def _columns() -> list[sa.Column[Any]]:
    return [
        sa.Column("category_id", sa.Uuid(), nullable=True),
        sa.Column("tags", JSONB(), nullable=False, server_default="[]"),
        sa.Column("tag_keys", JSONB(), nullable=False, server_default="[]"),
        sa.Column("parent_id", sa.Uuid(), nullable=True),
        sa.Column("subtasks_total", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("subtasks_completed", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("position", sa.Text(collation="C"), nullable=True),
        sa.Column("trashed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("trash_id", sa.Uuid(), nullable=True),
    ]


# Task: T-312
def upgrade() -> None:
    create_owned_table(
        "task_tags",
        sa.Column("tag_key", sa.Text(collation="C"), nullable=False),
        sa.Column("task_id", sa.Uuid(), nullable=False),
        sa.Column("tag", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        key=("tag_key", "task_id"),
    )
    op.create_index(
        "ix_task_tags_user_id_tag_key_created_at",
        "task_tags",
        ["user_id", "tag_key", sa.text("created_at DESC"), sa.text("task_id DESC")],
    )
    for column in _columns():
        op.add_column("tasks", column)
    op.execute("ALTER TABLE tasks NO FORCE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE tasks DISABLE TRIGGER log_write")
    op.execute("UPDATE tasks SET position = (500000000000000 + revision)::text")
    op.execute("ALTER TABLE tasks ENABLE TRIGGER log_write")
    op.execute("ALTER TABLE tasks FORCE ROW LEVEL SECURITY")
    op.alter_column("tasks", "position", nullable=False)
    op.create_foreign_key(
        "fk_tasks_user_id_category_id_categories",
        "tasks",
        "categories",
        ["user_id", "category_id"],
        ["user_id", "id"],
        ondelete="SET NULL (category_id)",
    )
    op.create_foreign_key(
        "fk_tasks_user_id_parent_id_tasks",
        "tasks",
        "tasks",
        ["user_id", "parent_id"],
        ["user_id", "id"],
        ondelete="CASCADE",
    )
    op.create_check_constraint(op.f("ck_tasks_trash"), "tasks", "(trashed_at IS NULL) = (trash_id IS NULL)")
    define_log("tasks", "task", silent=_SILENT, stamp=_STAMP)
    make_positions("tasks")
    make_families()
    make_tags()
    keep_words(with_tags=True)
    count_by_category()
    op.drop_index("ix_tasks_user_id_created_at", "tasks")
    op.drop_index("ix_tasks_user_id_status_created_at", "tasks")
    for name, *columns in (
        ("ix_tasks_user_id_created_at",),
        ("ix_tasks_user_id_status_created_at", "status"),
        ("ix_tasks_user_id_priority_created_at", "priority"),
    ):
        op.create_index(name, "tasks", ["user_id", *columns, *_NEWEST_FIRST], postgresql_where=_ALIVE)
    # With the trash: the foreign keys look for what is there, too.
    for reference in ("category_id", "parent_id"):
        op.create_index(
            f"ix_tasks_user_id_{reference}_created_at",
            "tasks",
            ["user_id", reference, *_NEWEST_FIRST],
            postgresql_where=sa.text(f"{reference} IS NOT NULL"),
        )
    op.create_index("ix_tasks_user_id_position", "tasks", ["user_id", "position", "id"])
    op.create_index("ix_tasks_user_id_updated_at", "tasks", ["user_id", "updated_at", "id"])
    op.create_index(
        "ix_tasks_user_id_completed_at",
        "tasks",
        ["user_id", "completed_at", "id"],
        postgresql_where=sa.text("completed_at IS NOT NULL"),
    )
    op.create_index(
        "ix_tasks_user_id_trashed_at",
        "tasks",
        ["user_id", "trashed_at", "id"],
        postgresql_where=sa.text("trashed_at IS NOT NULL"),
    )


def downgrade() -> None:
    for name in (
        "trashed_at",
        "completed_at",
        "updated_at",
        "position",
        "parent_id_created_at",
        "category_id_created_at",
        "priority_created_at",
        "status_created_at",
        "created_at",
    ):
        op.drop_index(f"ix_tasks_user_id_{name}", "tasks")
    op.create_index("ix_tasks_user_id_created_at", "tasks", ["user_id", *_NEWEST_FIRST])
    op.create_index("ix_tasks_user_id_status_created_at", "tasks", ["user_id", "status", *_NEWEST_FIRST])
    count_without_category()
    keep_words(with_tags=False)
    drop_tags()
    drop_families()
    drop_positions("tasks")
    define_log("tasks", "task", silent=_SILENT)
    op.drop_constraint(op.f("ck_tasks_trash"), "tasks")
    op.drop_constraint("fk_tasks_user_id_parent_id_tasks", "tasks")
    op.drop_constraint("fk_tasks_user_id_category_id_categories", "tasks")
    for column in reversed(_columns()):
        op.drop_column("tasks", column.name)
    op.drop_table("task_tags")
