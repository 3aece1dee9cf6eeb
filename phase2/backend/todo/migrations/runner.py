"""Bringing a database up to date: safe to run twice, and by two processes at once."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from todo.migrations.environment import VERSION_TABLE

_CONNECT_TIMEOUT_SECONDS = 10


# Task: T-024
def upgrade(url: str) -> None:
    """Run every migration that ``url`` (a direct connection, not a pooler's) has not seen."""
    with _configured(url) as config:
        command.upgrade(config, "head")


def downgrade(url: str, revision: str) -> None:
    """Go back to ``revision``; ``base`` drops everything of ours."""
    with _configured(url) as config:
        command.downgrade(config, revision)


def check(url: str) -> None:
    """Raise alembic.util.CommandError if the models say something that the migrations did not make."""
    with _configured(url) as config:
        command.check(config)


def is_current(url: str) -> bool:
    """Tell whether the database has seen every migration."""
    with _connected(url) as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        return context.get_current_revision() == ScriptDirectory(_directory()).get_current_head()


def _directory() -> str:
    return str(Path(__file__).parent)


@contextmanager
def _configured(url: str) -> Iterator[Config]:
    with _connected(url) as connection:
        config = Config()
        config.set_main_option("script_location", _directory().replace("%", "%%"))
        config.attributes["connection"] = connection
        yield config


@contextmanager
def _connected(url: str) -> Iterator[sa.Connection]:
    def connect() -> psycopg.Connection:
        return psycopg.connect(url, connect_timeout=_CONNECT_TIMEOUT_SECONDS)

    engine = sa.create_engine("postgresql+psycopg://", creator=connect, poolclass=sa.NullPool)
    try:
        with engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()
