"""``python -m todo.migrations``: migrate the database whose URL is on standard input."""

import sys
from typing import cast

import psycopg
from alembic.util import CommandError
from sqlalchemy.exc import DBAPIError

from todo.migrations import runner, schema
from todo.migrations.schema import SchemaError


def main() -> int:
    """Run the migrations. A failure prints one line on standard error."""
    try:
        runner.upgrade(sys.stdin.read())
    except DBAPIError as error:
        sys.stderr.write(f"{schema.reason(cast('psycopg.Error', error.orig))}\n")
    except CommandError as error:
        sys.stderr.write(f"The migrations do not fit the database: {error}\n")
    except psycopg.Error as error:
        sys.stderr.write(f"{schema.reason(error)}\n")
    except SchemaError as error:
        sys.stderr.write(f"{error}\n")
    else:
        return 0
    return 1


if __name__ == "__main__":
    sys.exit(main())
