"""Fixtures of the migration tests, on the shared database."""

from collections.abc import Iterator

import psycopg
import pytest

from support.users import sign_up


@pytest.fixture
def connection(database_url: str) -> Iterator[psycopg.Connection]:
    """The superuser, in a transaction that is rolled back."""
    with psycopg.connect(database_url) as connection:
        yield connection
        connection.rollback()


@pytest.fixture
def user_id(database_url: str) -> str:
    return sign_up(database_url, "alice")
