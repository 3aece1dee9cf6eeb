"""What one request does to thousands of tasks costs each of them the same.

Revision ID: 0014
"""

from todo.migrations.counts import note_counts, stop_noting_counts
from todo.migrations.families import shorten_notes_of_parents, stop_shortening_notes_of_parents
from todo.migrations.log import look_counters_up, remember_counters

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


# Task: T-383
def upgrade() -> None:
    remember_counters()
    note_counts()
    shorten_notes_of_parents()


def downgrade() -> None:
    stop_shortening_notes_of_parents()
    stop_noting_counts()
    look_counters_up()
