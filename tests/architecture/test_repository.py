"""The repository itself: what a stranger gets with a clone, and what must never be in it."""

import os
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from urllib.parse import unquote

import pytest

from support.repository import ROOT, files_of, text_of
from support.traceability import faults_of
from todo.settings import Settings

# As patterns, so that this file does not hold what it looks for.
REGISTRIES = re.compile(
    r"pypi\.org|pythonhosted\.org|npmjs\.(?:org|com)|yarnpkg\.com|jsr\.io|conda\.anaconda|artifactor[y]|jfro[g]|codeartifac[t]"
    r"|devp[i]|--(?:extra-)?index-url|--find-link[s]",
    re.IGNORECASE,
)
DEVELOPERS_PATHS = re.compile(r"(?<![\w.~/}-])(?:/(?:home|Users|root|work|mnt|opt)/[\w.-]+|[A-Z]:\\Users\\)")

COMMANDS = {
    "setup", "run", "migrate", "test", "test-slow", "test-clock", "coverage", "bench", "check", "fmt", "typecheck",
    "openapi", "lock", "help",
}  # fmt: skip
SETUP = "pip install --disable-pip-version-check --require-hashes -r requirements.lock"
# Every setting is named after its field, but for this one.
OTHER_NAMES = {"data_dir": "TODO_DATA_DIR"}


def lines_with(pattern: re.Pattern[str]) -> Iterator[str]:
    """Yield where the pattern is found in the repository's text."""
    for path in files_of(ROOT):
        for number, line in enumerate(text_of(path).splitlines(), 1):
            if pattern.search(line):
                yield f"{path.relative_to(ROOT)}:{number}"


def make(*arguments: str) -> str:
    """Run make without running anything, and return what it would do."""
    # The targets of a make that started these tests are not for this one.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    result = subprocess.run(
        ["make", *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    return result.stdout


# Task: T-001
class TestLayout:
    def test_has_what_the_top_level_promises(self) -> None:
        promised = [
            "README.md",
            "pyproject.toml",
            "Makefile",
            "requirements.lock",
            ".env.example",
            ".ci/run",
            "LICENSE",
            ".specify/memory/constitution.md",
            "phase2/api-specification.yaml",
            "phase2/backend/todo/py.typed",
        ]

        assert [place for place in promised if not (ROOT / place).is_file()] == []

    def test_mirrors_the_package_in_its_tests(self) -> None:
        rooms = {path.parent.name for path in (ROOT / "phase2/backend/todo").glob("*/__init__.py")}

        assert len(rooms) > 5
        assert {room for room in rooms if not any((ROOT / "tests" / room).glob("test_*.py"))} == set()

    def test_names_no_registry(self) -> None:
        assert list(lines_with(REGISTRIES)) == []

    def test_names_no_path_of_a_developers_machine(self) -> None:
        assert list(lines_with(DEVELOPERS_PATHS)) == []

    @pytest.mark.parametrize(
        ("pattern", "line"),
        [
            (REGISTRIES, "https://files.python" + "hosted.org/packages/a.whl"),
            (REGISTRIES, "--index" + "-url https://example.com/simple"),
            (DEVELOPERS_PATHS, 'open("/' + 'home/alice/todo")'),
            (DEVELOPERS_PATHS, "cd /" + "Users/alice"),
        ],
    )
    def test_would_notice_them(self, pattern: re.Pattern[str], line: str) -> None:
        assert pattern.search(line)

    def test_reads_more_than_a_few_files(self) -> None:
        places = {str(path.relative_to(ROOT)) for path in files_of(ROOT)}

        assert {"Makefile", ".ci/run", "requirements.lock", "phase2/backend/todo/main.py"} <= places
        assert not any(place.startswith((".venv", ".git/")) for place in places)


# Task: T-001
class TestLock:
    def test_pins_every_package_by_hash(self) -> None:
        text = text_of(ROOT / "requirements.lock").replace("\\\n", " ")

        requirements = text.strip().splitlines()

        form = re.compile(r"[a-z0-9-]+==[\w.]+( ; [^;]+?)?( +--hash=sha256:[0-9a-f]{64})+")
        assert len(requirements) > 20
        assert [line[:60] for line in requirements if not form.fullmatch(line)] == []

    def test_holds_everything_that_the_project_asks_for(self) -> None:
        project = tomllib.loads(text_of(ROOT / "pyproject.toml"))
        asked = [*project["project"]["dependencies"], *project["dependency-groups"]["dev"]]

        pinned = set(re.findall(r"^([a-z0-9-]+)==", text_of(ROOT / "requirements.lock"), re.MULTILINE))

        names = {re.split(r"[^\w-]", requirement.lower())[0] for requirement in asked}
        assert names - pinned == set()


# Task: T-002
class TestMakefile:
    def test_explains_every_command(self) -> None:
        explained = re.findall(r"^  make ([a-z-]+) +\S", make("help"), re.MULTILINE)

        assert set(explained) == COMMANDS

    @pytest.mark.parametrize("command", sorted(COMMANDS - {"help"}))
    def test_sets_up_before_anything_else(self, command: str) -> None:
        steps = make("--dry-run", "--always-make", command)

        assert SETUP in steps
        assert ".venv/bin/" not in steps[: steps.index("-m venv --clear .venv")]

    def test_checks_everything_with_one_command(self) -> None:
        steps = make("--dry-run", "check", "test")

        tools = [
            "ruff format --check",
            "ruff check",
            "mypy",
            "lint-imports",
            "pytest -q tests/architecture/test_traceability.py",
            "pytest -q tests/migrations/test_migrations.py",
            "todo openapi --check phase2/api-specification.yaml",
            "pytest",
        ]
        assert re.findall(rf"^\.venv/bin/({'|'.join(map(re.escape, tools))})", steps, re.MULTILINE) == tools

    # Task: T-472
    def test_runs_each_test_either_every_day_or_among_the_slow_ones_and_all_for_coverage(self) -> None:
        everyday, slow, coverage = (make("--dry-run", command) for command in ("test", "test-slow", "coverage"))

        assert '/pytest -m "not slow" ' in everyday
        assert "/pytest -m slow " in slow
        assert "/pytest --cov --numprocesses" in coverage

    def test_passes_arguments_on(self) -> None:
        steps = make("--dry-run", "run", "ARGS=--port 9000")

        assert "exec .venv/bin/todo serve --port 9000\n" in steps

    def test_says_what_is_missing_where_there_is_no_python(self, tmp_path: Path) -> None:
        for name in ("Makefile", "requirements.lock", "pyproject.toml"):
            shutil.copy(ROOT / name, tmp_path)

        result = subprocess.run(
            ["make", "PYTHON=", "setup"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
        )

        assert result.returncode == 2
        assert result.stderr.startswith("Python 3.11 or newer is needed")
        assert not (tmp_path / ".venv").exists()


# Task: T-003
class TestContinuousIntegration:
    def test_runs_the_gate(self, tmp_path: Path) -> None:
        self.pretend(tmp_path, "make", 'echo "make $*, in $PWD, CI=$CI"')
        self.pretend(tmp_path, "pgbouncer", "exit 0")

        result = self.run(tmp_path, path=f"{tmp_path}:/usr/bin:/bin")

        assert result.stdout == f"make check coverage, in {ROOT}, CI=true\n"

    def test_fails_where_the_checks_fail(self, tmp_path: Path) -> None:
        self.pretend(tmp_path, "make", "exit 2")
        self.pretend(tmp_path, "pgbouncer", "exit 0")

        assert self.run(tmp_path, path=f"{tmp_path}:/usr/bin:/bin").returncode == 2

    @staticmethod
    def pretend(directory: Path, name: str, script: str) -> None:
        (directory / name).write_text(f"#!/bin/sh\n{script}\n")
        (directory / name).chmod(0o755)

    @staticmethod
    def run(elsewhere: Path, *, path: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [ROOT / ".ci/run"],
            cwd=elsewhere,
            env={"PATH": path},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )


# Task: T-004
class TestSpecKit:
    def test_has_its_articles_and_its_version(self) -> None:
        constitution = text_of(ROOT / ".specify/memory/constitution.md")

        articles = re.findall(r"^### ([IVX]+)\. \S", constitution, re.MULTILINE)

        assert articles == ["I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX"]
        assert re.search(r"\*\*Version\*\*: \d+\.\d+\.\d+ \| \*\*Ratified\*\*: \d{4}-\d\d-\d\d", constitution)

    def test_checks_every_plan_against_every_article(self) -> None:
        template = text_of(ROOT / ".specify/templates/plan-template.md")

        checked = re.findall(r"^- \[ \] ([IVX]+): \S", template, re.MULTILINE)

        # The ninth is about words, which no design can break.
        assert checked == ["I", "II", "III", "IV", "V", "VI", "VII", "VIII"]

    def test_offers_a_plan_of_tasks_that_the_traceability_test_can_read(self, tmp_path: Path) -> None:
        plan = tmp_path / "specs/001-name/tasks.md"
        plan.parent.mkdir(parents=True)

        shutil.copy(ROOT / ".specify/templates/tasks-template.md", plan)

        assert faults_of(tmp_path) == []

    def test_has_a_spec_and_a_plan_for_every_feature(self) -> None:
        features = [path for path in (ROOT / "specs").iterdir() if path.is_dir()]

        assert features
        for feature in features:
            assert {"spec.md", "plan.md", "tasks.md"} <= {path.name for path in feature.iterdir()}


# Task: T-014
class TestEnvironmentExample:
    def test_names_every_setting_and_no_other(self) -> None:
        settings = {OTHER_NAMES.get(field.name, field.name.upper()) for field in fields(Settings)}

        named = re.findall(r"^#? ?([A-Z][A-Z_]+)=", text_of(ROOT / ".env.example"), re.MULTILINE)

        assert sorted(set(named)) == sorted(settings)

    def test_changes_nothing_when_it_is_copied_as_it_is(self) -> None:
        assert Settings.load({}, ROOT / ".env.example") == Settings.load({}, None)


# Task: T-070
class TestWords:
    def test_links_only_to_what_is_there(self) -> None:
        pages = [path for path in files_of(ROOT) if path.suffix == ".md" and "templates" not in path.parts]

        links = [(page, target) for page in pages for target in re.findall(r"\]\(([^)#\s]+)", text_of(page))]

        local = [(page, unquote(target)) for page, target in links if "://" not in target]
        assert local
        assert [(str(page), target) for page, target in local if not (page.parent / target).exists()] == []

    def test_names_only_commands_that_make_has(self) -> None:
        named = set(
            re.findall(r"\bmake ([a-z-]+)\b[^`\n]*`|^(?:\$ )?make ([a-z-]+)", text_of(ROOT / "README.md"), re.MULTILINE)
        )

        commands = {first or second for first, second in named}
        assert "run" in commands
        assert commands - COMMANDS == set()
