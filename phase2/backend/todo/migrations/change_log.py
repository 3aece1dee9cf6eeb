"""Which tables are in the change log, and how: the functions and the tests are derived from this list.

A logged table has user_id, id, updated_at and revision. Its triggers ``t10_lock_user_writes``, ``t40_log_write`` and
``t70_log_delete`` stand in ``sql/triggers/<table>.sql``.

An INSERT that has ON CONFLICT DO NOTHING names the primary key: if it met another unique index, it would be in the log
without having happened. Where a statement raises, its log goes with it.
"""

from dataclasses import dataclass

ALWAYS_EXCLUDED = ("user_id", "revision")
"""Columns that no state in the log holds: the log has both in columns of its own."""


# Task: T-434
@dataclass(frozen=True, slots=True)
class LoggedTable:
    """A table in the change log.

    ``computed_columns`` follow from the other columns and from elsewhere: they are left out of the log, and a write
    that changes nothing else is no change. A table that ``is_ordered`` has a position, which the user changes.
    """

    name: str
    entity: str
    computed_columns: tuple[str, ...] = ()
    is_ordered: bool = False

    @property
    def excluded_columns(self) -> tuple[str, ...]:
        """Return all columns that are left out of the log."""
        return (*ALWAYS_EXCLUDED, *self.computed_columns)


CHANGE_LOG = (
    LoggedTable("categories", "category", is_ordered=True),
    LoggedTable("profiles", "profile"),
    LoggedTable("tasks", "task", ("due_at", "start_at", "title_key", "next_occurrences"), is_ordered=True),
    LoggedTable("views", "view"),
)
