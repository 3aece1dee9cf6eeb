"""The contracts between the layers: each must break where its rule is broken, and only there."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from support.repository import ROOT, text_of

PACKAGES = (
    "routes",
    "jobs",
    "migrations",
    "dependencies",
    "web",
    "clients",
    "services",
    "models",
    "database",
    "kit",
)
MODULES = ("main", "cli", "server", "errors", "settings")

CONTRACTS = {
    contract["id"]: contract["name"]
    for contract in tomllib.loads(text_of(ROOT / "pyproject.toml"))["tool"]["importlinter"]["contracts"]
}


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package with every layer, empty, where only the database imports the driver."""
    root = tmp_path / "todo"
    for name in PACKAGES:
        (root / name).mkdir(parents=True)
        (root / name / "__init__.py").touch()
        (root / name / "tasks.py").touch()
    for name in MODULES:
        (root / name).with_suffix(".py").touch()
    (root / "__init__.py").touch()
    (root / "database/__init__.py").write_text("import psycopg\nimport psycopg_pool\n")
    return root


def broken_contracts(package: Path) -> set[str]:
    """Hold the package to the project's contracts, and return the ids of those that it breaks."""
    result = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache", "--config", ROOT / "pyproject.toml"],
        cwd=package.parent,
        env={**os.environ, "PYTHONPATH": str(package.parent), "COLUMNS": "500"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    # Every contract was looked at, or nothing is known.
    outcomes = {
        name: re.search(rf"^{re.escape(title)} (KEPT|BROKEN)$", result.stdout, re.MULTILINE)
        for name, title in CONTRACTS.items()
    }
    assert all(outcomes.values()), result.stdout
    broken = {name for name, outcome in outcomes.items() if outcome and outcome[1] == "BROKEN"}
    assert bool(broken) == bool(result.returncode)
    return broken


# Task: T-006
class TestContracts:
    def test_are_kept_by_a_package_in_good_order(self, package: Path) -> None:
        assert broken_contracts(package) == set()

    @pytest.mark.parametrize(
        ("importer", "imported", "broken"),
        [
            ("models", "todo.services.tasks", {"layers"}),
            ("services", "todo.web.tasks", {"layers"}),
            ("web", "todo.dependencies.tasks", {"layers"}),
            ("database", "todo.models.tasks", {"layers"}),
            ("kit", "todo.errors", {"layers"}),
            ("routes", "todo.main", {"layers"}),
            ("routes", "todo.jobs.tasks", {"layers"}),
            ("jobs", "todo.routes.tasks", {"layers"}),
            ("routes", "todo.migrations.tasks", {"layers"}),
            ("migrations", "todo.services.tasks", {"migrations"}),
            ("services", "psycopg", {"driver"}),
            ("jobs", "psycopg_pool", {"driver"}),
            ("services", "starlette.requests", {"http"}),
            ("models", "fastapi", {"http"}),
            ("routes", "sqlalchemy", {"sql"}),
            ("clients", "todo.database.tasks", {"clients"}),
            ("kit", "socket", {"kit"}),
        ],
    )
    def test_notice_an_import_that_breaks_a_rule(
        self, package: Path, importer: str, imported: str, broken: set[str]
    ) -> None:
        (package / importer / "tasks.py").write_text(f"import {imported}\n")

        assert broken_contracts(package) == broken

    @pytest.mark.parametrize(
        ("importer", "imported"),
        [
            ("routes", "todo.dependencies.tasks"),
            ("routes", "todo.services.tasks"),
            ("jobs", "todo.services.tasks"),
            ("services", "todo.database.tasks"),
            ("migrations", "todo.models.tasks"),
            ("migrations", "psycopg"),
            ("dependencies", "todo.database.tasks"),
            ("clients", "httpx"),
        ],
    )
    def test_allow_what_is_meant_to_be(self, package: Path, importer: str, imported: str) -> None:
        (package / importer / "tasks.py").write_text(f"import {imported}\n")

        assert broken_contracts(package) == set()

    def test_notice_that_a_server_would_load_alembic(self, package: Path) -> None:
        (package / "server.py").write_text("import todo.migrations.tasks\n")
        (package / "migrations/tasks.py").write_text("import alembic\n")

        assert broken_contracts(package) == {"alembic"}

    def test_notice_a_room_that_has_no_place(self, package: Path) -> None:
        (package / "helpers.py").touch()

        assert broken_contracts(package) == {"layers"}
