"""Tokens: who a bearer token speaks for (RFC 7519, with the advice of RFC 8725).

The key decides the algorithm, never the token. What was verified once is remembered until it expires.
"""

import base64
import hashlib
import json
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, NoReturn, Protocol

import jwt

from todo.errors import Unauthenticated
from todo.models.users import Identity

# The longest token that is looked at, in bytes: a session's user object fits in a quarter of it.
MOST_BYTES = 8_192
# How many verified tokens are remembered: some 5 MB.
MOST_REMEMBERED = 10_000
# How far two clocks may be apart.
LEEWAY_SECONDS = 30

_TYPES = frozenset({"jwt", "at+jwt"})
_JWS = jwt.PyJWS(options={"enforce_minimum_key_length": True})
# Beyond what a float counts exactly; it also refuses Infinity, and NaN, which is never before anything.
_END_OF_TIME = 2**53
# Neither NUL nor half a surrogate pair can be stored; other control characters have no business in a name.
_TEXT = re.compile(r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]+")
_MOST_OF_AN_ID, _MOST_OF_A_NAME, _MOST_OF_AN_ADDRESS = 255, 200, 320


class Verifier(Protocol):
    """Something that knows whether a token is good."""

    async def open(self) -> None:
        """Begin to get ready, inside a running event loop. Waits for nobody; verifying works without it, too."""
        ...

    async def close(self) -> None:
        """Let go of everything."""
        ...

    async def verify(self, token: bytes) -> Identity:
        """Return whom ``token`` speaks for. Raises Unauthenticated; Unavailable when no key can be had."""
        ...


class KeySource(Protocol):
    """Where the keys come from. Each is public (or the one secret), and bound to one algorithm."""

    async def open(self) -> None:
        """Begin to get the keys. Waits for nobody."""
        ...

    async def close(self) -> None:
        """Let go of everything."""
        ...

    def current(self) -> Mapping[str, jwt.PyJWK]:
        """Return the keys known now, by ``kid``: another object once they have changed. Never waits."""
        ...

    async def find(self, kid: str | None, /) -> jwt.PyJWK | None:
        """Return a key, or ``None`` if it is not published. Waits only for an unknown one. Raises Unavailable."""
        ...


# Task: T-047
class KeySetVerifier:
    """Verifies tokens against published keys.

    ``issuer`` and ``audience`` have to match exactly; ``None`` accepts any. ``clock`` counts Unix seconds.
    """

    def __init__(
        self,
        keys: KeySource,
        *,
        issuer: str | None = None,
        audience: str | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self._clock = clock
        # By digest, so that memory holds no token. Least recently used first.
        self._verified: OrderedDict[bytes, Identity] = OrderedDict()
        self._verified_by = keys.current()

    async def open(self) -> None:
        """Begin to get the keys."""
        await self._keys.open()

    async def close(self) -> None:
        """Let go of the source of the keys."""
        await self._keys.close()

    async def verify(self, token: bytes) -> Identity:
        """Return whom ``token`` speaks for. Raises Unauthenticated; Unavailable when no key can be had."""
        if len(token) > MOST_BYTES:
            _refuse()
        if self._keys.current() is not self._verified_by:
            self._forget()
        digest = hashlib.sha256(token).digest()
        identity = self._verified.get(digest)
        if identity is not None and self._clock() < identity.expires_at:
            self._verified.move_to_end(digest)
            return identity
        return await self._verify_anew(token, digest)

    async def _verify_anew(self, token: bytes, digest: bytes) -> Identity:
        key = await self._keys.find(_kid_of(token))
        if key is None:
            _refuse()
        identity = self._identity_in(_claims_of(token, key))
        if self._keys.current() is not self._verified_by:
            self._forget()
        self._verified[digest] = identity
        if len(self._verified) > MOST_REMEMBERED:
            self._verified.popitem(last=False)
        return identity

    def _forget(self) -> None:
        """Trust nothing that a key vouched for which may have been withdrawn."""
        self._verified.clear()
        self._verified_by = self._keys.current()

    def _identity_in(self, claims: Mapping[str, Any]) -> Identity:
        """Check the claims of a token whose signature is good."""
        now = self._clock()
        expires_at = _instant(claims, "exp") + LEEWAY_SECONDS
        if now >= expires_at:
            raise Unauthenticated("The token has expired. Get a new one.", code="token_expired")
        for claim in ("nbf", "iat"):
            if claim in claims and now < _instant(claims, claim) - LEEWAY_SECONDS:
                _refuse("The token is not valid yet: look at the clocks.")
        if self._issuer is not None and claims.get("iss") != self._issuer:
            _refuse("The token comes from another issuer (iss).")
        if self._audience is not None and not _names(claims.get("aud"), self._audience):
            _refuse("The token is meant for another audience (aud).")
        user_id = _text(claims.get("sub"), _MOST_OF_AN_ID)
        if user_id is None:
            _refuse("The token does not say whom it is for (sub).")
        name, email = claims.get("name"), claims.get("email")
        if isinstance(name, str):
            name = name[:_MOST_OF_A_NAME]
        return Identity(user_id, expires_at, _text(name, _MOST_OF_A_NAME), _text(email, _MOST_OF_AN_ADDRESS))


# Task: T-047
class SecretVerifier(KeySetVerifier):
    """Verifies HS256 tokens against one secret. Raises ValueError for one that is too short, or is no secret."""

    def __init__(
        self,
        secret: str,
        issuer: str | None = None,
        audience: str | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(_OneSecret(secret), issuer=issuer, audience=audience, clock=clock)


class _OneSecret:
    """A set of one key, whatever name a token gives it."""

    def __init__(self, secret: str) -> None:
        encoded = base64.urlsafe_b64encode(secret.encode()).decode()
        try:
            key = jwt.PyJWK({"kty": "oct", "k": encoded}, "HS256")
            objection = key.Algorithm.check_key_length(key.Algorithm.prepare_key(key.key))
        except jwt.InvalidKeyError as error:
            raise ValueError(f"No secret for HS256: {error}") from None
        if objection:
            raise ValueError(objection)
        self._key = key
        self._keys = {"": key}

    async def open(self) -> None:
        """Nothing to do."""

    async def close(self) -> None:
        """Nothing to do."""

    def current(self) -> Mapping[str, jwt.PyJWK]:
        """Return the same set each time."""
        return self._keys

    async def find(self, _kid: str | None, /) -> jwt.PyJWK | None:
        """Return the one key."""
        return self._key


def _refuse(detail: str = "The token is not valid.") -> NoReturn:
    raise Unauthenticated(detail, code="invalid_token") from None


def _kid_of(token: bytes) -> str | None:
    """Return which key a token names. What it says of itself is checked, and nothing in it believed."""
    segment = token.partition(b".")[0]
    try:
        header = _object(base64.b64decode(segment + b"=" * (-len(segment) % 4), b"-_", validate=True))
    except ValueError:
        _refuse()
    kind, kid = header.get("typ", "JWT"), header.get("kid")
    if not isinstance(kind, str) or kind.lower() not in _TYPES or "crit" in header or "b64" in header:
        _refuse()
    if kid is not None and not isinstance(kid, str):
        _refuse()
    return kid


def _claims_of(token: bytes, key: jwt.PyJWK) -> dict[str, Any]:
    """Return the claims that ``key`` has signed, with its own algorithm and no other."""
    try:
        return _object(_JWS.decode(token, key))
    except (jwt.PyJWTError, ValueError):
        _refuse()


def _object(data: bytes) -> dict[str, Any]:
    """Parse a JSON object. Raises ValueError for anything else, however deep."""
    try:
        value = json.loads(str(data, "utf-8"))
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if isinstance(value, dict):
        return value
    raise ValueError("not an object")


def _instant(claims: Mapping[str, Any], claim: str) -> float:
    value = claims.get(claim)
    # A bool is an int to Python, and to nobody else.
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= _END_OF_TIME:
        _refuse(f"The token does not give an instant as {claim}.")
    return float(value)


def _names(audience: Any, expected: str) -> bool:
    return audience == expected or (isinstance(audience, list) and expected in audience)


def _text(value: Any, most: int) -> str | None:
    """Return text that can be stored and shown, else ``None``."""
    return value if isinstance(value, str) and len(value) <= most and _TEXT.fullmatch(value) else None
