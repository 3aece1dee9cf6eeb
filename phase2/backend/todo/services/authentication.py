"""Tokens: verify bearer tokens and return the identity in them (RFC 7519, with the advice of RFC 8725).

The key determines the algorithm, never the token. Verified tokens are cached until they expire.
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

# The maximum length of a token, in bytes. A token with Better Auth's whole user object needs about a quarter of it.
MAX_BYTES = 8_192
# The number of verified tokens in the cache: about 5 MB.
MAX_REMEMBERED = 10_000
# The tolerated difference between the clocks of two machines.
LEEWAY_SECONDS = 30

_TYPES = frozenset({"jwt", "at+jwt"})
_JWS = jwt.PyJWS(options={"enforce_minimum_key_length": True})
# A float is exact up to this integer. The comparison also rejects Infinity and NaN.
_END_OF_TIME = 2**53
# PostgreSQL can store neither NUL nor half a surrogate pair. Other control characters do not belong in a name.
_TEXT = re.compile(r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]+")
_MAX_ID_LENGTH, _MAX_NAME_LENGTH, _MAX_EMAIL_LENGTH = 255, 200, 320


class Verifier(Protocol):
    """Interface of a token verifier."""

    async def open(self) -> None:
        """Start to load the keys, in a running event loop. Does not wait; ``verify`` also works without it."""
        ...

    async def close(self) -> None:
        """Release all resources."""
        ...

    async def verify(self, token: bytes) -> Identity:
        """Return the identity in ``token``. Raises Unauthenticated; Unavailable if the keys cannot be loaded."""
        ...


class KeySource(Protocol):
    """Interface of a source of keys. Each key is public (or the shared secret), and bound to one algorithm."""

    async def open(self) -> None:
        """Start to load the keys. Does not wait."""
        ...

    async def close(self) -> None:
        """Release all resources."""
        ...

    def current(self) -> Mapping[str, jwt.PyJWK]:
        """Return the known keys by ``kid``; a new object whenever they have changed. Never waits."""
        ...

    async def find(self, kid: str | None, /) -> jwt.PyJWK | None:
        """Return a key, or ``None`` if it is not published. Waits only for an unknown key. Raises Unavailable."""
        ...


# Task: T-047
class KeySetVerifier:
    """Verifies tokens with published keys.

    ``issuer`` and ``audience`` must match exactly; ``None`` accepts any. ``clock`` returns Unix seconds.
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
        # Keyed by digest, so that no token stays in memory. Least recently used first.
        self._verified: OrderedDict[bytes, Identity] = OrderedDict()
        self._verified_by = keys.current()

    async def open(self) -> None:
        """Start to load the keys."""
        await self._keys.open()

    async def close(self) -> None:
        """Close the source of the keys."""
        await self._keys.close()

    async def verify(self, token: bytes) -> Identity:
        """Return the identity in ``token``. Raises Unauthenticated; Unavailable if the keys cannot be loaded."""
        if len(token) > MAX_BYTES:
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
        if len(self._verified) > MAX_REMEMBERED:
            self._verified.popitem(last=False)
        return identity

    def _forget(self) -> None:
        """Empty the cache after a change of the keys: the key that verified a token may have been withdrawn."""
        self._verified.clear()
        self._verified_by = self._keys.current()

    def _identity_in(self, claims: Mapping[str, Any]) -> Identity:
        """Check the claims of a token with a valid signature, and return its identity."""
        now = self._clock()
        expires_at = _instant(claims, "exp") + LEEWAY_SECONDS
        if now >= expires_at:
            raise Unauthenticated("The token has expired. Get a new one.", code="token_expired")
        for claim in ("nbf", "iat"):
            if claim in claims and now < _instant(claims, claim) - LEEWAY_SECONDS:
                _refuse("The token is not valid yet. Check the clocks of the issuer and of this server.")
        if self._issuer is not None and claims.get("iss") != self._issuer:
            _refuse("The token comes from another issuer (iss).")
        if self._audience is not None and not _names(claims.get("aud"), self._audience):
            _refuse("The token is meant for another audience (aud).")
        user_id = _text(claims.get("sub"), _MAX_ID_LENGTH)
        if user_id is None:
            _refuse("The token does not name a user (sub).")
        name, email = claims.get("name"), claims.get("email")
        if isinstance(name, str):
            name = name[:_MAX_NAME_LENGTH]
        return Identity(user_id, expires_at, _text(name, _MAX_NAME_LENGTH), _text(email, _MAX_EMAIL_LENGTH))


# Task: T-047
class SecretVerifier(KeySetVerifier):
    """Verifies HS256 tokens with a shared secret. Raises ValueError if the secret is too short or unsuitable."""

    def __init__(
        self,
        secret: str,
        issuer: str | None = None,
        audience: str | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(_OneSecret(secret), issuer=issuer, audience=audience, clock=clock)


class _OneSecret:
    """A source of one key, which it returns for every ``kid``."""

    def __init__(self, secret: str) -> None:
        encoded = base64.urlsafe_b64encode(secret.encode()).decode()
        try:
            key = jwt.PyJWK({"kty": "oct", "k": encoded}, "HS256")
            objection = key.Algorithm.check_key_length(key.Algorithm.prepare_key(key.key))
        except jwt.InvalidKeyError as error:
            raise ValueError(f"It is not suitable as a secret for HS256: {error}") from None
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
    """Return the ``kid`` in the header of a token. The header is checked, and never trusted."""
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
    """Return the claims that ``key`` has signed. Accepts only the algorithm of the key."""
    try:
        return _object(_JWS.decode(token, key))
    except (jwt.PyJWTError, ValueError):
        _refuse()


def _object(data: bytes) -> dict[str, Any]:
    """Parse a JSON object. Raises ValueError for anything else, including JSON that is nested too deeply."""
    try:
        value = json.loads(str(data, "utf-8"))
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if isinstance(value, dict):
        return value
    raise ValueError("not an object")


def _instant(claims: Mapping[str, Any], claim: str) -> float:
    value = claims.get(claim)
    # In Python a bool is an int, in JSON it is not.
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= _END_OF_TIME:
        _refuse(f"The token has no valid time in {claim}.")
    return float(value)


def _names(audience: Any, expected: str) -> bool:
    return audience == expected or (isinstance(audience, list) and expected in audience)


def _text(value: Any, most: int) -> str | None:
    """Return ``value`` if it is text that can be stored and shown, else ``None``."""
    return value if isinstance(value, str) and len(value) <= most and _TEXT.fullmatch(value) else None
