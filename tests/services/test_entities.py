"""The entity registry: every entry is complete, and says what to do if it is not."""

import re
from dataclasses import replace

import pytest
from sqlalchemy import Uuid

from todo.models.entities import ENTITY_MODELS, InSnapshot, one_of
from todo.services.entities import ENTITIES, Entity

NEEDED = {"id", "updated_at", "revision"}


def problems_of(entity: Entity) -> list[str]:
    """Return what is wrong with an entry of the registry, with what to do."""
    table, names = entity.table, {*entity.public_names}
    columns = {column.name for column in table.c}
    problems = []
    if not re.fullmatch(r"[a-z_]+", entity.name):
        problems.append("name it in small letters: cursors hold the name")
    if names - columns:
        problems.append(f"the state has fields that {table.name} lacks: {sorted(names - columns)}")
    if NEEDED - names:
        problems.append(f"clients need these fields of the state: {sorted(NEEDED - names)}")
    if entity.models.in_snapshot is InSnapshot.complete and not entity.order:
        problems.append("a list that is complete in the snapshot needs an order")
    if entity.models.in_snapshot is not InSnapshot.complete and entity.order:
        problems.append("only a list that is complete in the snapshot has an order")
    if entity.is_paged and not isinstance(table.c.id.type, Uuid):
        problems.append("a paged entity needs ids that are UUIDs: cursors hold an id")
    unknown = {*entity.order, *entity.computed} - columns
    if unknown:
        problems.append(f"{table.name} has no columns {sorted(unknown)}")
    return problems


# Task: T-452
class TestRegistry:
    def test_services_and_models_declare_the_same_entities(self) -> None:
        assert ENTITIES.keys() == ENTITY_MODELS.keys(), (
            "an entity has an entry in ENTITY_MODELS of models/entities.py and one in ENTITIES of services/entities.py"
        )

    def test_every_entry_is_complete(self) -> None:
        found = {name: problems for name, entity in ENTITIES.items() if (problems := problems_of(entity))}

        assert found == {}

    def test_members_of_the_snapshot_and_tables_are_used_once(self) -> None:
        members = [entity.snapshot_field for entity in ENTITY_MODELS.values()]
        tables = [entity.table.name for entity in ENTITIES.values()]

        assert len(set(members)) == len(members)
        assert len(set(tables)) == len(tables)

    @pytest.mark.parametrize(
        ("entity", "problem"),
        [
            (replace(ENTITIES["view"], order=()), "a list that is complete in the snapshot needs an order"),
            (replace(ENTITIES["task"], order=("id",)), "only a list that is complete in the snapshot has an order"),
            (replace(ENTITIES["view"], order=("place",)), "views has no columns ['place']"),
            (
                replace(
                    ENTITIES["profile"],
                    models=replace(ENTITIES["profile"].models, in_snapshot=InSnapshot.paged),
                ),
                "a paged entity needs ids that are UUIDs: cursors hold an id",
            ),
            (
                replace(ENTITIES["view"], models=replace(ENTITIES["view"].models, name="view 2")),
                "name it in small letters: cursors hold the name",
            ),
            (
                replace(ENTITIES["view"], models=replace(ENTITIES["view"].models, state=ENTITIES["task"].models.table)),
                "the state has fields that views lacks",
            ),
        ],
    )
    def test_an_incomplete_entry_is_reported(self, entity: Entity, problem: str) -> None:
        assert [each for each in problems_of(entity) if each.startswith(problem)] != []


class TestPhrases:
    @pytest.mark.parametrize(
        ("names", "phrase"),
        [(["task"], "`task`"), (["task", "view"], "`task` or `view`"), (["a", "b", "c"], "`a`, `b` or `c`")],
    )
    def test_names_become_a_phrase(self, names: list[str], phrase: str) -> None:
        assert one_of(names) == phrase
