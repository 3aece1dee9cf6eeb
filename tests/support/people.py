"""People: rows in Better Auth's table, tokens, and clients that carry them."""

import time
from typing import Any
from uuid import uuid4

import jwt
import psycopg
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient

from support.streams import Impatient

SECRET = "a secret that only the tests know, long enough"


def sign_up(database_url: str, name: str) -> str:
    """Make a user as Better Auth would, and return the new id."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        return add_user(connection, name)


def add_user(connection: psycopg.Connection[Any], name: str) -> str:
    """Make a user over a connection that is there already, and return the new id."""
    user_id = f"{name}-{uuid4().hex[:24]}"
    connection.execute(
        'INSERT INTO "user" (id, name, email, "emailVerified") VALUES (%s, %s, %s, true)',
        (user_id, name, f"{user_id}@example.com"),
    )
    return user_id


def token_of(user_id: str, *, secret: str = SECRET, **claims: Any) -> str:
    """Sign a token that is good for an hour; ``claims`` are added, or replace the usual ones."""
    usual = {"sub": user_id, "exp": int(time.time()) + 3600}
    return jwt.encode({**usual, **claims}, secret, "HS256")


def client_of(app: FastAPI, user_id: str, *, events: int = 1, **claims: Any) -> AsyncClient:
    """A client whose every request carries the user's token. Paths are below ``/api/v1``.

    It leaves a stream after so many ``events``.
    """
    return AsyncClient(
        transport=ASGITransport(Impatient(app, events)),
        base_url="http://todo.test/api/v1",
        headers={"Authorization": f"Bearer {token_of(user_id, **claims)}"},
    )
