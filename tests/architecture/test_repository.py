"""The repository: its layout, lock files, make targets, CI script and plans, and what it must never contain."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path
from unittest.mock import patch

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from support.repository import ROOT, files_of, text_of
from support.traceability import faults_of
from todo.settings import Settings

# Patterns that do not match their own source.
REGISTRIES = re.compile(
    r"pypi\.org|pythonhosted\.org|npmjs\.(?:org|com)|yarnpkg\.com|jsr\.io|conda\.anaconda|artifactor[y]|jfro[g]|codeartifac[t]"
    r"|devp[i]|--(?:extra-)?index-url|--find-link[s]",
    re.IGNORECASE,
)
DEVELOPERS_PATHS = re.compile(r"(?<![\w.~/}-])(?:/(?:home|Users|root|work|mnt|opt)/[\w.-]+|[A-Z]:\\Users\\)")

COMMANDS = {
    "setup", "run", "migrate", "test", "test-slow", "test-clock", "test-fresh", "test-dockerfile", "coverage", "bench",
    "check", "fmt", "typecheck", "openapi", "lock", "help",
}  # fmt: skip
# Commands that need no tools for tests and checks.
RUN_TIME_COMMANDS = {"run", "migrate"}
# Commands that create their own environment.
ELSEWHERE_COMMANDS = {"test-fresh", "test-dockerfile"}
LOCKS = ("requirements.lock", "requirements-dev.lock")
# Every setting is named after its field, except this one.
OTHER_NAMES = {"data_dir": "TODO_DATA_DIR"}


def lines_with(pattern: re.Pattern[str]) -> Iterator[str]:
    """Yield the file and line of each match in the repository."""
    for path in files_of(ROOT):
        for number, line in enumerate(text_of(path).splitlines(), 1):
            if pattern.search(line):
                yield f"{path.relative_to(ROOT)}:{number}"


def make(*arguments: str, directory: Path = ROOT) -> str:
    """Run make, and return its output."""
    # Variables of a make that started these tests must not reach this one.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    result = subprocess.run(
        ["make", *arguments], cwd=directory, env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    return result.stdout


def copy_project(directory: Path) -> None:
    """Copy the files that decide about the installation, with an old modification time."""
    for name in ("Makefile", "pyproject.toml", *LOCKS):
        shutil.copy(ROOT / name, directory)
        os.utime(directory / name, (1, 1))


def pins_of(lock: str) -> dict[str, str]:
    """Return the lines of a lock file (version, marker and hashes) by the name of the package."""
    text = text_of(ROOT / lock).replace("\\\n", " ")
    return {line.partition("==")[0]: line for line in text.strip().splitlines()}


def is_for_this_machine(pin: str) -> bool:
    """Return whether the marker of a pin is true here. A pin without a marker is for every machine."""
    marker = Requirement(pin.partition(" --hash=")[0].strip()).marker
    return marker is None or marker.evaluate()


def installed_closure(requirements: Iterable[str]) -> set[str]:
    """Return the names of all packages that these requirements need here, from the installed metadata."""
    names: set[str] = set()
    seen: set[tuple[str, str]] = set()
    waiting = [(Requirement(requirement), "") for requirement in requirements]
    while waiting:
        requirement, extra = waiting.pop()
        name = canonicalize_name(requirement.name)
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        names.add(name)
        for wanted in {"", *requirement.extras}:
            if (name, wanted) not in seen:
                seen.add((name, wanted))
                waiting += [(Requirement(line), wanted) for line in metadata.requires(name) or ()]
    return names


# Task: T-001
class TestLayout:
    def test_repository_has_its_standard_files(self) -> None:
        expected = [
            "README.md", "pyproject.toml", "Makefile", *LOCKS, ".env.example", ".ci/run", "Dockerfile", "compose.yaml",
            "LICENSE", ".specify/memory/constitution.md", "phase2/api-specification.yaml",
            "phase2/backend/todo/py.typed",
        ]  # fmt: skip

        assert [place for place in expected if not (ROOT / place).is_file()] == []

    def test_tests_mirror_the_package(self) -> None:
        packages = {path.parent.name for path in (ROOT / "phase2/backend/todo").glob("*/__init__.py")}

        assert len(packages) > 5
        assert {name for name in packages if not any((ROOT / "tests" / name).glob("test_*.py"))} == set()

    def test_repository_names_no_package_registry(self) -> None:
        assert list(lines_with(REGISTRIES)) == []

    def test_repository_contains_no_path_of_a_developers_machine(self) -> None:
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
    def test_forbidden_text_is_found(self, pattern: re.Pattern[str], line: str) -> None:
        assert pattern.search(line)

    def test_search_reads_all_files_but_ignored_ones(self) -> None:
        places = {str(path.relative_to(ROOT)) for path in files_of(ROOT)}

        assert {"Makefile", ".ci/run", "requirements.lock", "phase2/backend/todo/main.py"} <= places
        assert not any(place.startswith((".venv", ".git/")) for place in places)


# Task: T-001
# Task: T-401
class TestLocks:
    @pytest.mark.parametrize("lock", LOCKS)
    def test_lock_pins_every_package_by_hash(self, lock: str) -> None:
        pins = pins_of(lock)

        form = re.compile(r"[a-z0-9-]+==[\w.]+( ; [^;]+?)?( +--hash=sha256:[0-9a-f]{64})+")
        assert len(pins) > 20
        assert [line[:60] for line in pins.values() if not form.fullmatch(line)] == []

    def test_both_locks_have_the_same_run_time_packages(self) -> None:
        run_time, complete = pins_of("requirements.lock"), pins_of("requirements-dev.lock")

        assert {name: complete.get(name) for name in run_time} == run_time

    def test_lock_contains_exactly_the_run_time_dependencies(self) -> None:
        project = tomllib.loads(text_of(ROOT / "pyproject.toml"))
        requirements = [*project["project"]["dependencies"], *project["dependency-groups"]["build"]]

        needed = installed_closure(requirements)

        pinned = {name for name, line in pins_of("requirements.lock").items() if is_for_this_machine(line)}
        assert needed == pinned

    def test_development_lock_contains_exactly_the_development_dependencies(self) -> None:
        project = tomllib.loads(text_of(ROOT / "pyproject.toml"))
        groups = project["dependency-groups"]
        tools = [requirement for requirement in groups["dev"] if isinstance(requirement, str)]

        needed = installed_closure([*project["project"]["dependencies"], *groups["build"], *tools])

        pinned = {name for name, line in pins_of("requirements-dev.lock").items() if is_for_this_machine(line)}
        assert needed == pinned

    def test_package_is_built_with_the_locked_build_backend(self) -> None:
        project = tomllib.loads(text_of(ROOT / "pyproject.toml"))

        assert project["build-system"]["requires"] == project["dependency-groups"]["build"]


# Task: T-002
# Task: T-401
class TestMakefile:
    def test_make_help_explains_every_command(self) -> None:
        explained = re.findall(r"^  make ([a-z-]+) +\S", make("help"), re.MULTILINE)

        assert set(explained) == COMMANDS

    @pytest.mark.parametrize("command", sorted(COMMANDS - RUN_TIME_COMMANDS - ELSEWHERE_COMMANDS - {"help"}))
    def test_make_installs_the_tools_before_a_development_command(self, command: str) -> None:
        steps = make("--dry-run", "--always-make", command)

        assert " scripts/install.py --dev\n" in steps
        assert ".venv/bin/" not in steps[: steps.index(" scripts/install.py --dev\n")]

    @pytest.mark.parametrize("command", sorted(RUN_TIME_COMMANDS))
    def test_make_serves_without_the_tools(self, command: str) -> None:
        steps = make("--dry-run", "--always-make", command)

        assert " scripts/install.py\n" in steps
        assert "--dev" not in steps
        assert ".venv/bin/" not in steps[: steps.index(" scripts/install.py\n")]

    @pytest.mark.parametrize(
        ("stamps", "changed", "command", "installs"),
        [
            (["ready"], None, "run", None),
            (["ready"], None, "check-lint", "scripts/install.py --dev"),
            (["ready", "ready-dev"], None, "run", None),
            (["ready", "ready-dev"], None, "check-lint", None),
            (["ready"], "requirements.lock", "run", "scripts/install.py"),
            (["ready"], "requirements-dev.lock", "run", None),
            (["ready", "ready-dev"], "requirements-dev.lock", "check-lint", "scripts/install.py --dev"),
            (["ready", "ready-dev"], "pyproject.toml", "run", "scripts/install.py"),
            ([], None, "run", "scripts/install.py"),
        ],
    )
    def test_make_installs_only_if_a_lock_changed(
        self, tmp_path: Path, stamps: list[str], changed: str | None, command: str, installs: str | None
    ) -> None:
        copy_project(tmp_path)
        if changed:
            os.utime(tmp_path / changed, (3, 3))
        (tmp_path / ".venv/bin").mkdir(parents=True)
        (tmp_path / ".venv/bin/python").touch()
        for stamp in stamps:
            (tmp_path / ".venv" / stamp).write_text(f"{tmp_path}\n")
            os.utime(tmp_path / ".venv" / stamp, (2, 2))

        steps = make("--dry-run", command, directory=tmp_path)

        assert re.findall(r"scripts/install\.py.*", steps) == ([installs] if installs else [])

    @pytest.mark.parametrize("broken", ["moved", "without its Python"])
    def test_make_installs_again_if_the_environment_is_broken(self, tmp_path: Path, broken: str) -> None:
        copy_project(tmp_path)
        (tmp_path / ".venv/bin").mkdir(parents=True)
        (tmp_path / ".venv/bin/python").symlink_to("gone" if broken == "without its Python" else sys.executable)
        for stamp in ("ready", "ready-dev"):
            (tmp_path / ".venv" / stamp).write_text("/elsewhere\n" if broken == "moved" else f"{tmp_path}\n")

        steps = make("--dry-run", "check-lint", directory=tmp_path)

        assert "scripts/install.py --dev\n" in steps

    def test_make_check_runs_all_checks(self) -> None:
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
    def test_make_test_and_make_test_slow_run_each_test_once_and_coverage_runs_all(self) -> None:
        fast, slow, coverage = (make("--dry-run", command) for command in ("test", "test-slow", "coverage"))

        assert '/pytest -m "not slow" ' in fast
        assert "/pytest -m slow " in slow
        assert "/pytest --cov --numprocesses" in coverage

    def test_make_passes_arguments_on(self) -> None:
        steps = make("--dry-run", "run", "ARGS=--port 9000")

        assert "exec .venv/bin/todo serve --port 9000\n" in steps

    @pytest.mark.parametrize("python", ["", "false"])
    def test_make_reports_a_missing_python(self, tmp_path: Path, python: str) -> None:
        copy_project(tmp_path)

        result = subprocess.run(
            ["make", f"PYTHON={python}", "setup"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
        )

        assert result.returncode == 2
        assert result.stderr.startswith("Python 3.11 or newer is needed")
        assert not (tmp_path / ".venv").exists()


# Task: T-003
# Task: T-402
class TestContinuousIntegration:
    @pytest.fixture
    def programs(self, tmp_path: Path) -> Path:
        """A directory with stand-ins for the programs that the CI script calls."""
        self.add_program(tmp_path, "make", 'echo "make $*, in $PWD, CI=$CI"')
        self.add_program(tmp_path, "id", "echo 0")
        for name in ("pgbouncer", "debootstrap", "unshare"):
            self.add_program(tmp_path, name, "exit 0")
        return tmp_path

    def test_ci_runs_all_checks(self, programs: Path) -> None:
        result = self.run(programs)

        assert self.commands_of(result) == ["test-fresh test-dockerfile", "check coverage"]
        assert (result.returncode, result.stderr) == (0, "")

    @pytest.mark.parametrize(("program", "script"), [("id", "echo 1000"), ("unshare", "exit 1")])
    def test_ci_skips_the_bare_debian_without_root_and_says_so(self, programs: Path, program: str, script: str) -> None:
        self.add_program(programs, program, script)

        result = self.run(programs)

        assert self.commands_of(result) == ["check coverage"]
        assert "Not trying a fresh clone in a bare Debian: that needs root" in result.stdout

    @pytest.mark.parametrize("failing", ["test-fresh test-dockerfile", "check coverage"])
    def test_ci_fails_if_a_step_fails(self, programs: Path, failing: str) -> None:
        self.add_program(programs, "make", f'[ "$*" != "{failing}" ]')

        assert self.run(programs).returncode != 0

    @staticmethod
    def commands_of(result: subprocess.CompletedProcess[str]) -> list[str]:
        """Return the targets of each make that ran in the repository with CI=true."""
        return re.findall(rf"^make (.+), in {re.escape(str(ROOT))}, CI=true$", result.stdout, re.MULTILINE)

    @staticmethod
    def add_program(directory: Path, name: str, script: str) -> None:
        (directory / name).write_text(f"#!/bin/sh\n{script}\n")
        (directory / name).chmod(0o755)

    @staticmethod
    def run(programs: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [ROOT / ".ci/run"],
            cwd=programs,
            env={"PATH": f"{programs}:/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )


# Task: T-004
class TestSpecKit:
    def test_constitution_has_its_articles_and_a_version(self) -> None:
        constitution = text_of(ROOT / ".specify/memory/constitution.md")

        articles = re.findall(r"^### ([IVX]+)\. \S", constitution, re.MULTILINE)

        assert articles == ["I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX"]
        assert re.search(r"\*\*Version\*\*: \d+\.\d+\.\d+ \| \*\*Ratified\*\*: \d{4}-\d\d-\d\d", constitution)

    def test_plan_template_checks_every_article(self) -> None:
        template = text_of(ROOT / ".specify/templates/plan-template.md")

        checked = re.findall(r"^- \[ \] ([IVX]+): \S", template, re.MULTILINE)

        # The ninth article is about language, which a design cannot break.
        assert checked == ["I", "II", "III", "IV", "V", "VI", "VII", "VIII"]

    def test_tasks_template_is_valid_for_the_traceability_test(self, tmp_path: Path) -> None:
        plan = tmp_path / "specs/001-name/tasks.md"
        plan.parent.mkdir(parents=True)

        shutil.copy(ROOT / ".specify/templates/tasks-template.md", plan)

        assert faults_of(tmp_path) == []

    def test_every_feature_has_a_spec_a_plan_and_tasks(self) -> None:
        features = [path for path in (ROOT / "specs").iterdir() if path.is_dir()]

        assert features
        for feature in features:
            assert {"spec.md", "plan.md", "tasks.md"} <= {path.name for path in feature.iterdir()}


# Task: T-014
class TestEnvironmentExample:
    def test_example_file_names_every_setting_and_no_other(self) -> None:
        settings = {OTHER_NAMES.get(name, name.upper()) for name in Settings.model_fields}

        named = re.findall(r"^#? ?([A-Z][A-Z_]+)=", text_of(ROOT / ".env.example"), re.MULTILINE)

        assert sorted(set(named)) == sorted(settings)

    def test_unchanged_copy_of_the_example_file_changes_no_setting(self) -> None:
        with patch.dict(os.environ, clear=True):
            assert Settings.load(ROOT / ".env.example") == Settings.load(None)
