"""The key set, fetched from an issuer in a separate process."""

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from support.clocks import Clock
from support.helpers import eventually
from support.issuer import Issuer
from support.processes import TIMEOUT_SECONDS
from todo.clients.jwks import JwksClient
from todo.errors import Unavailable


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def client(issuer: Issuer, clock: Clock) -> AsyncIterator[JwksClient]:
    """A client whose fetches may take as long as a busy machine lets them."""
    client = JwksClient(
        issuer.jwks_url,
        clock=clock,
        cooldown_seconds=10,
        refresh_seconds=300,
        timeout_seconds=TIMEOUT_SECONDS,
        lookup_timeout_seconds=TIMEOUT_SECONDS,
    )
    yield client
    await client.close()


@contextmanager
def impatient(client: JwksClient, manner: str) -> Iterator[None]:
    """Shorten the client's patience if the issuer hangs, inside the block only."""
    before = client._lookup_timeout_seconds
    client._lookup_timeout_seconds = 0.1 if manner == "hang" else before
    try:
        yield
    finally:
        client._lookup_timeout_seconds = before


def first_kid(issuer: Issuer) -> str:
    kid: str = issuer.published()[0]["kid"]
    return kid


def rsa_key(bits: int) -> dict[str, Any]:
    """Return a published RSA key: too small to be secure, or too large to be worth the time."""
    number = rsa.generate_private_key(65537, bits).public_key().public_numbers().n if bits < 4_096 else (1 << bits) - 1
    n = base64.urlsafe_b64encode(number.to_bytes((number.bit_length() + 7) // 8, "big")).rstrip(b"=").decode()
    # The random part comes last, because the test id is the beginning of this value.
    return {"kid": "odd", "kty": "RSA", "alg": "RS256", "e": "AQAB", "n": n}


def self_signed(host: str) -> bytes:
    """Return a private key and a self-signed certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    encoding = serialization.Encoding.PEM
    private = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return private + certificate.public_bytes(encoding)


# Task: T-046
class TestFind:
    @pytest.mark.parametrize("alg", ["EdDSA", "ES256", "RS256", "PS256"])
    async def test_key_is_bound_to_its_algorithm(self, client: JwksClient, issuer: Issuer, alg: str) -> None:
        kid = issuer.add_key(alg)

        key = await client.find(kid)

        assert key is not None
        assert key.algorithm_name == alg

    @pytest.mark.parametrize("alg", ["EdDSA", "ES256", "RS256"])
    async def test_algorithm_is_derived_from_the_key_type_if_it_is_not_declared(
        self, client: JwksClient, issuer: Issuer, alg: str
    ) -> None:
        kid = issuer.add_key(alg, alg=None)

        key = await client.find(kid)

        assert key is not None
        assert key.algorithm_name == alg

    async def test_known_key_is_returned_without_a_fetch(self, client: JwksClient, issuer: Issuer) -> None:
        kid = first_kid(issuer)

        keys = [await client.find(kid) for _ in range(3)]

        assert keys[0] is not None
        assert keys[0] is keys[1] is keys[2]
        assert issuer.fetches() == 1

    async def test_token_without_a_key_id_causes_no_fetch(self, client: JwksClient, issuer: Issuer) -> None:
        assert await client.find(None) is None
        assert issuer.fetches() == 0

    async def test_unknown_keys_cause_one_fetch_per_cooldown(
        self, client: JwksClient, issuer: Issuer, clock: Clock
    ) -> None:
        unknown = [await client.find(f"unknown-{number}") for number in range(20)]
        clock.now = 9.9
        unknown.append(await client.find("unknown"))
        before = issuer.fetches()
        clock.now = 10
        unknown.append(await client.find("unknown"))

        assert unknown == [None] * 22
        assert (before, issuer.fetches()) == (1, 2)

    async def test_newly_published_key_is_found_after_the_cooldown(
        self, client: JwksClient, issuer: Issuer, clock: Clock
    ) -> None:
        old = first_kid(issuer)
        await client.find(old)
        new = issuer.add_key()
        clock.now = 10

        found = [await client.find(new), await client.find(old)]

        assert None not in found

    async def test_new_key_is_found_one_second_after_a_failed_lookup_by_default(
        self, issuer: Issuer, clock: Clock
    ) -> None:
        client = JwksClient(issuer.jwks_url, clock=clock)
        await client.find("unknown")
        new = issuer.add_key()
        before = await client.find(new)
        clock.now = 1

        after = await client.find(new)

        await client.close()
        assert (before, after is not None) == (None, True)

    async def test_client_ignores_proxies_of_the_environment(
        self, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, "http://127.0.0.1:1")
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        client = JwksClient(issuer.jwks_url)

        key = await client.find(first_kid(issuer))

        await client.close()
        assert key is not None

    async def test_client_trusts_certificates_named_in_the_environment(
        self, issuer: Issuer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        identity = tmp_path / "localhost.pem"
        identity.write_bytes(self_signed("localhost"))
        content = orjson.dumps({"keys": issuer.published()})
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(content)}\r\nConnection: close\r\n\r\n".encode()

        async def publish(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(head + content)
            writer.close()

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(identity)
        async with await asyncio.start_server(publish, "localhost", 0, ssl=context) as server:
            url = f"https://localhost:{server.sockets[0].getsockname()[1]}/jwks"
            before = JwksClient(url)
            monkeypatch.setenv("SSL_CERT_FILE", str(identity))
            after = JwksClient(url)

            with pytest.raises(Unavailable):
                await before.find(first_kid(issuer))
            key = await after.find(first_kid(issuer))

            await before.close()
            await after.close()
        assert key is not None

    @pytest.mark.parametrize(
        ("url", "warnings"),
        [
            ("http://issuer.example/jwks", 1),
            ("http://10.0.0.7:3000/jwks", 1),
            ("https://issuer.example/jwks", 0),
            ("http://localhost:3000/jwks", 0),
            ("http://127.0.0.2/jwks", 0),
            ("http://[::1]:3000/jwks", 0),
        ],
    )
    async def test_client_warns_if_keys_are_fetched_over_plain_http_from_another_host(
        self, caplog: pytest.LogCaptureFixture, url: str, warnings: int
    ) -> None:
        client = JwksClient(url)

        await client.open()

        await client.close()
        assert [record.levelname for record in caplog.records] == ["WARNING"] * warnings

    async def test_lookup_joins_the_fetch_of_the_start(self, client: JwksClient, issuer: Issuer) -> None:
        await client.open()
        await client.open()

        assert await client.find(first_kid(issuer)) is not None
        assert issuer.fetches() == 1

    async def test_key_published_after_the_start_is_found(self, client: JwksClient, issuer: Issuer) -> None:
        await client.open()
        await eventually(lambda: bool(client.current()))
        kid = issuer.add_key()

        assert await client.find(kid) is not None

    async def test_concurrent_lookups_share_one_fetch(self, issuer: Issuer) -> None:
        client = JwksClient(issuer.jwks_url, lookup_timeout_seconds=TIMEOUT_SECONDS, timeout_seconds=TIMEOUT_SECONDS)
        issuer.behave("hang")
        waiting = [asyncio.create_task(client.find(first_kid(issuer))) for _ in range(50)]
        await eventually(lambda: issuer.fetches() > 0)
        waiting[0].cancel()

        issuer.behave("well")
        found = await asyncio.gather(*waiting[1:])
        await client.close()

        assert None not in found
        assert issuer.fetches() == 1


# Task: T-046
class TestIssuerFailures:
    @pytest.mark.parametrize(
        "manner",
        [
            "hang", "fail", "redirect", "huge",
            "not json", "not an object", "not a set", "deep", "not text", "empty",
        ],
    )  # fmt: skip
    async def test_failed_fetch_keeps_the_known_keys(
        self, client: JwksClient, issuer: Issuer, clock: Clock, manner: str
    ) -> None:
        kid = first_kid(issuer)
        key = await client.find(kid)
        issuer.behave(manner)
        clock.now = 10

        with pytest.raises(Unavailable) as unavailable, impatient(client, manner):
            await client.find("unknown")

        assert unavailable.value.headers == {"Retry-After": "10"}
        assert await client.find(kid) is key
        await eventually(lambda: issuer.fetches() > 1)
        assert issuer.fetches() == 2

    @pytest.mark.parametrize("manner", ["hang", "fail", "redirect", "huge", "not json"])
    async def test_lookup_raises_unavailable_until_a_key_is_fetched(
        self, client: JwksClient, issuer: Issuer, clock: Clock, manner: str
    ) -> None:
        issuer.behave(manner)
        with pytest.raises(Unavailable), impatient(client, manner):
            await client.find(first_kid(issuer))

        issuer.behave("well")
        clock.now = 10

        assert await client.find(first_kid(issuer)) is not None

    async def test_lookup_raises_unavailable_while_no_key_is_published(
        self, client: JwksClient, issuer: Issuer
    ) -> None:
        kid = first_kid(issuer)
        issuer.withdraw(kid)

        with pytest.raises(Unavailable):
            await client.find(kid)

    async def test_lookup_raises_unavailable_if_the_issuer_refuses_connections(self) -> None:
        client = JwksClient("http://127.0.0.1:1/api/auth/jwks")

        with pytest.raises(Unavailable):
            await client.find("unknown")
        await client.close()

    @pytest.mark.parametrize("manner", ["hang", "trickle"])
    async def test_endless_response_is_abandoned_and_the_fetch_is_repeated(self, issuer: Issuer, manner: str) -> None:
        client = JwksClient(
            issuer.jwks_url, cooldown_seconds=0, timeout_seconds=0.2, lookup_timeout_seconds=TIMEOUT_SECONDS
        )
        issuer.behave(manner)
        finding = asyncio.create_task(client.find(first_kid(issuer)))
        await eventually(lambda: issuer.fetches() > 1)

        issuer.behave("well")
        key = await finding
        await client.close()

        assert key is not None

    async def test_lookup_does_not_wait_longer_than_its_patience(self, issuer: Issuer) -> None:
        client = JwksClient(issuer.jwks_url, timeout_seconds=TIMEOUT_SECONDS * 10, lookup_timeout_seconds=0.1)
        issuer.behave("hang")

        async with asyncio.timeout(TIMEOUT_SECONDS):
            with pytest.raises(Unavailable):
                await client.find(first_kid(issuer))

        await client.close()

    async def test_client_closes_while_a_fetch_hangs(self, issuer: Issuer) -> None:
        client = JwksClient(issuer.jwks_url, timeout_seconds=TIMEOUT_SECONDS * 10)
        issuer.behave("hang")
        await client.open()
        await eventually(lambda: issuer.fetches() > 0)

        async with asyncio.timeout(TIMEOUT_SECONDS):
            await client.close()


# Task: T-046
class TestRefresh:
    async def test_keys_are_refreshed_in_the_background_after_the_refresh_interval(
        self, client: JwksClient, issuer: Issuer, clock: Clock
    ) -> None:
        old = first_kid(issuer)
        await client.find(old)
        new = issuer.add_key()
        issuer.withdraw(old)

        clock.now = 299.9
        early = set(client.current())
        clock.now = 300
        due = set(client.current())
        await eventually(lambda: new in client.current())

        assert (early, due, set(client.current())) == ({old}, {old}, {new})
        assert issuer.fetches() == 2

    async def test_unchanged_keys_are_the_same_object_after_a_refresh(
        self, client: JwksClient, issuer: Issuer, clock: Clock
    ) -> None:
        await client.find(first_kid(issuer))
        keys = client.current()

        clock.now = 300
        client.current()
        await eventually(lambda: issuer.fetches() == 2)
        await client.find("unknown")

        assert client.current() is keys

    async def test_failed_refresh_is_repeated_after_the_cooldown(
        self, client: JwksClient, issuer: Issuer, clock: Clock
    ) -> None:
        await client.find(first_kid(issuer))
        keys = client.current()
        issuer.behave("fail")
        clock.now = 300
        client.current()
        with pytest.raises(Unavailable):
            await client.find("unknown")
        failed = issuer.fetches()

        new = issuer.add_key()
        issuer.behave("well")
        clock.now = 310
        assert client.current() is keys
        await eventually(lambda: new in client.current())

        assert (failed, issuer.fetches()) == (3, 4)

    async def test_lookup_does_not_wait_for_a_refresh(self, client: JwksClient, issuer: Issuer, clock: Clock) -> None:
        kid = first_kid(issuer)
        key = await client.find(kid)
        issuer.behave("hang")
        clock.now = 300

        client.current()
        found = client.find(kid)
        with pytest.raises(StopIteration) as stopped:
            # Driven by hand: the coroutine returns without yielding to the event loop.
            found.send(None)

        assert stopped.value.value is key


# Task: T-046
class TestUsableKeys:
    @pytest.mark.parametrize(
        "odd",
        [
            None, 1, "key", [], {}, {"kid": "odd"}, {"kid": 1, "kty": "OKP"}, {"kty": "OKP", "x": "A"},
            {"kid": "odd", "kty": ["OKP"], "crv": {}}, {"kid": "odd", "kty": "OKP", "crv": "Ed25519"},
            {"kid": "odd", "kty": "OKP", "crv": "Ed25519", "x": 1},
            {"kid": "odd", "kty": "OKP", "crv": "Ed25519", "x": "ä"},
            {"kid": "odd", "kty": "OKP", "crv": "X25519", "x": "A" * 43},
            {"kid": "odd", "kty": "EC", "crv": "P-256", "x": "A" * 43, "y": "A" * 43},
            {"kid": "odd", "kty": "EC", "crv": "secp256k1", "x": "A" * 43, "y": "A" * 43},
            {"kid": "odd", "kty": "RSA", "n": "", "e": ""}, {"kid": "odd", "kty": "RSA", "n": "AQAB", "e": "AQAB"},
            {"kid": "odd", "kty": "RSA", "n": None, "e": []},
            {"kid": "odd", "kty": "oct", "k": "A" * 86}, {"kid": "odd", "kty": "oct", "k": "A" * 86, "alg": "HS256"},
            rsa_key(1_024), rsa_key(16_384),
        ],
        ids=lambda odd: repr(odd)[:60],
    )  # fmt: skip
    async def test_unusable_key_is_ignored_beside_a_usable_one(
        self, client: JwksClient, issuer: Issuer, odd: Any
    ) -> None:
        good = first_kid(issuer)
        issuer.withdraw(good)
        issuer.publish(odd)
        kid = issuer.add_key()

        assert await client.find(kid) is not None
        assert set(client.current()) == {kid}

    @pytest.mark.parametrize(
        "overrides",
        [
            {"use": "enc"}, {"key_ops": ["encrypt"]}, {"key_ops": []}, {"key_ops": "verify"}, {"alg": "HS256"},
            {"alg": "none"}, {"alg": "ES256"}, {"alg": ["EdDSA"]}, {"alg": ""}, {"kty": "oct"}, {"kty": "EC"},
            {"crv": "Ed448"}, {"d": "A" * 43}, {"k": "A" * 43}, {"kid": None},
        ],
        ids=repr,
    )  # fmt: skip
    async def test_private_keys_and_keys_for_other_purposes_are_ignored(
        self, client: JwksClient, issuer: Issuer, overrides: dict[str, Any]
    ) -> None:
        good = first_kid(issuer)
        kid = issuer.add_key(**overrides)

        assert await client.find(kid) is None
        assert set(client.current()) == {good}

    @pytest.mark.parametrize("overrides", [{"use": "sig"}, {"key_ops": ["verify"]}, {"x5c": ["?"]}], ids=repr)
    async def test_keys_that_declare_their_use_for_signatures_are_accepted(
        self, client: JwksClient, issuer: Issuer, overrides: dict[str, Any]
    ) -> None:
        kid = issuer.add_key(**overrides)

        assert await client.find(kid) is not None

    async def test_first_key_wins_if_two_have_the_same_id(self, client: JwksClient, issuer: Issuer) -> None:
        kid = first_kid(issuer)
        issuer.add_key("ES256", kid=kid)

        key = await client.find(kid)

        assert key is not None
        assert key.algorithm_name == "EdDSA"
