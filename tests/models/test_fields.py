"""Fields: declared once, and the same in every shape that has them."""

import pytest
from pydantic import BaseModel

from todo.models.categories import CategoryBase, CategoryCreate, CategoryReplace, CategoryState, CategoryUpdate
from todo.models.profiles import Me, ProfileBase, ProfilePublic, ProfileUpdate
from todo.models.tasks import TaskBase, TaskCreate, TaskPublic, TaskReplace, TaskUpdate
from todo.models.views import ViewCreate, ViewPublic, ViewUpdate

SHAPES: dict[type[BaseModel], list[type[BaseModel]]] = {
    TaskBase: [TaskCreate, TaskReplace, TaskUpdate, TaskPublic],
    CategoryBase: [CategoryCreate, CategoryReplace, CategoryUpdate, CategoryState],
    ProfileBase: [ProfileUpdate, ProfilePublic, Me],
    ViewUpdate: [ViewCreate, ViewPublic],
}


def descriptions_of(shape: type[BaseModel]) -> dict[str, str | None]:
    return {name: field.description for name, field in shape.model_fields.items()}


# Task: T-453
class TestFields:
    @pytest.mark.parametrize(("base", "shape"), [(base, shape) for base in SHAPES for shape in SHAPES[base]])
    def test_a_field_has_one_description_in_every_shape(self, base: type[BaseModel], shape: type[BaseModel]) -> None:
        described = descriptions_of(shape)

        assert None not in described.values()
        assert descriptions_of(base).items() <= described.items(), "a shape lacks a field of its base"

    @pytest.mark.parametrize(("base", "update"), [(TaskBase, TaskUpdate), (CategoryBase, CategoryUpdate)])
    def test_an_update_accepts_the_values_that_a_new_object_may_have(
        self, base: type[BaseModel], update: type[BaseModel]
    ) -> None:
        whole = base.model_json_schema()["properties"]
        for field in whole.values():
            field.pop("default", None)

        changes = update.model_json_schema()["properties"]

        assert {name: changes[name] for name in whole} == whole
