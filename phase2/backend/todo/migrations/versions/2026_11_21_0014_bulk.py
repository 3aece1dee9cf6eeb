"""What one request does to thousands of tasks costs each of them the same.

Revision ID: 0014
"""

from todo.migrations.bulk import drop_bulk, make_bulk

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


# Task: T-383
def upgrade() -> None:
    make_bulk()


def downgrade() -> None:
    drop_bulk()
