"""The repository itself: what a stranger gets with a clone, and what must never be in it."""

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

# As patterns, so that this file does not hold what it looks for.
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
# These serve without the tools for tests and checks.
RUN_TIME_COMMANDS = {"run", "migrate"}
# These make an environment of their own, elsewhere.
ELSEWHERE_COMMANDS = {"test-fresh", "test-dockerfile"}
LOCKS = ("requirements.lock", "requirements-dev.lock")
# Every setting is named after its field, but for this one.
OTHER_NAMES = {"data_dir": "TODO_DATA_DIR"}


def lines_with(pattern: re.Pattern[str]) -> Iterator[str]:
    """Yield where the pattern is found in the repository's text."""
    for path in files_of(ROOT):
        for number, line in enumerate(text_of(path).splitlines(), 1):
            if pattern.search(line):
                yield f"{path.relative_to(ROOT)}:{number}"


def make(*arguments: str, directory: Path = ROOT) -> str:
    """Run make without running anything, and return what it would do."""
    # The targets of a make that started these tests are not for this one.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    result = subprocess.run(
        ["make", *arguments], cwd=directory, env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    return result.stdout


def pins_of(lock: str) -> dict[str, str]:
    """Return the lines of a lock file by the name of the package: its version, marker and hashes."""
    text = text_of(ROOT / lock).replace("\\\n", " ")
    return {line.partition("==")[0]: line for line in text.strip().splitlines()}


def is_for_this_machine(pin: str) -> bool:
    """Tell whether the marker of a pin, if it has one, holds here."""
    marker = Requirement(pin.partition(" --hash=")[0].strip()).marker
    return marker is None or marker.evaluate()


def installed_closure(requirements: Iterable[str]) -> set[str]:
    """Return the names of everything that these need here, by the metadata of the installed packages."""
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
    def test_has_what_the_top_level_promises(self) -> None:
        promised = [
            "README.md",
            "pyproject.toml",
            "Makefile",
            "requirements.lock",
            "requirements-dev.lock",
            ".env.example",
            ".ci/run",
            "Dockerfile",
            "compose.yaml",
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
# Task: T-401
class TestLocks:
    @pytest.mark.parametrize("lock", LOCKS)
    def test_pins_every_package_by_hash(self, lock: str) -> None:
        pins = pins_of(lock)

        form = re.compile(r"[a-z0-9-]+==[\w.]+( ; [^;]+?)?( +--hash=sha256:[0-9a-f]{64})+")
        assert len(pins) > 20
        assert [line[:60] for line in pins.values() if not form.fullmatch(line)] == []

    def test_gives_the_run_time_the_same_packages_as_the_tests(self) -> None:
        run_time, complete = pins_of("requirements.lock"), pins_of("requirements-dev.lock")

        assert {name: complete.get(name) for name in run_time} == run_time

    def test_holds_everything_that_the_run_time_needs_and_nothing_else(self) -> None:
        project = tomllib.loads(text_of(ROOT / "pyproject.toml"))
        asked = [*project["project"]["dependencies"], *project["dependency-groups"]["build"]]

        needed = installed_closure(asked)

        pinned = {name for name, line in pins_of("requirements.lock").items() if is_for_this_machine(line)}
        assert needed == pinned

    def test_holds_everything_that_the_tests_and_checks_need_and_nothing_else(self) -> None:
        project = tomllib.loads(text_of(ROOT / "pyproject.toml"))
        groups = project["dependency-groups"]
        tools = [requirement for requirement in groups["dev"] if isinstance(requirement, str)]

        needed = installed_closure([*project["project"]["dependencies"], *groups["build"], *tools])

        pinned = {name for name, line in pins_of("requirements-dev.lock").items() if is_for_this_machine(line)}
        assert needed == pinned

    def test_builds_this_package_with_the_locked_build_backend(self) -> None:
        project = tomllib.loads(text_of(ROOT / "pyproject.toml"))

        assert project["build-system"]["requires"] == project["dependency-groups"]["build"]


# Task: T-002
# Task: T-401
class TestMakefile:
    def test_explains_every_command(self) -> None:
        explained = re.findall(r"^  make ([a-z-]+) +\S", make("help"), re.MULTILINE)

        assert set(explained) == COMMANDS

    @pytest.mark.parametrize("command", sorted(COMMANDS - RUN_TIME_COMMANDS - ELSEWHERE_COMMANDS - {"help"}))
    def test_sets_up_with_the_tools_before_anything_else(self, command: str) -> None:
        steps = make("--dry-run", "--always-make", command)

        assert " scripts/install.py --dev\n" in steps
        assert ".venv/bin/" not in steps[: steps.index(" scripts/install.py --dev\n")]

    @pytest.mark.parametrize("command", sorted(RUN_TIME_COMMANDS))
    def test_serves_without_the_tools(self, command: str) -> None:
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
    def test_installs_only_where_a_lock_asks_for_it(
        self, tmp_path: Path, stamps: list[str], changed: str | None, command: str, installs: str | None
    ) -> None:
        for name in ("Makefile", "pyproject.toml", *LOCKS):
            shutil.copy(ROOT / name, tmp_path)
            os.utime(tmp_path / name, (1, 3 if name == changed else 1))
        (tmp_path / ".venv/bin").mkdir(parents=True)
        (tmp_path / ".venv/bin/python").touch()
        for stamp in stamps:
            (tmp_path / ".venv" / stamp).write_text(f"{tmp_path}\n")
            os.utime(tmp_path / ".venv" / stamp, (2, 2))

        steps = make("--dry-run", command, directory=tmp_path)

        assert re.findall(r"scripts/install\.py.*", steps) == ([installs] if installs else [])

    @pytest.mark.parametrize("broken", ["moved", "without its Python"])
    def test_installs_anew_where_the_environment_is_broken(self, tmp_path: Path, broken: str) -> None:
        for name in ("Makefile", "pyproject.toml", *LOCKS):
            shutil.copy(ROOT / name, tmp_path)
            os.utime(tmp_path / name, (1, 1))
        (tmp_path / ".venv/bin").mkdir(parents=True)
        (tmp_path / ".venv/bin/python").symlink_to("gone" if broken == "without its Python" else sys.executable)
        for stamp in ("ready", "ready-dev"):
            (tmp_path / ".venv" / stamp).write_text("/elsewhere\n" if broken == "moved" else f"{tmp_path}\n")

        steps = make("--dry-run", "check-lint", directory=tmp_path)

        assert "scripts/install.py --dev\n" in steps

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

    @pytest.mark.parametrize("python", ["", "false"])
    def test_says_what_is_missing_where_there_is_no_python(self, tmp_path: Path, python: str) -> None:
        for name in ("Makefile", "pyproject.toml", *LOCKS):
            shutil.copy(ROOT / name, tmp_path)

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
        """A directory of programs that do nothing but say so."""
        self.pretend(tmp_path, "make", 'echo "make $*, in $PWD, CI=$CI"')
        self.pretend(tmp_path, "id", "echo 0")
        for name in ("pgbouncer", "debootstrap", "unshare"):
            self.pretend(tmp_path, name, "exit 0")
        return tmp_path

    def test_runs_the_gate(self, programs: Path) -> None:
        result = self.run(programs)

        assert self.commands_of(result) == ["test-fresh test-dockerfile", "check coverage"]
        assert (result.returncode, result.stderr) == (0, "")

    @pytest.mark.parametrize(("program", "script"), [("id", "echo 1000"), ("unshare", "exit 1")])
    def test_leaves_out_the_bare_debian_where_there_can_be_none_and_says_so(
        self, programs: Path, program: str, script: str
    ) -> None:
        self.pretend(programs, program, script)

        result = self.run(programs)

        assert self.commands_of(result) == ["check coverage"]
        assert "Not trying a fresh clone in a bare Debian: that needs root" in result.stdout

    @pytest.mark.parametrize("failing", ["test-fresh test-dockerfile", "check coverage"])
    def test_fails_where_a_step_fails(self, programs: Path, failing: str) -> None:
        self.pretend(programs, "make", f'[ "$*" != "{failing}" ]')

        assert self.run(programs).returncode != 0

    @staticmethod
    def commands_of(result: subprocess.CompletedProcess[str]) -> list[str]:
        """Return what make was asked for, in the repository and with CI set."""
        return re.findall(rf"^make (.+), in {re.escape(str(ROOT))}, CI=true$", result.stdout, re.MULTILINE)

    @staticmethod
    def pretend(directory: Path, name: str, script: str) -> None:
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
        settings = {OTHER_NAMES.get(name, name.upper()) for name in Settings.model_fields}

        named = re.findall(r"^#? ?([A-Z][A-Z_]+)=", text_of(ROOT / ".env.example"), re.MULTILINE)

        assert sorted(set(named)) == sorted(settings)

    def test_changes_nothing_when_it_is_copied_as_it_is(self) -> None:
        with patch.dict(os.environ, clear=True):
            assert Settings.load(ROOT / ".env.example") == Settings.load(None)
