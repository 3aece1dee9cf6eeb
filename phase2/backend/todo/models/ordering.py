"""Moves: a place in the user's order, relative to another object of the same type."""

from typing import Annotated
from uuid import UUID

from pydantic import ConfigDict, model_validator

from todo.models.base import UNSET, RequestBody
from todo.models.fields import TASK_ID, described
from todo.models.values import Id

AfterId = Annotated[
    Id | None, described("Move it directly after the object with this id. Null moves it to the first place.", TASK_ID)
]
BeforeId = Annotated[
    Id | None, described("Move it directly before the object with this id. Null moves it to the last place.", TASK_ID)
]


# Task: T-333
# Task: T-343
class Move(RequestBody):
    """Body of every ``move`` request: at most one of the two fields."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"after_id": TASK_ID}]})

    after_id: AfterId = UNSET
    before_id: BeforeId = UNSET

    @model_validator(mode="after")
    def _names_one_place(self) -> "Move":
        if {"after_id", "before_id"} <= self.model_fields_set:
            raise ValueError("Give either after_id or before_id.")
        return self

    @property
    def has_place(self) -> bool:
        """True if the body contains a place."""
        return bool({"after_id", "before_id"} & self.model_fields_set)

    @property
    def is_behind(self) -> bool:
        """True if the place is after the neighbour, false if before."""
        return "after_id" in self.model_fields_set

    @property
    def neighbour_id(self) -> UUID | None:
        """The id of the neighbour; ``None`` for the first or the last place."""
        return self.after_id if self.is_behind else self.before_id
