"""Fixtures of the synchronisation tests."""

from collections.abc import Iterator

import pytest

from support.state_machines import StatefulApp, open_stateful_app


@pytest.fixture
def world(database_url: str) -> Iterator[StatefulApp]:
    """The application for the runs of one test, with empty counters."""
    with open_stateful_app(database_url) as world:
        yield world
