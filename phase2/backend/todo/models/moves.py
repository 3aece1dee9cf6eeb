"""Where something is put: beside another one of its kind."""

from uuid import UUID

from pydantic import ConfigDict, model_validator

from todo.models.base import Body, Id, absent

_ID_EXTRA = {"examples": ["0197f0c2-a6b4-7e0b-8d3c-5a1e9f60b7d2"]}


# Task: T-333
# Task: T-343
class Move(Body):
    """Body of every ``move``: at most one of the two."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"after_id": "0197f0c2-a6b4-7e0b-8d3c-5a1e9f60b7d2"}]})

    after_id: Id | None = absent(
        description=(
            "The id of another one, right behind which it is put; null: behind none, so that it is the first."
        ),
        schema_extra=_ID_EXTRA,
    )
    before_id: Id | None = absent(
        description=("The id of another one, right before which it is put; null: before none, so that it is the last."),
        schema_extra=_ID_EXTRA,
    )

    @model_validator(mode="after")
    def _names_one_place(self) -> "Move":
        if {"after_id", "before_id"} <= self.model_fields_set:
            raise ValueError("Give either after_id or before_id.")
        return self

    @property
    def has_place(self) -> bool:
        """Tell whether it is to stand beside another one."""
        return bool({"after_id", "before_id"} & self.model_fields_set)

    @property
    def is_behind(self) -> bool:
        """Tell on which side of the neighbour."""
        return "after_id" in self.model_fields_set

    @property
    def neighbour_id(self) -> UUID | None:
        """What it is to stand beside."""
        return self.after_id if self.is_behind else self.before_id
