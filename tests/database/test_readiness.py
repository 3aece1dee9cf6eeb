"""Waiting for a database at startup."""

import socket
import threading
import time
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from support.processes import TIMEOUT_SECONDS
from todo.database import readiness
from todo.database.readiness import Unreachable


# Task: T-025
class TestWait:
    def test_wait_returns_when_the_database_answers(self, database_url: str) -> None:
        readiness.wait(database_url, seconds=10)

    def test_wait_reports_a_timeout_in_one_line_without_the_password(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]

        with pytest.raises(Unreachable) as failure:
            readiness.wait(f"postgresql://alice:sesame@127.0.0.1:{port}/todo", seconds=0.5)

        assert "Connection refused" in str(failure.value)
        assert "sesame" not in str(failure.value)
        assert "\n" not in str(failure.value)

    def test_wait_fails_at_once_for_a_permanent_error(self, admin_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(time, "sleep", lambda _: pytest.fail("wait() slept"))

        with pytest.raises(Unreachable, match='database "nowhere" does not exist'):
            readiness.wait(admin_url.replace("/postgres?", "/nowhere?"), seconds=60)

    def test_wait_retries_until_the_database_is_available(self, database_url: str, tmp_path: Path) -> None:
        socket_directory = conninfo_to_dict(database_url)["host"]
        url = make_conninfo(database_url, host=str(tmp_path))
        name = ".s.PGSQL.5432"
        later = threading.Timer(0.5, (tmp_path / name).symlink_to, [Path(str(socket_directory)) / name])

        later.start()
        readiness.wait(url, seconds=TIMEOUT_SECONDS)

        later.join()

    def test_wait_does_not_show_an_invalid_connection_string(self) -> None:
        with pytest.raises(Unreachable, match=r"^the connection string cannot be read$"):
            readiness.wait("postgresql://alice:sesame@db/todo?nonsense=1", seconds=1)
