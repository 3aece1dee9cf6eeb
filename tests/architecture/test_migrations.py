"""Migrations stay true: a step from last year does the same next year, and SQL that is in force stands in SQL files."""

import ast
import re
from pathlib import Path

from support.repository import ROOT, files_of, text_of

PACKAGE = ROOT / "phase2/backend/todo"
VERSIONS = PACKAGE / "migrations/versions"
# As a pattern, so that this file does not hold what it looks for.
BODY = re.compile(r"CREATE\s+(?:OR\s+REPLACE\s+)?(?:CONSTRAINT\s+)?(?:FUNCTION|PROCEDURE|TRIGGER)\b", re.IGNORECASE)


def imports_of_ours(path: Path) -> set[str]:
    """Return the names of our modules that a file imports."""
    names = set()
    for node in ast.walk(ast.parse(text_of(path))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add("todo" if node.level else node.module or "")
    return {name for name in names if name.split(".")[0] == "todo"}


# Task: T-431
class TestMigrations:
    def test_a_migration_imports_nothing_of_ours(self) -> None:
        found = {path.name: imports_of_ours(path) for path in VERSIONS.glob("*.py")}

        assert found
        assert {name: modules for name, modules in found.items() if modules} == {}

    def test_an_import_of_ours_would_be_noticed(self, tmp_path: Path) -> None:
        examples = {
            "from todo.migrations.tables import create": {"todo.migrations.tables"},
            "import todo.models": {"todo.models"},
            "from . import helper": {"todo"},
            "import sqlalchemy": set(),
        }

        for text, expected in examples.items():
            (tmp_path / "migration.py").write_text(text)
            assert imports_of_ours(tmp_path / "migration.py") == expected

    def test_no_python_file_holds_the_body_of_a_function_or_a_trigger(self) -> None:
        files = [path for path in files_of(PACKAGE) if path.suffix == ".py"]

        # The runner reads the names of triggers in the SQL files by a pattern of its own.
        holders = {path.name for path in files if BODY.search(re.sub(r'r"\^CREATE.*"', "", text_of(path)))}

        assert len(files) > 100
        assert holders == set()
        assert BODY.search("create or replace function app.uid() ...")
