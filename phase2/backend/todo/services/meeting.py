"""What has several tags, or several words: found along the rarest, and looked up by key, or in what has the next one.

A look-up costs some microseconds. For a page of what often meets that is next to nothing; where thousands of tasks have
the one, thousands the other, and hardly any both, it is by far dearer than reading the ids of the others at once.
"""

from typing import Any

from sqlalchemy import ColumnElement, Select, and_, case, false, func, literal_column, true

LEAST_LOOKED_UP = 100
"""So many are looked up one by one, before what has the other is read."""


# Task: T-376
def far_from(number: ColumnElement[int], *, per_look_up: int) -> ColumnElement[int]:
    """Return how many tasks are looked up before the ids of ``number`` others are read.

    One look-up costs as much as reading ``per_look_up`` ids. By then the look-ups have cost about half as much as the
    reading will: whatever comes next, it is never by far too much.
    """
    return func.greatest(literal_column(str(LEAST_LOOKED_UP)), number // literal_column(str(per_look_up)))


# Task: T-376
def often_or_seldom(
    task_id: ColumnElement[Any], has_all: ColumnElement[bool], far: ColumnElement[bool], others: Select[Any]
) -> ColumnElement[bool]:
    """Hold for a task that ``has_all``; if it is ``far`` along the walk, it is sought among the ``others`` first.

    PostgreSQL reads those once, when it meets the first that is far, and keeps them hashed: only as the condition of a
    CASE does it not make a join of them.
    """
    # Nor does it read them for what might be far: a walk that is short has no place where far begins.
    return case((and_(far.is_(true()), task_id.not_in(others)), false()), else_=has_all)
