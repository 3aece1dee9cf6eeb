"""Read a task."""

from uuid import UUID

from sqlalchemy import select

from todo.database import Session, Statement
from todo.services.tasks.statements import PUBLIC, TaskRow, by_id

READ = Statement(select(*PUBLIC).where(by_id))


# Task: T-032
async def read(session: Session, task_id: UUID) -> TaskRow:
    """Return one task, also from the trash. Raises NotFound for an unknown id and for another user's alike."""
    return await session.fetch_one(READ, task_id=task_id)
