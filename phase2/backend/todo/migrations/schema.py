"""Check whether the migrations have run, and run them, without importing Alembic.

Alembic runs in a process of its own. In a server's process it would stay in memory: a tenth of a worker's.
"""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from todo.errors import CommandFailed
from todo.migrations import sql_files

VERSION_TABLE = "todo_alembic_version"

_CONNECT_TIMEOUT_SECONDS = 10
_RUN = (sys.executable, "-P", "-m", "todo.migrations")
# What to do about an error, by the beginning of PostgreSQL's message.
_ADVICE = {
    "permission denied": "Migrate with a login that owns the database and may create roles: set DIRECT_DATABASE_URL.",
    "must be ": "Migrate with the login that did so the last time: set DIRECT_DATABASE_URL.",
    "canceling statement due to lock timeout": "Somebody is using the tables; try again in a moment.",
}


class SchemaError(CommandFailed):
    """The schema cannot be read or migrated. The message is one line."""


def is_current(url: str) -> bool:
    """Return whether every migration and every SQL file has been applied. Raises SchemaError."""
    with _reading(url) as connection:
        try:
            return revision(connection) == newest() and sql_files.are_applied(connection)
        except psycopg.errors.UndefinedTable:
            return False


# Task: T-432
def differences(url: str) -> list[str]:
    """Return the names of the objects that differ from those of this version. Raises SchemaError."""
    with _reading(url) as connection:
        if revision(connection) != newest():
            return [f"revision {newest()}"]
        return sql_files.differences(connection)


# Task: T-024
def upgrade(url: str) -> None:
    """Run every migration that has not run yet. ``url`` must not lead through a pooler. Raises SchemaError."""
    # On standard input: the URL contains a password, and every account on the machine can see arguments.
    done = subprocess.run(_RUN, input=url, capture_output=True, text=True, check=False)  # noqa: S603 - all ours.
    if done.returncode:
        raise SchemaError((done.stderr.splitlines() or ["The migrations were interrupted."])[-1])


def newest() -> str:
    """Return the newest revision. File names begin with the revision: date and number."""
    return max("_".join(path.name.split("_")[:4]) for path in (Path(__file__).parent / "versions").glob("*_*_*_*_*.py"))


def revision(connection: psycopg.Connection[Any]) -> str | None:
    """Return the revision of the database; ``None`` if no migration has run."""
    with connection.transaction():
        if connection.execute("SELECT to_regclass(%s)", (f"public.{VERSION_TABLE}",)).fetchone() == (None,):
            return None
        row = connection.execute(f"SELECT version_num FROM public.{VERSION_TABLE}").fetchone()  # noqa: S608 - ours.
    return row and row[0]


@contextmanager
def _reading(url: str) -> Iterator[psycopg.Connection[Any]]:
    try:
        with connect(url) as connection:
            yield connection
    except psycopg.errors.InsufficientPrivilege:
        raise SchemaError(
            "This login may not see whether the migrations have run: GRANT todo_app TO it, and"
            f" GRANT SELECT ON {VERSION_TABLE}, app.sql_files, app.sql_objects TO it."
        ) from None
    except psycopg.Error as error:
        raise SchemaError(reason(error)) from None


def connect(url: str) -> psycopg.Connection:
    """Connect, with ``public`` as the search path, whatever the login or the database has configured."""
    connection = psycopg.connect(url, connect_timeout=_CONNECT_TIMEOUT_SECONDS)
    connection.execute("SET search_path = public, pg_temp")
    connection.commit()
    return connection


def reason(error: psycopg.Error) -> str:
    """Return one line: what the database refused, and what to do about it."""
    words = (error.diag.message_primary or str(error) or type(error).__name__).splitlines()[0]
    advice = next((advice for beginning, advice in _ADVICE.items() if words.startswith(beginning)), None)
    return f"The database refused: {words}" + (f". {advice}" if advice else "")
