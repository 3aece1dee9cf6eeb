"""Tasks: create, read, update, complete, skip, reopen, move, trash, and batches of these.

Each command is one file with its statement and its Python half, because both encode the same rules. A command that
concerns one row only is one statement and one round trip. The statement matches no row if the command also concerns a
rule or a subtree, or must be refused. Then the class of the command runs as a unit of work: see ``unit_of_work``.
"""

from todo.services.tasks.batch import run_batch
from todo.services.tasks.complete import complete
from todo.services.tasks.create import create
from todo.services.tasks.move import move
from todo.services.tasks.occurrences import occurrences
from todo.services.tasks.read import read
from todo.services.tasks.reopen import reopen
from todo.services.tasks.skip import skip
from todo.services.tasks.trash import delete, restore, trash
from todo.services.tasks.update import replace, update

__all__ = [
    "complete",
    "create",
    "delete",
    "move",
    "occurrences",
    "read",
    "reopen",
    "replace",
    "restore",
    "run_batch",
    "skip",
    "trash",
    "update",
]
