"""Maps database errors about tasks to the errors that users see."""

from todo.database import DatabaseFault, SqlState
from todo.errors import Conflict, Fault, Invalid, TodoError
from todo.models.task_actions import TaskMove

UNKNOWN = {
    "category_id": Fault("/category_id", "You have no such category."),
    "parent_id": Fault("/parent_id", "You have no such task."),
}
_BY_CONSTRAINT = {
    "fk_tasks_user_id_category_id_categories": UNKNOWN["category_id"],
    "fk_tasks_user_id_parent_id_tasks": UNKNOWN["parent_id"],
}
MOST_LEVELS = 5

NO_SUCH_ZONE = Fault("/due_time_zone", "The database does not know this time zone. Choose its current IANA name.")
TOO_DEEP = Fault("/parent_id", f"Tasks lie at most {MOST_LEVELS} levels deep. Choose a task further up.")
NO_SUCH_NEIGHBOUR = "Expected the id of another task of yours."
CIRCLE = "A task cannot lie under itself or under what lies under it. Choose another parent."
UNDER_TRASH = "What it belongs to is in the trash. Restore that first."


def seen_by_users(fault: DatabaseFault) -> TodoError | None:
    """Return the error that the user sees for a violation; ``None`` if it is a defect of the application."""
    if fault.sqlstate == SqlState.foreign_key_violation and fault.constraint in _BY_CONSTRAINT:
        return Invalid(_BY_CONSTRAINT[fault.constraint])
    return {
        SqlState.circle.value: Conflict(CIRCLE, code="circle"),
        SqlState.too_deep.value: Invalid(TOO_DEEP),
        SqlState.under_trash.value: Conflict(UNDER_TRASH, code="under_trash"),
        SqlState.invalid_parameter_value.value: Invalid(NO_SUCH_ZONE),
    }.get(fault.sqlstate)


def in_the_way_of_undo(fault: DatabaseFault) -> Conflict | None:
    """Return the reason why undo cannot restore a task; ``None`` if the violation is a defect of the application."""
    if fault.sqlstate == SqlState.foreign_key_violation and fault.constraint in _BY_CONSTRAINT:
        return Conflict("What it belonged to is gone. Bring that back first.", code="gone_above")
    return {
        SqlState.circle.value: Conflict(CIRCLE, code="circle"),
        SqlState.too_deep.value: Conflict(TOO_DEEP.detail, code="too_deep"),
        SqlState.under_trash.value: Conflict(
            "A task would be alive under one in the trash. Restore that one first, or trash both.", code="under_trash"
        ),
        SqlState.check_violation.value: Conflict(
            "Other fields depend on this one now. Undo the later changes first.", code="changed_since"
        ),
        SqlState.invalid_parameter_value.value: Conflict(NO_SUCH_ZONE.detail, code="unknown_zone"),
    }.get(fault.sqlstate)


def no_such_place(fault: DatabaseFault, body: TaskMove) -> TodoError | None:
    """Return the error for an unknown neighbour, or for a place without room for another position; else ``None``."""
    if fault.sqlstate == SqlState.no_such_place:
        name = "after_id" if body.is_behind else "before_id"
        return Invalid(Fault(f"/{name}", NO_SUCH_NEIGHBOUR))
    if fault.sqlstate == SqlState.no_room:
        return Conflict("There is no room left right there. Move it elsewhere, then back.", code="no_room")
    return None
