"""Many operations on tasks in one request: the shapes."""

from typing import Annotated, Any, Literal, TypeAlias
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from todo.models.base import Body, Id, absent
from todo.models.task_actions import Completion, TaskMove
from todo.models.tasks import TaskCreate, TaskPublic, TaskUpdate

MOST_OPERATIONS = 100

_ID = "The id of a task, or `$` and the `ref` of one that an earlier operation creates."
_REVISION = "Only if the task is still at this `revision`; otherwise the operation fails with 412."

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,50}$")]
Reference = Annotated[str, StringConstraints(pattern=r"^\$[A-Za-z0-9_-]{1,50}$")]
"""What stands for the id of a task that the same batch creates."""

IdOrReference: TypeAlias = Id | Reference

_ID_EXAMPLES: list[Any] = ["0197f0c2-a6b4-7e0b-8d3c-5a1e9f60b7d2", "$milk"]


class _CreatedInBatch(TaskCreate):
    """A new task, whose parent may be one that the batch creates."""

    parent_id: IdOrReference | None = Field(default=None, description=_ID, examples=_ID_EXAMPLES)


class _ChangedInBatch(TaskUpdate):
    """What changes of a task."""

    parent_id: IdOrReference | None = absent(description=_ID, schema_extra={"examples": _ID_EXAMPLES})


class _Operation(Body):
    """What all operations on a task that is there have in common."""

    id: IdOrReference = Field(description=_ID, examples=_ID_EXAMPLES)
    revision: int | None = Field(default=None, ge=0, description=_REVISION, examples=[17])


# Task: T-353
class CreateOperation(Body):
    """Create a task, as ``POST /tasks`` does."""

    op: Literal["create"]
    ref: Name | None = Field(
        default=None, description="A name, by which later operations may call it.", examples=["milk"]
    )
    task: _CreatedInBatch


# Task: T-353
class UpdateOperation(_Operation):
    """Change a task, as ``PATCH /tasks/{id}`` does."""

    op: Literal["update"]
    changes: _ChangedInBatch


# Task: T-353
class CompleteOperation(_Operation, Completion):
    """Complete a task, as ``POST /tasks/{id}/complete`` does."""

    op: Literal["complete"]


# Task: T-353
class ReopenOperation(_Operation):
    """Reopen a task, as ``POST /tasks/{id}/reopen`` does."""

    op: Literal["reopen"]


# Task: T-353
class MoveOperation(_Operation, TaskMove):
    """Move a task, as ``POST /tasks/{id}/move`` does."""

    op: Literal["move"]
    after_id: IdOrReference | None = absent(description=_ID, schema_extra={"examples": _ID_EXAMPLES})
    before_id: IdOrReference | None = absent(description=_ID, schema_extra={"examples": _ID_EXAMPLES})
    parent_id: IdOrReference | None = absent(description=_ID, schema_extra={"examples": _ID_EXAMPLES})


# Task: T-353
class DeleteOperation(_Operation):
    """Move a task to the trash, or delete it for good, as ``DELETE /tasks/{id}`` does."""

    op: Literal["delete"]
    permanent: bool = Field(default=False, description="For good.", examples=[False])


Operation: TypeAlias = Annotated[
    CreateOperation | UpdateOperation | CompleteOperation | ReopenOperation | MoveOperation | DeleteOperation,
    Field(discriminator="op"),
]


# Task: T-353
class Batch(Body):
    """Body of ``POST /tasks/batch``."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "operations": [
                        {"op": "create", "ref": "party", "task": {"title": "Party"}},
                        {"op": "create", "task": {"title": "Buy milk", "parent_id": "$party"}},
                    ]
                }
            ]
        }
    )

    operations: list[Operation] = Field(
        min_length=1, max_length=MOST_OPERATIONS, description="What is to be done, in this order."
    )
    atomic: bool = Field(
        default=True,
        description="All or nothing. If false, what fails is told beside what is done.",
        examples=[True],
    )

    @model_validator(mode="after")
    def _names_are_known(self) -> "Batch":
        known: set[str] = set()
        for operation in self.operations:
            for reference in references_of(operation):
                if reference not in known:
                    raise ValueError(f"No earlier operation creates {reference}. Give its create operation this ref.")
            if isinstance(operation, CreateOperation) and operation.ref is not None:
                if f"${operation.ref}" in known:
                    raise ValueError(f"Two operations have the ref {operation.ref}. Name one of them otherwise.")
                known.add(f"${operation.ref}")
        return self


def references_of(operation: BaseModel) -> set[str]:
    """Return the references in an operation."""
    found = {getattr(operation, name, None) for name in ("id", "after_id", "before_id", "parent_id")}
    for part in (getattr(operation, "task", None), getattr(operation, "changes", None)):
        found.add(getattr(part, "parent_id", None))
    return {value for value in found if isinstance(value, str)}


# Task: T-353
class BatchError(BaseModel):
    """Why an operation failed: the members of the problem that it would be answered with by itself."""

    model_config = ConfigDict(extra="allow")

    title: str = Field(examples=["Not Found"])
    status: int = Field(examples=[404])
    detail: str = Field(examples=["There is nothing here, or it is not yours."])
    code: str = Field(examples=["not_found"])


# Task: T-353
class BatchResult(BaseModel):
    """What became of an operation."""

    op: str = Field(description="The operation.", examples=["create"])
    status: int = Field(description="The status that it would be answered with by itself.", examples=[201])
    id: UUID = Field(description="The task's id.", examples=["0197f0c2-a6b4-7e0b-8d3c-5a1e9f60b7d2"])
    task: TaskPublic | None = Field(
        description="The task as it is when all is done; null if it failed, or if there is none any more."
    )
    error: BatchError | None = Field(description="Why it failed; null if it did not.", examples=[None])


# Task: T-353
class BatchResults(BaseModel):
    """What became of each operation, in their order."""

    results: list[BatchResult]
