"""PgBouncer in transaction mode, in front of the tests' PostgreSQL, as a process of the tests' own."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from support.processes import PATIENCE_SECONDS, until

POOL_SIZE = 3
_PORT = 6543
# Debian installs it where only root looks.
_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"


@contextmanager
def pgbouncer(url: str, *, pool_size: int = POOL_SIZE) -> Iterator[str]:
    """Run PgBouncer before the database of ``url``; gives the URL that goes through it.

    Skips the test where it is not installed, unless a CI runs it.
    """
    program = shutil.which("pgbouncer", path=_PATH)
    if program is None:
        if os.environ.get("CI") == "true":
            pytest.fail("pgbouncer is not installed, and the suite has to be complete here")
        pytest.skip("pgbouncer is not installed")
    # Not pytest's directory, which is closed to the user that the process runs as.
    with tempfile.TemporaryDirectory(prefix="todo-pgbouncer-") as name:
        directory = Path(name)
        server = conninfo_to_dict(url)
        user = _user(Path(str(server["host"])))
        if user is not None:
            shutil.chown(directory, user)
        configuration = directory / "pgbouncer.ini"
        configuration.write_text(_configuration(directory, server, pool_size), encoding="utf-8")
        through = make_conninfo(host=name, port=_PORT, dbname=server["dbname"], user=server["user"])
        with (directory / "log").open("wb") as log:
            process = subprocess.Popen([program, "-q", str(configuration)], user=user, stdout=log, stderr=log)
        try:
            _wait_for(through, process, directory / "log")
            yield through
        finally:
            process.terminate()
            process.wait(PATIENCE_SECONDS)


def _user(sockets: Path) -> str | None:
    """Whom to run as, ``None`` for the tests' own user: it refuses root, and has to reach PostgreSQL's socket."""
    if os.geteuid() != 0:
        return None
    owner = sockets.owner()
    return "nobody" if owner == "root" else owner


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


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    until(lambda: process.poll() is not None or _answers(url))
    if process.poll() is not None:
        pytest.fail(f"pgbouncer did not start: {log.read_text(encoding='utf-8')}")


def _answers(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True
