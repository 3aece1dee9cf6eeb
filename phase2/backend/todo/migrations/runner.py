"""Alembic and the SQL files on one connection: safe to run twice, and by two processes at once.

Servers ask ``schema`` instead, which does without Alembic.
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

# Any constant will do, as long as every process of ours takes the same one.
_LOCK = 7_203_114_529
# Fifteen migrations of the first day, before anything was deployed. One initial migration replaced them.
_RETIRED = re.compile(r"00(?:0[1-9]|1[0-5])")


# Task: T-024
# Task: T-431
def upgrade(url: str) -> None:
    """Run every migration that ``url`` (a direct connection, not a pooler's) has not seen, then apply the SQL files.

    The role, its privileges and the planner's statistics are made sure of whether there is something to run or not: a
    dump lacks them. Raises SchemaError for a database from before the initial migration.
    """
    with _configured(url) as (config, connection):
        _refuse_retired(connection)
        sql_files.prepare(connection)
        command.upgrade(config, "head")
        sql_files.apply(connection)


def downgrade(url: str, revision: str) -> None:
    """Go back to ``revision``; ``base`` drops everything of ours.

    Functions and triggers stay as this version has them, until the older version runs ``upgrade`` with its own files.
    """
    with _configured(url) as (config, connection):
        command.downgrade(config, revision)
        if schema.revision(connection) is None:
            sql_files.remove(connection)


def check(url: str) -> None:
    """Raise alembic.util.CommandError if the models say something that the migrations did not make."""
    with _configured(url) as (config, _):
        command.check(config)


def _refuse_retired(connection: psycopg.Connection[Any]) -> None:
    revision = schema.revision(connection)
    if revision is not None and _RETIRED.fullmatch(revision):
        raise SchemaError(
            f"The database is at revision {revision}, which was retired before the first release: there is no way from"
            " it to this version. Start with an empty database."
        )


@contextmanager
def _configured(url: str) -> Iterator[tuple[Config, psycopg.Connection[Any]]]:
    """Give Alembic's configuration, and the connection below it, which nothing has a transaction on."""
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
    """Let one process at a time migrate. It gives up where somebody keeps a table locked."""
    connection.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
    connection.execute("SET lock_timeout = '5s'")
    connection.commit()
    try:
        yield
    finally:
        connection.rollback()
        connection.execute("SELECT pg_advisory_unlock(%s)", (_LOCK,))
        connection.commit()
