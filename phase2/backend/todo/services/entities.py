"""The entity registry: one entry for each table whose rows are in the change log.

Feed, snapshot, history and undo read it, and so do the tests that must know every entity. The name, the table and the
schema of an entity are in ``todo.models.entities``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

from sqlalchemy import Column, Table

from todo.database import DatabaseError
from todo.errors import Conflict
from todo.models.base import table_of
from todo.models.entities import ENTITY_MODELS, EntityModels, InSnapshot
from todo.services import categories, views
from todo.services.tasks.errors import to_undo_conflict


@dataclass(frozen=True, eq=False)
class Entity:
    """An entity of the change log. Two entities are equal only if they are the same object.

    ``to_conflict`` maps a violated constraint to the reason why undo cannot restore an object; it returns ``None`` if
    the violation is a defect of the application. ``order`` names the columns by which the snapshot orders a complete
    list. ``computed`` names the columns that are in the log although the database computes them from other rows: undo
    does not restore them.
    """

    models: EntityModels
    to_conflict: Callable[[DatabaseError], Conflict | None]
    order: tuple[str, ...] = ()
    computed: frozenset[str] = frozenset()

    @property
    def name(self) -> str:
        return self.models.name

    @property
    def is_paged(self) -> bool:
        return self.models.in_snapshot is InSnapshot.paged

    @cached_property
    def table(self) -> Table:
        return table_of(self.models.table)

    @cached_property
    def public_names(self) -> tuple[str, ...]:
        """The columns that the API shows."""
        return tuple(self.models.state.model_fields)

    @property
    def public_columns(self) -> list[Column[object]]:
        return [self.table.c[name] for name in self.public_names]


def no_conflict(_error: DatabaseError) -> None:
    """Return ``None``: no constraint of the entity can be violated by undo."""


# Task: T-452
ENTITIES: Mapping[str, Entity] = {
    entity.name: entity
    for entity in (
        Entity(ENTITY_MODELS["task"], to_undo_conflict, computed=frozenset({"subtasks_total", "subtasks_completed"})),
        Entity(ENTITY_MODELS["category"], categories.RESOURCE.as_conflict, order=("position",)),
        Entity(ENTITY_MODELS["view"], views.RESOURCE.as_conflict, order=("name_key",)),
        Entity(ENTITY_MODELS["profile"], no_conflict),
    )
}
"""Every entity by its name."""
