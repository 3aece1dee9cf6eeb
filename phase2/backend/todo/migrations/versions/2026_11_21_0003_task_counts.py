"""How many tasks a user has, by status and priority, kept instead of counted; and lists by status from an index.

Revision ID: 0003
"""

import sqlalchemy as sa
from alembic import op

from todo.migrations.tables import create_owned_table

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

# A writer has its turn before the first of these rows is touched, so two writers of one user never meet here. When a
# user goes, so do the counts, by their own key.
_COUNT = """
CREATE FUNCTION app.count_tasks() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        -- As in the log: before PostgreSQL 18 this runs as whoever deletes users, who may have no right to the counts.
        IF coalesce(current_setting('app.user', true), '') = '' THEN
            IF NOT EXISTS (SELECT FROM public."user" WHERE id = OLD.user_id) THEN
                RETURN NULL;
            END IF;
        END IF;
        UPDATE public.task_counts SET tasks = tasks - 1
        WHERE user_id = OLD.user_id AND status = OLD.status AND priority = OLD.priority;
    END IF;
    IF TG_OP <> 'DELETE' THEN
        UPDATE public.task_counts SET tasks = tasks + 1
        WHERE user_id = NEW.user_id AND status = NEW.status AND priority = NEW.priority;
        IF NOT FOUND THEN
            INSERT INTO public.task_counts AS c (user_id, status, priority, tasks)
            VALUES (NEW.user_id, NEW.status, NEW.priority, 1)
            ON CONFLICT (user_id, status, priority) DO UPDATE SET tasks = c.tasks + 1;
        END IF;
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER count_new AFTER INSERT OR DELETE ON tasks FOR EACH ROW EXECUTE FUNCTION app.count_tasks();
CREATE TRIGGER count_moved AFTER UPDATE ON tasks FOR EACH ROW
    WHEN (OLD.status <> NEW.status OR OLD.priority <> NEW.priority OR OLD.user_id <> NEW.user_id)
    EXECUTE FUNCTION app.count_tasks();
"""


# Task: T-210
def upgrade() -> None:
    create_owned_table(
        "task_counts",
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("priority", sa.Text(), nullable=False),
        sa.Column("tasks", sa.BigInteger(), nullable=False),
        key=("status", "priority"),
    )
    # Its few rows are updated again and again: room beside them lets PostgreSQL do so in place (a HOT update).
    op.execute("ALTER TABLE task_counts SET (fillfactor = 50)")
    # The policies are forced on the owner, who would see no row to count. Nobody else gets in before the commit.
    for table in ("tasks", "task_counts"):
        op.execute(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY")
    op.execute(
        "INSERT INTO task_counts (user_id, status, priority, tasks)"
        " SELECT user_id, status, priority, count(*) FROM tasks GROUP BY user_id, status, priority"
    )
    for table in ("tasks", "task_counts"):
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
    op.execute(_COUNT)
    op.create_index(
        "ix_tasks_user_id_status_created_at",
        "tasks",
        ["user_id", "status", sa.text("created_at DESC"), sa.text("id DESC")],
    )


def downgrade() -> None:
    op.drop_index("ix_tasks_user_id_status_created_at", "tasks")
    for trigger in ("count_new", "count_moved"):
        op.execute(f"DROP TRIGGER {trigger} ON tasks")
    op.execute("DROP FUNCTION app.count_tasks()")
    op.drop_table("task_counts")
