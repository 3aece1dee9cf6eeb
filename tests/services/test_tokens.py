"""Tokens: what a verifier takes, refuses and remembers. HS256 stands for all algorithms: the rules are the same."""

import base64
import hmac
import json
import time
from typing import Any

import jwt
import pytest

from support.clocks import Clock
from support.people import SECRET, token_of
from todo.errors import Unauthenticated
from todo.models.users import Identity
from todo.services import tokens
from todo.services.tokens import LEEWAY_SECONDS, MOST_BYTES, KeySetVerifier, SecretVerifier

NOW = 1_800_000_000.0


class Keys:
    """A source that counts how often it is asked: once for each token that is not remembered."""

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
    """A token good from NOW for 900 seconds; ``header`` and ``claims`` are added, and ``None`` takes a claim out."""
    usual = {"sub": "alice", "exp": NOW + 900, "iss": "https://issuer.test", "aud": "https://todo.test", **claims}
    return signed_text(json.dumps({name: value for name, value in usual.items() if value is not None}), header)


def signed_text(payload: str, header: dict[str, Any] | None = None) -> bytes:
    """A token whose payload is this text, whatever it is. Signed by hand: PyJWT declines to make most of these."""
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
    """Return the code with which ``token`` is refused."""
    with pytest.raises(Unauthenticated) as refused:
        await verifier.verify(token)
    assert refused.value.headers == {"WWW-Authenticate": 'Bearer error="invalid_token"'}
    # What a parser says may quote the token.
    assert refused.value.__suppress_context__ or refused.value.__context__ is None
    return refused.value.code


# Task: T-047
class TestVerify:
    async def test_says_whom_the_token_speaks_for_and_until_when(self, verifier: SecretVerifier) -> None:
        identity = await verifier.verify(signed(name="Alice Ünger", email="alice@example.com"))

        assert identity == Identity("alice", NOW + 900 + LEEWAY_SECONDS, "Alice Ünger", "alice@example.com")

    async def test_accepts_any_issuer_and_audience_where_none_is_configured(self, clock: Clock) -> None:
        verifier = SecretVerifier(SECRET, clock=clock)

        identities = [await verifier.verify(signed(iss=iss, aud=iss)) for iss in (None, "https://elsewhere.test")]

        assert [identity.user_id for identity in identities] == ["alice", "alice"]

    async def test_accepts_a_list_of_audiences_that_names_ours(self, verifier: SecretVerifier) -> None:
        identity = await verifier.verify(signed(aud=["https://other.test", "https://todo.test"]))

        assert identity.user_id == "alice"

    @pytest.mark.parametrize("typ", ["JWT", "jwt", "at+jwt", "AT+JWT"])
    async def test_accepts_the_types_of_access_tokens(self, verifier: SecretVerifier, typ: str) -> None:
        assert (await verifier.verify(signed({"typ": typ}))).user_id == "alice"

    @pytest.mark.parametrize("sub", ["x" * 255, "Ünïcode ☃ 𝄞", "with space", "1"])
    async def test_takes_the_subject_for_opaque_text(self, verifier: SecretVerifier, sub: str) -> None:
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
    async def test_refuses_claims_that_are_missing_or_wrong(
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
    async def test_refuses_headers_that_ask_for_more(self, verifier: SecretVerifier, header: dict[str, Any]) -> None:
        assert await refusal_of(verifier, signed(header)) == "invalid_token"

    @pytest.mark.parametrize(
        "payload",
        [
            "", "null", "[]", '"alice"', "{", '{"sub": "alice"', "[" * 3_000, '{"a":' * 900 + "1" + "}" * 900,
            '{"sub": "alice", "exp": 1' + "0" * 5_000 + "}",
        ],
        ids=lambda payload: payload[:20],
    )  # fmt: skip
    async def test_refuses_a_payload_that_is_no_set_of_claims(self, verifier: SecretVerifier, payload: str) -> None:
        assert await refusal_of(verifier, signed_text(payload)) == "invalid_token"

    @pytest.mark.parametrize(
        "token",
        [
            b"", b".", b"..", b"...", b"a.b.c", b"null.null.null", b"\xff\xfe\x00", b"e30.e30.", b"bnVsbA.e30.AAAA",
            "ä.ö.ü".encode(), b"e30", b"W10.e30.AAAA", b"A" * MOST_BYTES, b"." * MOST_BYTES, b"_" * (MOST_BYTES + 1),
        ],
        ids=lambda token: repr(token[:20]),
    )  # fmt: skip
    async def test_refuses_what_is_no_token(self, verifier: SecretVerifier, token: bytes) -> None:
        assert await refusal_of(verifier, token) == "invalid_token"

    async def test_refuses_a_good_token_with_anything_changed(self, verifier: SecretVerifier) -> None:
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

    async def test_refuses_another_secret_and_another_algorithm(self, verifier: SecretVerifier) -> None:
        claims = {"sub": "alice", "exp": NOW + 900, "iss": "https://issuer.test", "aud": "https://todo.test"}
        strangers = [
            jwt.encode(claims, "another secret, just as long as the first", "HS256"),
            jwt.encode(claims, SECRET * 2, "HS512"),
            jwt.encode(claims, "", "none"),
        ]

        codes = [await refusal_of(verifier, token.encode()) for token in strangers]

        assert codes == ["invalid_token"] * 3

    async def test_refuses_a_token_longer_than_any_of_ours(self, verifier: SecretVerifier) -> None:
        assert await refusal_of(verifier, signed(padding="x" * MOST_BYTES)) == "invalid_token"

    async def test_never_says_what_was_in_the_token(self, verifier: SecretVerifier) -> None:
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
    async def test_leaves_out_a_name_or_address_that_cannot_be_kept(
        self, verifier: SecretVerifier, claims: dict[str, Any], name: str | None, email: str | None
    ) -> None:
        identity = await verifier.verify(signed(**claims))

        assert (identity.name, identity.email) == (name, email)


# Task: T-047
class TestTime:
    async def test_allows_clocks_to_be_apart_a_little(self, verifier: SecretVerifier) -> None:
        ahead = signed(iat=NOW + LEEWAY_SECONDS, nbf=NOW + LEEWAY_SECONDS)
        behind = signed(exp=NOW - LEEWAY_SECONDS + 1)

        identities = [await verifier.verify(token) for token in (ahead, behind)]

        assert [identity.user_id for identity in identities] == ["alice", "alice"]

    async def test_says_that_a_token_has_expired(self, verifier: SecretVerifier) -> None:
        assert await refusal_of(verifier, signed(exp=NOW - LEEWAY_SECONDS)) == "token_expired"

    async def test_refuses_a_remembered_token_once_it_expires(self, verifier: SecretVerifier, clock: Clock) -> None:
        token = signed(exp=NOW + 10.5)
        identity = await verifier.verify(token)

        clock.now = identity.expires_at - 0.1
        still = await verifier.verify(token)
        clock.now = identity.expires_at
        code = await refusal_of(verifier, token)

        assert (still, code) == (identity, "token_expired")

    async def test_reads_the_real_clock_where_none_is_given(self) -> None:
        verifier = SecretVerifier(SECRET)

        good = await verifier.verify(token_of("alice", exp=int(time.time()) + 60).encode())
        code = await refusal_of(verifier, token_of("alice", exp=int(time.time()) - 60).encode())

        assert (good.user_id, code) == ("alice", "token_expired")


# Task: T-047
class TestRemembering:
    async def test_verifies_a_token_once(self, clock: Clock) -> None:
        keys = Keys()
        verifier = KeySetVerifier(keys, clock=clock)

        identities = [await verifier.verify(signed()) for _ in range(3)]

        assert keys.asked == 1
        assert identities[0] is identities[1] is identities[2]

    async def test_verifies_again_once_the_keys_have_changed(self, clock: Clock) -> None:
        keys = Keys()
        verifier = KeySetVerifier(keys, clock=clock)
        await verifier.verify(signed())

        keys.replace()
        await verifier.verify(signed())

        assert keys.asked == 2

    async def test_refuses_a_remembered_token_whose_key_was_withdrawn(self, clock: Clock) -> None:
        keys = Keys()
        verifier = KeySetVerifier(keys, clock=clock)
        await verifier.verify(signed())

        keys.keys = {}

        assert await refusal_of(verifier, signed()) == "invalid_token"

    async def test_remembers_no_refusal(self, clock: Clock) -> None:
        keys = Keys()
        verifier = KeySetVerifier(keys, clock=clock)
        await refusal_of(verifier, signed(nbf=NOW + 60))

        clock.now = NOW + 60
        identity = await verifier.verify(signed(nbf=NOW + 60))

        assert identity.user_id == "alice"

    async def test_forgets_the_token_that_was_not_used_for_longest(
        self, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(tokens, "MOST_REMEMBERED", 2)
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
    def test_takes_no_secret_that_anybody_could_guess_or_know(self, secret: str) -> None:
        with pytest.raises(ValueError, match=r"HMAC|HS256") as refused:
            SecretVerifier(secret)

        assert not secret or secret not in str(refused.value)

    async def test_needs_no_name_for_its_only_key(self, verifier: SecretVerifier) -> None:
        token = jwt.encode(
            {"sub": "alice", "exp": NOW + 900, "iss": "https://issuer.test", "aud": "https://todo.test"}, SECRET
        )

        assert (await verifier.verify(token.encode())).user_id == "alice"
