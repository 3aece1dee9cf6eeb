"""All tables, with their constraints and indexes. Functions, triggers, policies and grants are files: see ../sql.

Revision ID: 2026_11_30_0001
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "2026_11_30_0001"
down_revision = None
branch_labels = None
depends_on = None

_NEWEST_FIRST = (sa.text("created_at DESC"), sa.text("id DESC"))
_NOT_TRASHED = "trashed_at IS NULL"


def _deleted_with_user(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(["user_id"], ["user.id"], name=f"fk_{table}_user_id_user", ondelete="CASCADE")


# Task: T-024
def upgrade() -> None:
    _create_users()
    _create_change_log()
    _create_idempotency_keys()
    _create_profiles()
    _create_categories()
    _create_views()
    _create_tasks()
    _create_indexes_of_tasks()
    _create_task_counts()
    _create_search_index()
    _create_tags()


def downgrade() -> None:
    """Drop our tables. Better Auth's table stays; the runner drops the schema app."""
    for table in ("tag_counts", "task_tags", "task_words", "task_counts", "tasks"):
        op.drop_table(table)
    for table in ("views", "categories", "profiles", "idempotency_keys", "changes", "revisions"):
        op.drop_table(table)


def _create_users() -> None:
    # Better Auth's table, with the columns that Better Auth creates. Whichever runs first, the other finds the table.
    now = sa.text("CURRENT_TIMESTAMP")
    op.create_table(
        "user",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("emailVerified", sa.Boolean(), nullable=False),
        sa.Column("image", sa.Text(), nullable=True),
        sa.Column("createdAt", sa.DateTime(timezone=True), server_default=now, nullable=False),
        sa.Column("updatedAt", sa.DateTime(timezone=True), server_default=now, nullable=False),
        sa.PrimaryKeyConstraint("id", name="user_pkey"),
        sa.UniqueConstraint("email", name="user_email_key"),
        if_not_exists=True,
    )


# Task: T-111
def _create_change_log() -> None:
    op.create_table(
        "revisions",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        _deleted_with_user("revisions"),
        sa.PrimaryKeyConstraint("user_id", name="pk_revisions"),
        # Every write updates the row: free space in its page allows a HOT update.
        postgresql_with={"fillfactor": 50},
    )
    # No foreign key to the user: it would be checked at every write. app.purge_user_changes() deletes the rows.
    op.create_table(
        "changes",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("entity", sa.Text(), nullable=False),
        sa.Column("entity_id", sa.Text(), nullable=False),
        sa.Column("operation", sa.Text(), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("state", JSONB(), nullable=True),
        sa.Column("before", JSONB(), nullable=True),
        sa.CheckConstraint("operation IN ('create', 'update', 'delete')", name=op.f("ck_changes_operation")),
        sa.PrimaryKeyConstraint("user_id", "revision", name="pk_changes"),
    )
    op.create_index("ix_changes_user_id_entity", "changes", ["user_id", "entity", "entity_id", "revision"])


def _create_idempotency_keys() -> None:
    op.create_table(
        "idempotency_keys",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("request_digest", sa.LargeBinary(), nullable=False),
        # JSON, not JSONB: the response keeps the order in which it was sent. It commits with its effect.
        sa.Column("answer", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        _deleted_with_user("idempotency_keys"),
        sa.PrimaryKeyConstraint("user_id", "key", name="pk_idempotency_keys"),
    )
    op.create_index("ix_idempotency_keys_user_id_created_at", "idempotency_keys", ["user_id", "created_at"])


# Task: T-301
def _create_profiles() -> None:
    op.create_table(
        "profiles",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("time_zone", sa.Text(), nullable=False),
        sa.Column("day_start", sa.Text(), nullable=False),
        sa.Column("week_start", sa.Text(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("id = 'me'", name=op.f("ck_profiles_id")),
        # Not only a comparison: it raises 22023 for a zone that PostgreSQL does not know.
        sa.CheckConstraint(
            "'epoch'::timestamptz AT TIME ZONE (':' || time_zone) IS NOT NULL", name=op.f("ck_profiles_time_zone")
        ),
        sa.CheckConstraint("day_start ~ '^([01][0-9]|2[0-3]):[0-5][0-9]$'", name=op.f("ck_profiles_day_start")),
        sa.CheckConstraint(
            "week_start IN ('monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday', 'sunday')",
            name=op.f("ck_profiles_week_start"),
        ),
        _deleted_with_user("profiles"),
        sa.PrimaryKeyConstraint("user_id", "id", name="pk_profiles"),
    )


# Task: T-331
def _create_categories() -> None:
    op.create_table(
        "categories",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("name_key", sa.Text(), nullable=False),
        sa.Column("color", sa.Text(), nullable=True),
        sa.Column("archived", sa.Boolean(), nullable=False),
        sa.Column("position", sa.Text(collation="C"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("creation_digest", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("char_length(name) BETWEEN 1 AND 100", name=op.f("ck_categories_name")),
        sa.CheckConstraint("color ~ '^#[0-9a-f]{6}$'", name=op.f("ck_categories_color")),
        sa.CheckConstraint("position ~ '^[0-9]{15,}$'", name=op.f("ck_categories_position")),
        _deleted_with_user("categories"),
        sa.PrimaryKeyConstraint("user_id", "id", name="pk_categories"),
        sa.UniqueConstraint("user_id", "name_key", name="uq_categories_user_id_name_key"),
    )
    op.create_index("ix_categories_user_id_position", "categories", ["user_id", "position"])


# Task: T-373
def _create_views() -> None:
    op.create_table(
        "views",
        sa.Column("user_id", sa.Text(), nullable=False),
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
        _deleted_with_user("views"),
        sa.PrimaryKeyConstraint("user_id", "id", name="pk_views"),
        sa.UniqueConstraint("user_id", "name_key", name="uq_views_user_id_name_key"),
    )


# Task: T-312
def _create_tasks() -> None:
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
        sa.Column("revision", sa.BigInteger(), nullable=False),
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
        sa.Column("category_id", sa.Uuid(), nullable=True),
        sa.Column("tags", JSONB(), server_default="[]", nullable=False),
        sa.Column("tag_keys", JSONB(), server_default="[]", nullable=False),
        sa.Column("parent_id", sa.Uuid(), nullable=True),
        sa.Column("subtasks_total", sa.Integer(), server_default="0", nullable=False),
        sa.Column("subtasks_completed", sa.Integer(), server_default="0", nullable=False),
        sa.Column("position", sa.Text(collation="C"), nullable=False),
        sa.Column("trashed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("trash_id", sa.Uuid(), nullable=True),
        sa.Column(
            "title_key",
            sa.Text(collation="C"),
            sa.Computed("left(btrim(app.normalize_for_search(title)), 200)", persisted=True),
            nullable=False,
        ),
        sa.Column("next_occurrences", JSONB(), nullable=True),
        sa.CheckConstraint("char_length(title) BETWEEN 1 AND 200", name=op.f("ck_tasks_title")),
        sa.CheckConstraint("char_length(description) <= 10000", name=op.f("ck_tasks_description")),
        sa.CheckConstraint(
            "status IN ('pending', 'in_progress', 'completed', 'cancelled')", name=op.f("ck_tasks_status")
        ),
        sa.CheckConstraint("priority IN ('low', 'medium', 'high')", name=op.f("ck_tasks_priority")),
        sa.CheckConstraint("(status = 'completed') = (completed_at IS NOT NULL)", name=op.f("ck_tasks_completed_at")),
        sa.CheckConstraint(
            "num_nulls(recurrence, recurrence_anchor, recurrence_number, recurrence_due) IN (0, 4)"
            " AND (recurrence IS NULL OR (due_date IS NOT NULL AND series_id IS NOT NULL))",
            name=op.f("ck_tasks_recurrence"),
        ),
        sa.CheckConstraint("(trashed_at IS NULL) = (trash_id IS NULL)", name=op.f("ck_tasks_trash")),
        _deleted_with_user("tasks"),
        sa.ForeignKeyConstraint(
            ["user_id", "category_id"],
            ["categories.user_id", "categories.id"],
            name="fk_tasks_user_id_category_id_categories",
            ondelete="SET NULL (category_id)",
        ),
        sa.ForeignKeyConstraint(
            ["user_id", "parent_id"],
            ["tasks.user_id", "tasks.id"],
            name="fk_tasks_user_id_parent_id_tasks",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("user_id", "id", name="pk_tasks"),
    )


# Task: T-374
# Task: T-381
def _create_indexes_of_tasks() -> None:
    for name, columns, condition in (
        ("created_at", (), _NOT_TRASHED),
        ("status_created_at", ("status",), _NOT_TRASHED),
        ("priority_created_at", ("priority",), _NOT_TRASHED),
        ("undated_created_at", (), f"due_at IS NULL AND {_NOT_TRASHED}"),
        # Including the trash: the foreign keys look up rows with these indexes too.
        ("category_id_created_at", ("category_id",), "category_id IS NOT NULL"),
        ("parent_id_created_at", ("parent_id",), "parent_id IS NOT NULL"),
    ):
        op.create_index(
            f"ix_tasks_user_id_{name}",
            "tasks",
            ["user_id", *columns, *_NEWEST_FIRST],
            postgresql_where=sa.text(condition),
        )
    for name, column, where in (
        ("position", "position", None),
        ("updated_at", "updated_at", None),
        ("due_at", "due_at", "due_at IS NOT NULL"),
        ("open_due_at", "due_at", f"due_at IS NOT NULL AND status IN ('pending', 'in_progress') AND {_NOT_TRASHED}"),
        ("start_at", "start_at", f"start_at IS NOT NULL AND {_NOT_TRASHED}"),
        ("completed_at", "completed_at", f"completed_at IS NOT NULL AND {_NOT_TRASHED}"),
        ("closed_created_at", "created_at", f"series_id <> id AND {_NOT_TRASHED}"),
        ("title_key", "title_key", _NOT_TRASHED),
        ("trashed_at", "trashed_at", "trashed_at IS NOT NULL"),
    ):
        op.create_index(
            f"ix_tasks_user_id_{name}",
            "tasks",
            ["user_id", column, "id"],
            postgresql_where=None if where is None else sa.text(where),
        )


# Task: T-210
def _create_task_counts() -> None:
    op.create_table(
        "task_counts",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("priority", sa.Text(), nullable=False),
        sa.Column("tasks", sa.BigInteger(), nullable=False),
        sa.Column("category_id", sa.Uuid(), nullable=False),
        _deleted_with_user("task_counts"),
        sa.PrimaryKeyConstraint("user_id", "category_id", "status", "priority", name="pk_task_counts"),
        # A few rows that are updated all the time: free space in the page allows a HOT update.
        postgresql_with={"fillfactor": 50},
    )


# Task: T-361
def _create_search_index() -> None:
    # No foreign key to the user: it would be checked at every word. app.purge_user_words() deletes the rows.
    op.create_table(
        "task_words",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("task_id", sa.Uuid(), nullable=False),
        # Compared byte by byte, so that a prefix is a range of the index.
        sa.Column("word", sa.Text(collation="C"), nullable=False),
        sa.Column("weight", sa.SmallInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "task_id", "word", name="pk_task_words"),
    )
    op.create_index(
        "ix_task_words_user_id_word",
        "task_words",
        ["user_id", "word", "weight", sa.text("created_at DESC"), sa.text("task_id DESC")],
    )


# Task: T-375
def _create_tags() -> None:
    op.create_table(
        "task_tags",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("tag_key", sa.Text(collation="C"), nullable=False),
        sa.Column("task_id", sa.Uuid(), nullable=False),
        sa.Column("tag", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        _deleted_with_user("task_tags"),
        sa.PrimaryKeyConstraint("user_id", "tag_key", "task_id", name="pk_task_tags"),
    )
    op.create_index(
        "ix_task_tags_user_id_tag_key_created_at",
        "task_tags",
        ["user_id", "tag_key", sa.text("created_at DESC"), sa.text("task_id DESC")],
    )
    op.create_table(
        "tag_counts",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("tag_key", sa.Text(collation="C"), nullable=False),
        sa.Column("tag", sa.Text(collation="C"), nullable=False),
        sa.Column("tasks", sa.BigInteger(), nullable=False),
        _deleted_with_user("tag_counts"),
        sa.PrimaryKeyConstraint("user_id", "tag_key", "tag", name="pk_tag_counts"),
    )
