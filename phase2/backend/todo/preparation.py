"""What a command needs before it runs: complete settings, and a database that answers and is up to date."""

from collections.abc import Iterator
from contextlib import contextmanager

from todo.clients import embedded
from todo.database import readiness
from todo.errors import CommandFailed
from todo.migrations import schema
from todo.settings import Settings, local_secret

_WAKING_SECONDS = 10


class DatabaseNotReady(CommandFailed):
    """The database does not answer, or is not up to date."""


# Task: T-018
@contextmanager
def prepared(settings: Settings) -> Iterator[Settings]:
    """Complete the settings for as long as the database is needed: in embedded mode it runs until the end.

    The embedded database comes migrated; another one is only waited for, and has to be current already.
    """
    if settings.database_url is not None:
        _wait(settings.database_url)
        if not schema.is_current(settings.database_url):
            raise DatabaseNotReady("The database's schema is not the one of this version; run: todo migrate")
        yield settings
        return
    if settings.jwks_url is None and settings.jwt_secret is None:
        settings = settings.model_copy(update={"jwt_secret": local_secret(settings.data_dir)})
    with embedded.running(settings.data_dir) as url:
        if not schema.is_current(url):
            schema.upgrade(url)
        yield settings.model_copy(update={"database_url": url, "direct_database_url": url})


# Task: T-024
def migrate(settings: Settings) -> None:
    """Bring the database up to date, over the direct connection."""
    if settings.direct_database_url is None:
        with embedded.running(settings.data_dir) as url:
            schema.upgrade(url)
    else:
        _wait(settings.direct_database_url)
        schema.upgrade(settings.direct_database_url)


def _wait(url: str) -> None:
    try:
        readiness.wait(url, seconds=_WAKING_SECONDS)
    except readiness.Unreachable as error:
        raise DatabaseNotReady(f"The database cannot be reached: {error}") from None
