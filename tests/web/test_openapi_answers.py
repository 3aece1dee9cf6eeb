"""Responses in the OpenAPI document: errors and headers."""

import json
from typing import Any

from support.openapi import BODY, CHANGING, READING, WRITING, operations_of
from todo import errors


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
        found = {
            name: {one["name"] for one in operation.get("parameters", ()) if one["in"] == "header"}
            for name, operation in operations_of(document).items()
        }

        assert found == {
            "create_task": {"If-None-Match", "Idempotency-Key"},
            "list_tasks": {"If-None-Match"},
            "read_task": {"If-None-Match"},
            "replace_task": {"If-Match"},
            "update_task": {"If-Match", "Idempotency-Key"},
            "delete_task": {"If-Match"},
            "complete_task": {"If-Match", "Idempotency-Key"},
            "reopen_task": {"If-Match", "Idempotency-Key"},
            "read_task_history": set(),
            "skip_task": {"If-Match", "Idempotency-Key"},
            "list_occurrences": set(),
            "move_task": {"If-Match", "Idempotency-Key"},
            "restore_task": {"If-Match", "Idempotency-Key"},
            "run_batch": {"Idempotency-Key"},
            "list_tags": {"If-None-Match"},
            "rename_tag": {"Idempotency-Key"},
            "delete_tag": set(),
            "create_view": {"If-None-Match", "Idempotency-Key"},
            "list_views": {"If-None-Match"},
            "read_view": {"If-None-Match"},
            "update_view": {"If-Match", "Idempotency-Key"},
            "delete_view": {"If-Match"},
            "read_stats": set(),
            "create_category": {"If-None-Match", "Idempotency-Key"},
            "list_categories": {"If-None-Match"},
            "read_category": {"If-None-Match"},
            "replace_category": {"If-Match"},
            "update_category": {"If-Match", "Idempotency-Key"},
            "move_category": {"If-Match", "Idempotency-Key"},
            "delete_category": {"If-Match"},
            "list_changes": {"If-None-Match"},
            "read_snapshot": set(),
            "undo_change": {"Idempotency-Key"},
            "follow_events": {"Last-Event-ID"},
            "read_me": {"If-None-Match"},
            "update_me": {"If-Match", "Idempotency-Key"},
            "read_health": set(),
            "read_readiness": set(),
        }

    def test_request_headers_are_optional(self, document: dict[str, Any]) -> None:
        parameters = [one for operation in operations_of(document).values() for one in operation.get("parameters", ())]

        assert {one["required"] for one in parameters if one["in"] == "header"} == {False}

    def test_operations_list_their_response_headers(self, document: dict[str, Any]) -> None:
        found = {
            name: {
                status: set(response["headers"]) - {"X-Request-ID"}
                for status, response in operation["responses"].items()
                if status < "400"
            }
            for name, operation in operations_of(document).items()
        }

        tagged, replayed = {"ETag"}, {"Idempotency-Replayed"}
        made = tagged | replayed | {"Location"}
        assert found == {
            "create_task": {"200": made, "201": made},
            "list_tasks": {"200": tagged, "304": tagged},
            "read_task": {"200": tagged, "304": tagged},
            "replace_task": {"200": tagged},
            "update_task": {"200": tagged | replayed},
            "delete_task": {"204": set()},
            "complete_task": {"200": tagged | replayed},
            "reopen_task": {"200": tagged | replayed},
            "read_task_history": {"200": set()},
            "skip_task": {"200": tagged | replayed},
            "list_occurrences": {"200": set()},
            "move_task": {"200": tagged | replayed},
            "restore_task": {"200": tagged | replayed},
            "run_batch": {"200": replayed},
            "list_tags": {"200": tagged, "304": tagged},
            "rename_tag": {"200": replayed},
            "delete_tag": {"204": set()},
            "create_view": {"200": made, "201": made},
            "list_views": {"200": tagged, "304": tagged},
            "read_view": {"200": tagged, "304": tagged},
            "update_view": {"200": tagged | replayed},
            "delete_view": {"204": set()},
            "read_stats": {"200": set()},
            "create_category": {"200": made, "201": made},
            "list_categories": {"200": tagged, "304": tagged},
            "read_category": {"200": tagged, "304": tagged},
            "replace_category": {"200": tagged},
            "update_category": {"200": tagged | replayed},
            "move_category": {"200": tagged | replayed},
            "delete_category": {"204": set()},
            "list_changes": {"200": tagged, "304": tagged},
            "read_snapshot": {"200": set()},
            "undo_change": {"200": replayed},
            "follow_events": {"200": set()},
            "read_me": {"200": tagged, "304": tagged},
            "update_me": {"200": tagged | replayed},
            "read_health": {"200": set()},
            "read_readiness": {"200": set()},
        }

    def test_response_headers_are_required_unless_only_some_responses_have_them(self, document: dict[str, Any]) -> None:
        headers = document["components"]["headers"]

        assert {name for name, header in headers.items() if not header.get("required")} == {
            "Idempotency-Replayed",
            "ETag-Unless-Timed",
        }
