"""What PostgreSQL believes about tables when it makes plans, which are made once for everybody."""

from typing import NamedTuple

import sqlalchemy as sa
from alembic import op


class _Belief(NamedTuple):
    """How many values a column has (negative: as a part of the rows), and which part of the rows lacks one."""

    table: str
    column: str
    values: float
    missing: float = 0


# One user has 10,000 tasks, changes and tags, and 100,000 words; a twentieth of the tasks is in one category, or has
# one tag, and a hundredth of the words is one. PostgreSQL never looks at these columns: most users have little, and
# all together very many categories, tags and words.
_FOR_GOOD = (
    _Belief("tasks", "user_id", -1 / 10_000),
    _Belief("tasks", "category_id", 10, 0.5),
    _Belief("changes", "user_id", -1 / 10_000),
    _Belief("task_tags", "user_id", -1 / 10_000),
    _Belief("task_tags", "tag_key", 20),
    _Belief("task_words", "user_id", -1 / 100_000),
    _Belief("task_words", "word", 100),
)
# Instead of a guess: that each column has two hundred values.
_AT_FIRST = (
    _Belief("tasks", "id", -1),
    _Belief("tasks", "status", 4),
    _Belief("tasks", "due_at", -0.5, 0.5),
    _Belief("tasks", "trashed_at", -0.05, 0.95),
)
_TABLES = sorted({belief.table for belief in _FOR_GOOD})
_WIDTH = 20

# Before PostgreSQL 18 nobody can tell it, but how many values it is to count when it looks; and then it believes that
# nobody has more than whoever had most.
_TELL = f"""
DO $$
BEGIN
    IF to_regproc('pg_restore_attribute_stats') IS NOT NULL THEN
        {{before}}
        PERFORM pg_clear_attribute_stats('public', '{{table}}', '{{column}}', false);
        IF NOT pg_restore_attribute_stats(
            'schemaname', 'public', 'relname', '{{table}}', 'attname', '{{column}}', 'inherited', false,
            'null_frac', {{missing}}::real, 'avg_width', {_WIDTH}, 'n_distinct', {{values}}::real
        ) THEN
            RAISE EXCEPTION 'nothing can be told of {{table}}.{{column}}';
        END IF;
    END IF;
END
$$
"""
_DO_NOT_LOOK = "ALTER TABLE public.{table} ALTER COLUMN {column} SET STATISTICS 0;"


# Task: T-212
def plan_for_many() -> None:
    """Have plans made for users who have much, however little most have.

    Where a user has few tasks, any index that has the user is as good as the key: all that the user has is looked
    through. To somebody with many the same is done, and for each of the tasks that a word or a tag has found.
    """
    for table, column, values, _ in _FOR_GOOD:
        op.execute(f"ALTER TABLE {table} ALTER COLUMN {column} SET (n_distinct = {values})")
    tell(op.get_bind())
    for belief in _AT_FIRST:
        op.execute(_TELL.format(**belief._asdict(), before=""))
    _look()


def tell(connection: sa.Connection) -> None:
    """Say again what holds for good. A dump takes along what is not looked at, but not what is believed of it."""
    for belief in _FOR_GOOD:
        values = belief._asdict()
        connection.exec_driver_sql(_TELL.format(**values, before=_DO_NOT_LOOK.format(**values)))


def plan_for_the_average() -> None:
    """Undo ``plan_for_many``."""
    for table, column, *_ in _FOR_GOOD:
        op.execute(
            f"ALTER TABLE {table} ALTER COLUMN {column} RESET (n_distinct), ALTER COLUMN {column} SET STATISTICS -1"
        )
    _look()


def _look() -> None:
    """Look at what is there. Where nothing is, PostgreSQL would believe that it will stay so."""
    for table in _TABLES:
        op.execute(f"DO $$ BEGIN IF pg_relation_size('public.{table}') > 0 THEN ANALYZE public.{table}; END IF; END $$")
