"""Categories: a user's lists, by names of their own and in an order of the user's making.

Revision ID: 0006
"""

import sqlalchemy as sa
from alembic import op

from todo.migrations.log import define_log, join_log, leave_log
from todo.migrations.positions import STAMP, drop_order, drop_positions, make_order, make_positions
from todo.migrations.tables import create_owned_table

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

# In the writer's turn, and so never one too many. A row that is there already is no new one.
_BOUND = """
CREATE FUNCTION app.bound_categories() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF (SELECT count(*) FROM public.categories WHERE user_id = NEW.user_id) >= 1000 AND NOT EXISTS (
        SELECT FROM public.categories WHERE user_id = NEW.user_id AND id = NEW.id
    ) THEN
        RAISE EXCEPTION 'a user has 1000 categories at most' USING ERRCODE = 'TD006';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER bound_categories BEFORE INSERT ON categories FOR EACH ROW EXECUTE FUNCTION app.bound_categories();
"""


# Task: T-331
def upgrade() -> None:
    create_owned_table(
        "categories",
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
        sa.UniqueConstraint("user_id", "name_key", name="uq_categories_user_id_name_key"),
        key=("id",),
    )
    op.create_index("ix_categories_user_id_position", "categories", ["user_id", "position"])
    join_log("categories", "category")
    define_log("categories", "category", stamp=STAMP)
    make_order()
    make_positions("categories")
    op.execute(_BOUND)


def downgrade() -> None:
    op.execute("DROP TRIGGER bound_categories ON categories")
    op.execute("DROP FUNCTION app.bound_categories()")
    drop_positions("categories")
    drop_order()
    leave_log("categories")
    op.drop_table("categories")
