"""Users: rows in Better Auth's table, their tokens, and clients that send them."""

import time
from typing import Any
from uuid import uuid4

import jwt
import psycopg
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient

from support.streams import LimitedStreams

SECRET = "a secret that only the tests know, long enough"


def sign_up(database_url: str, name: str) -> str:
    """Add a user as Better Auth would, and return the id."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        return add_user(connection, name)


def add_user(connection: psycopg.Connection[Any], name: str) -> str:
    """Add a user through an open connection, and return the id."""
    user_id = f"{name}-{uuid4().hex[:24]}"
    connection.execute(
        'INSERT INTO "user" (id, name, email, "emailVerified") VALUES (%s, %s, %s, true)',
        (user_id, name, f"{user_id}@example.com"),
    )
    return user_id


def token_of(user_id: str, *, secret: str = SECRET, **claims: Any) -> str:
    """Sign a token that is valid for an hour. ``claims`` are added to the usual ones or replace them."""
    usual = {"sub": user_id, "exp": int(time.time()) + 3600}
    return jwt.encode({**usual, **claims}, secret, "HS256")


def client_of(app: FastAPI, user_id: str, *, events: int = 1, **claims: Any) -> AsyncClient:
    """Return a client that sends the user's token. Paths are relative to ``/api/v1``.

    It disconnects from a stream after ``events`` events.
    """
    return AsyncClient(
        transport=ASGITransport(LimitedStreams(app, events)),
        base_url="http://todo.test/api/v1",
        headers={"Authorization": f"Bearer {token_of(user_id, **claims)}"},
    )
