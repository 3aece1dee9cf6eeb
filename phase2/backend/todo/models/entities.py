"""The entities of the change log: their names, their tables, and the schemas of their states.

Each table whose rows are in the change log has one entry here. The schemas of feed, snapshot and undo follow from the
entries. ``todo.services.entities`` adds what the services need.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, TypeAlias, Union

from sqlmodel import SQLModel

from todo.models.categories import Category, CategoryState
from todo.models.profiles import Profile, ProfilePublic
from todo.models.tasks import Task, TaskPublic
from todo.models.views import View, ViewPublic


class InSnapshot(Enum):
    """How the snapshot returns the objects of an entity."""

    paged = "a list, in pages by id: a user may have thousands"
    complete = "a list, complete on the first page: a user has few"
    single = "one object or null, on the first page: a user has at most one"


@dataclass(frozen=True, slots=True)
class EntityModels:
    """An entity of the change log, as the API shows it.

    ``name`` is the ``type`` of its changes, and the name under which the migrations log the table. ``state`` is the
    schema of one object in feed, snapshot and undo.
    """

    name: str
    table: type[SQLModel]
    state: type[SQLModel]
    in_snapshot: InSnapshot

    @property
    def snapshot_field(self) -> str:
        """The member of the snapshot: the name of the table for a list, the name of the entity for a single object."""
        return self.name if self.in_snapshot is InSnapshot.single else str(self.table.__tablename__)


# Task: T-452
ENTITY_MODELS: Mapping[str, EntityModels] = {
    entity.name: entity
    for entity in (
        EntityModels("task", Task, TaskPublic, InSnapshot.paged),
        EntityModels("category", Category, CategoryState, InSnapshot.complete),
        EntityModels("view", View, ViewPublic, InSnapshot.complete),
        EntityModels("profile", Profile, ProfilePublic, InSnapshot.single),
    )
}
"""Every entity by its name. The entities that are paged in the snapshot are paged in this order."""

# The schema of an object of any entity. Type checkers do not evaluate the union.
if TYPE_CHECKING:
    EntityState: TypeAlias = SQLModel
else:
    EntityState = Union[tuple(entity.state for entity in ENTITY_MODELS.values())]  # noqa: UP007 - `|` takes no computed list.


def one_of(names: Iterable[str]) -> str:
    """Return the names as a phrase for a description: "`task`, `category` or `view`"."""
    *others, last = (f"`{name}`" for name in names)
    return f"{', '.join(others)} or {last}" if others else last
