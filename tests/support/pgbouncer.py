"""PgBouncer in transaction mode in front of the tests' PostgreSQL.

The environment variable PGBOUNCER can name another program than the installed one.
"""

import os
import pwd
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from support.processes import TIMEOUT_SECONDS, until

POOL_SIZE = 3
_PORT = 6543
# Debian installs it in a directory that only root has in PATH.
_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"
# The first version that can track prepared statements.
_TRACKS_SINCE = (1, 21)


@contextmanager
def pgbouncer(
    url: str, *, pool_size: int = POOL_SIZE, tracks_statements: bool = False, settings: str = ""
) -> Iterator[str]:
    """Run PgBouncer in front of the database of ``url``, and yield the URL that leads through it.

    It passes the names of prepared statements through unless it ``tracks_statements``. ``settings`` are additional
    lines of its configuration. Skips the test if PgBouncer is too old to track statements, or is not installed; on CI,
    the latter fails.
    """
    program = required_program()
    if tracks_statements and not can_track_statements(program):
        pytest.skip("this pgbouncer does not track prepared statements")
    with running(program, url, pool_size=pool_size, tracks_statements=tracks_statements, settings=settings) as process:
        yield process.url


def installed() -> str | None:
    """Return the path of the installed program, or ``None``."""
    return shutil.which(os.environ.get("PGBOUNCER", "pgbouncer"), path=_PATH)


def required_program() -> str:
    """Return the path of the program. If it is not installed, skip the test; on CI, fail."""
    program = installed()
    if program is None:
        if os.environ.get("CI") == "true":
            pytest.fail("pgbouncer is not installed, and CI must run all tests")
        pytest.skip("pgbouncer is not installed")
    return program


def can_track_statements(program: str) -> bool:
    """Return whether the program supports ``max_prepared_statements``."""
    return version_of(program) >= _TRACKS_SINCE


def version_of(program: str) -> tuple[int, ...]:
    """Return the version, such as ``(1, 18, 0)``."""
    output = subprocess.run([program, "-V"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"PgBouncer (\d+(?:\.\d+)+)", output)
    assert found is not None, output
    return tuple(int(number) for number in found[1].split("."))


@dataclass(frozen=True)
class PgBouncer:
    """A running PgBouncer, and the URL that leads through it."""

    url: str
    pid: int


@contextmanager
def running(
    program: str, url: str, *, pool_size: int, tracks_statements: bool, settings: str = ""
) -> Iterator[PgBouncer]:
    """Run the program in front of the database of ``url``."""
    if can_track_statements(program):
        settings += f"\nmax_prepared_statements = {1_000 if tracks_statements else 0}"
    # Not in pytest's directory: the account that the process runs as has no access to it.
    with tempfile.TemporaryDirectory(prefix="todo-pgbouncer-") as name:
        directory = Path(name)
        server = conninfo_to_dict(url)
        user = _user(Path(str(server["host"])))
        if user is not None:
            shutil.chown(directory, user)
        configuration = directory / "pgbouncer.ini"
        configuration.write_text(_configuration(directory, server, pool_size) + settings + "\n", encoding="utf-8")
        location = urlencode({"host": name, "port": _PORT}, quote_via=quote)
        through = f"postgresql://{server['user']}@/{server['dbname']}?{location}"
        with process_of(program, configuration, through, user) as pid:
            yield PgBouncer(through, pid)


@contextmanager
def process_of(program: str, configuration: Path, url: str, user: str | None) -> Iterator[int]:
    """Run the program with a configuration as ``user`` (``None``: that of the tests). Yield the pid once it answers."""
    log = configuration.with_name("log")
    with log.open("wb") as output:
        process = subprocess.Popen([program, "-q", str(configuration)], **_as_user(user), stdout=output, stderr=output)
    try:
        until(lambda: process.poll() is not None or _answers(url))
        if process.poll() is not None:
            raise RuntimeError(f"pgbouncer did not start: {log.read_text(encoding='utf-8')}")
        yield process.pid
    finally:
        process.terminate()
        process.wait(TIMEOUT_SECONDS)


def _user(sockets: Path) -> str | None:
    """Return the account to run as, or ``None`` for that of the tests. PgBouncer rejects root."""
    if os.geteuid() != 0:
        return None
    owner = sockets.owner()
    return "nobody" if owner == "root" else owner


def _as_user(name: str | None) -> dict[str, Any]:
    """Return the arguments of Popen that start a process as this user, and not in the groups of the current one.

    In root's group, it could not pass through a directory that is closed to that group and open to all others.
    """
    return {} if name is None else {"user": name, "group": pwd.getpwnam(name).pw_gid, "extra_groups": []}


def _configuration(directory: Path, server: Mapping[str, object], pool_size: int) -> str:
    place = " ".join(f"{name}={server[name]}" for name in ("host", "port", "dbname", "user") if server.get(name))
    return f"""
[databases]
{server["dbname"]} = {place}
[pgbouncer]
listen_addr =
listen_port = {_PORT}
unix_socket_dir = {directory}
auth_type = any
pool_mode = transaction
default_pool_size = {pool_size}
max_client_conn = 200
server_login_retry = 0.1
"""


def _answers(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True
