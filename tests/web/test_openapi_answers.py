"""Responses in the OpenAPI document: errors and headers."""

import json
from typing import Any

from support.openapi import BODY, CHANGING, READING, WRITING, operations_of
from todo import errors

# Operations that answer 304 if the ETag in If-None-Match is current.
CACHED = {
    "list_tasks", "read_task", "list_tags", "list_views", "read_view", "list_categories", "read_category",
    "list_changes", "read_me",
}  # fmt: skip


def errors_of(operation: dict[str, Any]) -> set[str]:
    return {status for status in operation["responses"] if status >= "400"}


# Task: T-050
class TestErrors:
    def test_operations_list_exactly_the_errors_that_they_can_return(self, document: dict[str, Any]) -> None:
        found = {name: set(operation["responses"]) for name, operation in operations_of(document).items()}

        assert found == {
            "create_task": READING | BODY | {"201", "403", "409", "412"},
            "list_tasks": READING | {"304"},
            "read_task": READING | {"304", "404"},
            "replace_task": CHANGING | BODY,
            "update_task": CHANGING | BODY,
            "delete_task": CHANGING - {"200"} | {"204"},
            "complete_task": CHANGING | BODY,
            "reopen_task": CHANGING,
            "read_task_history": READING | {"404"},
            "skip_task": CHANGING | BODY,
            "list_occurrences": READING | {"404"},
            "move_task": CHANGING | BODY,
            "restore_task": CHANGING,
            "run_batch": CHANGING | BODY,
            "list_tags": READING | {"304"},
            "rename_tag": WRITING | BODY | {"409"},
            "delete_tag": WRITING - {"200"} | {"204", "409"},
            "create_view": READING | BODY | {"201", "403", "409", "412"},
            "list_views": READING | {"304"},
            "read_view": READING | {"304", "404"},
            "update_view": CHANGING | BODY,
            "delete_view": CHANGING - {"200"} | {"204"},
            "read_stats": READING,
            "create_category": READING | BODY | {"201", "403", "409", "412"},
            "list_categories": READING | {"304"},
            "read_category": READING | {"304", "404"},
            "replace_category": CHANGING | BODY,
            "update_category": CHANGING | BODY,
            "move_category": CHANGING | BODY,
            "delete_category": CHANGING - {"200"} | {"204"},
            "list_changes": READING | {"304", "410"},
            "read_snapshot": READING,
            "undo_change": WRITING | {"409"},
            "follow_events": READING | {"410", "429"},
            "read_me": READING | {"304"},
            "update_me": CHANGING - {"404"} | BODY,
            "read_health": {"200", "400", "422", "500"},
            "read_readiness": {"200", "400", "422", "500", "503"},
        }

    def test_errors_are_references_to_shared_responses(self, document: dict[str, Any]) -> None:
        operations = operations_of(document).values()

        inline = [op["operationId"] for op in operations for s in errors_of(op) if set(op["responses"][s]) != {"$ref"}]

        assert inline == []

    def test_errors_have_one_schema_and_media_type(self, document: dict[str, Any]) -> None:
        responses = document["components"]["responses"]

        forms = {json.dumps(response["content"], sort_keys=True).count("/Problem") for response in responses.values()}

        assert forms == {1}
        assert {media for response in responses.values() for media in response["content"]} == {
            "application/problem+json"
        }

    def test_errors_list_their_headers(self, document: dict[str, Any]) -> None:
        headers = {name: set(response["headers"]) for name, response in document["components"]["responses"].items()}

        assert headers == {
            "BadRequest": {"X-Request-ID"},
            "Unauthenticated": {"X-Request-ID", "WWW-Authenticate"},
            "Forbidden": {"X-Request-ID"},
            "NotFound": {"X-Request-ID"},
            "Timeout": {"X-Request-ID"},
            "Conflict": {"X-Request-ID"},
            "Gone": {"X-Request-ID"},
            "PreconditionFailed": {"X-Request-ID", "ETag"},
            "ContentTooLarge": {"X-Request-ID"},
            "UnsupportedMediaType": {"X-Request-ID"},
            "Invalid": {"X-Request-ID"},
            "TooManyRequests": {"X-Request-ID"},
            "InternalError": {"X-Request-ID"},
            "Unavailable": {"X-Request-ID", "Retry-After"},
        }

    def test_example_of_an_error_equals_the_real_response(self, document: dict[str, Any]) -> None:
        response = document["components"]["responses"]["Invalid"]

        example = response["content"]["application/problem+json"]["examples"]["invalid_input"]["value"]

        assert example == {
            "type": "about:blank",
            "title": errors.Invalid.title,
            "status": 422,
            "detail": errors.Invalid.detail,
            "code": "invalid_input",
            "request_id": example["request_id"],
            "errors": [{"pointer": "/body/title", "detail": "This field is required."}],
        }

    def test_every_error_code_has_an_example(self, document: dict[str, Any]) -> None:
        shown = {}

        for name, response in document["components"]["responses"].items():
            content = response["content"]["application/problem+json"]
            alone = [content["example"]] if "example" in content else []
            examples = [*alone, *(example["value"] for example in content.get("examples", {}).values())]
            shown[name] = [example["code"] for example in examples]

        assert shown["Conflict"] == [
            "conflict",
            "idempotency_key_in_use",
            "id_taken",
            "changed_since",
            "name_taken",
            "too_much_at_once",
        ]
        assert shown["Invalid"] == ["invalid_input", "idempotency_key_reused"]
        assert (shown["Gone"], shown["PreconditionFailed"]) == (["resync_required"], ["precondition_failed"])
        assert all(shown.values())

    def test_schemas_of_the_framework_for_errors_are_removed(self, document: dict[str, Any]) -> None:
        assert not {"HTTPValidationError", "ValidationError"} & set(document["components"]["schemas"])


# Task: T-121
class TestHeaders:
    """Each header is listed under its standard name, and only for operations that use it."""

    def test_operations_list_the_request_headers_that_they_use(self, document: dict[str, Any]) -> None:
        found: dict[str, set[str]] = {}
        for name, operation in operations_of(document).items():
            for parameter in operation.get("parameters", ()):
                if parameter["in"] == "header":
                    found.setdefault(parameter["name"], set()).add(name)

        creating = {"create_task", "create_view", "create_category"}
        changing = {
            "update_task", "complete_task", "reopen_task", "skip_task", "move_task", "restore_task", "update_view",
            "update_category", "move_category", "update_me",
        }  # fmt: skip
        assert found == {
            "If-None-Match": CACHED | creating,
            "If-Match": changing
            | {"replace_task", "delete_task", "delete_view", "replace_category", "delete_category"},
            "Idempotency-Key": creating | changing | {"run_batch", "rename_tag", "undo_change"},
            "Last-Event-ID": {"follow_events"},
        }

    def test_request_headers_are_optional(self, document: dict[str, Any]) -> None:
        parameters = [one for operation in operations_of(document).values() for one in operation.get("parameters", ())]

        assert {one["required"] for one in parameters if one["in"] == "header"} == {False}

    def test_operations_list_their_response_headers(self, document: dict[str, Any]) -> None:
        found: dict[str, set[str]] = {}
        for name, operation in operations_of(document).items():
            for status, response in operation["responses"].items():
                for header in response["headers"] if status < "400" else ():
                    found.setdefault(header, set()).add(f"{name} {status}")

        created = {
            f"{name} {status}" for name in ("create_task", "create_view", "create_category") for status in (200, 201)
        }
        replayed = created | {
            f"{name} 200"
            for name in (
                "update_task", "complete_task", "reopen_task", "skip_task", "move_task", "restore_task", "run_batch",
                "rename_tag", "update_view", "update_category", "move_category", "undo_change", "update_me",
            )
        }  # fmt: skip
        assert found.pop("X-Request-ID") >= replayed
        assert found == {
            "ETag": (replayed - {"run_batch 200", "rename_tag 200", "undo_change 200"})
            | {"replace_task 200", "replace_category 200"}
            | {f"{name} {status}" for name in CACHED for status in (200, 304)},
            "Idempotency-Replayed": replayed,
            "Location": created,
        }

    def test_response_headers_are_required_unless_only_some_responses_have_them(self, document: dict[str, Any]) -> None:
        headers = document["components"]["headers"]

        assert {name for name, header in headers.items() if not header.get("required")} == {
            "Idempotency-Replayed",
            "ETag-Unless-Timed",
        }
