"""The bare Debian: how it reaches the network, and that nothing of it stays."""

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

import debian_root
from support.repository import ROOT

CAN_MOUNT = os.geteuid() == 0 and subprocess.run(["unshare", "--mount", "true"], check=False).returncode == 0


def printing(text: str) -> list[str]:
    """Return a command that prints the text."""
    return [sys.executable, "-c", f"print({text!r})"]


def count_of_processes(*command: str) -> int:
    """Count the running processes with this command line."""
    wanted = "\0".join(command).encode() + b"\0"
    count = 0
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            count += path.read_bytes() == wanted
    return count


# Task: T-402
class TestNetwork:
    def test_takes_the_options_of_pip_from_wherever_they_are(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        (tmp_path / "pip.conf").write_text("[global]\ntimeout = 7\nextra = a\n    b\n[install]\nno-cache-dir = yes\n")
        monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
        monkeypatch.setenv("PIP_RETRIES", "3")

        options = debian_root.pip_options()

        expected = {("global", "timeout"): "7", ("global", "extra"): "a\nb", ("install", "no-cache-dir"): "yes"}
        assert expected.items() <= options.items()
        assert "retries" not in {name for _, name in options}

    def test_mounts_the_directories_that_pip_takes_packages_from(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        for name in ("wheels", "index/simple"):
            (tmp_path / name).mkdir(parents=True)
        monkeypatch.setattr(
            debian_root, "pip_options", lambda: {("global", "extra"): f"{(tmp_path / 'index/simple').as_uri()} x"}
        )
        monkeypatch.setenv("PIP_FIND_LINKS", f"{tmp_path / 'wheels'} {tmp_path / 'missing'}")

        paths = debian_root.pip_paths()

        assert {str(tmp_path / "wheels"), str(tmp_path / "index")} <= set(paths)
        assert str(tmp_path / "missing") not in paths

    def test_passes_on_how_to_reach_the_network_and_nothing_else(self, monkeypatch: pytest.MonkeyPatch) -> None:
        passed = {"https_proxy": "a", "NO_PROXY": "b", "PIP_RETRIES": "c", "SSL_CERT_FILE": "d"}
        kept_back = {"DATABASE_URL": "e", "JWT_SECRET": "f", "MAKEFLAGS": "g", "VIRTUAL_ENV": "h"}
        for name, value in (passed | kept_back).items():
            monkeypatch.setenv(name, value)

        environment = debian_root.environment()

        assert passed.items() <= environment.items()
        assert not kept_back.keys() & environment.keys()

    def test_takes_the_mirror_that_apt_uses(self, monkeypatch: pytest.MonkeyPatch) -> None:
        listed = (
            "Debian bookworm-security http://debian.example/security/\n"
            "Other bookworm http://other.example/\n"
            "Debian bookworm http://debian.example/debian/\n"
        )
        monkeypatch.setattr(debian_root, "output_of", lambda _: listed)

        assert debian_root.mirror() == ["http://debian.example/debian/"]

    def test_leaves_the_mirror_to_debootstrap_where_there_is_no_apt(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", "")

        assert debian_root.mirror() == []
        assert debian_root.apt_proxy() == {}


# Task: T-402
class TestRoot:
    def test_says_in_one_line_that_it_needs_root(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(os, "geteuid", lambda: 1000)

        assert debian_root.main(["true"]) == 1
        assert capsys.readouterr().err == "error: Making a bare Debian needs root. Run it with sudo.\n"

    @pytest.mark.skipif(not CAN_MOUNT, reason="needs root and the right to mount")
    def test_ends_what_a_command_leaves_behind_and_mounts_nothing_outside(self, tmp_path: Path) -> None:
        # This system is its own root directory, seen from namespaces of its own.
        mounts = Path("/proc/mounts").read_text().count(" /proc ")
        marker = tmp_path / "left"

        code = debian_root.run_in(Path("/"), ["/bin/sh", "-c", f"sleep 7654 & echo $! >{marker}; exit 3"])

        assert code == 3
        assert marker.read_text().strip().isdigit()
        assert Path("/proc/mounts").read_text().count(" /proc ") == mounts
        assert count_of_processes("sleep", "7654") == 0

    @pytest.mark.skipif(not CAN_MOUNT, reason="needs root and the right to mount")
    def test_ends_everything_when_it_is_told_to_stop(self, tmp_path: Path) -> None:
        script = (
            "import debian_root, pathlib, signal;"
            "signal.signal(signal.SIGTERM, signal.default_int_handler);"
            "debian_root.run_in(pathlib.Path('/'), ['/bin/sh', '-c', 'echo ready; sleep 8765 & wait'])"
        )
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "scripts")}
        process = subprocess.Popen(
            [sys.executable, "-c", script], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            process.terminate()
            process.wait(timeout=60)
        finally:
            process.kill()
            process.communicate()

        assert count_of_processes("sleep", "8765") == 0
