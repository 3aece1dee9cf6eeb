"""What stories stand on."""

from collections.abc import Iterator

import pytest

from support.state_machines import StatefulApp, open_world


@pytest.fixture
def world(database_url: str) -> Iterator[StatefulApp]:
    """A world in which no story has been told."""
    with open_world(database_url) as world:
        yield world
