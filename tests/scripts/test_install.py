"""The installation script: it installs exactly the locked packages, and reports errors in one line."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import install
from support.repository import ROOT

# A package that needs no build tools, so that nothing is downloaded.
PYPROJECT = """\
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
"""
BACKEND = """\
import zipfile

def build_editable(directory, config_settings=None, metadata_directory=None):
    name = "project-1.0-py3-none-any.whl"
    tag = "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"
    with zipfile.ZipFile(f"{directory}/{name}", "w") as wheel:
        wheel.writestr("project-1.0.dist-info/METADATA", "Metadata-Version: 2.1\\nName: project\\nVersion: 1.0\\n")
        wheel.writestr("project-1.0.dist-info/WHEEL", tag)
        wheel.writestr("project-1.0.dist-info/RECORD", "")
    return name
"""


def add_wheel(directory: Path, name: str, version: str, *, needs: str = "") -> str:
    """Write a wheel of an empty package, and return its line for a lock file."""
    path = directory / f"{name}-{version}-py3-none-any.whl"
    information = f"{name}-{version}.dist-info"
    header = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nProvides-Extra: extra\n"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(f"{information}/METADATA", header + (f"Requires-Dist: {needs}\n" if needs else ""))
        wheel.writestr(f"{information}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{information}/RECORD", "")
    return f"{name}=={version} --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A repository with the script and a small package."""
    clone = tmp_path / "clone of it"
    (clone / "scripts").mkdir(parents=True)
    (clone / "wheels").mkdir()
    shutil.copy(ROOT / "scripts/install.py", clone / "scripts")
    (clone / "pyproject.toml").write_text(PYPROJECT)
    (clone / "backend.py").write_text(BACKEND)
    return clone


def run_install(clone: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the script with the wheels in ``wheels`` as the only source of packages."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "COV_"))}
    source = {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": (clone / "wheels").as_uri()}
    return subprocess.run(
        [sys.executable, clone / "scripts/install.py", *arguments],
        cwd=clone.parent,
        env={**inherited, **source, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def installed(clone: Path) -> set[str]:
    """Return the packages in the environment, with their versions."""
    site = next((clone / ".venv/lib").glob("python*/site-packages"))
    names = {path.name.removesuffix(".dist-info") for path in site.glob("*.dist-info")}
    return {name for name in names if not name.startswith(("pip-", "setuptools-"))}


# Task: T-401
class TestInstall:
    @pytest.mark.slow
    def test_locked_versions_are_installed_although_newer_ones_exist(self, clone: Path) -> None:
        locked = add_wheel(clone / "wheels", "coverage_like", "1.0")
        plugin = add_wheel(clone / "wheels", "plugin_like", "1.0", needs="coverage_like[extra]>=1")
        (clone / "requirements-dev.lock").write_text(locked + plugin)
        add_wheel(clone / "wheels", "coverage_like", "2.0")

        result = run_install(clone, "--dev")

        assert (result.returncode, result.stderr) == (0, "")
        assert installed(clone) == {"coverage_like-1.0", "plugin_like-1.0", "project-1.0"}

    @pytest.mark.slow
    def test_tools_are_added_to_an_environment_and_kept(self, clone: Path) -> None:
        served_with = add_wheel(clone / "wheels", "library", "1.0")
        tested_with = add_wheel(clone / "wheels", "tool", "1.0", needs="library")
        (clone / "requirements.lock").write_text(served_with)
        (clone / "requirements-dev.lock").write_text(served_with + tested_with)
        run_install(clone)
        before = installed(clone)

        added = run_install(clone, "--dev")
        again = run_install(clone)

        assert before == {"library-1.0", "project-1.0"}
        assert installed(clone) == {"library-1.0", "tool-1.0", "project-1.0"}
        assert re.findall(r"Making.*|\[.*", added.stdout) == ["[2/2] tool 1.0"]
        assert re.findall(r"Making.*|\[.*", again.stdout) == []

    @pytest.mark.slow
    def test_incomplete_lock_is_rejected(self, clone: Path) -> None:
        (clone / "requirements.lock").write_text(
            add_wheel(clone / "wheels", "plugin_like", "1.0", needs="coverage_like")
        )

        result = run_install(clone)

        assert result.returncode == 1
        assert result.stderr == (
            "error: The installed packages do not fit together: plugin-like 1.0 requires coverage-like, which is not"
            " installed. Remove the directory .venv, then repeat the command. Details: .venv/install.log\n"
        )
        assert not (clone / ".venv/ready").exists()

    @pytest.mark.slow
    def test_missing_network_is_reported_in_one_line(self, clone: Path) -> None:
        (clone / "requirements.lock").write_text("missing==1.0 --hash=sha256:" + "0" * 64 + "\n")

        result = run_install(
            clone, PIP_NO_INDEX="0", PIP_FIND_LINKS="", PIP_PROXY="http://127.0.0.1:9", PIP_RETRIES="1"
        )

        assert result.returncode == 1
        assert result.stderr == (
            "error: The package index cannot be reached. Check the network and the proxy, then repeat the command."
            " Details: .venv/install.log\n"
        )

    def test_missing_venv_module_of_debian_is_reported_in_one_line(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        output = (
            "The virtual environment was not created successfully because ensurepip is not\n"
            "available.  On Debian/Ubuntu systems, you need to install the python3-venv\n"
            "package using the following command.\n\n    apt install python3.11-venv\n"
        )
        monkeypatch.setattr(install, "READY", tmp_path / "ready")
        monkeypatch.setattr(
            subprocess, "run", lambda *_, **__: subprocess.CompletedProcess(args=[], returncode=1, stdout=output)
        )

        with pytest.raises(install.InstallationFailed, match=r"run: apt-get install python3\.\d+-venv, then repeat"):
            install.install(dev=False)

    @pytest.mark.parametrize(
        ("output", "explanation"),
        [
            ("OSError: [Errno 28] No space left on device", "The disk is full."),
            ("ssl.SSLCertVerificationError: [SSL: CERTIFICATE_VERIFY_FAILED]", "The certificate of the package index"),
            ("WARNING: Retrying (Retry(total=4\nERROR: No matching distribution found for a==1", "The package index"),
            ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM", "A downloaded package differs"),
            (
                "ERROR: No matching distribution found for uvloop==1; x",
                "There is no wheel of uvloop==1 for this Python",
            ),
            ("noise\nERROR: first\nERROR: second\nhint", "ERROR: second"),
            ("one\ntwo", "two"),
            ("", "It did not say why."),
        ],
    )
    def test_errors_of_pip_are_explained_in_one_line(self, output: str, explanation: str) -> None:
        line = install.explain(output)

        assert line.startswith(explanation)
        assert "\n" not in line

    def test_progress_shows_packages_in_all_output_forms_of_pip(self, capsys: pytest.CaptureFixture[str]) -> None:
        progress = install.Progress(5)

        for line in [
            "Ignoring colorama: markers 'sys_platform == \"win32\"' don't match your environment",
            "Collecting psycopg-pool==3.3.3 (from -r /a b-c/requirements.lock (line 4))",
            "  Downloading psycopg_pool-3.3.3-py3-none-any.whl (1.5 MB)",
            "Requirement already satisfied: alembic==1.20.1 in /a (from -r /a b-c/requirements.lock (line 5)) (1.20.1)",
            "Processing /wheels and/annotated_types-0.8.0-py3-none-any.whl (from -r /a b-c/requirements.lock (line 7))",
            "Collecting click==8.5.1",
        ]:
            progress.read(line)

        assert re.findall(r"\S.*", capsys.readouterr().out) == [
            "[2/5] psycopg-pool 3.3.3",
            "[2/5] psycopg-pool 3.3.3 (1.5 MB)",
            "[4/5] annotated_types 0.8.0",
            "[5/5] click 8.5.1",
        ]
