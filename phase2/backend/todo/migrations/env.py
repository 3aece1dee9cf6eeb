"""Alembic's entry: runs the migrations over the connection that ``todo.migrations.runner`` gives it."""

from alembic import context

from todo.migrations.environment import run

run(context)
