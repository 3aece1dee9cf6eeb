"""The serving process: a listening socket, and a server around the application.

It does not start, and prints one line, if all requests would fail, or if requests could see data of other users.
"""

import asyncio
import ctypes
import multiprocessing
import resource
import socket
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from fastapi import FastAPI

from todo.database import Database, DatabaseOptions, PostgresSignals, UnsafeDatabase
from todo.errors import CommandFailed, Unavailable
from todo.main import create_app, verifier_of
from todo.settings import Settings
from todo.web import logs
from todo.web.server import process
from todo.web.server.workers import supervise

# One descriptor per connection, and some for the database, the log and Python. The default on macOS is 256.
_DESCRIPTORS = 2 * process.MAX_CONNECTIONS
_BACKLOG = 2_048
# mallopt(3): the number of the option, and how many free bytes glibc may keep at the end of the heap.
_M_TRIM_THRESHOLD = -1
_MAX_KEPT_BYTES = 1_048_576


# Task: T-018
class ServerError(CommandFailed):
    """The server cannot start."""


# Task: T-018
def listen(host: str, port: int) -> socket.socket:
    """Listen on the port. Connections wait in the queue until the server accepts them. Raises ServerError."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise ServerError(f"{host} is not an address to listen on: {error.strerror}.") from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise ServerError(f"Port {port} on {host} cannot be used: {error.strerror}. Choose another --port.") from None
    return listener


# Task: T-018
def serve(
    settings: Settings, listener: socket.socket, *, workers: int, shared: bool, ready: Callable[[], None]
) -> None:
    """Serve until SIGINT or SIGTERM, then finish the requests in flight. ``settings`` must be prepared.

    ``shared``: other servers may write to the database too. Calls ``ready`` after all checks. A second SIGINT does not
    wait, and raises KeyboardInterrupt. Raises ServerError.
    """
    asyncio.run(_verify_isolation(settings))
    logs.configure(settings.log_level)
    ready()
    _allow_descriptors()
    served = partial(make_app, settings, shared=shared or workers > 1)
    try:
        if workers == 1:
            process.serve(served, listener)
        else:
            supervise(served, listener, count=workers)
    except process.StartupFailed:
        raise ServerError("The application did not start; its log says why.") from None


def make_app(settings: Settings, *, shared: bool) -> FastAPI:
    """Build the application in the process that serves it: this one, or a worker."""
    _give_memory_back()
    if multiprocessing.parent_process() is not None:
        logs.configure(settings.log_level)
    database = _database(settings)
    # Signals need a direct connection, without a pooler.
    url = settings.direct_database_url
    signals = PostgresSignals(database, url) if shared and url is not None else None
    return create_app(settings, database, verifier_of(settings), signals)


def _give_memory_back() -> None:
    """Keep glibc from holding about 40 MB after the first large body. Other C libraries lack the call."""
    with suppress(AttributeError):
        ctypes.CDLL(None).mallopt(_M_TRIM_THRESHOLD, _MAX_KEPT_BYTES)


def _database(settings: Settings, *, pool_size: int | None = None) -> Database:
    if settings.database_url is None:
        raise ServerError("The settings are not prepared: there is no database.")
    return Database(settings.database_url, DatabaseOptions(pool_size=pool_size or settings.database_pool_size))


async def _verify_isolation(settings: Settings) -> None:
    database = _database(settings, pool_size=1)
    await database.open()
    try:
        await database.verify_isolation()
    except UnsafeDatabase as error:
        raise ServerError(f"Not serving: {error}.") from None
    except Unavailable as error:
        raise ServerError(error.detail) from None
    finally:
        await database.close()


def _allow_descriptors() -> None:
    """Raise the limit of open files to what the server needs, as far as the hard limit allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < _DESCRIPTORS:
        most = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(_DESCRIPTORS, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
