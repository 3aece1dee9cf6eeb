"""The wheel: it contains the whole package, and works in an empty folder without the repository."""

import os
import re
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

import install
from support.processes import TIMEOUT_SECONDS, accessible, environment, until
from support.repository import ROOT, files_of

pytestmark = pytest.mark.slow

BUILT_FROM = ("pyproject.toml", "README.md", "LICENSE")
PACKAGE = ROOT / "phase2/backend"


def variables() -> dict[str, str]:
    """Return the environment without settings and without paths to the repository."""
    return {name: value for name, value in environment().items() if name not in {"PYTHONPATH", "VIRTUAL_ENV"}}


def run(*command: str | Path, directory: Path) -> str:
    """Run a command, which must succeed, and return its output."""
    done = subprocess.run(
        command, cwd=directory, env=variables(), capture_output=True, text=True, check=False, timeout=TIMEOUT_SECONDS
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy, because a build leaves files behind that the next one would include."""
    copy = tmp_path_factory.mktemp("copy")
    for path in [*(ROOT / name for name in BUILT_FROM), *files_of(PACKAGE)]:
        if "egg-info" not in str(path) and "__pycache__" not in str(path):
            target = copy / path.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
    # A new kind of file, which the wheel must include without a change of its configuration.
    (copy / "phase2/backend/todo/migrations/sql/functions").mkdir(parents=True, exist_ok=True)
    (copy / "phase2/backend/todo/migrations/sql/functions/example.sql").write_text("SELECT 1;\n")
    wheels = tmp_path_factory.mktemp("wheels")
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(wheels)]
    run(sys.executable, "-m", "pip", "wheel", *options, str(copy), directory=copy)
    return next(wheels.glob("*.whl"))


@pytest.fixture(scope="module")
def folder(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty folder with an environment that contains the wheel and the locked run-time dependencies."""
    # The account that runs PostgreSQL must have access to its programs.
    folder = accessible(tmp_path_factory.mktemp("installed") / "empty")
    run(sys.executable, "-m", "venv", folder / ".venv", directory=folder)
    python = folder / ".venv/bin/python"
    run(python, "-m", "pip", "--no-input", *install.INSTALL_LOCK, ROOT / "requirements.lock", directory=folder)
    run(python, "-m", "pip", "install", "--no-deps", "--no-index", wheel, directory=folder)
    return folder


@pytest.fixture
def address(folder: Path) -> Iterator[str]:
    """The address of a server that runs from the wheel. It must exit cleanly."""
    output = folder / "output"
    with output.open("wb") as file:
        server = subprocess.Popen(
            [".venv/bin/todo", "serve", "--port", "0"],
            cwd=folder, env=variables(), stdout=file, stderr=file, start_new_session=True,
        )  # fmt: skip
    try:
        until(lambda: "Ctrl-C stops it." in output.read_text() or server.poll() is not None)
        address = re.search(r"http://127\.0\.0\.1:\d+", output.read_text())
        assert address, output.read_text()
        yield address[0]
    finally:
        if server.poll() is None:
            os.killpg(server.pid, signal.SIGINT)
        code = server.wait(TIMEOUT_SECONDS)
    assert code == 0, output.read_text()


# Task: T-482
class TestWheel:
    def test_wheel_contains_exactly_the_files_of_the_package(self, wheel: Path) -> None:
        tracked = {
            str(path.relative_to(PACKAGE)) for path in files_of(ROOT) if path.is_relative_to(PACKAGE / "todo")
        } | {"todo/migrations/sql/functions/example.sql"}

        with zipfile.ZipFile(wheel) as archive:
            packed = {name for name in archive.namelist() if ".dist-info/" not in name}

        assert {"todo/py.typed", "todo/migrations/script.py.mako", "todo/web/static/docs.js"} <= packed
        assert packed == tracked

    def test_dependencies_of_the_wheel_are_in_the_run_time_lock(self, folder: Path) -> None:
        output = run(".venv/bin/python", "-m", "pip", "check", directory=folder)

        assert output == "No broken requirements found.\n"

    def test_wheel_works_in_an_empty_folder(self, folder: Path, address: str) -> None:
        token = run(".venv/bin/todo", "token", "alice", directory=folder).strip()

        headers = {"Authorization": f"Bearer {token}"}
        with httpx.Client(base_url=address, headers=headers, timeout=TIMEOUT_SECONDS) as client:
            created = client.post("/api/v1/tasks", json={"title": "Buy milk"})
            listed = client.get("/api/v1/tasks")

        assert created.status_code == 201
        assert [task["title"] for task in listed.json()["tasks"]] == ["Buy milk"]

    def test_wheel_contains_the_files_of_the_docs_page(self, address: str) -> None:
        with httpx.Client(base_url=address, timeout=TIMEOUT_SECONDS) as client:
            files = re.findall(r'(?:src|href)="(docs/[^"]+)"', client.get("/docs").text)

            statuses = {file: client.get(f"/{file}").status_code for file in files}

        assert len(files) == 3
        assert statuses == dict.fromkeys(files, 200)

    def test_package_is_imported_from_the_wheel(self, folder: Path) -> None:
        path = run(".venv/bin/python", "-c", "import todo; print(todo.__file__)", directory=folder)

        assert Path(path.strip()).is_relative_to(folder)
