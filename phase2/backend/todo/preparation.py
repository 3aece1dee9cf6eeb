"""Prepare a command: complete its settings, and make sure that the database answers and is up to date."""

from collections.abc import Iterator
from contextlib import contextmanager

from todo.clients import embedded
from todo.database import readiness
from todo.errors import CommandFailed
from todo.migrations import schema
from todo.settings import Settings, local_secret

_WAKING_SECONDS = 10
_MAX_NAMED_DIFFERENCES = 10
# Where the development servers of Next.js and Vite serve their pages.
_DEVELOPMENT_ORIGINS = tuple(f"http://{host}:{port}" for host in ("localhost", "127.0.0.1") for port in (3000, 5173))


class DatabaseNotReady(CommandFailed):
    """The database does not answer, or is not up to date."""


# Task: T-018
@contextmanager
def prepared(settings: Settings) -> Iterator[Settings]:
    """Yield complete settings. In embedded mode, the database runs until the end of the block.

    Migrates the embedded database, and then allows pages of development servers unless ``cors_origins`` is set. Waits
    for another database, and raises DatabaseNotReady if it is not up to date.
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
        origins = settings.cors_origins or _DEVELOPMENT_ORIGINS
        yield settings.model_copy(update={"database_url": url, "direct_database_url": url, "cors_origins": origins})


# Task: T-024
def migrate(settings: Settings) -> None:
    """Bring the database up to date, over the direct connection."""
    with _direct_url(settings) as url:
        schema.upgrade(url)


# Task: T-432
def check_schema(settings: Settings) -> None:
    """Raise DatabaseNotReady if migrations or SQL files are not applied, or an object was changed by hand since."""
    with _direct_url(settings) as url:
        different = schema.differences(url)
    if different:
        named = ", ".join(different[:_MAX_NAMED_DIFFERENCES])
        more = f" and {len(different) - _MAX_NAMED_DIFFERENCES} more" if len(different) > _MAX_NAMED_DIFFERENCES else ""
        raise DatabaseNotReady(f"The database differs from this version in {named}{more}; run: todo migrate")


@contextmanager
def _direct_url(settings: Settings) -> Iterator[str]:
    """Yield the URL of the direct connection. In embedded mode the database runs meanwhile."""
    if settings.direct_database_url is None:
        with embedded.running(settings.data_dir) as url:
            yield url
    else:
        _wait(settings.direct_database_url)
        yield settings.direct_database_url


def _wait(url: str) -> None:
    try:
        readiness.wait(url, seconds=_WAKING_SECONDS)
    except readiness.Unreachable as error:
        raise DatabaseNotReady(f"The database cannot be reached: {error}") from None
