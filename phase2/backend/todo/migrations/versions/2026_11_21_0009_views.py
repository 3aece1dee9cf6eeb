"""Saved views; and the tasks without a due date by an index of their own, as all others are found.

Revision ID: 0009
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from todo.migrations.log import join_log, leave_log
from todo.migrations.tables import create_owned_table

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

# In the writer's turn, and so never one too many. A row that is there already is no new one.
_BOUND = """
CREATE FUNCTION app.bound_views() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF (SELECT count(*) FROM public.views WHERE user_id = NEW.user_id) >= 200 AND NOT EXISTS (
        SELECT FROM public.views WHERE user_id = NEW.user_id AND id = NEW.id
    ) THEN
        RAISE EXCEPTION 'a user has 200 views at most' USING ERRCODE = 'TD006', TABLE = 'views';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER bound_views BEFORE INSERT ON views FOR EACH ROW EXECUTE FUNCTION app.bound_views();
"""


# Task: T-373
def upgrade() -> None:
    create_owned_table(
        "views",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("name_key", sa.Text(collation="C"), nullable=False),
        sa.Column("query", JSONB(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("creation_digest", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("char_length(name) BETWEEN 1 AND 100", name=op.f("ck_views_name")),
        sa.CheckConstraint("jsonb_typeof(query) = 'object'", name=op.f("ck_views_query")),
        sa.UniqueConstraint("user_id", "name_key", name="uq_views_user_id_name_key"),
        key=("id",),
    )
    join_log("views", "view")
    op.execute(_BOUND)
    # What one user asks for is a page. Workers would cost more to start than it does, and read the parts of a list in
    # any order.
    op.execute("ALTER FUNCTION app.uid() PARALLEL UNSAFE")
    op.create_index(
        "ix_tasks_user_id_undated_created_at",
        "tasks",
        ["user_id", sa.text("created_at DESC"), sa.text("id DESC")],
        postgresql_where=sa.text("due_at IS NULL AND trashed_at IS NULL"),
    )


def downgrade() -> None:
    op.drop_index("ix_tasks_user_id_undated_created_at", "tasks")
    op.execute("ALTER FUNCTION app.uid() PARALLEL SAFE")
    op.execute("DROP TRIGGER bound_views ON views")
    op.execute("DROP FUNCTION app.bound_views()")
    leave_log("views")
    op.drop_table("views")
