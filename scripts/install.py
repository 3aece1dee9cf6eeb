"""Make ``.venv``, and install the packages of a lock file and this package: ``python3 scripts/install.py [--dev]``.

``--dev`` also installs the tools for tests and checks. This runs before anything is installed, so it uses only the
standard library. It prints its progress. If a step fails, it prints one line: what failed, and what to do.
"""

import argparse
import os
import re
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENT = ROOT / ".venv"
PYTHON = ENVIRONMENT / "bin/python"
LOG = ENVIRONMENT / "install.log"
# Each holds the path of the repository, because an environment cannot be moved. make compares their age with the locks.
READY = ENVIRONMENT / "ready"
READY_DEV = ENVIRONMENT / "ready-dev"

# The lock is complete, so pip has nothing to resolve. Without --no-deps, pip below 23.3 resolves an extra such as
# "coverage[toml]" apart from the pin of coverage, and takes the newest release. Without --only-binary, it would build a
# source distribution, with the newest build tools.
INSTALL_LOCK = ("install", "--no-deps", "--require-hashes", "--only-binary=:all:", "--requirement")
# pip begins a package with "Collecting alembic==1.20.1" or "Processing /wheels/alembic-1.20.1-py3-none-any.whl".
BEGUN = re.compile(r"(?:Collecting |Processing .*/)([\w.]+(?:-[A-Za-z]\w*)*)(?:==|-)([\w.+!]+)")
# A user may have set PIP_USER, which pip refuses in a virtual environment.
PIP_ENVIRONMENT = {**os.environ, "PIP_USER": "0", "PYTHONUNBUFFERED": "1"}

REPEAT = "then repeat the command"
# Patterns for the output of pip, each with an explanation. The first match counts.
CAUSES = (
    (r"No space left on device", f"The disk is full. Make room, {REPEAT}."),
    (
        r"THESE PACKAGES DO NOT MATCH THE HASHES",
        "A downloaded package differs from the one in the lock. Do not use it; find out where pip downloads from.",
    ),
    (
        r"CERTIFICATE_VERIFY_FAILED",
        f"The certificate of the package index is not trusted. Set PIP_CERT to your authority's file, {REPEAT}.",
    ),
    (
        r"Retrying \(|ConnectionError|ConnectTimeout|ReadTimeout|ProxyError|IncompleteRead|Network is unreachable",
        f"The package index cannot be reached. Check the network and the proxy, {REPEAT}.",
    ),
    (
        r"No matching distribution found for (?P<detail>[^\s;]+)",
        "There is no wheel of {detail} for this Python. Use CPython 3.11 to 3.14 on Linux (glibc) or macOS (arm64).",
    ),
    (
        r"(?P<detail>\S+ \S+ (?:requires|has requirement) .+)",
        f"The installed packages do not fit together: {{detail}} Remove the directory .venv, {REPEAT}.",
    ),
)


class InstallationFailed(Exception):
    """A step failed. The message is one line: what failed, and what to do."""


# Task: T-401
def main() -> int:
    """Install, and return the exit code."""
    parser = argparse.ArgumentParser(description="Make .venv and install exactly what a lock file names.")
    parser.add_argument("--dev", action="store_true", help="install the tools for tests and checks as well")
    started = time.monotonic()
    try:
        install(dev=parser.parse_args().dev)
    except InstallationFailed as failure:
        print(f"error: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print(f"==> .venv is ready ({time.monotonic() - started:.0f} s)", flush=True)
    return 0


def install(*, dev: bool) -> None:
    """Install the packages of the lock in the environment. Raises InstallationFailed."""
    if not is_usable():
        print(f"==> Making .venv with Python {sys.version.split()[0]}", flush=True)
        make_environment()
    # If the environment has the tools, update them too: they must fit the new run-time packages.
    dev = dev or READY_DEV.exists()
    lock = ROOT / ("requirements-dev.lock" if dev else "requirements.lock")
    total = len(re.findall(r"^\S+==", lock.read_text(), re.MULTILINE))
    print(f"==> Installing the {total} packages in {lock.name}", flush=True)
    LOG.unlink(missing_ok=True)
    run_pip(*INSTALL_LOCK, str(lock), progress=Progress(total))
    print("==> Installing this package", flush=True)
    # The lock includes the build backend.
    run_pip("install", "--quiet", "--no-deps", "--no-build-isolation", "--editable", str(ROOT))
    print("==> Checking that nothing is missing", flush=True)
    run_pip("check")
    for stamp in (READY, READY_DEV) if dev else (READY,):
        stamp.write_text(f"{ROOT}\n")


def is_usable() -> bool:
    """Return whether the environment was made in this directory, is complete, and still has its Python."""
    return READY.is_file() and READY.read_text().strip() == str(ROOT) and PYTHON.exists()


def make_environment() -> None:
    """Make a new environment, and delete the old one. Raises InstallationFailed."""
    done = subprocess.run(
        [sys.executable, "-m", "venv", "--clear", ENVIRONMENT],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", check=False,
    )  # fmt: skip
    if done.returncode == 0:
        return
    if "ensurepip" in done.stdout:
        package = "python{}.{}-venv".format(*sys.version_info)
        raise InstallationFailed(
            f"This Python cannot make a virtual environment. On Debian and Ubuntu run: apt-get install {package},"
            f" {REPEAT}."
        )
    raise InstallationFailed(f"The virtual environment cannot be made: {explain(done.stdout)}")


class Progress:
    """Shows the progress of pip: on a terminal one line that changes, elsewhere one line per package."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._count = 0
        self._package = ""

    def read(self, line: str) -> None:
        """Show the step in a line of pip's output, if there is one."""
        line = line.strip().partition(" (from ")[0]
        if line.startswith(("Collecting ", "Processing ", "Requirement already satisfied: ", "Ignoring ")):
            self._count += 1
            if begun := BEGUN.match(line):
                self._package = f"[{self._count}/{self._total}] {begun[1]} {begun[2]}"
                self._show(self._package)
        elif size := re.match(r"Downloading .*(\(\d[\d.]* [MG]B\))", line):
            self._show(f"{self._package} {size[1]}")
        elif line.startswith("Installing collected packages"):
            self._show("Unpacking")
        elif "Retrying (" in line:
            self._show("The package index does not answer; trying again")

    def end(self) -> None:
        """Clear the line on a terminal."""
        if sys.stdout.isatty():
            print("\r\x1b[K", end="", flush=True)

    def _show(self, text: str) -> None:
        if sys.stdout.isatty():
            print(f"\r\x1b[K    {text}", end="", flush=True)
        else:
            print(f"    {text}", flush=True)


def run_pip(*arguments: str, progress: Progress | None = None) -> None:
    """Run the environment's pip. Its output goes to the log. Raises InstallationFailed."""
    command = [str(PYTHON), "-m", "pip", "--disable-pip-version-check", "--no-input", *arguments]
    output = []
    with (
        LOG.open("a") as log,
        subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, errors="replace", env=PIP_ENVIRONMENT,
        ) as process,
    ):  # fmt: skip
        for line in process.stdout or ():
            log.write(line)
            output.append(line)
            if progress:
                progress.read(line)
    if progress:
        progress.end()
    if process.returncode:
        raise InstallationFailed(f"{explain(''.join(output))} Details: {LOG.relative_to(ROOT)}")


def explain(output: str) -> str:
    """Return one line for the output of a failed step: the cause, and what to do."""
    for pattern, meaning in CAUSES:
        if found := re.search(pattern, output):
            return meaning.format(**found.groupdict())
    lines = output.strip().splitlines() or ["It did not say why."]
    errors = [line for line in lines if line.lstrip().lower().startswith("error")]
    return (errors or lines)[-1].strip()


if __name__ == "__main__":
    sys.exit(main())
