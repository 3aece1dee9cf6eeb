"""Accounts: rows of Better Auth's ``"user"``, made for ``todo token`` as its owner would make them."""

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
    """What a token says of its bearer."""

    id: str
    name: str
    email: str


class AccountRefused(CommandFailed):
    """The user cannot be made. The message is one line."""


# Task: T-017
def ensure(url: str, account: Account) -> Account:
    """Make the user if there is none with this id, and return the user as stored. Blocks.

    ``url`` has to be the owner's: the role that serves requests cannot see users. Raises AccountRefused.
    """
    try:
        with psycopg.connect(url, connect_timeout=10, autocommit=True) as connection:
            with suppress(psycopg.errors.UniqueViolation):
                connection.execute(_CREATE, account._asdict())
            # The address is another user's; or somebody makes the same user at the same time, who is found then.
            row = connection.execute(_READ, account._asdict()).fetchone()
    except psycopg.Error as error:
        raise AccountRefused(f"The user cannot be made: {error}") from None
    if row is None:
        raise AccountRefused(f"Another user has the e-mail address {account.email}: choose one with --email.")
    return Account(*row)
