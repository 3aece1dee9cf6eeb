"""Migrations import no code that can change later, and current SQL is only in SQL files."""

import ast
import re
from pathlib import Path

from support.repository import ROOT, files_of, text_of

PACKAGE = ROOT / "phase2/backend/todo"
VERSIONS = PACKAGE / "migrations/versions"
# A pattern that does not match its own source.
BODY = re.compile(r"CREATE\s+(?:OR\s+REPLACE\s+)?(?:CONSTRAINT\s+)?(?:FUNCTION|PROCEDURE|TRIGGER)\b", re.IGNORECASE)


def imports_of_ours(path: Path) -> set[str]:
    """Return the names of the modules of this package that a file imports."""
    names = set()
    for node in ast.walk(ast.parse(text_of(path))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add("todo" if node.level else node.module or "")
    return {name for name in names if name.split(".")[0] == "todo"}


# Task: T-431
class TestMigrations:
    def test_migration_imports_no_module_of_the_package(self) -> None:
        found = {path.name: imports_of_ours(path) for path in VERSIONS.glob("*.py")}

        assert found
        assert {name: modules for name, modules in found.items() if modules} == {}

    def test_import_of_a_module_of_the_package_is_found(self, tmp_path: Path) -> None:
        examples = {
            "from todo.migrations.tables import create": {"todo.migrations.tables"},
            "import todo.models": {"todo.models"},
            "from . import helper": {"todo"},
            "import sqlalchemy": set(),
        }

        for text, expected in examples.items():
            (tmp_path / "migration.py").write_text(text)
            assert imports_of_ours(tmp_path / "migration.py") == expected

    def test_python_files_contain_no_sql_function_or_trigger(self) -> None:
        files = [path for path in files_of(PACKAGE) if path.suffix == ".py"]

        # The runner has a pattern for the names of triggers in SQL files.
        offenders = {path.name for path in files if BODY.search(re.sub(r'r"\^CREATE.*"', "", text_of(path)))}

        assert len(files) > 100
        assert offenders == set()
        assert BODY.search("create or replace function app.uid() ...")
