"""Authentication over HTTP, with an issuer in a separate process that signs, publishes, rotates and fails."""

import asyncio
import base64
import hmac
import json
from collections.abc import AsyncIterator
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient, Response

from support.clocks import Clock
from support.helpers import eventually
from support.issuer import Issuer
from support.processes import TIMEOUT_SECONDS
from support.profiles import DEFAULTS
from support.users import SECRET, sign_up, token_of
from todo.clients.jwks import JwksClient
from todo.database import Database
from todo.main import create_app, verifier_of
from todo.services.authentication import KeySetVerifier
from todo.settings import Settings, SettingsError

SUBJECT = "k3JxQ7vT9mBzR2wYcN5hLd8sFgPaUeXo"
ME = {"id": SUBJECT, "name": "Alice", "email": "alice@example.com", **DEFAULTS}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def keys(issuer: Issuer, clock: Clock) -> JwksClient:
    """Return the client for the issuer's keys. A fetch may take as long as a busy machine needs."""
    return JwksClient(
        issuer.jwks_url,
        clock=clock,
        cooldown_seconds=5,
        refresh_seconds=300,
        timeout_seconds=TIMEOUT_SECONDS,
        lookup_timeout_seconds=TIMEOUT_SECONDS,
    )


@pytest.fixture
async def door(issuer: Issuer, keys: JwksClient, database: Database) -> AsyncIterator[AsyncClient]:
    """Yield a client of an application that trusts the issuer. The client sends no token by default."""
    verifier = KeySetVerifier(keys, issuer=issuer.origin, audience=issuer.origin)
    async with client_of(create_app(Settings(), database, verifier)) as client:
        yield client
    await verifier.close()


def client_of(app: FastAPI) -> AsyncClient:
    return AsyncClient(transport=ASGITransport(app), base_url="http://todo.test/api/v1")


async def ask(door: AsyncClient, token: str | bytes) -> Response:
    """Request ``/me`` with this token."""
    value = token if isinstance(token, bytes) else token.encode()
    return await door.get("/me", headers=[(b"Authorization", b"Bearer " + value)])


def assert_refused(response: Response, code: str = "invalid_token") -> None:
    """Assert a complete 401 response: its headers and its body."""
    problem = response.json()
    detail = problem.pop("detail")
    challenge = "Bearer" if code == "unauthenticated" else 'Bearer error="invalid_token"'
    assert (response.status_code, response.headers["www-authenticate"]) == (401, challenge)
    assert response.headers["content-type"] == "application/problem+json"
    assert isinstance(detail, str)
    assert problem == {
        "type": "about:blank",
        "title": "Unauthorized",
        "status": 401,
        "code": code,
        "request_id": response.headers["x-request-id"],
    }


def assert_unavailable(response: Response) -> None:
    """Assert a 503 response with a Retry-After header."""
    assert (response.status_code, response.headers["retry-after"]) == (503, "5")
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["code"] == "issuer_unavailable"


def forged(token: str, secret: bytes, **header: Any) -> str:
    """Return the claims of a valid token, signed with HS256 and ``secret``."""
    head = json.dumps({**jwt.get_unverified_header(token), "alg": "HS256", **header}).encode()
    message = base64.urlsafe_b64encode(head).rstrip(b"=") + b"." + token.split(".")[1].encode()
    return (message + b"." + base64.urlsafe_b64encode(hmac.digest(secret, message, "sha256")).rstrip(b"=")).decode()


# Task: T-045
# Task: T-047
class TestValidToken:
    @pytest.mark.parametrize("alg", ["EdDSA", "ES256", "RS256", "PS256"])
    async def test_token_is_accepted_with_every_algorithm_of_the_issuer(
        self, door: AsyncClient, issuer: Issuer, alg: str
    ) -> None:
        kid = issuer.add_key(alg)

        response = await ask(door, issuer.token(kid))

        assert (response.status_code, response.json()) == (200, ME)

    async def test_token_gives_access_to_its_user_alone(
        self, door: AsyncClient, issuer: Issuer, database_url: str
    ) -> None:
        alice, bob = (
            {"Authorization": f"Bearer {issuer.token(sub=sign_up(database_url, name))}"} for name in ("alice", "bob")
        )

        created = await door.post("/tasks", json={"title": "Buy milk"}, headers=alice)
        path = f"/tasks/{created.json()['id']}"
        own, foreign = await door.get(path, headers=alice), await door.get(path, headers=bob)

        assert (created.status_code, own.status_code, foreign.status_code) == (201, 200, 404)

    async def test_token_with_several_audiences_is_accepted(self, door: AsyncClient, issuer: Issuer) -> None:
        response = await ask(door, issuer.token(aud=["https://other.test", issuer.origin]))

        assert response.json() == ME

    @pytest.mark.parametrize("name", ["bearer", "BEARER", "bEaReR"])
    async def test_bearer_scheme_is_case_insensitive(self, door: AsyncClient, issuer: Issuer, name: str) -> None:
        response = await door.get("/me", headers={"Authorization": f"{name}   {issuer.token()} "})

        assert response.json() == ME


# Task: T-045
# Task: T-047
class TestInvalidToken:
    @pytest.mark.parametrize(
        "claims",
        [
            {"exp": None}, {"exp": "9999999999"}, {"exp": True}, {"exp": {}}, {"exp": float("nan")},
            {"exp": float("inf")}, {"exp": 10**400},
            {"sub": None}, {"sub": ""}, {"sub": 7}, {"sub": [SUBJECT]}, {"sub": "x" * 256}, {"sub": "a\x00b"},
            {"sub": "\ud800"}, {"sub": "x\udc00"},
            {"iss": None}, {"iss": "https://evil.test"}, {"iss": ""}, {"iss": []},
            {"aud": None}, {"aud": "https://evil.test"}, {"aud": ""}, {"aud": []}, {"aud": ["https://evil.test"]},
            {"nbf": 9_999_999_999}, {"nbf": "now"}, {"iat": 9_999_999_999}, {"iat": "now"},
        ],
        ids=repr,
    )  # fmt: skip
    async def test_token_with_invalid_claims_is_rejected(
        self, door: AsyncClient, issuer: Issuer, claims: dict[str, Any]
    ) -> None:
        assert_refused(await ask(door, issuer.token(**claims)))

    async def test_token_with_a_similar_issuer_or_audience_is_rejected(self, door: AsyncClient, issuer: Issuer) -> None:
        for near in (f"{issuer.origin}/", issuer.origin.upper(), f"{issuer.origin} "):
            assert_refused(await ask(door, issuer.token(iss=near)))
            assert_refused(await ask(door, issuer.token(aud=near)))

    async def test_expired_token_is_rejected_as_expired(self, door: AsyncClient, issuer: Issuer) -> None:
        assert_refused(await ask(door, issuer.token(exp=1_700_000_000)), "token_expired")

    @pytest.mark.parametrize(
        "header",
        [
            {"kid": None}, {"kid": "unknown"}, {"kid": ""}, {"kid": 1}, {"kid": "../../etc/passwd"}, {"kid": "\ud800"},
            {"alg": None}, {"alg": "none"}, {"alg": "None"}, {"alg": ""}, {"alg": "HS256"}, {"alg": "ES256"},
            {"alg": "RS256"}, {"alg": "eddsa"}, {"alg": ["EdDSA"]},
            {"typ": "better-auth.session-cache+jwt"}, {"typ": 1}, {"typ": ""},
            {"crit": ["exp"]}, {"crit": ["b64"], "b64": True}, {"b64": False},
        ],
        ids=repr,
    )  # fmt: skip
    async def test_token_with_an_invalid_header_is_rejected(
        self, door: AsyncClient, issuer: Issuer, header: dict[str, Any]
    ) -> None:
        assert_refused(await ask(door, issuer.token(header=header)))

    async def test_token_signed_by_an_unpublished_key_is_rejected(self, door: AsyncClient, issuer: Issuer) -> None:
        unpublished = issuer.add_key()
        issuer.withdraw(unpublished)
        published = issuer.published()[0]["kid"]

        assert_refused(await ask(door, issuer.token(unpublished, header={"kid": published})))

    async def test_token_signed_with_another_algorithm_than_its_keys_is_rejected(
        self, door: AsyncClient, issuer: Issuer
    ) -> None:
        # One RSA key published under two ids, each for one algorithm.
        rs256, ps256 = issuer.add_key("RS256"), issuer.add_key("PS256")

        for alg in ("RS256", "PS256"):
            assert_refused(await ask(door, issuer.token(ps256, header={"kid": rs256, "alg": alg})))

    async def test_key_inside_a_token_is_not_trusted(self, door: AsyncClient, issuer: Issuer) -> None:
        private = Ed25519PrivateKey.generate()
        own = jwt.get_algorithm_by_name("EdDSA").to_jwk(private.public_key(), as_dict=True)
        claims = jwt.decode(issuer.token(), options={"verify_signature": False})

        for headers in ({"jwk": own}, {"jku": "http://127.0.0.1:1/"}, {"x5u": "http://127.0.0.1:1/"}):
            for kid in ("own", issuer.published()[0]["kid"]):
                assert_refused(await ask(door, jwt.encode(claims, private, "EdDSA", headers={**headers, "kid": kid})))

    async def test_token_signed_with_the_public_key_as_hmac_secret_is_rejected(
        self, door: AsyncClient, issuer: Issuer
    ) -> None:
        jwk = issuer.published()[0]
        raw = base64.urlsafe_b64decode(jwk["x"] + "=")
        public = jwt.PyJWK(jwk).key
        secrets = [
            public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
            public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).strip(),
            public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
            raw, jwk["x"].encode(), json.dumps(jwk).encode(), b"",
        ]  # fmt: skip

        for secret in secrets:
            assert_refused(await ask(door, forged(issuer.token(), secret)))
            assert_refused(await ask(door, forged(issuer.token(), secret, alg="EdDSA")))

    async def test_unsigned_token_is_rejected(self, door: AsyncClient, issuer: Issuer) -> None:
        unsigned = issuer.token(header={"alg": "none"}).rpartition(".")[0]

        for token in (unsigned, f"{unsigned}.", issuer.token().rpartition(".")[0] + "."):
            assert_refused(await ask(door, token))

    async def test_modified_token_is_rejected_after_the_original_was_accepted(
        self, door: AsyncClient, issuer: Issuer
    ) -> None:
        good = issuer.token()
        await ask(door, good)
        stranger = issuer.token(sub="somebody-else").split(".")[1]
        head, _, signature = good.split(".")

        for token in (good[:-1], good[1:], good + "A", good + ".", f"{head}.{stranger}.{signature}"):
            assert_refused(await ask(door, token))

    async def test_rejected_token_is_neither_returned_nor_logged(
        self, door: AsyncClient, issuer: Issuer, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level("DEBUG")
        token = issuer.token(header={"kid": "kid-of-mallory"}, iss="https://mallory.test")

        response = await ask(door, token)

        seen = response.text + repr(response.headers) + caplog.text + repr([vars(r) for r in caplog.records])
        assert_refused(response)
        assert not [part for part in (*token.split("."), "mallory") if part in seen]

    async def test_invalid_token_is_rejected_before_any_other_check(self, door: AsyncClient, issuer: Issuer) -> None:
        headers = {"Authorization": f"Bearer {issuer.token(sub='')}", "Content-Type": "text/plain"}

        for method, path in (("POST", "/tasks"), ("DELETE", "/tasks"), ("GET", "/nothing-here"), ("PATCH", "/tasks/x")):
            assert_refused(await door.request(method, path, content=b"{", headers=headers))


# Task: T-045
class TestAuthorizationHeader:
    @pytest.mark.parametrize(
        "value",
        [
            b"", b" ", b"Bearer", b"Bearer ", b"Bearer   ", b"%s", b"Token %s", b"Basic %s", b"BearerX %s",
            b"Bearer\t%s", b"Bearer:%s", b"Bearer=%s", b"Bearer,%s", b"\xc2\xa0Bearer %s",
            b"B\xc3\xa9arer %s", b"JWT %s",
        ],
        ids=repr,
    )  # fmt: skip
    async def test_header_in_another_form_counts_as_missing(
        self, door: AsyncClient, issuer: Issuer, value: bytes
    ) -> None:
        sent = value.replace(b"%s", issuer.token().encode())

        assert_refused(await door.get("/me", headers=[(b"Authorization", sent)]), "unauthenticated")

    @pytest.mark.parametrize(
        "value",
        [
            b"Bearer \t%s", b"Bearer %s\t", b"Bearer %s, Bearer %s", b"Bearer %s %s", b"Bearer Bearer %s",
            b'Bearer "%s"', b"Bearer token=%s", b"Bearer %s\xa0", b"Bearer \xef\xbb\xbf%s", b"Bearer \xff\xfe",
            b"Bearer \x00%s", b"Bearer %s\x00", b"Bearer %s%%20", b"Bearer %s=====", b"Bearer null",
            b"Bearer undefined", b"Bearer {}", b"Bearer ...", b"Bearer \xc3\xa4.\xc3\xb6.\xc3\xbc",
        ],
        ids=repr,
    )  # fmt: skip
    async def test_header_with_more_than_a_token_is_rejected(
        self, door: AsyncClient, issuer: Issuer, value: bytes
    ) -> None:
        sent = value.replace(b"%s", issuer.token().encode())

        assert_refused(await door.get("/me", headers=[(b"Authorization", sent)]))

    async def test_repeated_header_is_rejected_even_if_both_tokens_are_valid(
        self, door: AsyncClient, issuer: Issuer
    ) -> None:
        good = f"Bearer {issuer.token()}"

        for other in (good, "Bearer x", "", "Basic YWxpY2U6c2VjcmV0"):
            for pair in ([good, other], [other, good]):
                response = await door.get("/me", headers=[("Authorization", value) for value in pair])
                assert_refused(response, "unauthenticated")

    async def test_request_without_a_token_is_rejected(self, door: AsyncClient) -> None:
        assert_refused(await door.get("/me"), "unauthenticated")

    async def test_token_outside_the_authorization_header_is_ignored(self, door: AsyncClient, issuer: Issuer) -> None:
        token = issuer.token()

        for response in (
            await door.get("/me", params={"access_token": token}),
            await door.get("/me", headers={"Cookie": f"better-auth.session_token={token}"}),
            await door.get("/me", headers={"Proxy-Authorization": f"Bearer {token}"}),
            await door.post("/tasks", data={"access_token": token}),
        ):
            assert_refused(response, "unauthenticated")

    async def test_token_longer_than_the_maximum_is_rejected(self, door: AsyncClient, issuer: Issuer) -> None:
        long = await ask(door, issuer.token(image="x" * 4_000))
        too_long = await ask(door, issuer.token(image="x" * 8_000))

        assert long.json() == ME
        assert_refused(too_long)


# Task: T-046
class TestKeyRotation:
    async def test_new_key_is_accepted_without_a_restart(self, door: AsyncClient, issuer: Issuer, clock: Clock) -> None:
        old = issuer.token()
        await ask(door, old)
        new = issuer.token(issuer.add_key("ES256"))

        clock.now = 5
        answers = [(await ask(door, token)).json() for token in (new, old)]

        assert answers == [ME, ME]

    async def test_key_set_is_fetched_only_once_within_the_cooldown(
        self, door: AsyncClient, issuer: Issuer, clock: Clock
    ) -> None:
        # The first token had an unknown key as well.
        await ask(door, issuer.token())
        new = issuer.token(issuer.add_key())

        clock.now = 4.9
        early = await ask(door, new)

        assert_refused(early)
        assert issuer.fetches() == 1

    async def test_token_of_a_withdrawn_key_is_rejected_after_a_fetch(
        self, door: AsyncClient, issuer: Issuer, clock: Clock
    ) -> None:
        old = issuer.token()
        before = await ask(door, old)
        issuer.withdraw(issuer.published()[0]["kid"])
        new = issuer.token(issuer.add_key())

        clock.now = 5
        await ask(door, new)
        after = await ask(door, old)

        assert before.json() == ME
        assert_refused(after)

    async def test_withdrawn_key_is_noticed_by_the_periodic_refresh(
        self, door: AsyncClient, issuer: Issuer, clock: Clock
    ) -> None:
        old = issuer.token()
        await ask(door, old)
        issuer.withdraw(issuer.published()[0]["kid"])
        issuer.add_key()

        clock.now = 300
        due = await ask(door, old)
        assert due.json() == ME

        async def is_refused() -> bool:
            return (await ask(door, old)).status_code == 401

        await eventually(is_refused)
        assert_refused(await ask(door, old))


# Task: T-046
class TestIssuerFailures:
    async def test_hanging_issuer_does_not_delay_tokens_with_known_keys(
        self, door: AsyncClient, issuer: Issuer, clock: Clock
    ) -> None:
        known, unknown = issuer.token(), issuer.token(header={"kid": "unknown"})
        another = issuer.token(sub="another-user")
        await ask(door, known)
        issuer.behave("hang")
        clock.now = 300

        waiting = asyncio.create_task(ask(door, unknown))
        await eventually(lambda: issuer.fetches() == 2)
        answers = [await ask(door, known), await ask(door, another)]
        still_waiting = not waiting.done()

        assert [answer.status_code for answer in answers] == [200, 200]
        assert still_waiting
        issuer.behave("fail")
        assert_unavailable(await waiting)

    @pytest.mark.parametrize("manner", ["fail", "hang", "not json", "redirect"])
    async def test_requests_return_503_while_no_key_is_known(
        self, door: AsyncClient, issuer: Issuer, keys: JwksClient, clock: Clock, manner: str
    ) -> None:
        issuer.behave(manner)
        token = issuer.token()

        keys._lookup_timeout_seconds = 0.1 if manner == "hang" else TIMEOUT_SECONDS
        first = await ask(door, token)
        keys._lookup_timeout_seconds = TIMEOUT_SECONDS
        issuer.behave("well")
        clock.now = 5
        second = await ask(door, token)

        assert_unavailable(first)
        assert second.json() == ME

    async def test_malformed_tokens_are_rejected_while_the_issuer_fails(
        self, door: AsyncClient, issuer: Issuer
    ) -> None:
        issuer.behave("fail")

        assert_refused(await ask(door, "no-token"))
        assert_refused(await ask(door, issuer.token(header={"kid": None})))
        assert_refused(await door.get("/me"), "unauthenticated")

    async def test_tokens_with_unknown_keys_cause_only_one_fetch(self, door: AsyncClient, issuer: Issuer) -> None:
        made_up = [issuer.token(header={"kid": f"made-up-{number}"}) for number in range(50)]

        responses = await asyncio.gather(*(ask(door, token) for token in made_up))

        for response in responses:
            assert_refused(response)
        assert issuer.fetches() == 1

    async def test_health_check_works_while_the_issuer_fails(self, door: AsyncClient, issuer: Issuer) -> None:
        issuer.behave("fail")

        response = await door.get("http://todo.test/healthz")

        assert response.status_code == 200


# Task: T-047
class TestVerifierOf:
    async def test_verifier_trusts_the_published_keys_if_an_issuer_is_configured(
        self, issuer: Issuer, database: Database
    ) -> None:
        settings = Settings(jwks_url=issuer.jwks_url, jwt_issuer=issuer.origin, jwt_audience="todo", jwt_secret=SECRET)
        verifier = verifier_of(settings)

        async with client_of(create_app(settings, database, verifier)) as door:
            good = await ask(door, issuer.token(aud="todo"))
            others = [
                await ask(door, issuer.token()),
                await ask(door, issuer.token(aud="todo", iss="https://evil.test")),
                await ask(door, token_of(SUBJECT, iss=issuer.origin, aud="todo")),
            ]
        await verifier.close()

        assert good.json() == ME
        for other in others:
            assert_refused(other)

    async def test_verifier_trusts_the_secret_if_no_issuer_is_configured(
        self, issuer: Issuer, database: Database
    ) -> None:
        settings = Settings(jwt_secret=SECRET)

        async with client_of(create_app(settings, database, verifier_of(settings))) as door:
            good = await ask(door, token_of(SUBJECT))
            other = await ask(door, issuer.token())

        assert good.json() == {**ME, "name": None, "email": None}
        assert_refused(other)

    @pytest.mark.parametrize("secret", [None, "short"])
    def test_missing_or_weak_secret_is_rejected(self, secret: str | None) -> None:
        with pytest.raises(SettingsError, match="JWT_SECRET"):
            verifier_of(Settings(jwt_secret=secret))

    async def test_keys_are_fetched_when_the_application_starts(self, issuer: Issuer, database_url: str) -> None:
        settings = Settings(jwks_url=issuer.jwks_url, jwt_issuer=issuer.origin, jwt_audience=issuer.origin)
        app = create_app(settings, Database(database_url), verifier_of(settings))

        async with app.router.lifespan_context(app):
            await eventually(issuer.fetches)

        assert issuer.fetches() == 1
