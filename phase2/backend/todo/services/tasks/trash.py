"""The trash: a task goes there with its subtree. It is restored as the same tree, or deleted permanently."""

from datetime import datetime
from functools import cache
from uuid import UUID

from sqlalchemy import Select, and_, null, select, true
from sqlalchemy import delete as delete_from

from todo.database import Row, Session, Statement
from todo.errors import Conflict, NotFound
from todo.kit.dates import format_due
from todo.kit.etags import Condition
from todo.services.idempotent_create import MAX_ATTEMPTS, write_contention
from todo.services.revisions import LOCK_USER_WRITES, expected_revisions, is_conditional
from todo.services.tasks.errors import UNDER_TRASH
from todo.services.tasks.read import READ
from todo.services.tasks.statements import (
    CHILD,
    TaskRow,
    by_id,
    children_of,
    descendant_ids,
    id_in,
    is_this,
    not_trashed,
    now,
    owned_by_caller,
    revision_matches_if,
    tasks,
    this_id,
    update_statement,
)
from todo.services.tasks.unit_of_work import Command, TaskUnitOfWork, refuse_if_stale, run_command


@cache
def trash_statement(*, conditional: bool) -> Statement:
    """Return the statement that moves a task to the trash, and its subtree except for tasks that are already there.

    Take the user write lock before.
    """
    start = and_(is_this, not_trashed, *revision_matches_if(conditional=conditional))
    which = [owned_by_caller, not_trashed, id_in(descendant_ids(start))]
    return update_statement(which, {"trashed_at": now, "trash_id": this_id}, returning=[tasks.c.id])


# Task: T-351
async def trash(session: Session, task_id: UUID, *, now: datetime, if_match: Condition | None = None) -> None:
    """Move a task and its subtree to the trash at ``now``. Tasks that are there already do not change.

    Raises NotFound.
    """
    for _ in range(MAX_ATTEMPTS):
        values = {"task_id": task_id, "now": now, **expected_revisions(if_match)}
        # Under the lock, the statement sees subtasks that earlier writers have added.
        _, rows = await session.execute_many(
            (LOCK_USER_WRITES, {}), (trash_statement(conditional=is_conditional(if_match)), values)
        )
        if rows or (await _current(session, task_id, if_match))["trashed_at"] is not None:
            return
    raise write_contention("task")


class TrashTask(Command):
    """Move a task and its subtree to the trash, in a batch."""

    def apply(self, unit: TaskUnitOfWork, task_id: UUID) -> None:
        row = unit.task(task_id)
        if row["trashed_at"] is None:
            unit.add(trash_statement(conditional=False), row)
            for each in [*unit.descendants(row), row]:
                each |= {"trashed_at": format_due(unit.now), "trash_id": row["id"]}


def _trashed_together() -> Select[tuple[UUID]]:
    """Return the ids of a task in the trash, and of the tasks that were trashed with it."""
    trashed_together = (
        select(tasks.c.id, tasks.c.trash_id).where(owned_by_caller, is_this).cte("trashed_together", recursive=True)
    )
    child = children_of(trashed_together.c.id, CHILD.c.trash_id == trashed_together.c.trash_id)
    found = select(child.c.id, child.c.trash_id).select_from(trashed_together.join(child, true()))
    return select(trashed_together.union(found).c.id)


RESTORE = update_statement(
    [owned_by_caller, id_in(_trashed_together())], {"trashed_at": null(), "trash_id": null()}, returning=[tasks.c.id]
)
"""Restore a task from the trash, with the tasks that were trashed with it. Take the user write lock before."""


# Task: T-351
async def restore(session: Session, task_id: UUID, *, now: datetime, if_match: Condition | None = None) -> TaskRow:
    """Restore a task, with the tasks that were trashed with it. A task that is not in the trash does not change.

    Raises NotFound, and Conflict if the parent is in the trash.
    """
    return await run_command(session, task_id, RestoreTask(), now=now, if_match=if_match)


class RestoreTask(Command):
    """Restore a task from the trash, with the tasks that were trashed with it."""

    def apply(self, unit: TaskUnitOfWork, task_id: UUID) -> None:
        row = unit.task(task_id)
        if row["trashed_at"] is None:
            return
        parent = unit.rows.get(row["parent_id"] or "")
        if parent is not None and parent["trashed_at"] is not None:
            raise Conflict(UNDER_TRASH, code="under_trash")
        unit.add(RESTORE, row)


@cache
def _delete_statement(*, conditional: bool) -> Statement:
    """Return the statement that permanently deletes one task. The foreign key deletes its subtree."""
    return Statement(
        delete_from(tasks).where(by_id, *revision_matches_if(conditional=conditional)).returning(tasks.c.id)
    )


# Task: T-036
async def delete(session: Session, task_id: UUID, *, if_match: Condition | None = None) -> None:
    """Permanently delete a task and its subtree, in the trash or not. Raises NotFound if it does not exist."""
    statement = _delete_statement(conditional=is_conditional(if_match))
    for _ in range(MAX_ATTEMPTS):
        if await session.fetch_first(statement, task_id=task_id, **expected_revisions(if_match)) is not None:
            return
        await _current(session, task_id, if_match)
    raise write_contention("task")


class DeleteTask(Command):
    """Permanently delete a task and its subtree, in a batch."""

    def apply(self, unit: TaskUnitOfWork, task_id: UUID) -> None:
        row = unit.task(task_id)
        unit.add(_delete_statement(conditional=False), row)
        for each in [*unit.descendants(row, also_trashed=True), row]:
            unit.remove_row(each)


async def _current(session: Session, task_id: UUID, if_match: Condition | None) -> Row:
    """Return the task after a write matched no row. Raises NotFound, and PreconditionFailed if the condition failed."""
    row = await session.fetch_first(READ, task_id=task_id)
    if row is None:
        await session.ensure_caller_exists()
        raise NotFound
    refuse_if_stale(row, if_match)
    return row
