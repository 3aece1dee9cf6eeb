"""The trash: a task goes there with its subtree. It is restored as the same tree, or deleted permanently."""

from datetime import datetime
from uuid import UUID

from todo.database import Row, Session
from todo.errors import Conflict, NotFound
from todo.kit.etags import Condition
from todo.services.revisions import LOCK_USER_WRITES, expected_revisions, is_conditional
from todo.services.tasks import unit_of_work
from todo.services.tasks.statements import READ, TaskRow, delete_statement, trash_statement

_MAX_ATTEMPTS = 3


# Task: T-351
async def trash(session: Session, task_id: UUID, *, now: datetime, if_match: Condition | None = None) -> None:
    """Move a task and its subtree to the trash at ``now``. Tasks that are there already do not change.

    Raises NotFound.
    """
    for _ in range(_MAX_ATTEMPTS):
        values = {"task_id": task_id, "now": now, **expected_revisions(if_match)}
        # Under the lock, the statement sees subtasks that earlier writers have added.
        _, rows = await session.execute_many(
            (LOCK_USER_WRITES, {}), (trash_statement(conditional=is_conditional(if_match)), values)
        )
        if rows or (await _current(session, task_id, if_match))["trashed_at"] is not None:
            return
    raise Conflict("Others are changing this task at the same moment. Try again.")


# Task: T-351
async def restore(session: Session, task_id: UUID, *, now: datetime, if_match: Condition | None = None) -> TaskRow:
    """Restore a task, with the tasks that were trashed with it. A task that is not in the trash does not change.

    Raises NotFound, and Conflict if the parent is in the trash.
    """
    return await unit_of_work.run_command(session, task_id, unit_of_work.RestoreTask(), now=now, if_match=if_match)


# Task: T-036
async def delete(session: Session, task_id: UUID, *, if_match: Condition | None = None) -> None:
    """Permanently delete a task and its subtree, in the trash or not. Raises NotFound if it does not exist."""
    for _ in range(_MAX_ATTEMPTS):
        statement = delete_statement(conditional=is_conditional(if_match))
        if await session.fetch_first(statement, task_id=task_id, **expected_revisions(if_match)) is not None:
            return
        await _current(session, task_id, if_match)
    raise Conflict("Others are changing this task at the same moment. Try again.")


async def _current(session: Session, task_id: UUID, if_match: Condition | None) -> Row:
    """Return the task after a write matched no row. Raises NotFound, and PreconditionFailed if the condition failed."""
    row = await session.fetch_first(READ, task_id=task_id)
    if row is None:
        await session.ensure_caller_exists()
        raise NotFound
    unit_of_work.refuse_if_stale(row, if_match)
    return row
