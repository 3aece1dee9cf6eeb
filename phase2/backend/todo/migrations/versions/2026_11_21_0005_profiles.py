"""What we keep about a user, local time in the database, and the user's day.

Revision ID: 0005
"""

import sqlalchemy as sa
from alembic import op

from todo.migrations.log import join_log, leave_log
from todo.migrations.tables import create_owned_table
from todo.migrations.zones import drop_zones, make_zones

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


# Task: T-301
def upgrade() -> None:
    make_zones()
    create_owned_table(
        "profiles",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("time_zone", sa.Text(), nullable=False),
        sa.Column("day_start", sa.Text(), nullable=False),
        sa.Column("week_start", sa.Text(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("id = 'me'", name=op.f("ck_profiles_id")),
        # Not so much a check as a look-up, which raises 22023 for a zone that PostgreSQL does not know.
        sa.CheckConstraint(
            "'epoch'::timestamptz AT TIME ZONE (':' || time_zone) IS NOT NULL", name=op.f("ck_profiles_time_zone")
        ),
        sa.CheckConstraint("day_start ~ '^([01][0-9]|2[0-3]):[0-5][0-9]$'", name=op.f("ck_profiles_day_start")),
        sa.CheckConstraint(
            "week_start IN ('monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday', 'sunday')",
            name=op.f("ck_profiles_week_start"),
        ),
        key=("id",),
    )
    join_log("profiles", "profile")


def downgrade() -> None:
    leave_log("profiles")
    op.drop_table("profiles")
    drop_zones()
