"""Tasks with all of several tags or words: scan the rarest one, and check each task for the others.

At first, each task is looked up by primary key, which costs some microseconds. This is cheap if many tasks match. It is
expensive if each tag or word has thousands of tasks and almost no task has both. Then it is much cheaper to read all
ids of the second rarest one, and to look up the tasks in a hash table. So the statement does this after a number of
look-ups.
"""

from typing import Any

from sqlalchemy import ColumnElement, Select, and_, case, false, func, literal_column, true

MIN_PROBES = 100
"""At least this many tasks are looked up one by one, before the ids of the second rarest are read."""


# Task: T-376
def probe_limit(number: ColumnElement[int], *, per_look_up: int) -> ColumnElement[int]:
    """Return the number of tasks to look up one by one, before the ids of the ``number`` others are read.

    One look-up costs as much as reading ``per_look_up`` ids. At this limit the look-ups have cost about as much as the
    reading will, so the total is at most about twice that of the better choice.
    """
    return func.greatest(literal_column(str(MIN_PROBES)), number // literal_column(str(per_look_up)))


# Task: T-376
def probe_then_hash(
    task_id: ColumnElement[Any],
    has_all: ColumnElement[bool],
    past_probe_limit: ColumnElement[bool],
    next_rarest_ids: Select[Any],
) -> ColumnElement[bool]:
    """Match tasks for which ``has_all`` is true.

    If ``past_probe_limit`` is true, the task is looked up in ``next_rarest_ids`` first. PostgreSQL reads these ids
    once, at the first such task, and keeps them in a hash table. Without the CASE, it would turn the subquery into a
    join.
    """
    # ``past_probe_limit`` is null if the scan has no such row. Then IS TRUE keeps PostgreSQL from reading the ids.
    return case((and_(past_probe_limit.is_(true()), task_id.not_in(next_rarest_ids)), false()), else_=has_all)
