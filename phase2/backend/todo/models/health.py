"""Health: what monitors and load balancers are told."""

from typing import Literal

from sqlmodel import SQLModel


# Task: T-038
class Health(SQLModel):
    """The process lives."""

    status: Literal["ok"]


# Task: T-038
class Readiness(SQLModel):
    """The database answers."""

    status: Literal["ready"]
