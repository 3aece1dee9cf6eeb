"""The caller's identity, Better Auth's users, and tasks behind row-level security.

Revision ID: 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# A role is the cluster's, not the database's: another database of the same cluster may have made it, or be about to. It
# is used then as it is. Since PostgreSQL 16 being a member does not mean that one may switch to it.
_ROLE = """
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'todo_app') THEN
        CREATE ROLE todo_app NOLOGIN NOINHERIT NOBYPASSRLS NOCREATEDB NOCREATEROLE;
    END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
    NULL;
END
$$;
DO $$
DECLARE
    may_switch CONSTANT text := CASE WHEN current_setting('server_version_num')::int < 160000
                                THEN 'MEMBER' ELSE 'SET' END;
BEGIN
    IF NOT pg_has_role(current_user, 'todo_app', may_switch) THEN
        GRANT todo_app TO CURRENT_USER;
    END IF;
EXCEPTION WHEN insufficient_privilege THEN
    RAISE EXCEPTION 'the role todo_app is another''s: who made it has to run GRANT todo_app TO %',
        quote_ident(current_user) USING ERRCODE = 'insufficient_privilege';
END
$$;
GRANT USAGE ON SCHEMA public TO todo_app;
"""

# The identity of this transaction, or NULL. The setting carries the transaction's start time before the id,
# so a setting left over from another transaction names nobody. After a transaction-local setting the value
# is '', not NULL. No SET clause, so that the planner can inline it: every name is qualified instead.
_IDENTITY = """
CREATE SCHEMA app;
GRANT USAGE ON SCHEMA app TO todo_app;

CREATE FUNCTION app.uid() RETURNS text LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT CASE
        WHEN pg_catalog.split_part(pg_catalog.current_setting('app.user', true), ' ', 1)
            OPERATOR(pg_catalog.=) (extract(epoch FROM pg_catalog.now())::pg_catalog.text)
        THEN pg_catalog.substr(
            pg_catalog.current_setting('app.user', true),
            pg_catalog.strpos(pg_catalog.current_setting('app.user', true), ' ') OPERATOR(pg_catalog.+) 1
        )
    END
$$;
"""

# Column for column as Better Auth makes it; whichever of the two comes first, the other finds it in place.
_USER = """
CREATE TABLE IF NOT EXISTS public."user" (
    "id" text NOT NULL PRIMARY KEY,
    "name" text NOT NULL,
    "email" text NOT NULL UNIQUE,
    "emailVerified" boolean NOT NULL,
    "image" text,
    "createdAt" timestamptz DEFAULT CURRENT_TIMESTAMP NOT NULL,
    "updatedAt" timestamptz DEFAULT CURRENT_TIMESTAMP NOT NULL
);
"""

# SECURITY DEFINER, because todo_app cannot see users; it answers about the caller alone.
_CALLER_EXISTS = """
CREATE FUNCTION app.caller_exists() RETURNS boolean LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp AS $$
    SELECT EXISTS (SELECT FROM public."user" WHERE id = app.uid())
$$;
REVOKE ALL ON FUNCTION app.caller_exists() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION app.caller_exists() TO todo_app;
"""


def upgrade() -> None:
    op.execute(_ROLE)
    op.execute(_IDENTITY)
    op.execute(_USER)
    op.execute(_CALLER_EXISTS)
    op.create_table(
        "tasks",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("priority", sa.Text(), nullable=False),
        sa.Column("due_date", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("creation_digest", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("char_length(title) BETWEEN 1 AND 200", name=op.f("ck_tasks_title")),
        sa.CheckConstraint("char_length(description) <= 10000", name=op.f("ck_tasks_description")),
        sa.CheckConstraint(
            "status IN ('pending', 'in_progress', 'completed', 'cancelled')", name=op.f("ck_tasks_status")
        ),
        sa.CheckConstraint("priority IN ('low', 'medium', 'high')", name=op.f("ck_tasks_priority")),
        sa.CheckConstraint("(status = 'completed') = (completed_at IS NOT NULL)", name=op.f("ck_tasks_completed_at")),
        sa.ForeignKeyConstraint(["user_id"], ["user.id"], name="fk_tasks_user_id_user", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("user_id", "id", name="pk_tasks"),
    )
    op.create_index("ix_tasks_user_id_created_at", "tasks", ["user_id", sa.text("created_at DESC"), sa.text("id DESC")])
    op.execute("ALTER TABLE tasks ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE tasks FORCE ROW LEVEL SECURITY")
    op.execute(
        "CREATE POLICY owner ON tasks USING (user_id = (SELECT app.uid())) WITH CHECK (user_id = (SELECT app.uid()))"
    )
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON tasks TO todo_app")


def downgrade() -> None:
    """Drop what is ours. Better Auth's table stays, and so does the role, which other databases may use."""
    op.drop_table("tasks")
    op.execute("DROP FUNCTION app.caller_exists()")
    op.execute("DROP FUNCTION app.uid()")
    op.execute("DROP SCHEMA app")
    op.execute("REVOKE USAGE ON SCHEMA public FROM todo_app")
