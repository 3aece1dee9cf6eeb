"""Accounts: rows of Better Auth's table ``"user"``, created for the command ``todo token``."""

from contextlib import suppress
from typing import NamedTuple

import psycopg

from todo.errors import CommandFailed

_CREATE = """
INSERT INTO public."user" ("id", "name", "email", "emailVerified")
VALUES (%(id)s, %(name)s, %(email)s, true)
ON CONFLICT ("id") DO NOTHING
"""
_READ = 'SELECT "id", "name", "email" FROM public."user" WHERE "id" = %(id)s'


class Account(NamedTuple):
    """The user data in a token."""

    id: str
    name: str
    email: str


class AccountRefused(CommandFailed):
    """The user cannot be created. The message is one line."""


# Task: T-017
def ensure(url: str, account: Account) -> Account:
    """Create the user if the id does not exist, and return the stored user. Blocks.

    ``url`` must connect as the database owner: the role that serves requests cannot read users. Raises AccountRefused.
    """
    try:
        with psycopg.connect(url, connect_timeout=10, autocommit=True) as connection:
            with suppress(psycopg.errors.UniqueViolation):
                connection.execute(_CREATE, account._asdict())
            # After a unique violation, either another user has the e-mail address and this finds no row, or another
            # process has just created the same user and this finds it.
            row = connection.execute(_READ, account._asdict()).fetchone()
    except psycopg.Error as error:
        raise AccountRefused(f"The user cannot be created: {error}") from None
    if row is None:
        raise AccountRefused(f"Another user has the e-mail address {account.email}: choose one with --email.")
    return Account(*row)
