"""The bare Debian for tests: its access to the network, and its removal."""

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
    """Return the number of running processes with this command line."""
    wanted = "\0".join(command).encode() + b"\0"
    count = 0
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            count += path.read_bytes() == wanted
    return count


# Task: T-402
class TestNetwork:
    def test_options_of_pip_are_read_from_its_files(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        (tmp_path / "pip.conf").write_text("[global]\ntimeout = 7\nextra = a\n    b\n[install]\nno-cache-dir = yes\n")
        monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
        monkeypatch.setenv("PIP_RETRIES", "3")

        options = debian_root.pip_options()

        expected = {("global", "timeout"): "7", ("global", "extra"): "a\nb", ("install", "no-cache-dir"): "yes"}
        assert expected.items() <= options.items()
        assert "retries" not in {name for _, name in options}

    def test_directories_with_packages_for_pip_are_mounted(
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

    def test_only_network_settings_are_passed_on(self, monkeypatch: pytest.MonkeyPatch) -> None:
        network = {"https_proxy": "a", "NO_PROXY": "b", "PIP_RETRIES": "c", "SSL_CERT_FILE": "d"}
        others = {"DATABASE_URL": "e", "JWT_SECRET": "f", "MAKEFLAGS": "g", "VIRTUAL_ENV": "h"}
        for name, value in (network | others).items():
            monkeypatch.setenv(name, value)

        environment = debian_root.environment()

        assert network.items() <= environment.items()
        assert not others.keys() & environment.keys()

    def test_mirror_of_apt_is_used(self, monkeypatch: pytest.MonkeyPatch) -> None:
        listed = (
            "Debian bookworm-security http://debian.example/security/\n"
            "Other bookworm http://other.example/\n"
            "Debian bookworm http://debian.example/debian/\n"
        )
        monkeypatch.setattr(debian_root, "output_of", lambda _: listed)

        assert debian_root.mirror() == ["http://debian.example/debian/"]

    def test_default_mirror_is_used_without_apt(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", "")

        assert debian_root.mirror() == []
        assert debian_root.apt_proxy() == {}


# Task: T-402
class TestRoot:
    def test_missing_root_privileges_are_reported_in_one_line(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(os, "geteuid", lambda: 1000)

        assert debian_root.main(["true"]) == 1
        assert capsys.readouterr().err == "error: Making a bare Debian needs root. Run it with sudo.\n"

    @pytest.mark.skipif(not CAN_MOUNT, reason="needs root and the right to mount")
    def test_command_leaves_no_process_and_no_mount_behind(self, tmp_path: Path) -> None:
        # The root directory is that of this system, in separate namespaces.
        mounts = Path("/proc/mounts").read_text().count(" /proc ")
        marker = tmp_path / "left"

        code = debian_root.run_in(Path("/"), ["/bin/sh", "-c", f"sleep 7654 & echo $! >{marker}; exit 3"])

        assert code == 3
        assert marker.read_text().strip().isdigit()
        assert Path("/proc/mounts").read_text().count(" /proc ") == mounts
        assert count_of_processes("sleep", "7654") == 0

    @pytest.mark.skipif(not CAN_MOUNT, reason="needs root and the right to mount")
    def test_sigterm_ends_all_processes(self, tmp_path: Path) -> None:
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
