"""Maps database errors about tasks to the errors that users see."""

from todo.database import DatabaseError, SqlState
from todo.errors import Conflict, FieldError, Invalid, TodoError

UNKNOWN = {
    "category_id": FieldError("/category_id", "You have no such category."),
    "parent_id": FieldError("/parent_id", "You have no such task."),
}
_BY_CONSTRAINT = {
    "fk_tasks_user_id_category_id_categories": UNKNOWN["category_id"],
    "fk_tasks_user_id_parent_id_tasks": UNKNOWN["parent_id"],
}
MAX_LEVELS = 5

NO_SUCH_ZONE = FieldError("/due_time_zone", "The database does not know this time zone. Choose its current IANA name.")
TOO_DEEP = FieldError(
    "/parent_id", f"A tree of tasks has at most {MAX_LEVELS} levels. Choose a parent at a higher level."
)
CIRCLE = "A task cannot become a subtask of itself or of its own subtasks. Choose another parent."
UNDER_TRASH = "The parent task is in the trash. Restore the parent first."


def to_user_error(error: DatabaseError) -> TodoError | None:
    """Return the error that the user sees for a violation; ``None`` if it is a defect of the application."""
    if error.sqlstate == SqlState.foreign_key_violation and error.constraint in _BY_CONSTRAINT:
        return Invalid(_BY_CONSTRAINT[error.constraint])
    return {
        SqlState.parent_cycle.value: Conflict(CIRCLE, code="parent_cycle"),
        SqlState.too_deep.value: Invalid(TOO_DEEP),
        SqlState.under_trash.value: Conflict(UNDER_TRASH, code="under_trash"),
        SqlState.invalid_parameter_value.value: Invalid(NO_SUCH_ZONE),
    }.get(error.sqlstate)


def to_undo_conflict(error: DatabaseError) -> Conflict | None:
    """Return the reason why undo cannot restore a task; ``None`` if the violation is a defect of the application."""
    if error.sqlstate == SqlState.foreign_key_violation and error.constraint in _BY_CONSTRAINT:
        return Conflict("The category or the parent task was deleted. Undo that deletion first.", code="parent_deleted")
    return {
        SqlState.parent_cycle.value: Conflict(CIRCLE, code="parent_cycle"),
        SqlState.too_deep.value: Conflict(TOO_DEEP.detail, code="too_deep"),
        SqlState.under_trash.value: Conflict(
            "A task outside the trash would have a parent in the trash. Restore the parent first, or trash both.",
            code="under_trash",
        ),
        SqlState.check_violation.value: Conflict(
            "Other fields depend on this one now. Undo the later changes first.", code="changed_since"
        ),
        SqlState.invalid_parameter_value.value: Conflict(NO_SUCH_ZONE.detail, code="unknown_zone"),
    }.get(error.sqlstate)
