"""The words of tasks: where a search looks first."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import Column, DateTime, Index, SmallInteger, Text, Uuid, text
from sqlmodel import Field, SQLModel


# Task: T-361
class TaskWord(SQLModel, table=True):
    """A word of a task, folded. The database keeps it; nobody else writes it.

    The table refers to no other: rows go with their task, or with their user's counter, by triggers.
    """

    __tablename__ = "task_words"
    __table_args__ = (
        # A word's tasks, the best first: by where it stands, then the newest.
        Index("ix_task_words_user_id_word", "user_id", "word", "weight", text("created_at DESC"), text("task_id DESC")),
    )

    user_id: str = Field(sa_column=Column("user_id", Text, primary_key=True))
    task_id: UUID = Field(sa_column=Column("task_id", Uuid, primary_key=True))
    word: str = Field(sa_column=Column("word", Text(collation="C"), primary_key=True))
    # 1 in the title, 2 in the tags, 3 in the description: the least of them.
    weight: int = Field(sa_column=Column("weight", SmallInteger, nullable=False))
    # The task's.
    created_at: datetime = Field(sa_column=Column("created_at", DateTime(timezone=True), nullable=False))
