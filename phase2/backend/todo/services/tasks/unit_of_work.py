"""Units of work: a command that concerns more than one task row is loaded, planned and written in two round trips.

The first round trip takes the user write lock, so nothing changes in between, and loads the tasks, their ancestors and
their subtrees. All checks run before a write is sent. The second round trip writes, reads the result and commits.
"""

from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, Protocol
from uuid import UUID

from todo.database import DatabaseError, Row, Session, Statement
from todo.errors import TOO_MUCH_AT_ONCE, Conflict, FieldError, Invalid, NotFound, PreconditionFailed
from todo.kit.dates import format_due
from todo.kit.etags import Condition
from todo.kit.ids import uuid7
from todo.models.task_actions import TaskMove
from todo.models.tasks import Scope, Status, TaskBase, TaskUpdate
from todo.services.recurrence import series
from todo.services.recurrence.user_time import PROFILE, UserTime
from todo.services.revisions import LOCK_USER_WRITES
from todo.services.tasks.errors import UNDER_TRASH, to_user_error
from todo.services.tasks.occurrences import INSERT_COMPLETED_COPY
from todo.services.tasks.statements import (
    COMPLETE_BELOW,
    LOAD_SUBTREES,
    MAX_SUBTREE_ROWS,
    OPEN,
    PUBLIC_NAMES,
    READ,
    REOPEN_BELOW,
    RESTORE,
    TaskRow,
    move_statement,
    recurrence_column,
    set_columns_statement,
    to_columns,
)

_TIMES = ("due_date", "due_time_zone", "start_date", "recurrence")
IN_TRASH = "The task is in the trash. Restore it first."


@dataclass(slots=True)
class TaskUnitOfWork:
    """The loaded tasks, which each command updates in memory, and the statements that write the changes."""

    rows: dict[str, Row]
    user_time: UserTime
    now: datetime
    requests: list[tuple[Statement, Mapping[str, Any]]] = field(default_factory=list)
    _children: dict[str, list[Row]] | None = None

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

    def subtree_height(self, task_id: str) -> int:
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


class Command(Protocol):
    """A command on one task. ``includes_subtree``: it needs the subtree of the task."""

    @property
    def includes_subtree(self) -> bool: ...

    def apply(self, unit: TaskUnitOfWork, task_id: UUID) -> None:
        """Check the command, and add its statements to the plan. If it raises, it has added nothing."""


@asynccontextmanager
async def load(
    session: Session, task_id: UUID, *, with_below: bool
) -> AsyncIterator[tuple[list[Row] | None, dict[str, Row], UserTime]]:
    """Begin a transaction under the user write lock. Yield the stored response, the tasks by id, and the user's clock.

    The stored response is ``None`` if there is none. ``with_below`` also loads the subtree.
    """
    families = {"ids": [task_id], "others": []} if with_below else {"ids": [], "others": [task_id]}
    async with session.transaction((LOCK_USER_WRITES, {}), (LOAD_SUBTREES, families), (PROFILE, {})) as (
        replayed,
        [_, rows, profiles],
    ):
        refuse_too_many(rows)
        yield replayed, {row["id"]: row for row in rows}, UserTime.of(profiles)


# Task: T-384
def refuse_too_many(rows: Sequence[Row]) -> None:
    """Raise Conflict if more tasks were loaded than one plan may hold."""
    if len(rows) > MAX_SUBTREE_ROWS:
        raise Conflict(TOO_MUCH_AT_ONCE, code="too_much_at_once")


# Task: T-325
async def run_command(
    session: Session, task_id: UUID, command: Command, *, now: datetime, if_match: Condition | None = None
) -> TaskRow:
    """Run one command on one task, in one transaction and two round trips. Return the resulting task."""
    try:
        async with load(session, task_id, with_below=command.includes_subtree) as (replayed, rows, user_time):
            if replayed is not None:
                return replayed[0]
            unit = TaskUnitOfWork(rows, user_time, now)
            if str(task_id) not in unit.rows:
                await session.ensure_caller_exists()
            refuse_if_stale(unit.task(task_id), if_match)
            command.apply(unit, task_id)
            [row] = await session.finish(*unit.requests, (READ, {"task_id": task_id}))
            return row
    except DatabaseError as error:
        raise to_user_error(error) or error from None


def refuse_if_stale(row: Row, if_match: Condition | None) -> None:
    """Raise PreconditionFailed if a task does not match the condition."""
    if if_match is not None and not if_match.names(row["revision"]):
        raise PreconditionFailed(current={name: row[name] for name in PUBLIC_NAMES}, revision=row["revision"])


@dataclass(frozen=True, slots=True)
class UpdateTask:
    """Set the named fields to their values in ``body``."""

    body: TaskBase | TaskUpdate
    names: Collection[str]
    scope: Scope = Scope.series

    @property
    def includes_subtree(self) -> bool:
        return "status" in self.names and self.body.status is Status.completed

    def apply(self, unit: TaskUnitOfWork, task_id: UUID) -> None:
        row = unit.require_not_trashed(task_id)
        values, shown = self.columns(row, unit.user_time)
        unit.set(row, values, shown=shown)
        if "status" in self.names and self.body.status is Status.completed:
            # After the other fields, with the same checks as any other completion.
            CompleteTask().apply(unit, task_id)

    def columns(self, row: Row, user_time: UserTime) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the columns to write, and those that are read in another form. Raises if a value is not allowed."""
        values = to_columns(self.body, self.names)
        shown = {name: getattr(self.body, name) for name in ("tags",) if name in values}
        if "status" in values:
            refuse_transition(row, values["status"])
            if values["status"] == Status.completed:
                values.pop("status")
        moved = series.columns_after_edit(row, self._times(values), user_time, only_this=self.scope is Scope.occurrence)
        if moved.get("recurrence") is not None:
            shown["recurrence"] = moved["recurrence"]
            moved["recurrence"] = recurrence_column(self.body.recurrence)
        return {**values, **moved}, shown

    def _times(self, values: dict[str, Any]) -> dict[str, Any]:
        """Remove the fields that move a series from ``values``, and return them in the form in which they are read."""
        times = {name: values.pop(name) for name in _TIMES if name in values}
        if times.get("recurrence") is not None and self.body.recurrence is not None:
            times["recurrence"] = self.body.recurrence.stored()
        return times


@dataclass(frozen=True, slots=True)
class CompleteTask:
    """Complete a task, or the open occurrence of a series, with its subtree.

    ``at`` is the time of completion, ``None`` for now. ``occurrence`` is the due date of the occurrence, ``None`` for
    the open one.
    """

    at: datetime | None = None
    occurrence: str | None = None

    includes_subtree: ClassVar[bool] = True

    def apply(self, unit: TaskUnitOfWork, task_id: UUID) -> None:
        row = unit.require_not_trashed(task_id)
        at = self.at or unit.now
        if is_repeated(row, self.occurrence, row["last_occurrence"]):
            return
        refuse_transition(row, Status.completed)
        if row["status"] == Status.completed:
            return
        if row["recurrence"] is not None and series.already_completed_today(row, unit.user_time, at):
            return
        following = series.columns_after_completion(row, unit.user_time, at) if row["recurrence"] is not None else None
        if following is None:
            self._complete_finally(unit, row, at)
        else:
            self._complete_occurrence(unit, row, at, following)

    def _complete_finally(self, unit: TaskUnitOfWork, row: Row, at: datetime) -> None:
        below = unit.descendants(row)
        if below:
            unit.add(COMPLETE_BELOW, row, completed_at=at)
            for each in below:
                if each["status"] in OPEN:
                    each |= {"status": Status.completed.value, "completed_at": format_due(at)}
                    if each["recurrence"] is not None:
                        each["last_completed_at"] = format_due(at)
        done = {"status": Status.completed.value, "completed_at": at}
        if row["recurrence"] is not None:
            done |= _last_completion_columns(row, at)
        unit.set(row, done)

    def _complete_occurrence(self, unit: TaskUnitOfWork, row: Row, at: datetime, following: Mapping[str, Any]) -> None:
        unit.add(INSERT_COMPLETED_COPY, row, new_id=uuid7(unit.now), completed_at=at)
        below = unit.descendants(row)
        if below:
            unit.add(REOPEN_BELOW, row)
            for each in below:
                if each["status"] == Status.completed and each["recurrence"] is None:
                    each |= {"status": Status.pending.value, "completed_at": None}
        unit.set(row, {**following, **_last_completion_columns(row, at), "status": Status.pending.value})


def _last_completion_columns(row: Row, at: datetime) -> dict[str, Any]:
    """Return the columns with the last completed occurrence and its time. An offline client can send an older time."""
    before = row["last_completed_at"]
    latest = at if before is None else max(at, datetime.fromisoformat(before))
    return {"last_completed_at": latest, "last_occurrence": row["due_date"]}


@dataclass(frozen=True, slots=True)
class SkipOccurrence:
    """Skip the open occurrence of a series. If it is the last one, cancel the task."""

    occurrence: str | None = None

    includes_subtree: ClassVar[bool] = False

    def apply(self, unit: TaskUnitOfWork, task_id: UUID) -> None:
        row = unit.require_not_trashed(task_id)
        series.require_series(row)
        if is_repeated(row, self.occurrence, row["last_skipped"]):
            return
        if row["status"] in OPEN:
            following = series.columns_after_skip(row, unit.user_time) or {"status": Status.cancelled.value}
            unit.set(row, {**following, "last_skipped": row["due_date"]})
        elif self.occurrence is None or self.occurrence != row["last_skipped"]:
            raise Conflict("The series has ended. Reopen the task first.", code="series_ended")


@dataclass(frozen=True, slots=True)
class ReopenTask:
    """Make a completed or cancelled task pending again."""

    includes_subtree: ClassVar[bool] = False

    def apply(self, unit: TaskUnitOfWork, task_id: UUID) -> None:
        row = unit.require_not_trashed(task_id)
        if row["status"] not in OPEN:
            unit.set(row, {"status": Status.pending.value, "completed_at": None})


@dataclass(frozen=True, slots=True)
class MoveTask:
    """Move a task next to another one, to another category, or under another task."""

    body: TaskMove

    includes_subtree: ClassVar[bool] = False

    def apply(self, unit: TaskUnitOfWork, task_id: UUID) -> None:
        row = unit.require_not_trashed(task_id)
        statement, values = move_statement(self.body)
        unit.add(statement, row, **values)


@dataclass(frozen=True, slots=True)
class RestoreTask:
    """Restore a task from the trash, with the tasks that were trashed with it."""

    includes_subtree: ClassVar[bool] = False

    def apply(self, unit: TaskUnitOfWork, task_id: UUID) -> None:
        row = unit.task(task_id)
        if row["trashed_at"] is None:
            return
        parent = unit.rows.get(row["parent_id"] or "")
        if parent is not None and parent["trashed_at"] is not None:
            raise Conflict(UNDER_TRASH, code="under_trash")
        unit.add(RESTORE, row)


def as_read(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return column values as they are read: ids and instants are text."""
    return {name: _as_read(value) for name, value in values.items()}


def _as_read(value: Any) -> Any:
    if isinstance(value, datetime):
        return format_due(value)
    return str(value) if isinstance(value, UUID) else value


def refuse_future(at: datetime | None, now: datetime) -> None:
    """Raise Invalid if the time of completion is in the future."""
    if at is not None and at > now:
        raise Invalid(FieldError("/completed_at", "This is in the future. Send the time at which it was done."))


def is_repeated(row: Row, occurrence: str | None, last: str | None) -> bool:
    """Return whether a request is a repetition: the same was done to the named occurrence, which is the ``last`` one.

    False if the named occurrence is open. Raises Conflict if it is neither open nor the last one.
    """
    if occurrence is None or occurrence in (row["due_date"], row["recurrence_due"]):
        return False
    if occurrence == last:
        return True
    raise Conflict(
        "This is not the open occurrence. Read the task for the one that is.",
        code="occurrence_passed",
    )


def refuse_transition(row: Row, new: Status) -> None:
    """Raise Invalid if a task's status may not change to ``new``."""
    current = Status(row["status"])
    if not (current in OPEN or new in OPEN or current is new):
        sentence = f"A {current} task cannot become {new}. Reopen it first."
        raise Invalid(FieldError("/status", sentence), detail=sentence, code="invalid_status_transition")
