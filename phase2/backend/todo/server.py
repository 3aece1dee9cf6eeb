"""The serving process: a socket, and a server around the application.

It refuses to serve with one line where a request could only fail, or see what it must not.
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

# For every connection a descriptor, and some for the database, the log and Python. macOS starts with 256.
_DESCRIPTORS = 2 * process.MAX_CONNECTIONS
_BACKLOG = 2_048
# mallopt(3): how much of what is free glibc may keep at the end of the heap, and its number for that.
_M_TRIM_THRESHOLD = -1
_MAX_KEPT_BYTES = 1_048_576


# Task: T-018
class ServerError(CommandFailed):
    """The server cannot start."""


# Task: T-018
def listen(host: str, port: int) -> socket.socket:
    """Take the port; connections wait in the queue until somebody accepts them. Raises ServerError."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise ServerError(f"{host} is no address to listen on: {error.strerror}.") from None
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
    """Serve until SIGINT or SIGTERM; requests in flight end first. ``settings`` are prepared ones.

    ``shared`` says whether servers beside this one may write to the database.
    Calls ``ready`` as soon as nothing is in the way. A second SIGINT does not wait: KeyboardInterrupt.
    Raises ServerError.
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
    # Migrations and signals need a connection of their own, without a pooler between.
    url = settings.direct_database_url
    signals = PostgresSignals(database, url) if shared and url is not None else None
    return create_app(settings, database, verifier_of(settings), signals)


def _give_memory_back() -> None:
    """Keep glibc from holding some 40 MB of room for the next large body once there was one. Others lack the call."""
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
    """Raise the limit of open files as far as we need, and may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < _DESCRIPTORS:
        most = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(_DESCRIPTORS, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
