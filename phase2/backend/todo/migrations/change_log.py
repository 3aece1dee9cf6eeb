"""The tables in the change log. The trigger functions and the tests are derived from this list.

A logged table has user_id, id, updated_at and revision. Its triggers ``t10_lock_user_writes``, ``t40_log_write`` and
``t70_log_delete`` are in ``sql/triggers/<table>.sql``.

An INSERT with ON CONFLICT DO NOTHING must name the primary key: if it met another unique index, the log would contain
an insert that did not happen. If a statement raises, its log entries are rolled back with it.
"""

from dataclasses import dataclass

ALWAYS_EXCLUDED = ("user_id", "revision")
"""Columns that are not in the logged state: the log has columns of its own for them."""


# Task: T-434
@dataclass(frozen=True, slots=True)
class LoggedTable:
    """A table in the change log.

    ``computed_columns`` are computed from other columns and tables: they are not logged, and a write that changes
    nothing else is not a change. A table that ``is_ordered`` has a position, which users can change.
    """

    name: str
    entity: str
    computed_columns: tuple[str, ...] = ()
    is_ordered: bool = False

    @property
    def excluded_columns(self) -> tuple[str, ...]:
        """Return all columns that are not logged."""
        return (*ALWAYS_EXCLUDED, *self.computed_columns)


CHANGE_LOG = (
    LoggedTable("categories", "category", is_ordered=True),
    LoggedTable("profiles", "profile"),
    LoggedTable("tasks", "task", ("due_at", "start_at", "title_key", "next_occurrences"), is_ordered=True),
    LoggedTable("views", "view"),
)
