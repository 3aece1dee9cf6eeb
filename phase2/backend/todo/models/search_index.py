"""The words of tasks: the index of the full-text search."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import Column, DateTime, Index, SmallInteger, Text, Uuid, text
from sqlmodel import Field, SQLModel


# Task: T-361
class TaskWord(SQLModel, table=True):
    """A word of a task, normalized for search. Only the database writes it.

    The table has no foreign key. Triggers delete the rows with their task, or with the revision counter of their user.
    """

    __tablename__ = "task_words"
    __table_args__ = (
        # The tasks of a word, best match first: by weight, then the newest.
        Index("ix_task_words_user_id_word", "user_id", "word", "weight", text("created_at DESC"), text("task_id DESC")),
    )

    user_id: str = Field(sa_column=Column("user_id", Text, primary_key=True))
    task_id: UUID = Field(sa_column=Column("task_id", Uuid, primary_key=True))
    word: str = Field(sa_column=Column("word", Text(collation="C"), primary_key=True))
    # 1 if the word is in the title, 2 in the tags, 3 in the description; the smallest of these.
    weight: int = Field(sa_column=Column("weight", SmallInteger, nullable=False))
    # A copy of the task's.
    created_at: datetime = Field(sa_column=Column("created_at", DateTime(timezone=True), nullable=False))
