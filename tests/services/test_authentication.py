"""Tokens: which ones a verifier accepts, rejects and caches. The rules of HS256 hold for all algorithms."""

import base64
import hmac
import json
import time
from typing import Any

import jwt
import pytest

from support.clocks import Clock
from support.users import SECRET, token_of
from todo.errors import Unauthenticated
from todo.models.users import Identity
from todo.services import authentication
from todo.services.authentication import LEEWAY_SECONDS, MAX_BYTES, KeySetVerifier, SecretVerifier

NOW = 1_800_000_000.0


class Keys:
    """A key source that counts its lookups: one for each token that is not cached."""

    def __init__(self) -> None:
        self.asked = 0
        self.replace()

    def replace(self) -> None:
        encoded = base64.urlsafe_b64encode(SECRET.encode()).decode()
        self.keys = {"one": jwt.PyJWK({"kty": "oct", "k": encoded}, "HS256")}

    async def open(self) -> None:
        pass

    async def close(self) -> None:
        pass

    def current(self) -> dict[str, jwt.PyJWK]:
        return self.keys

    async def find(self, kid: str | None, /) -> jwt.PyJWK | None:
        self.asked += 1
        return self.keys.get(kid or "")


def signed(header: dict[str, Any] | None = None, **claims: Any) -> bytes:
    """Return a token valid from NOW for 900 seconds; ``header`` and ``claims`` are added; ``None`` removes a claim."""
    usual = {"sub": "alice", "exp": NOW + 900, "iss": "https://issuer.test", "aud": "https://todo.test", **claims}
    return signed_text(json.dumps({name: value for name, value in usual.items() if value is not None}), header)


def signed_text(payload: str, header: dict[str, Any] | None = None) -> bytes:
    """Return a token with this payload. Signed by hand, because PyJWT refuses to encode most of these payloads."""
    head = json.dumps({"alg": "HS256", "kid": "one", **(header or {})})
    message = b".".join(base64.urlsafe_b64encode(part.encode()).rstrip(b"=") for part in (head, payload))
    signature = hmac.digest(SECRET.encode(), message, "sha256")
    return message + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")


@pytest.fixture
def clock() -> Clock:
    return Clock(NOW)


@pytest.fixture
def verifier(clock: Clock) -> SecretVerifier:
    return SecretVerifier(SECRET, "https://issuer.test", "https://todo.test", clock)


async def refusal_of(verifier: KeySetVerifier, token: bytes) -> str:
    """Return the error code with which ``token`` is rejected."""
    with pytest.raises(Unauthenticated) as refused:
        await verifier.verify(token)
    assert refused.value.headers == {"WWW-Authenticate": 'Bearer error="invalid_token"'}
    # The message of a parser may quote the token.
    assert refused.value.__suppress_context__ or refused.value.__context__ is None
    return refused.value.code


# Task: T-047
class TestVerify:
    async def test_verify_returns_the_identity_and_its_expiry(self, verifier: SecretVerifier) -> None:
        identity = await verifier.verify(signed(name="Alice Ünger", email="alice@example.com"))

        assert identity == Identity("alice", NOW + 900 + LEEWAY_SECONDS, "Alice Ünger", "alice@example.com")

    async def test_any_issuer_and_audience_is_accepted_if_none_is_configured(self, clock: Clock) -> None:
        verifier = SecretVerifier(SECRET, clock=clock)

        caller_context = [await verifier.verify(signed(iss=iss, aud=iss)) for iss in (None, "https://elsewhere.test")]

        assert [identity.user_id for identity in caller_context] == ["alice", "alice"]

    async def test_audience_list_that_contains_the_configured_audience_is_accepted(
        self, verifier: SecretVerifier
    ) -> None:
        identity = await verifier.verify(signed(aud=["https://other.test", "https://todo.test"]))

        assert identity.user_id == "alice"

    @pytest.mark.parametrize("typ", ["JWT", "jwt", "at+jwt", "AT+JWT"])
    async def test_types_of_access_tokens_are_accepted(self, verifier: SecretVerifier, typ: str) -> None:
        assert (await verifier.verify(signed({"typ": typ}))).user_id == "alice"

    @pytest.mark.parametrize("sub", ["x" * 255, "Ünïcode ☃ 𝄞", "with space", "1"])
    async def test_subject_is_treated_as_opaque_text(self, verifier: SecretVerifier, sub: str) -> None:
        assert (await verifier.verify(signed(sub=sub))).user_id == sub

    @pytest.mark.parametrize(
        "claims",
        [
            {"exp": None}, {"exp": "1900000000"}, {"exp": True}, {"exp": [NOW + 900]}, {"exp": -1},
            {"exp": float("nan")}, {"exp": float("inf")}, {"exp": 10**300}, {"exp": 1e300},
            {"sub": None}, {"sub": ""}, {"sub": 7}, {"sub": ["alice"]}, {"sub": {"id": "alice"}}, {"sub": "x" * 256},
            {"sub": "a\x00b"}, {"sub": "a\nb"}, {"sub": "a\x85b"}, {"sub": "\ud800"}, {"sub": "a\udfffb"},
            {"iss": None}, {"iss": "https://issuer.test/"}, {"iss": "HTTPS://ISSUER.TEST"}, {"iss": ""},
            {"iss": ["https://issuer.test"]}, {"iss": 1},
            {"aud": None}, {"aud": "https://todo.test/"}, {"aud": []}, {"aud": [["https://todo.test"]]},
            {"aud": {"https://todo.test": 1}}, {"aud": "https://todo.test https://other.test"},
            {"nbf": NOW + 60}, {"nbf": "0"}, {"nbf": False}, {"iat": NOW + 60}, {"iat": "0"}, {"iat": float("nan")},
        ],
        ids=repr,
    )  # fmt: skip
    async def test_missing_or_invalid_claims_are_rejected(
        self, verifier: SecretVerifier, claims: dict[str, Any]
    ) -> None:
        assert await refusal_of(verifier, signed(**claims)) == "invalid_token"

    @pytest.mark.parametrize(
        "header",
        [
            {"typ": "better-auth.session-cache+jwt"}, {"typ": "dpop+jwt"}, {"typ": "logout+jwt"}, {"typ": ["JWT"]},
            {"crit": ["b64"], "b64": True}, {"b64": True}, {"b64": False}, {"crit": ["exp"], "exp": 1}, {"crit": []},
            {"kid": 1}, {"kid": ["one"]}, {"alg": "none"}, {"alg": "HS512"}, {"alg": "hs256"}, {"alg": ["HS256"]},
        ],
        ids=repr,
    )  # fmt: skip
    async def test_unsupported_headers_are_rejected(self, verifier: SecretVerifier, header: dict[str, Any]) -> None:
        assert await refusal_of(verifier, signed(header)) == "invalid_token"

    @pytest.mark.parametrize(
        "payload",
        [
            "", "null", "[]", '"alice"', "{", '{"sub": "alice"', "[" * 3_000, '{"a":' * 900 + "1" + "}" * 900,
            '{"sub": "alice", "exp": 1' + "0" * 5_000 + "}",
        ],
        ids=lambda payload: payload[:20],
    )  # fmt: skip
    async def test_payload_that_is_not_a_set_of_claims_is_rejected(
        self, verifier: SecretVerifier, payload: str
    ) -> None:
        assert await refusal_of(verifier, signed_text(payload)) == "invalid_token"

    @pytest.mark.parametrize(
        "token",
        [
            b"", b".", b"..", b"...", b"a.b.c", b"null.null.null", b"\xff\xfe\x00", b"e30.e30.", b"bnVsbA.e30.AAAA",
            "ä.ö.ü".encode(), b"e30", b"W10.e30.AAAA", b"A" * MAX_BYTES, b"." * MAX_BYTES, b"_" * (MAX_BYTES + 1),
        ],
        ids=lambda token: repr(token[:20]),
    )  # fmt: skip
    async def test_malformed_tokens_are_rejected(self, verifier: SecretVerifier, token: bytes) -> None:
        assert await refusal_of(verifier, token) == "invalid_token"

    async def test_modified_tokens_are_rejected(self, verifier: SecretVerifier) -> None:
        token = signed()
        await verifier.verify(token)
        head, body, signature = token.split(b".")
        other = signed(sub="bob").split(b".")[1]
        changed = [
            token[:-1], token + b"A", token + b".", b" " + token, token + b"\n", b"." + token, token[1:],
            head + b"." + other + b"." + signature, head + b"." + body + b".", head + b".." + signature,
            head + b"." + body + b"." + signature + b"." + signature, head + b"!." + body + b"." + signature,
        ]  # fmt: skip

        codes = [await refusal_of(verifier, each) for each in changed]

        assert codes == ["invalid_token"] * len(changed)

    async def test_other_secrets_and_algorithms_are_rejected(self, verifier: SecretVerifier) -> None:
        claims = {"sub": "alice", "exp": NOW + 900, "iss": "https://issuer.test", "aud": "https://todo.test"}
        strangers = [
            jwt.encode(claims, "another secret, just as long as the first", "HS256"),
            jwt.encode(claims, SECRET * 2, "HS512"),
            jwt.encode(claims, "", "none"),
        ]

        codes = [await refusal_of(verifier, token.encode()) for token in strangers]

        assert codes == ["invalid_token"] * 3

    async def test_token_longer_than_the_maximum_is_rejected(self, verifier: SecretVerifier) -> None:
        assert await refusal_of(verifier, signed(padding="x" * MAX_BYTES)) == "invalid_token"

    async def test_error_does_not_repeat_the_content_of_the_token(self, verifier: SecretVerifier) -> None:
        with pytest.raises(Unauthenticated) as refused:
            await verifier.verify(signed(iss="https://issuer-of-the-token.test"))

        assert "issuer-of-the-token" not in refused.value.detail

    @pytest.mark.parametrize(
        ("claims", "name", "email"),
        [
            ({}, None, None),
            ({"name": None, "email": None}, None, None),
            ({"name": 1, "email": ["a@example.com"]}, None, None),
            ({"name": "", "email": ""}, None, None),
            ({"name": "a\x00b", "email": "\ud800@example.com"}, None, None),
            ({"name": "n" * 300, "email": "e" * 321}, "n" * 200, None),
        ],
    )
    async def test_invalid_name_or_email_is_ignored(
        self, verifier: SecretVerifier, claims: dict[str, Any], name: str | None, email: str | None
    ) -> None:
        identity = await verifier.verify(signed(**claims))

        assert (identity.name, identity.email) == (name, email)


# Task: T-047
class TestExpiry:
    async def test_clock_skew_within_the_leeway_is_accepted(self, verifier: SecretVerifier) -> None:
        ahead = signed(iat=NOW + LEEWAY_SECONDS, nbf=NOW + LEEWAY_SECONDS)
        behind = signed(exp=NOW - LEEWAY_SECONDS + 1)

        caller_context = [await verifier.verify(token) for token in (ahead, behind)]

        assert [identity.user_id for identity in caller_context] == ["alice", "alice"]

    async def test_expired_token_is_rejected_as_expired(self, verifier: SecretVerifier) -> None:
        assert await refusal_of(verifier, signed(exp=NOW - LEEWAY_SECONDS)) == "token_expired"

    async def test_cached_token_is_rejected_once_it_expires(self, verifier: SecretVerifier, clock: Clock) -> None:
        token = signed(exp=NOW + 10.5)
        identity = await verifier.verify(token)

        clock.now = identity.expires_at - 0.1
        still = await verifier.verify(token)
        clock.now = identity.expires_at
        code = await refusal_of(verifier, token)

        assert (still, code) == (identity, "token_expired")

    async def test_verifier_uses_the_system_clock_by_default(self) -> None:
        verifier = SecretVerifier(SECRET)

        good = await verifier.verify(token_of("alice", exp=int(time.time()) + 60).encode())
        code = await refusal_of(verifier, token_of("alice", exp=int(time.time()) - 60).encode())

        assert (good.user_id, code) == ("alice", "token_expired")


# Task: T-047
class TestCache:
    async def test_token_is_verified_only_once(self, clock: Clock) -> None:
        keys = Keys()
        verifier = KeySetVerifier(keys, clock=clock)

        caller_context = [await verifier.verify(signed()) for _ in range(3)]

        assert keys.asked == 1
        assert caller_context[0] is caller_context[1] is caller_context[2]

    async def test_token_is_verified_again_after_the_keys_change(self, clock: Clock) -> None:
        keys = Keys()
        verifier = KeySetVerifier(keys, clock=clock)
        await verifier.verify(signed())

        keys.replace()
        await verifier.verify(signed())

        assert keys.asked == 2

    async def test_cached_token_is_rejected_after_its_key_is_withdrawn(self, clock: Clock) -> None:
        keys = Keys()
        verifier = KeySetVerifier(keys, clock=clock)
        await verifier.verify(signed())

        keys.keys = {}

        assert await refusal_of(verifier, signed()) == "invalid_token"

    async def test_rejections_are_not_cached(self, clock: Clock) -> None:
        keys = Keys()
        verifier = KeySetVerifier(keys, clock=clock)
        await refusal_of(verifier, signed(nbf=NOW + 60))

        clock.now = NOW + 60
        identity = await verifier.verify(signed(nbf=NOW + 60))

        assert identity.user_id == "alice"

    async def test_least_recently_used_token_is_evicted_first(
        self, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(authentication, "MAX_REMEMBERED", 2)
        keys = Keys()
        verifier = KeySetVerifier(keys, clock=clock)
        for sub in ("alice", "bob", "alice", "charlie"):
            await verifier.verify(signed(sub=sub))

        await verifier.verify(signed(sub="alice"))
        asked_for_alice = keys.asked - 3
        await verifier.verify(signed(sub="bob"))
        asked_for_bob = keys.asked - 3

        assert (asked_for_alice, asked_for_bob) == (0, 1)


# Task: T-047
class TestSecretVerifier:
    @pytest.mark.parametrize("secret", ["", "short", "x" * 31, "-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----"])
    def test_weak_secrets_and_public_keys_are_rejected(self, secret: str) -> None:
        with pytest.raises(ValueError, match=r"HMAC|HS256") as refused:
            SecretVerifier(secret)

        assert not secret or secret not in str(refused.value)

    async def test_token_without_a_key_id_is_accepted(self, verifier: SecretVerifier) -> None:
        token = jwt.encode(
            {"sub": "alice", "exp": NOW + 900, "iss": "https://issuer.test", "aud": "https://todo.test"}, SECRET
        )

        assert (await verifier.verify(token.encode())).user_id == "alice"
