"""User-owned tables, made one way: the key starts with the user, and the policy is forced."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.sql.schema import SchemaItem

_OWNER = "user_id = (SELECT app.uid())"

# As in the log: before PostgreSQL 18 a reference's triggers run as whoever deletes users, who has no caller, and may
# have no right to our tables. What follows from the row goes by its own reference to the user.
UNLESS_GONE_WITH_ITS_USER = """
    IF TG_OP = 'DELETE' AND coalesce(current_setting('app.user', true), '') = '' THEN
        IF NOT EXISTS (SELECT FROM public."user" WHERE id = OLD.user_id) THEN
            RETURN NULL;
        END IF;
    END IF;
"""
"""The beginning of a trigger function that keeps what follows from a row."""

# What a statement counts is noted while it goes through its rows, and written when it is done: a row that one
# transaction updates again and again leaves a version behind each time, and whoever looks for it by its key goes
# through all of them. Notes are settings that end with the transaction. One that grows long, since a statement goes
# through many categories, parents or tags, is written before the statement is done: its rows are all changed by then.
MOST_NOTED = 4_000
"""How many characters a note has before it is written."""


# Task: T-024
def create_owned_table(name: str, *items: SchemaItem, key: Sequence[str], references_user: bool = True) -> None:
    """Create a table whose rows belong to users and go with them. ``key`` is the rest of its primary key.

    Without the reference to the user something else has to see to it that the rows go.
    """
    owner = sa.ForeignKeyConstraint(["user_id"], ["user.id"], name=f"fk_{name}_user_id_user", ondelete="CASCADE")
    op.create_table(
        name,
        sa.Column("user_id", sa.Text(), nullable=False),
        *items,
        *([owner] if references_user else []),
        sa.PrimaryKeyConstraint("user_id", *key, name=f"pk_{name}"),
    )
    op.execute(f"ALTER TABLE {name} ENABLE ROW LEVEL SECURITY")
    op.execute(f"ALTER TABLE {name} FORCE ROW LEVEL SECURITY")
    op.execute(f"CREATE POLICY owner ON {name} USING ({_OWNER}) WITH CHECK ({_OWNER})")
    op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {name} TO todo_app")
