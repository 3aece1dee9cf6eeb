"""Health: the answers to monitors and load balancers."""

from typing import Literal

from sqlmodel import SQLModel


# Task: T-038
class Health(SQLModel):
    """The process runs."""

    status: Literal["ok"]


# Task: T-038
class Readiness(SQLModel):
    """The database answers."""

    status: Literal["ready"]
