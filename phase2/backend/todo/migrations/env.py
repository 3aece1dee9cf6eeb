"""Alembic's entry: runs the migrations over the connection that ``todo.migrations.runner`` gives it."""

from typing import cast

from alembic import context
from alembic.runtime.environment import EnvironmentContext

from todo.migrations.environment import run

# The module has the functions of the EnvironmentContext that is running.
run(cast("EnvironmentContext", context))
