"""Run Alembic and the SQL files on one connection. Safe to run twice, and in two processes at once.

Servers use ``schema`` instead, which does not import Alembic.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, cast

import psycopg
import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from todo.migrations import schema, sql_files
from todo.migrations.schema import SchemaError

# The key of an advisory lock: an arbitrary constant, the same in every process.
_LOCK = 7_203_114_529
# Fifteen migrations from before the first release. One initial migration has replaced them.
_RETIRED = re.compile(r"00(?:0[1-9]|1[0-5])")


# Task: T-024
# Task: T-431
def upgrade(url: str) -> None:
    """Run every migration that has not run yet, then apply the SQL files. ``url`` must not lead through a pooler.

    The role, its privileges and the planner statistics are checked in any case, because a dump lacks them. Raises
    SchemaError for a database from before the initial migration.
    """
    with _configured(url) as (config, connection):
        _refuse_retired(connection)
        sql_files.prepare(connection)
        command.upgrade(config, "head")
        sql_files.apply(connection)


def downgrade(url: str, revision: str) -> None:
    """Go back to ``revision``; ``base`` drops all our objects.

    Functions and triggers stay those of this version, until the older version runs ``upgrade`` with its own files.
    """
    with _configured(url) as (config, connection):
        command.downgrade(config, revision)
        if schema.revision(connection) is None:
            sql_files.remove(connection)


def check(url: str) -> None:
    """Raise alembic.util.CommandError if the models differ from the tables that the migrations have created."""
    with _configured(url) as (config, _):
        command.check(config)


def _refuse_retired(connection: psycopg.Connection[Any]) -> None:
    revision = schema.revision(connection)
    if revision is not None and _RETIRED.fullmatch(revision):
        raise SchemaError(
            f"The database is at revision {revision}, which was retired before the first release: it cannot be migrated"
            " to this version. Start with an empty database."
        )


@contextmanager
def _configured(url: str) -> Iterator[tuple[Config, psycopg.Connection[Any]]]:
    """Yield Alembic's configuration, and the driver's connection below it, without an open transaction."""
    with _connected(url) as connection:
        config = Config()
        config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
        config.attributes["connection"] = connection
        driver = cast("psycopg.Connection[Any]", connection.connection.driver_connection)
        with _locked(driver):
            yield config, driver


@contextmanager
def _connected(url: str) -> Iterator[sa.Connection]:
    engine = sa.create_engine("postgresql+psycopg://", creator=partial(schema.connect, url), poolclass=sa.NullPool)
    try:
        with engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()


@contextmanager
def _locked(connection: psycopg.Connection[Any]) -> Iterator[None]:
    """Let one process at a time migrate. Its statements fail if a table stays locked for 5 seconds."""
    connection.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
    connection.execute("SET lock_timeout = '5s'")
    connection.commit()
    try:
        yield
    finally:
        connection.rollback()
        connection.execute("SELECT pg_advisory_unlock(%s)", (_LOCK,))
        connection.commit()
