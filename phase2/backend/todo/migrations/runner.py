"""Alembic on one connection: safe to run twice, and by two processes at once. Servers ask ``schema`` instead."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from todo.migrations import planning, schema


# Task: T-024
def upgrade(url: str) -> None:
    """Run every migration that ``url`` (a direct connection, not a pooler's) has not seen.

    What a dump loses is made good, whether there are migrations to run or not.
    """
    with _configured(url) as config:
        command.upgrade(config, "head")
        connection: sa.Connection = config.attributes["connection"]
        planning.tell(connection)
        connection.commit()


def downgrade(url: str, revision: str) -> None:
    """Go back to ``revision``; ``base`` drops everything of ours."""
    with _configured(url) as config:
        command.downgrade(config, revision)


def check(url: str) -> None:
    """Raise alembic.util.CommandError if the models say something that the migrations did not make."""
    with _configured(url) as config:
        command.check(config)


@contextmanager
def _configured(url: str) -> Iterator[Config]:
    with _connected(url) as connection:
        config = Config()
        config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
        config.attributes["connection"] = connection
        yield config


@contextmanager
def _connected(url: str) -> Iterator[sa.Connection]:
    engine = sa.create_engine("postgresql+psycopg://", creator=partial(schema.connect, url), poolclass=sa.NullPool)
    try:
        with engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()
