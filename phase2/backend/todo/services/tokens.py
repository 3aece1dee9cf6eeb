"""Tokens: who a bearer token speaks for."""

from typing import Protocol

import jwt

from todo.errors import Unauthenticated
from todo.models.users import Identity


class Verifier(Protocol):
    """Something that knows whether a token is good."""

    async def verify(self, token: bytes) -> Identity:
        """Return whom ``token`` speaks for. Raises Unauthenticated; Unavailable when no key is known at all."""
        ...


# Task: T-045
class SecretVerifier:
    """Verifies HS256 tokens against one secret."""

    def __init__(self, secret: str) -> None:
        self._secret = secret

    async def verify(self, token: bytes) -> Identity:
        """Return whom ``token`` speaks for. Raises Unauthenticated."""
        try:
            claims = jwt.decode(
                token, self._secret, ["HS256"], options={"require": ["exp", "sub"], "verify_aud": False}
            )
        except (jwt.PyJWTError, ValueError):
            raise Unauthenticated("The token is not valid.", code="invalid_token") from None
        return Identity(claims["sub"], claims.get("name"), claims.get("email"))
