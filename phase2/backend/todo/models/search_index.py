"""The words of tasks: the index of the full-text search."""

from datetime import datetime
from typing import Annotated

from sqlalchemy import Index, SmallInteger, text
from sqlmodel import Field, SQLModel

from todo.models.fields import TIMESTAMP, BytewiseKey, TextKey, UuidKey


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

    user_id: TextKey
    task_id: UuidKey
    word: BytewiseKey
    # 1 if the word is in the title, 2 in the tags, 3 in the description; the smallest of these.
    weight: int = Field(sa_type=SmallInteger)
    # A copy of the task's.
    created_at: Annotated[datetime, TIMESTAMP]
