"""The OpenAPI document: it matches the code, and clients can be generated from it."""

import inspect
import json
import re
from types import NoneType
from typing import Annotated, Any, get_args
from uuid import UUID

import pytest
import yaml
from fastapi import APIRouter, FastAPI, Query
from fastapi.openapi.models import OpenAPI
from sqlmodel import Field, SQLModel

from support.openapi import BODY, WRITING, operations_of
from support.repository import ROOT, text_of
from todo.models.base import RequestBody
from todo.models.task_list import TaskQuery
from todo.models.tasks import TaskBase
from todo.models.values import Status
from todo.routes.documentation import DOCUMENTATION
from todo.web import openapi, openapi_yaml
from todo.web.route import Route

FILE = ROOT / "phase2/api-specification.yaml"


class Thing(RequestBody):
    """Something with a name."""

    name: str = Field(schema_extra={"examples": ["Umbrella"]})


class Unexplained(SQLModel):
    """Something whose field has no example."""

    name: str


def app_with(router: APIRouter) -> FastAPI:
    """Return an application that has only these routes."""
    app = FastAPI(title="Things", version="1", openapi_url=None)
    app.include_router(router)
    return app


# Task: T-050
class TestFile:
    def test_specification_file_matches_the_code(self, document: dict[str, Any]) -> None:
        assert text_of(FILE) == openapi_yaml.render(document), "the specification has changed; run: make openapi"


# Task: T-050
class TestDocument:
    def test_document_is_valid_openapi_3_1(self, document: dict[str, Any]) -> None:
        assert document["openapi"] == "3.1.0"
        assert OpenAPI.model_validate(document).info.title == document["info"]["title"]

    def test_document_has_title_version_licence_and_an_example_call(
        self, app: FastAPI, document: dict[str, Any]
    ) -> None:
        info = document["info"]

        assert (info["title"], info["version"]) == (app.title, app.version)
        assert info["license"] == {"name": "MIT License", "identifier": "MIT"}
        assert 'curl http://127.0.0.1:8000/api/v1/tasks -H "Authorization: Bearer $TOKEN"' in info["description"]
        assert [server["url"] for server in document["servers"]] == ["/"]

    def test_document_references_exactly_the_components_that_it_defines(self, document: dict[str, Any]) -> None:
        referred = set(re.findall(r'"#/components/(\w+/[\w-]+)"', json.dumps(document)))

        parts = document["components"]
        defined = {f"{kind}/{name}" for kind in ("schemas", "responses", "headers") for name in parts[kind]}
        assert referred == defined

    def test_every_operation_but_the_public_ones_needs_a_bearer_token(self, document: dict[str, Any]) -> None:
        scheme = document["components"]["securitySchemes"]["bearer"]
        public = {name for name, operation in operations_of(document).items() if "security" in operation}

        assert (scheme["type"], scheme["scheme"], scheme["bearerFormat"]) == ("http", "bearer", "JWT")
        assert document["security"] == [{"bearer": []}]
        assert public == {"read_health", "read_readiness"}
        assert all(operations_of(document)[name]["security"] == [] for name in public)

    def test_operation_ids_are_the_names_of_the_functions(self, document: dict[str, Any]) -> None:
        names = [operation["operationId"] for path in document["paths"].values() for operation in path.values()]

        assert sorted(names) == sorted(set(names))
        # ``test_openapi_answers.py`` lists all names: clients use them, so they must not change by accident.
        assert {"create_task", "list_tasks", "read_me"} < set(names)

    def test_every_tag_has_a_description(self, document: dict[str, Any]) -> None:
        used = {tag for operation in operations_of(document).values() for tag in operation["tags"]}

        assert (
            {tag["name"] for tag in document["tags"]}
            == used
            == {"tasks", "categories", "tags", "views", "stats", "changes", "live", "me", "health"}
        )
        assert all(tag["description"].endswith(".") for tag in document["tags"])

    def test_summary_and_description_are_separate(self, document: dict[str, Any]) -> None:
        operation = operations_of(document)["delete_task"]

        assert operation["summary"].startswith("Delete a task")
        assert operation["description"].startswith("The task and its whole subtree move to the trash;")

    def test_created_task_has_a_location_header(self, document: dict[str, Any]) -> None:
        responses = operations_of(document)["create_task"]["responses"]

        assert [status for status, response in responses.items() if "Location" in response.get("headers", {})] == [
            "200",
            "201",
        ]

    def test_examples_of_different_responses_differ(self, document: dict[str, Any]) -> None:
        operations = operations_of(document)

        examples = {
            name: operations[name]["responses"]["200"]["content"]["application/json"]["example"]
            for name in ("read_task", "complete_task")
        }

        assert examples["read_task"]["completed_at"] is None
        assert examples["complete_task"] == {
            **examples["read_task"],
            "status": "completed",
            "completed_at": "2026-03-01T07:30:00.123456Z",
        }


# Task: T-050
class TestShapes:
    def test_request_bodies_accept_no_unknown_fields(self, document: dict[str, Any]) -> None:
        schemas = document["components"]["schemas"]

        contents = [
            each["requestBody"]["content"] for each in operations_of(document).values() if "requestBody" in each
        ]
        bodies = {name for content in contents for name in re.findall(r"'#/components/schemas/(\w+)'", str(content))}

        assert bodies >= {"TaskCreate", "Completion", "Batch", "CategoryMove", "ViewUpdate"}
        open_bodies = {name for name in bodies if schemas[name].get("additionalProperties") is not False}
        assert not open_bodies, (
            f"these request bodies accept unknown fields; derive them from RequestBody: {open_bodies}"
        )

    def test_patch_body_has_no_defaults_and_accepts_null_only_for_clearable_fields(
        self, document: dict[str, Any]
    ) -> None:
        fields = document["components"]["schemas"]["TaskUpdate"]["properties"]

        clearable = {name for name, field in fields.items() if {"type": "null"} in field.get("anyOf", ())}

        assert set(fields) == {*TaskBase.model_fields, "scope"}
        assert clearable == {
            name for name, field in TaskBase.model_fields.items() if NoneType in get_args(field.annotation)
        }
        assert clearable & {"title", "status", "priority", "tags"} == set()
        assert {name for name, field in fields.items() if "default" in field} == {"scope"}
        assert "required" not in document["components"]["schemas"]["TaskUpdate"]

    def test_fields_of_a_conflict_are_described_without_a_placeholder(self, document: dict[str, Any]) -> None:
        fields = document["components"]["schemas"]["ConflictingChange"]["properties"]["fields"]

        # See tests/routes/test_changes.py: the list is empty if the later change created or deleted the object.
        assert "Empty if it created or deleted" in fields["description"]
        assert "*" not in fields["description"]

    def test_alias_of_the_status_filter_is_documented_as_such(self, document: dict[str, Any]) -> None:
        parameters = {one["name"]: one for one in operations_of(document)["list_tasks"]["parameters"]}

        assert set(parameters) == {*TaskQuery.model_fields, "If-None-Match"}
        assert parameters["status_filter"]["schema"] == parameters["status"]["schema"]
        assert parameters["status_filter"]["description"].startswith("Another name of `status`")

    def test_schemas_and_fields_have_no_titles(self, document: dict[str, Any]) -> None:
        schemas = document["components"]["schemas"]

        assert "title" not in schemas["TaskPublic"]
        assert schemas["TaskPublic"]["properties"]["title"]["type"] == "string"
        assert not [name for name, field in schemas["TaskPublic"]["properties"].items() if "title" in field]


# Task: T-050
class TestNewRoutes:
    def test_new_route_gets_errors_tags_and_examples_automatically(self) -> None:
        router = APIRouter(prefix="/api/v1/things", tags=["things"], route_class=Route)

        @router.put("/{thing_id}", response_model=Thing, responses={412: {}})
        async def rename_thing(thing_id: UUID, body: Thing) -> None:
            """Rename a thing. It keeps its place.

            And its colour.
            """

        document = openapi.document(app_with(router))

        operation = document["paths"]["/api/v1/things/{thing_id}"]["put"]
        assert document["tags"] == [{"name": "things", "description": inspect.cleandoc(__doc__ or "")}]
        assert operation["summary"] == "Rename a thing"
        assert operation["description"] == "It keeps its place.\n\nAnd its colour."
        assert operation["requestBody"]["content"]["application/json"]["example"] == {"name": "Umbrella"}
        assert set(operation["responses"]) == WRITING | BODY | {"412"}
        assert "PreconditionFailed" in document["components"]["responses"]

    @pytest.fixture
    def router(self) -> APIRouter:
        return APIRouter(tags=["things"], route_class=Route)

    def test_route_outside_the_api_prefix_is_public(self, router: APIRouter) -> None:
        @router.get("/things", response_model=Thing)
        async def read_thing() -> None:
            """Read the thing."""

        operation = openapi.document(app_with(router))["paths"]["/things"]["get"]

        assert operation["security"] == []
        assert "description" not in operation
        assert set(operation["responses"]) == {"200", "400", "422", "500"}

    def test_field_without_an_example_is_rejected(self, router: APIRouter) -> None:
        @router.get("/things", response_model=list[Unexplained])
        async def list_things() -> None:
            """List things."""

        with pytest.raises(ValueError, match=r"^Unexplained\.name: give the field an example$"):
            openapi.document(app_with(router))

    def test_route_without_a_docstring_is_rejected(self, router: APIRouter) -> None:
        @router.get("/things", response_model=Thing)
        async def read_thing() -> None:
            pass

        with pytest.raises(ValueError, match=r"^read_thing: the docstring has no first sentence"):
            openapi.document(app_with(router))

    def test_route_can_accept_a_list_of_enum_values(self, router: APIRouter) -> None:
        @router.get("/things", response_model=list[Status])
        async def list_states(only: Annotated[list[Status] | None, Query(description="Only these.")] = None) -> None:
            """List states."""

        operation = openapi.document(app_with(router))["paths"]["/things"]["get"]

        assert operation["responses"]["200"]["content"]["application/json"]["example"] == ["pending"]
        assert operation["parameters"][0]["description"] == "Only these."
        assert "description" not in operation["parameters"][0]["schema"]


# Task: T-050
class TestRender:
    def test_rendered_yaml_equals_the_document(self, document: dict[str, Any]) -> None:
        assert yaml.safe_load(openapi_yaml.render(document)) == document

    def test_rendered_yaml_is_deterministic(self, app: FastAPI) -> None:
        assert openapi_yaml.render(openapi.document(app, DOCUMENTATION)) == openapi_yaml.render(app.openapi())

    def test_rendered_yaml_keeps_order_uses_block_text_and_has_no_anchors(self) -> None:
        twice = {"b": "Größe\nzwei"}

        assert openapi_yaml.render({"z": twice, "a": twice}) == (
            "# Generated from the code by `make openapi`: do not edit.\n"
            "z:\n  b: |-\n    Größe\n    zwei\na:\n  b: |-\n    Größe\n    zwei\n"
        )
