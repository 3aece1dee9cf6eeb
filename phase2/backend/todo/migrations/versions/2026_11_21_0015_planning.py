"""Plans are made for users who have many tasks.

Revision ID: 0015
"""

from todo.migrations.planning import plan_for_many, plan_for_the_average

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


# Task: T-212
def upgrade() -> None:
    plan_for_many()


def downgrade() -> None:
    plan_for_the_average()
