"""The import contracts between the layers: each must fail exactly where its rule is broken."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

from support.repository import ROOT, text_of
from todo.web.route import Route, user_text_in

PACKAGES = (
    "routes", "jobs", "migrations", "dependencies", "web", "clients", "services", "models", "database", "kit",
)  # fmt: skip
MODULES = ("main", "cli", "server", "preparation", "errors", "settings")

CONTRACTS = {
    contract["id"]: contract["name"]
    for contract in tomllib.loads(text_of(ROOT / "pyproject.toml"))["tool"]["importlinter"]["contracts"]
}


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package with all layers, empty but for the imports that only ``database`` and ``web/server`` may have."""
    root = tmp_path / "todo"
    for name in PACKAGES:
        (root / name).mkdir(parents=True)
        (root / name / "__init__.py").touch()
        (root / name / "tasks.py").touch()
    for name in MODULES:
        (root / name).with_suffix(".py").touch()
    (root / "__init__.py").touch()
    (root / "database/__init__.py").write_text("import psycopg\nimport psycopg_pool\n")
    (root / "web/server").mkdir()
    (root / "web/server/__init__.py").write_text("import httptools\nimport uvicorn\nimport websockets\n")
    return root


def broken_contracts(package: Path) -> set[str]:
    """Check the package against the contracts of the project, and return the ids of the broken ones."""
    result = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache", "--config", ROOT / "pyproject.toml"],
        cwd=package.parent,
        env={**os.environ, "PYTHONPATH": str(package.parent), "COLUMNS": "500"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    # Every contract must have been checked.
    outcomes = {
        name: re.search(rf"^{re.escape(title)} (KEPT|BROKEN)$", result.stdout, re.MULTILINE)
        for name, title in CONTRACTS.items()
    }
    assert all(outcomes.values()), result.stdout
    broken = {name for name, outcome in outcomes.items() if outcome and outcome[1] == "BROKEN"}
    assert bool(broken) == bool(result.returncode)
    return broken


# Task: T-006
# Task: T-465
class TestContracts:
    def test_contracts_are_kept_by_a_valid_package(self, package: Path) -> None:
        assert broken_contracts(package) == set()

    @pytest.mark.parametrize(
        ("importer", "imported", "broken"),
        [
            ("models", "todo.services.tasks.create", {"layers"}),
            ("services", "todo.web.tasks", {"layers"}),
            ("web", "todo.dependencies.tasks", {"layers"}),
            ("database", "todo.models.tasks", {"layers"}),
            ("kit", "todo.errors", {"layers"}),
            ("routes", "todo.main", {"layers"}),
            ("routes", "todo.jobs.tasks", {"layers"}),
            ("jobs", "todo.routes.tasks", {"layers"}),
            ("routes", "todo.migrations.tasks", {"layers"}),
            ("migrations", "todo.services.tasks.create", {"migrations"}),
            ("services", "psycopg", {"driver"}),
            ("jobs", "psycopg_pool", {"driver"}),
            ("web", "uvicorn", {"server"}),
            ("routes", "websockets", {"server"}),
            ("services", "starlette.requests", {"http"}),
            ("models", "fastapi", {"http"}),
            ("routes", "sqlalchemy", {"sql"}),
            ("clients", "todo.database.tasks", {"clients"}),
            ("kit", "socket", {"kit"}),
        ],
    )
    def test_forbidden_import_breaks_its_contract(
        self, package: Path, importer: str, imported: str, broken: set[str]
    ) -> None:
        (package / importer / "tasks.py").write_text(f"import {imported}\n")

        assert broken_contracts(package) == broken

    @pytest.mark.parametrize(
        ("importer", "imported"),
        [
            ("routes", "todo.dependencies.tasks"),
            ("routes", "todo.services.tasks.create"),
            ("jobs", "todo.services.tasks.create"),
            ("services", "todo.database.tasks"),
            ("migrations", "todo.models.tasks"),
            ("migrations", "psycopg"),
            ("dependencies", "todo.database.tasks"),
            ("clients", "httpx"),
        ],
    )
    def test_allowed_import_breaks_no_contract(self, package: Path, importer: str, imported: str) -> None:
        (package / importer / "tasks.py").write_text(f"import {imported}\n")

        assert broken_contracts(package) == set()

    def test_import_of_alembic_by_the_server_breaks_a_contract(self, package: Path) -> None:
        (package / "server.py").write_text("import todo.migrations.tasks\n")
        (package / "migrations/tasks.py").write_text("import alembic\n")

        assert broken_contracts(package) == {"alembic"}

    def test_module_without_a_layer_breaks_a_contract(self, package: Path) -> None:
        (package / "helpers.py").touch()

        assert broken_contracts(package) == {"layers"}


SOURCE = ROOT / "phase2/backend/todo"

# Terms of HTTP, Python and OpenAPI that contain the name of a feature.
STANDARD_TERMS = re.compile(
    r"ETag|tag:yaml|Last-Event-ID|event-stream|EventStream|EventLoop|message_event|create_task|_start_asgi_task|taskName|union_tag_invalid"
)
ALLOWED = {
    "logs.py": {"event": "structlog calls a log entry an event"},
    "openapi.py": {"tag": "OpenAPI groups operations by tags", "tags": "OpenAPI groups operations by tags"},
    "websocket_protocol.py": {"event": "The websockets library calls a frame an event"},
    "streams.py": {"event": "The name of a field of server-sent events"},
}


def features() -> set[str]:
    """Return the names of the features, singular and plural: the modules with a router."""
    names = {path.stem for path in (SOURCE / "routes").glob("*.py") if "router = " in text_of(path)}
    return names | {re.sub("ies$", "y", name) for name in names} | {re.sub("(?<!ie)s$", "", name) for name in names}


def named_in(source: str) -> set[str]:
    """Return the words in all identifiers and literals, without docstrings."""
    return {
        word.lower()
        for text in texts_in(ast.parse(source))
        for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", STANDARD_TERMS.sub("", text))
    }


def texts_in(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        for field, value in ast.iter_fields(node):
            if isinstance(value, bytes):
                yield value.decode("latin-1")
            elif isinstance(value, str) and field != "kind":
                yield value
            elif isinstance(value, list) and field != "body":
                yield from (each for each in value if isinstance(each, str))
            elif field == "body" and isinstance(value, list) and value and is_docstring(value[0]):
                value[0].value.value = ""


def is_docstring(statement: ast.AST) -> bool:
    value = getattr(statement, "value", None)
    return isinstance(statement, ast.Expr) and isinstance(value, ast.Constant) and isinstance(value.value, str)


# Task: T-021
def test_the_orm_makes_statements_and_nothing_else() -> None:
    """A session would keep rows as objects, and write them when it likes."""
    imported = {
        name.name
        for path in (ROOT / "phase2/backend/todo").rglob("*.py")
        for node in ast.walk(ast.parse(text_of(path)))
        if isinstance(node, ast.ImportFrom) and node.module in {"sqlmodel", "sqlalchemy.orm"}
        for name in node.names
    }

    assert imported == {"Field", "SQLModel", "aliased", "col"}


# Task: T-421
class TestWeb:
    @pytest.mark.parametrize("path", sorted((SOURCE / "web").rglob("*.py")), ids=lambda path: path.name)
    def test_module_of_the_web_layer_names_no_feature(self, path: Path) -> None:
        named = named_in(text_of(path)) & features()

        assert named - ALLOWED.get(path.name, {}).keys() == set(), "move this to routes/, or pass it in from there"

    def test_exceptions_of_the_web_layer_are_needed(self) -> None:
        found = {path.name: named_in(text_of(path)) & features() for path in (SOURCE / "web").rglob("*.py")}

        assert {name: set(words) for name, words in ALLOWED.items()} == {
            name: words for name, words in found.items() if words
        }

    def test_names_of_the_features_are_known(self) -> None:
        assert {"task", "tasks", "category", "categories", "tags", "view", "change", "me", "stats"} <= features()
        assert "documentation" not in features()

    @pytest.mark.parametrize(
        ("source", "word"),
        [
            ('PREFIX = b"/api/v1/tags/"', "tags"),
            ('ERROR = "Another category of yours has this name."', "category"),
            ("import todo.models.views", "views"),
            ("from todo.models import tasks", "tasks"),
            ("from todo.models.base import x as TaskBase", "task"),
            ("def list_views() -> None: ...", "views"),
            ("class TagPath: ...", "tag"),
            ("scope.category_id = 1", "category"),
            ("def f(*, task_id: str) -> None: ...", "task"),
            ("f(task_id=1)", "task"),
            ("async def f() -> None:\n    global tasks", "tasks"),
            ('f"/{prefix}/views"', "views"),
        ],
    )
    def test_feature_is_found_in_any_identifier_and_literal(self, source: str, word: str) -> None:
        assert word in named_in(source)

    @pytest.mark.parametrize(
        "source", ['"""Answers for tasks."""', 'def f() -> None:\n    """Tasks."""', "headers = ['ETag']", "# tasks"]
    )
    def test_feature_is_not_found_in_prose_and_standard_terms(self, source: str) -> None:
        assert named_in(source) & features() == set()

    def test_path_parameters_are_ids_or_marked_as_user_text(self, app: FastAPI) -> None:
        """Logs contain paths as sent, except for user text."""
        unmarked = {
            (context.path, field.alias)
            for context in iter_route_contexts(app.routes)
            if isinstance(route := context.original_route, Route)
            for field in route.dependant.path_params
            if field.field_info.annotation not in {UUID, int} and field.alias not in user_text_in(route)
        }

        assert unmarked == set()
