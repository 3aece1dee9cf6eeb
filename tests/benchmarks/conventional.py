"""The same routes as in tutorials and templates: the peer that the benchmark compares with.

FastAPI, SQLModel, an AsyncSession per request, ORM objects, ``response_model``, ``jwt.decode`` in a dependency. It
connects as the owner of the tables, so row-level security does not slow it down, and its filters isolate users.
"""

import base64
import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID, uuid4

import jwt
from fastapi import Depends, FastAPI, HTTPException, Query, status
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy import Column, DateTime, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlmodel import Field, SQLModel, col, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

SECRET = os.environ.get("JWT_SECRET", "")

engine = create_async_engine(
    os.environ.get("DATABASE_URL", "postgresql://").replace("postgresql://", "postgresql+psycopg://", 1),
    pool_size=10,
    max_overflow=0,
)
sessions = async_sessionmaker(engine, class_=AsyncSession, expire_on_commit=False)
# Task: T-202
app = FastAPI()
bearer = HTTPBearer()


class Status(StrEnum):
    pending = "pending"
    in_progress = "in_progress"
    completed = "completed"
    cancelled = "cancelled"


class Priority(StrEnum):
    low = "low"
    medium = "medium"
    high = "high"


class TaskBase(SQLModel):
    title: str = Field(min_length=1, max_length=200)
    description: str | None = Field(default=None, max_length=10_000)
    status: Status = Field(default=Status.pending, sa_type=Text)
    priority: Priority = Field(default=Priority.medium, sa_type=Text)
    due_date: str | None = None
    due_time_zone: str | None = None
    start_date: str | None = None
    recurrence: dict[str, Any] | None = Field(default=None, sa_type=JSONB(none_as_null=True))
    category_id: UUID | None = None
    parent_id: UUID | None = None
    tags: list[str] = Field(default_factory=list, sa_type=JSONB)


class Task(TaskBase, table=True):
    __tablename__ = "tasks"

    user_id: str = Field(primary_key=True)
    id: UUID = Field(default_factory=uuid4, primary_key=True)
    created_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))
    updated_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))
    completed_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    series_id: UUID | None = None
    last_completed_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    tag_keys: list[str] = Field(default_factory=list, sa_type=JSONB)
    subtasks_total: int = 0
    subtasks_completed: int = 0
    # The database sets the position of a new task.
    position: str | None = None
    trashed_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    trash_id: UUID | None = None
    revision: int = 0
    creation_digest: bytes = b""


class TaskCreate(TaskBase):
    pass


class TaskUpdate(SQLModel):
    title: str | None = Field(default=None, min_length=1, max_length=200)
    description: str | None = Field(default=None, max_length=10_000)
    status: Status | None = None
    priority: Priority | None = None
    due_date: str | None = None
    due_time_zone: str | None = None
    start_date: str | None = None
    recurrence: dict[str, Any] | None = None
    category_id: UUID | None = None
    parent_id: UUID | None = None
    tags: list[str] | None = None


class TaskPublic(TaskBase):
    id: UUID
    series_id: UUID | None
    last_completed_at: datetime | None
    subtasks_total: int
    subtasks_completed: int
    position: str
    trashed_at: datetime | None
    created_at: datetime
    updated_at: datetime
    completed_at: datetime | None
    revision: int


class TaskPage(SQLModel):
    tasks: list[TaskPublic]
    total: int
    total_is_exact: bool
    page: int
    page_size: int
    next_cursor: str | None


async def get_session() -> AsyncIterator[AsyncSession]:
    async with sessions() as session:
        yield session


def get_current_user(credentials: Annotated[HTTPAuthorizationCredentials, Depends(bearer)]) -> str:
    try:
        claims = jwt.decode(credentials.credentials, SECRET, algorithms=["HS256"])
    except jwt.PyJWTError as error:
        raise HTTPException(status.HTTP_401_UNAUTHORIZED, "Invalid token") from error
    return str(claims["sub"])


SessionDep = Annotated[AsyncSession, Depends(get_session)]
CurrentUser = Annotated[str, Depends(get_current_user)]


async def get_task(session: AsyncSession, user_id: str, task_id: UUID) -> Task:
    statement = select(Task).where(Task.user_id == user_id, Task.id == task_id)
    task = (await session.exec(statement)).one_or_none()
    if task is None:
        raise HTTPException(status.HTTP_404_NOT_FOUND, "Task not found")
    return task


def cursor_after(task: Task) -> str:
    return base64.urlsafe_b64encode(f"{task.created_at.isoformat()} {task.id}".encode()).decode()


@app.get("/api/v1/tasks", response_model=TaskPage)
async def list_tasks(
    session: SessionDep,
    user_id: CurrentUser,
    skip: Annotated[int, Query(ge=0)] = 0,
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
    status: Status | None = None,
) -> dict[str, Any]:
    not_trashed = Task.user_id == user_id, col(Task.trashed_at).is_(None)
    owned_by_caller = select(Task).where(*not_trashed)
    counted = select(func.count()).select_from(Task).where(*not_trashed)
    if status is not None:
        owned_by_caller, counted = owned_by_caller.where(Task.status == status), counted.where(Task.status == status)
    total = (await session.exec(counted)).one()
    newest_first = owned_by_caller.order_by(col(Task.created_at).desc(), col(Task.id).desc())
    tasks = (await session.exec(newest_first.offset(skip).limit(limit))).all()
    return {
        "tasks": tasks,
        "total": total,
        "total_is_exact": True,
        "page": skip // limit + 1,
        "page_size": len(tasks),
        "next_cursor": cursor_after(tasks[-1]) if skip + len(tasks) < total else None,
    }


@app.post("/api/v1/tasks", response_model=TaskPublic, status_code=201)
async def create_task(body: TaskCreate, session: SessionDep, user_id: CurrentUser) -> Task:
    now = datetime.now(UTC)
    task = Task.model_validate(body, update={"user_id": user_id, "created_at": now, "updated_at": now})
    session.add(task)
    await session.commit()
    await session.refresh(task)
    return task


@app.get("/api/v1/tasks/{task_id}", response_model=TaskPublic)
async def read_task(task_id: UUID, session: SessionDep, user_id: CurrentUser) -> Task:
    return await get_task(session, user_id, task_id)


@app.patch("/api/v1/tasks/{task_id}", response_model=TaskPublic)
async def update_task(task_id: UUID, body: TaskUpdate, session: SessionDep, user_id: CurrentUser) -> Task:
    task = await get_task(session, user_id, task_id)
    task.sqlmodel_update(body.model_dump(exclude_unset=True))
    return await _saved(task, session)


@app.post("/api/v1/tasks/{task_id}/complete", response_model=TaskPublic)
async def complete_task(task_id: UUID, session: SessionDep, user_id: CurrentUser) -> Task:
    task = await get_task(session, user_id, task_id)
    task.status = Status.completed
    task.completed_at = task.completed_at or datetime.now(UTC)
    return await _saved(task, session)


@app.delete("/api/v1/tasks/{task_id}", status_code=204)
async def delete_task(task_id: UUID, session: SessionDep, user_id: CurrentUser) -> None:
    task = await get_task(session, user_id, task_id)
    task.trashed_at = task.updated_at = datetime.now(UTC)
    task.trash_id = task.id
    session.add(task)
    await session.commit()


async def _saved(task: Task, session: AsyncSession) -> Task:
    task.updated_at = datetime.now(UTC)
    session.add(task)
    await session.commit()
    await session.refresh(task)
    return task
