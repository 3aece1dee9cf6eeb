"""Reading the OpenAPI document: operations, and the statuses that kinds of operations share."""

from typing import Any

READING = {"200", "400", "401", "422", "500", "503"}
WRITING = READING | {"403", "404"}
CHANGING = WRITING | {"409", "412"}
BODY = {"408", "413", "415"}


def operations_of(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        operation["operationId"]: operation
        for operations in document["paths"].values()
        for operation in operations.values()
    }
