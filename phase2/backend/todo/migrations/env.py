"""Alembic's entry point: runs the migrations on the connection that ``todo.migrations.runner`` provides."""

from typing import cast

from alembic import context
from alembic.runtime.environment import EnvironmentContext

from todo.migrations.environment import run

# The module ``context`` has the functions of the EnvironmentContext that is running.
run(cast("EnvironmentContext", context))
