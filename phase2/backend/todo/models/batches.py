"""Schemas of a batch: many operations on tasks in one request."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias, get_args
from uuid import UUID

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WithJsonSchema,
    WrapValidator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError
from pydantic_core.core_schema import ErrorType

from todo.kit.ids import plain_uuid
from todo.models.base import UNSET, RequestBody
from todo.models.fields import TASK_ID, described
from todo.models.task_actions import Completion, TaskMove
from todo.models.tasks import TaskCreate, TaskPublic, TaskUpdate
from todo.models.values import Pattern

MAX_OPERATIONS = 100

_NAME = r"[A-Za-z0-9_-]{1,50}"
_REFERENCE = re.compile(rf"\${_NAME}", re.ASCII)


def _id_or_reference(value: Any) -> UUID | str:
    if not isinstance(value, str):
        raise ValueError("Expected text.")  # noqa: TRY004 - pydantic does not report a TypeError.
    if not value.startswith("$"):
        return UUID(plain_uuid(value))
    if not _REFERENCE.fullmatch(value):
        raise ValueError("Expected a $ and a ref of 1 to 50 letters, digits, - and _.")
    return value


Ref = Annotated[str, Pattern(_NAME, "Expected 1 to 50 letters, digits, - and _, such as 'milk'.")]
# One validator instead of a union: a union reports a wrong value once per member, with the member in its location.
IdOrReference = Annotated[
    UUID | str,
    PlainValidator(_id_or_reference),
    WithJsonSchema({"anyOf": [{"type": "string", "format": "uuid"}, {"type": "string", "pattern": rf"^\${_NAME}$"}]}),
]
"""An id, or ``$`` and the ref of a task that the same batch creates. A reference stays text until its id is known."""

_described = described(
    "The id of a task, or `$` and the `ref` of a task that an earlier operation creates.", TASK_ID, "$milk"
)
OperandId = Annotated[IdOrReference, _described]
OptionalOperandId = Annotated[IdOrReference | None, _described]
_REVISION = (
    "Run the operation only if the task had this `revision` before the batch; otherwise the operation fails with 412. "
    "Leave it out for a task that the batch creates."
)


def _such_as(**members: Any) -> ConfigDict:
    return ConfigDict(json_schema_extra={"examples": [members]})


class BatchTask(TaskCreate):
    """A new task. Its parent may be a task that the batch creates."""

    parent_id: OptionalOperandId = None  # type: ignore[assignment]


class BatchChanges(TaskUpdate):
    """The fields of a task to change. The new parent may be a task that the batch creates."""

    parent_id: OptionalOperandId = UNSET  # type: ignore[assignment]


class TaskOperation(RequestBody):
    """The fields that all operations on an existing task share."""

    id: OperandId
    revision: int | None = Field(default=None, ge=0, description=_REVISION, examples=[17])


# Task: T-353
class CreateOperation(RequestBody):
    """Create a task, as `POST /tasks` does."""

    op: Literal["create"]
    ref: Ref | None = Field(
        default=None, description="A name by which later operations refer to the task.", examples=["milk"]
    )
    task: BatchTask


# Task: T-353
class UpdateOperation(TaskOperation):
    """Update a task, as `PATCH /tasks/{id}` does."""

    op: Literal["update"]
    changes: BatchChanges


# Task: T-353
class CompleteOperation(TaskOperation, Completion):
    """Complete a task, as `POST /tasks/{id}/complete` does."""

    model_config = _such_as(op="complete", id=TASK_ID)

    op: Literal["complete"]


# Task: T-353
class ReopenOperation(TaskOperation):
    """Reopen a task, as `POST /tasks/{id}/reopen` does."""

    op: Literal["reopen"]


# Task: T-353
class MoveOperation(TaskOperation, TaskMove):
    """Move a task, as `POST /tasks/{id}/move` does."""

    model_config = _such_as(op="move", id=TASK_ID, after_id="$milk")

    op: Literal["move"]
    after_id: OptionalOperandId = UNSET  # type: ignore[assignment]
    before_id: OptionalOperandId = UNSET  # type: ignore[assignment]
    parent_id: OptionalOperandId = UNSET  # type: ignore[assignment]


# Task: T-353
class DeleteOperation(TaskOperation):
    """Move a task to the trash, or delete it permanently, as `DELETE /tasks/{id}` does."""

    op: Literal["delete"]
    permanent: bool = Field(
        default=False,
        description="Delete the task permanently instead of moving it to the trash.",
        examples=[False],
    )


_PYDANTIC_ERRORS = frozenset(get_args(ErrorType))


def _without_union_tag(value: Any, validate: ValidatorFunctionWrapHandler) -> Any:
    """Remove the union tag from the location of each error: it is not part of the path in the JSON."""
    try:
        return validate(value)
    except ValidationError as error:
        lines = [_line(one) for one in error.errors(include_url=False)]
        raise ValidationError.from_exception_data(error.title, lines) from None


def _line(error: Mapping[str, Any]) -> InitErrorDetails:
    kind, place, context = error["type"], error["loc"][1:], error.get("ctx", {})
    if kind == "union_tag_not_found":
        kind, place, context = "missing", ("op",), {}
    elif kind == "union_tag_invalid":
        kind, place, context = "literal_error", ("op",), {"expected": context["expected_tags"]}
    elif kind not in _PYDANTIC_ERRORS:
        kind = PydanticCustomError(kind, error["msg"])
    return InitErrorDetails(type=kind, loc=place, input=error["input"], ctx=context)


OneOperation: TypeAlias = (
    CreateOperation | UpdateOperation | CompleteOperation | ReopenOperation | MoveOperation | DeleteOperation
)
Operation = Annotated[OneOperation, Field(discriminator="op"), WrapValidator(_without_union_tag)]


# Task: T-353
class Batch(RequestBody):
    """Body of `POST /tasks/batch`."""

    model_config = _such_as(
        operations=[
            {"op": "create", "ref": "party", "task": {"title": "Party"}},
            {"op": "create", "task": {"title": "Buy milk", "parent_id": "$party"}},
        ]
    )

    operations: list[Operation] = Field(
        min_length=1, max_length=MAX_OPERATIONS, description="The operations, in the order in which they run."
    )
    atomic: bool = Field(
        default=True,
        description=(
            "If true, all operations are done, or none. If false, an operation that fails does not stop the others, "
            "and each result has its own `status`."
        ),
        examples=[True],
    )


# Task: T-353
class BatchError(BaseModel):
    """The reason why an operation failed: the members of the problem that a single request would return.

    The pointers in `errors` are relative to the operation.
    """

    model_config = ConfigDict(extra="allow")

    title: str = described("The name of the status.", "Not Found")
    status: int = described("The HTTP status.", 404)
    detail: str = described(
        "A message for people: the reason, and what to do.", "There is nothing here, or it is not yours."
    )
    code: str = described("The reason, for programs.", "not_found")


# Task: T-353
class BatchResult(BaseModel):
    """The result of one operation."""

    op: str = described("The kind of operation.", "create")
    status: int = described("The HTTP status that a single request would return.", 201)
    id: UUID = described("The id of the task. If the task was not created, the id that it would have had.", TASK_ID)
    task: TaskPublic | None = described(
        "The task after the whole batch. Null if the operation failed, or if the task no longer exists."
    )
    error: BatchError | None = described("The error. Null if the operation succeeded.", None)


# Task: T-353
class BatchResults(BaseModel):
    """The results of all operations, in the same order."""

    results: list[BatchResult]
