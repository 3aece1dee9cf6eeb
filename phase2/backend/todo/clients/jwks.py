"""The public keys of the token issuer: its JSON Web Key Set (RFC 7517), kept in memory.

A known key is returned without waiting. It stays known if the issuer hangs, fails or publishes something invalid.
"""

import asyncio
import json
import logging
import math
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from ipaddress import ip_address
from typing import Any

import httpx
import jwt
from cryptography.exceptions import UnsupportedAlgorithm

from todo.errors import Unavailable

log = logging.getLogger(__name__)

_MAX_BYTES = 262_144
_MAX_RSA_BITS = 8_192
# The accepted algorithms by key type and curve. The first one applies if the key itself names none.
_ALGORITHMS: Mapping[tuple[Any, Any], tuple[str, ...]] = {
    ("OKP", "Ed25519"): ("EdDSA",),
    ("EC", "P-256"): ("ES256",),
    ("RSA", None): ("RS256", "PS256"),
}
# "d" is the private part of a key of any type, and "k" a shared secret. Neither belongs in a published set.
_SECRET_MEMBERS = frozenset({"d", "k"})


# Task: T-046
class JwksClient:
    """Fetches the keys at ``url``, one fetch at a time, and keeps the usable ones.

    An unknown ``kid`` starts a fetch, at most one per ``cooldown_seconds``. The caller waits at most
    ``lookup_timeout_seconds``.
    When the keys are older than ``refresh_seconds``, their next use refreshes them in the background: an idle server
    sends no requests, and does not keep the issuer's database awake. If the issuer answers, a withdrawn key stays valid
    for ``refresh_seconds``. After an idle time, the next use of a key starts a fetch, and a withdrawn key stays valid
    until that fetch has ended. Redirects are not followed and proxies are not used, so only the configured URL is
    trusted. ``clock`` returns seconds.
    """

    def __init__(
        self,
        url: str,
        *,
        clock: Callable[[], float] = time.monotonic,
        # Better Auth's rate limit is a hundred requests in ten seconds.
        cooldown_seconds: float = 1.0,
        refresh_seconds: float = 300.0,
        timeout_seconds: float = 3.0,
        lookup_timeout_seconds: float = 2.0,
    ) -> None:
        self._url = url
        self._clock = clock
        self._cooldown_seconds = cooldown_seconds
        self._refresh_seconds = refresh_seconds
        self._timeout_seconds = timeout_seconds
        self._lookup_timeout_seconds = lookup_timeout_seconds
        # Not compressed: a small response could expand to a large one.
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        self._http = httpx.AsyncClient(
            headers=headers,
            timeout=timeout_seconds,
            follow_redirects=False,
            trust_env=False,
            # The only setting from the environment: a private certificate authority (SSL_CERT_FILE or SSL_CERT_DIR).
            verify=httpx.create_ssl_context(),
        )
        self._published: dict[str, dict[str, Any]] = {}
        self._keys: Mapping[str, jwt.PyJWK] = {}
        self._fetching: asyncio.Task[None] | None = None
        # Whether the latest fetch succeeded.
        self._last_fetch_succeeded = False
        # No refresh is due before the first fetch, which ``open`` or the first token starts.
        self._refresh_at = math.inf
        self._next_fetch_at = -math.inf

    async def open(self) -> None:
        """Start to fetch the keys, so that the first token does not wait for them."""
        if not _is_safe(httpx.URL(self._url)):
            log.warning("the keys of the token issuer come over plain http: whoever changes them can sign any token")
        self._start()

    async def close(self) -> None:
        """Cancel a fetch in progress, and close the connections."""
        self._refresh_at = math.inf
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.wait({self._fetching})
            self._fetching = None
        await self._http.aclose()

    def current(self) -> Mapping[str, jwt.PyJWK]:
        """Return the known keys by ``kid``; a new object whenever they have changed. Never waits."""
        if self._clock() >= self._refresh_at:
            self._start()
        return self._keys

    async def find(self, kid: str | None, /) -> jwt.PyJWK | None:
        """Return a key, or ``None`` if it is not published.

        Raises Unavailable if this cannot be decided: the issuer does not answer, or publishes no usable key at all.
        """
        if kid is None:
            return None
        with suppress(TimeoutError):
            async with asyncio.timeout(self._lookup_timeout_seconds):
                while kid not in self._keys and (fetch := self._fetching or self._fetch_unless_recent()):
                    await asyncio.wait({fetch})
        key = self._keys.get(kid)
        if key is None and (self._fetching or not self._last_fetch_succeeded or not self._keys):
            raise Unavailable(
                "Tokens cannot be verified right now: their issuer does not answer. Try again in a moment.",
                code="issuer_unavailable",
                retry_after_seconds=math.ceil(self._cooldown_seconds),
            )
        return key

    def _fetch_unless_recent(self) -> asyncio.Task[None] | None:
        """Start a fetch for an unknown key, unless the last one was less than ``cooldown_seconds`` ago."""
        now = self._clock()
        if now < self._next_fetch_at:
            return None
        self._next_fetch_at = now + self._cooldown_seconds
        return self._start()

    def _start(self) -> asyncio.Task[None]:
        # No refresh is due until this fetch has ended.
        self._refresh_at = math.inf
        if self._fetching is None:
            self._fetching = asyncio.create_task(self._fetch(), name="jwks")
        return self._fetching

    async def _fetch(self) -> None:
        try:
            async with asyncio.timeout(self._timeout_seconds):
                self._replace_keys(_parse(await self._download()))
        except Exception as error:  # noqa: BLE001 - whatever the issuer does, known keys stay
            self._last_fetch_succeeded = False
            self._refresh_at = self._clock() + self._cooldown_seconds
            log.warning("the keys of the token issuer could not be fetched", extra={"reason": _reason(error)})
        else:
            self._last_fetch_succeeded = True
            self._refresh_at = self._clock() + self._refresh_seconds
        finally:
            self._fetching = None

    async def _download(self) -> bytes:
        async with self._http.stream("GET", self._url) as response:
            if response.status_code != httpx.codes.OK:
                raise _Unusable(f"status {response.status_code}")
            body = bytearray()
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > _MAX_BYTES:
                    raise _Unusable("too large")
            return bytes(body)

    def _replace_keys(self, published: dict[str, dict[str, Any]]) -> None:
        """Replace the keys if they have changed. A key that is no longer published verifies no token any more."""
        if published == self._published:
            return
        keys = {kid: key for kid, jwk in published.items() if (key := _key_of(jwk)) is not None}
        self._published, self._keys = published, keys
        log.info("the token issuer publishes new keys", extra={"usable": len(keys), "published": len(published)})


def _is_safe(url: httpx.URL) -> bool:
    """Return whether nobody can change the response on its way: it is encrypted, or stays on this machine."""
    if url.scheme == "https" or url.host == "localhost" or url.host.endswith(".localhost"):
        return True
    try:
        return ip_address(url.host).is_loopback
    except ValueError:
        return False


class _Unusable(Exception):
    """The response of the issuer is not a key set. The message is for the log."""


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, _Unusable) else type(error).__name__


def _parse(body: bytes) -> dict[str, dict[str, Any]]:
    """Return the published keys by ``kid``; the first one, if two have the same ``kid``."""
    document = json.loads(body)
    keys = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(keys, list):
        raise _Unusable("not a key set")
    published: dict[str, dict[str, Any]] = {}
    for jwk in keys:
        if isinstance(jwk, dict) and isinstance(kid := jwk.get("kid"), str):
            published.setdefault(kid, jwk)
    return published


def _key_of(jwk: Mapping[str, Any]) -> jwt.PyJWK | None:
    """Return a key bound to its algorithm, or ``None`` if it is not a public key that we accept."""
    kind = jwk.get("kty"), jwk.get("crv")
    algorithms = _ALGORITHMS.get(kind, ()) if all(isinstance(part, str | None) for part in kind) else ()
    algorithm = jwk.get("alg", algorithms[0] if algorithms else None)
    operations = jwk.get("key_ops", ["verify"])
    if (
        algorithm not in algorithms
        or jwk.get("use", "sig") != "sig"
        or not (isinstance(operations, list) and "verify" in operations)
        or not _SECRET_MEMBERS.isdisjoint(jwk)
    ):
        return None
    try:
        key = jwt.PyJWK(dict(jwk), algorithm)
        too_short = key.Algorithm.check_key_length(key.key) is not None
    except (jwt.PyJWTError, UnsupportedAlgorithm, ArithmeticError, LookupError, TypeError, ValueError):
        return None
    too_long = kind[0] == "RSA" and key.key.key_size > _MAX_RSA_BITS
    return None if too_short or too_long else key
