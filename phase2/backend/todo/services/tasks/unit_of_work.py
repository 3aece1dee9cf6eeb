"""Units of work: a command that concerns more than one task row is loaded, planned and written in two round trips.

The first round trip takes the user write lock, so nothing changes in between, and loads the tasks, their ancestors and
their subtrees. All checks run before a write is sent. The second round trip writes, reads the result and commits.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeAlias
from uuid import UUID

from sqlalchemy import ARRAY, Select, Uuid, any_, bindparam, case, func, literal_column, select

from todo.database import DatabaseError, OwnedByCaller, Row, Session, Statement
from todo.errors import TOO_MUCH_AT_ONCE, Conflict, Invalid, NotFound, PreconditionFailed
from todo.kit.dates import format_due
from todo.kit.etags import Condition
from todo.models.task_actions import TaskMove
from todo.models.tasks import TaskBase, TaskUpdate
from todo.services.recurrence.user_time import PROFILE, UserTime
from todo.services.revisions import LOCK_USER_WRITES, expected_revisions, is_conditional
from todo.services.tasks.errors import CIRCLE, MAX_LEVELS, TOO_DEEP, UNDER_TRASH, UNKNOWN, to_user_error
from todo.services.tasks.read import READ
from todo.services.tasks.statements import (
    PUBLIC_NAMES,
    TaskRow,
    descendant_ids,
    id_in,
    owned_by_caller,
    set_columns_statement,
    tasks,
)

Request: TypeAlias = tuple[Statement, Mapping[str, Any]]

IN_TRASH = "The task is in the trash. Restore it first."

MAX_SUBTREE_ROWS = 20_000
"""At most this many tasks are loaded into the process at once: about 50 MB."""

_ids, _others = (bindparam(name, type_=ARRAY(Uuid)) for name in ("ids", "others"))
# One array, so that PostgreSQL looks up its ids. For an OR of two arrays, it would scan all tasks of the user.
_named = tasks.c.id == any_(func.array_cat(_ids, _others, type_=ARRAY(Uuid)))


def _ancestor_ids() -> Select[Any]:
    above = select(tasks.c.id, tasks.c.parent_id).where(owned_by_caller, _named).cte("above", recursive=True)
    parent = tasks.alias("parent")
    found = select(parent.c.id, parent.c.parent_id).where(OwnedByCaller(parent), parent.c.id == above.c.parent_id)
    return select(above.union(found).c.id)


_loaded_columns = tuple(
    c for c in tasks.c if c.name not in ("user_id", "creation_digest", "next_occurrences", "description")
)
# Descriptions are long, and not needed for ancestors and descendants.
_description = case((_named, tasks.c.description)).label("description")
LOAD_SUBTREES = Statement(
    select(*_loaded_columns, _description, func.encode(tasks.c.creation_digest, "hex").label("digest"))
    .where(owned_by_caller, id_in(_ancestor_ids(), descendant_ids(tasks.c.id == any_(_ids))))
    .limit(literal_column(str(MAX_SUBTREE_ROWS + 1)))
)
"""Load the tasks with these ``ids`` and their subtrees, the tasks ``others``, and the ancestors of all these.

``description`` is null unless the task is one of ``ids`` or ``others``.
"""


@dataclass(slots=True)
class TaskUnitOfWork:
    """The loaded tasks, which each command updates in memory, and the statements that write the changes.

    ``categories`` are the ids of the existing categories among those that a batch names. ``None`` for a single command:
    then the database checks the references.
    """

    rows: dict[str, Row]
    user_time: UserTime
    now: datetime
    categories: frozenset[str] | None = None
    requests: list[Request] = field(default_factory=list)
    _children: dict[str, list[Row]] | None = None

    @property
    def is_batch(self) -> bool:
        """True if all tasks and categories that the commands name are loaded."""
        return self.categories is not None

    def task(self, task_id: UUID) -> Row:
        """Return the row of a task. Raises NotFound."""
        row = self.rows.get(str(task_id))
        if row is None:
            raise NotFound
        return row

    def require_not_trashed(self, task_id: UUID) -> Row:
        """Return the row of a task that is not in the trash. Raises NotFound, and Conflict if it is in the trash."""
        row = self.task(task_id)
        if row["trashed_at"] is not None:
            raise Conflict(IN_TRASH, code="in_trash")
        return row

    def refuse_references(self, task_id: UUID, body: TaskBase | TaskUpdate | TaskMove) -> None:
        """In a batch, raise for a category or a parent that the database would reject, before anything is sent."""
        if self.categories is None:
            return
        if body.category_id is not None and str(body.category_id) not in self.categories:
            raise Invalid(UNKNOWN["category_id"])
        if body.parent_id is not None:
            self._refuse_parent(str(task_id), str(body.parent_id))

    def _refuse_parent(self, task_id: str, parent_id: str) -> None:
        if parent_id == task_id:
            raise Conflict(CIRCLE, code="parent_cycle")
        parent = self.rows.get(parent_id)
        if parent is None:
            raise Invalid(UNKNOWN["parent_id"])
        if parent["trashed_at"] is not None:
            raise Conflict(UNDER_TRASH, code="under_trash")
        above = [parent_id]
        while (row := self.rows.get(self.rows[above[-1]]["parent_id"] or "")) is not None and len(above) <= MAX_LEVELS:
            above.append(row["id"])
        if task_id in above:
            raise Conflict(CIRCLE, code="parent_cycle")
        if len(above) + self._subtree_height(task_id) > MAX_LEVELS:
            raise Invalid(TOO_DEEP)

    def set(self, row: Row, values: Mapping[str, Any], *, shown: Mapping[str, Any] | None = None) -> None:
        """Write columns of one task. ``shown`` has the values of columns that are read in another form than written."""
        if values:
            self.add(set_columns_statement(tuple(sorted(values))), row, **values)
            self.patch_row(row, {**as_read(values), **(shown or {})})

    def patch_row(self, row: Row, values: Mapping[str, Any]) -> None:
        """Update a task in memory only. Another statement writes the change."""
        row |= values
        if "parent_id" in values:
            self._children = None

    def add_row(self, row: Row) -> None:
        """Add a new task in memory."""
        self.rows[row["id"]] = row
        self._children = None

    def remove_row(self, row: Row) -> None:
        """Remove a deleted task in memory."""
        del self.rows[row["id"]]
        self._children = None

    def add(self, statement: Statement, row: Row, **values: Any) -> None:
        """Add a statement on one task to the requests."""
        self.requests.append((statement, {"task_id": UUID(row["id"]), "now": self.now, **values}))

    def descendants(self, row: Row, *, also_trashed: bool = False) -> list[Row]:
        """Return the descendants of a task, without those in the trash unless ``also_trashed``."""
        return [each for level in self._levels(row["id"], also_trashed=also_trashed) for each in level]

    def _subtree_height(self, task_id: str) -> int:
        """Return the number of levels of a task's subtree, including the task itself."""
        return 1 + sum(1 for _ in self._levels(task_id, also_trashed=True))

    def _levels(self, task_id: str, *, also_trashed: bool) -> Iterator[list[Row]]:
        if self._children is None:
            self._children = {}
            for row in self.rows.values():
                if row["parent_id"] is not None:
                    self._children.setdefault(row["parent_id"], []).append(row)
        children = self._children
        above, seen = [task_id], {task_id}
        # A move that creates a cycle is rejected by the database only later, so ``seen`` guards against one here.
        while level := [
            child
            for parent in above
            for child in children.get(parent, ())
            if child["id"] not in seen and (also_trashed or child["trashed_at"] is None)
        ]:
            yield level
            above = [each["id"] for each in level]
            seen.update(above)


class Command:
    """A command on one task: a statement that writes its row alone, and the unit of work for all other cases."""

    __slots__ = ()

    @property
    def includes_subtree(self) -> bool:
        """True if the unit of work needs the subtree of the task."""
        return False

    def request(self, *, conditional: bool) -> Request | None:
        """Return the statement with its values; ``None`` if only a unit of work can run the command.

        The statement matches no row if more than the row is concerned, or if the command must be refused.
        """

    def apply(self, unit: TaskUnitOfWork, task_id: UUID) -> None:
        """Check the command, and add its statements to the plan. If it raises, it has added nothing."""
        raise NotImplementedError


async def run_command(
    session: Session, task_id: UUID, command: Command, *, now: datetime, if_match: Condition | None
) -> TaskRow:
    """Run a command by its statement or, if that matches no row, as a unit of work. Return the resulting task."""
    request = command.request(conditional=is_conditional(if_match))
    try:
        if request is not None:
            statement, values = request
            revisions = expected_revisions(if_match)
            row = await session.fetch_first(statement, task_id=task_id, now=now, **values, **revisions)
            if row is not None:
                return row
        return await run_unit_of_work(session, task_id, command, now=now, if_match=if_match)
    except DatabaseError as error:
        raise to_user_error(error) or error from None


# Task: T-325
async def run_unit_of_work(
    session: Session, task_id: UUID, command: Command, *, now: datetime, if_match: Condition | None = None
) -> TaskRow:
    """Run a command in one transaction and two round trips. Return the resulting task."""
    loaded = {"ids": [task_id], "others": []} if command.includes_subtree else {"ids": [], "others": [task_id]}
    async with session.transaction((LOCK_USER_WRITES, {}), (LOAD_SUBTREES, loaded), (PROFILE, {})) as (
        stored_response,
        [_, rows, profiles],
    ):
        refuse_too_many(rows)
        if stored_response is not None:
            return stored_response[0]
        unit = TaskUnitOfWork({row["id"]: row for row in rows}, UserTime.of(profiles), now)
        if str(task_id) not in unit.rows:
            await session.ensure_caller_exists()
        refuse_if_stale(unit.task(task_id), if_match)
        command.apply(unit, task_id)
        [row] = await session.finish(*unit.requests, (READ, {"task_id": task_id}))
        return row


# Task: T-384
def refuse_too_many(rows: Sequence[Row]) -> None:
    """Raise Conflict if more tasks were loaded than one plan may hold."""
    if len(rows) > MAX_SUBTREE_ROWS:
        raise Conflict(TOO_MUCH_AT_ONCE, code="too_much_at_once")


def refuse_if_stale(row: Row, if_match: Condition | None) -> None:
    """Raise PreconditionFailed if a task does not match the condition."""
    if if_match is not None and not if_match.names(row["revision"]):
        raise PreconditionFailed(current={name: row[name] for name in PUBLIC_NAMES}, revision=row["revision"])


def as_read(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return column values as they are read: ids and instants are text."""
    as_text: Mapping[type, Callable[[Any], str]] = {datetime: format_due, UUID: str}
    return {name: as_text[type(each)](each) if type(each) in as_text else each for name, each in values.items()}
