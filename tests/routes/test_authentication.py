"""Authentication over HTTP: an issuer in a process of its own signs, publishes, rotates and fails."""

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
from support.issuer import Issuer
from support.people import SECRET, sign_up, token_of
from support.processes import PATIENCE_SECONDS
from support.profiles import DEFAULTS
from support.scratch import eventually
from todo.clients.jwks import JwksClient
from todo.database import Database
from todo.main import create_app, verifier_of
from todo.services.tokens import KeySetVerifier
from todo.settings import Settings, SettingsError

SUBJECT = "k3JxQ7vT9mBzR2wYcN5hLd8sFgPaUeXo"
ME = {"id": SUBJECT, "name": "Alice", "email": "alice@example.com", **DEFAULTS}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def keys(issuer: Issuer, clock: Clock) -> JwksClient:
    """The issuer's keys. A fetch may take as long as a busy machine lets it."""
    return JwksClient(
        issuer.jwks_url,
        clock=clock,
        cooldown_seconds=5,
        refresh_seconds=300,
        timeout_seconds=PATIENCE_SECONDS,
        patience_seconds=PATIENCE_SECONDS,
    )


@pytest.fixture
async def door(issuer: Issuer, keys: JwksClient, database: Database) -> AsyncIterator[AsyncClient]:
    """A client of an application that trusts the issuer. It carries no token by itself."""
    verifier = KeySetVerifier(keys, issuer=issuer.origin, audience=issuer.origin)
    async with client_of(create_app(Settings(), database, verifier)) as client:
        yield client
    await verifier.close()


def client_of(app: FastAPI) -> AsyncClient:
    return AsyncClient(transport=ASGITransport(app), base_url="http://todo.test/api/v1")


async def ask(door: AsyncClient, token: str | bytes) -> Response:
    """Ask who the token speaks for."""
    value = token if isinstance(token, bytes) else token.encode()
    return await door.get("/me", headers=[(b"Authorization", b"Bearer " + value)])


def assert_refused(response: Response, code: str = "invalid_token") -> None:
    """Assert a whole 401: its headers and its body."""
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
    """Assert a 503 that says when to come back."""
    assert (response.status_code, response.headers["retry-after"]) == (503, "5")
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["code"] == "issuer_unavailable"


def forged(token: str, secret: bytes, **header: Any) -> str:
    """The claims of a good token, under HS256 with ``secret``."""
    head = json.dumps({**jwt.get_unverified_header(token), "alg": "HS256", **header}).encode()
    message = base64.urlsafe_b64encode(head).rstrip(b"=") + b"." + token.split(".")[1].encode()
    return (message + b"." + base64.urlsafe_b64encode(hmac.digest(secret, message, "sha256")).rstrip(b"=")).decode()


# Task: T-045
# Task: T-047
class TestGoodToken:
    @pytest.mark.parametrize("alg", ["EdDSA", "ES256", "RS256", "PS256"])
    async def test_is_accepted_in_every_algorithm_of_the_issuer(
        self, door: AsyncClient, issuer: Issuer, alg: str
    ) -> None:
        kid = issuer.add_key(alg)

        response = await ask(door, issuer.token(kid))

        assert (response.status_code, response.json()) == (200, ME)

    async def test_lets_its_user_work_and_nobody_else(
        self, door: AsyncClient, issuer: Issuer, database_url: str
    ) -> None:
        alice, bob = (
            {"Authorization": f"Bearer {issuer.token(sub=sign_up(database_url, name))}"} for name in ("alice", "bob")
        )

        created = await door.post("/tasks", json={"title": "Buy milk"}, headers=alice)
        path = f"/tasks/{created.json()['id']}"
        own, foreign = await door.get(path, headers=alice), await door.get(path, headers=bob)

        assert (created.status_code, own.status_code, foreign.status_code) == (201, 200, 404)

    async def test_may_name_several_audiences(self, door: AsyncClient, issuer: Issuer) -> None:
        response = await ask(door, issuer.token(aud=["https://other.test", issuer.origin]))

        assert response.json() == ME

    @pytest.mark.parametrize("name", ["bearer", "BEARER", "bEaReR"])
    async def test_may_spell_the_scheme_as_it_likes(self, door: AsyncClient, issuer: Issuer, name: str) -> None:
        response = await door.get("/me", headers={"Authorization": f"{name}   {issuer.token()} "})

        assert response.json() == ME


# Task: T-045
# Task: T-047
class TestBadToken:
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
    async def test_is_refused_for_its_claims(self, door: AsyncClient, issuer: Issuer, claims: dict[str, Any]) -> None:
        assert_refused(await ask(door, issuer.token(**claims)))

    async def test_is_refused_for_an_issuer_or_audience_that_is_nearly_ours(
        self, door: AsyncClient, issuer: Issuer
    ) -> None:
        for near in (f"{issuer.origin}/", issuer.origin.upper(), f"{issuer.origin} "):
            assert_refused(await ask(door, issuer.token(iss=near)))
            assert_refused(await ask(door, issuer.token(aud=near)))

    async def test_says_that_it_has_expired(self, door: AsyncClient, issuer: Issuer) -> None:
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
    async def test_is_refused_for_its_header(self, door: AsyncClient, issuer: Issuer, header: dict[str, Any]) -> None:
        assert_refused(await ask(door, issuer.token(header=header)))

    async def test_is_refused_when_another_key_has_signed(self, door: AsyncClient, issuer: Issuer) -> None:
        unpublished = issuer.add_key()
        issuer.withdraw(unpublished)
        published = issuer.published()[0]["kid"]

        assert_refused(await ask(door, issuer.token(unpublished, header={"kid": published})))

    async def test_is_refused_when_the_key_has_signed_with_another_algorithm(
        self, door: AsyncClient, issuer: Issuer
    ) -> None:
        # One RSA key under two names, each for one algorithm.
        rs256, ps256 = issuer.add_key("RS256"), issuer.add_key("PS256")

        for alg in ("RS256", "PS256"):
            assert_refused(await ask(door, issuer.token(ps256, header={"kid": rs256, "alg": alg})))

    async def test_brings_no_key_of_its_own(self, door: AsyncClient, issuer: Issuer) -> None:
        private = Ed25519PrivateKey.generate()
        own = jwt.get_algorithm_by_name("EdDSA").to_jwk(private.public_key(), as_dict=True)
        claims = jwt.decode(issuer.token(), options={"verify_signature": False})

        for headers in ({"jwk": own}, {"jku": "http://127.0.0.1:1/"}, {"x5u": "http://127.0.0.1:1/"}):
            for kid in ("own", issuer.published()[0]["kid"]):
                assert_refused(await ask(door, jwt.encode(claims, private, "EdDSA", headers={**headers, "kid": kid})))

    async def test_is_refused_when_signed_with_the_public_key_as_a_secret(
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

    async def test_is_refused_without_a_signature(self, door: AsyncClient, issuer: Issuer) -> None:
        unsigned = issuer.token(header={"alg": "none"}).rpartition(".")[0]

        for token in (unsigned, f"{unsigned}.", issuer.token().rpartition(".")[0] + "."):
            assert_refused(await ask(door, token))

    async def test_is_refused_after_a_good_one_from_which_it_differs(self, door: AsyncClient, issuer: Issuer) -> None:
        good = issuer.token()
        await ask(door, good)
        stranger = issuer.token(sub="somebody-else").split(".")[1]
        head, _, signature = good.split(".")

        for token in (good[:-1], good[1:], good + "A", good + ".", f"{head}.{stranger}.{signature}"):
            assert_refused(await ask(door, token))

    async def test_is_neither_echoed_nor_logged(
        self, door: AsyncClient, issuer: Issuer, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level("DEBUG")
        token = issuer.token(header={"kid": "kid-of-mallory"}, iss="https://mallory.test")

        response = await ask(door, token)

        seen = response.text + repr(response.headers) + caplog.text + repr([vars(r) for r in caplog.records])
        assert_refused(response)
        assert not [part for part in (*token.split("."), "mallory") if part in seen]

    async def test_is_refused_before_anything_else_is_looked_at(self, door: AsyncClient, issuer: Issuer) -> None:
        headers = {"Authorization": f"Bearer {issuer.token(sub='')}", "Content-Type": "text/plain"}

        for method, path in (("POST", "/tasks"), ("DELETE", "/tasks"), ("GET", "/nothing-here"), ("PATCH", "/tasks/x")):
            assert_refused(await door.request(method, path, content=b"{", headers=headers))


# Task: T-045
class TestHeader:
    @pytest.mark.parametrize(
        "value",
        [
            b"", b" ", b"Bearer", b"Bearer ", b"Bearer   ", b"%s", b"Token %s", b"Basic %s", b"BearerX %s",
            b"Bearer\t%s", b"Bearer:%s", b"Bearer=%s", b"Bearer,%s", b"\xc2\xa0Bearer %s",
            b"B\xc3\xa9arer %s", b"JWT %s",
        ],
        ids=repr,
    )  # fmt: skip
    async def test_of_another_form_counts_as_none(self, door: AsyncClient, issuer: Issuer, value: bytes) -> None:
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
    async def test_with_more_than_a_token_is_refused(self, door: AsyncClient, issuer: Issuer, value: bytes) -> None:
        sent = value.replace(b"%s", issuer.token().encode())

        assert_refused(await door.get("/me", headers=[(b"Authorization", sent)]))

    async def test_given_twice_is_refused_even_if_both_are_good(self, door: AsyncClient, issuer: Issuer) -> None:
        good = f"Bearer {issuer.token()}"

        for other in (good, "Bearer x", "", "Basic YWxpY2U6c2VjcmV0"):
            for pair in ([good, other], [other, good]):
                response = await door.get("/me", headers=[("Authorization", value) for value in pair])
                assert_refused(response, "unauthenticated")

    async def test_is_required(self, door: AsyncClient) -> None:
        assert_refused(await door.get("/me"), "unauthenticated")

    async def test_is_the_only_place_for_a_token(self, door: AsyncClient, issuer: Issuer) -> None:
        token = issuer.token()

        for response in (
            await door.get("/me", params={"access_token": token}),
            await door.get("/me", headers={"Cookie": f"better-auth.session_token={token}"}),
            await door.get("/me", headers={"Proxy-Authorization": f"Bearer {token}"}),
            await door.post("/tasks", data={"access_token": token}),
        ):
            assert_refused(response, "unauthenticated")

    async def test_may_be_as_long_as_a_token_of_ours_and_no_longer(self, door: AsyncClient, issuer: Issuer) -> None:
        long = await ask(door, issuer.token(image="x" * 4_000))
        too_long = await ask(door, issuer.token(image="x" * 8_000))

        assert long.json() == ME
        assert_refused(too_long)


# Task: T-046
class TestRotation:
    async def test_needs_no_restart(self, door: AsyncClient, issuer: Issuer, clock: Clock) -> None:
        old = issuer.token()
        await ask(door, old)
        new = issuer.token(issuer.add_key("ES256"))

        clock.now = 5
        answers = [(await ask(door, token)).json() for token in (new, old)]

        assert answers == [ME, ME]

    async def test_is_not_looked_for_twice_within_the_cooldown(
        self, door: AsyncClient, issuer: Issuer, clock: Clock
    ) -> None:
        # The first token was of an unknown key, too.
        await ask(door, issuer.token())
        new = issuer.token(issuer.add_key())

        clock.now = 4.9
        early = await ask(door, new)

        assert_refused(early)
        assert issuer.fetches() == 1

    async def test_ends_the_tokens_of_a_withdrawn_key(self, door: AsyncClient, issuer: Issuer, clock: Clock) -> None:
        old = issuer.token()
        before = await ask(door, old)
        issuer.withdraw(issuer.published()[0]["kid"])
        new = issuer.token(issuer.add_key())

        clock.now = 5
        await ask(door, new)
        after = await ask(door, old)

        assert before.json() == ME
        assert_refused(after)

    async def test_is_noticed_by_itself_after_a_while(self, door: AsyncClient, issuer: Issuer, clock: Clock) -> None:
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
class TestTroubleWithTheIssuer:
    async def test_delays_nobody_whose_key_is_known(self, door: AsyncClient, issuer: Issuer, clock: Clock) -> None:
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
    async def test_is_a_503_while_no_key_is_known(
        self, door: AsyncClient, issuer: Issuer, keys: JwksClient, clock: Clock, manner: str
    ) -> None:
        issuer.behave(manner)
        token = issuer.token()

        keys._patience_seconds = 0.1 if manner == "hang" else PATIENCE_SECONDS
        first = await ask(door, token)
        keys._patience_seconds = PATIENCE_SECONDS
        issuer.behave("well")
        clock.now = 5
        second = await ask(door, token)

        assert_unavailable(first)
        assert second.json() == ME

    async def test_still_refuses_what_is_no_token(self, door: AsyncClient, issuer: Issuer) -> None:
        issuer.behave("fail")

        assert_refused(await ask(door, "no-token"))
        assert_refused(await ask(door, issuer.token(header={"kid": None})))
        assert_refused(await door.get("/me"), "unauthenticated")

    async def test_is_caused_by_nobody_who_makes_up_keys(self, door: AsyncClient, issuer: Issuer) -> None:
        made_up = [issuer.token(header={"kid": f"made-up-{number}"}) for number in range(50)]

        responses = await asyncio.gather(*(ask(door, token) for token in made_up))

        for response in responses:
            assert_refused(response)
        assert issuer.fetches() == 1

    async def test_concerns_nobody_who_needs_no_token(self, door: AsyncClient, issuer: Issuer) -> None:
        issuer.behave("fail")

        response = await door.get("http://todo.test/healthz")

        assert response.status_code == 200


# Task: T-047
class TestVerifierOf:
    async def test_trusts_the_published_keys_where_an_issuer_is_configured(
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

    async def test_trusts_the_secret_where_no_issuer_is_configured(self, issuer: Issuer, database: Database) -> None:
        settings = Settings(jwt_secret=SECRET)

        async with client_of(create_app(settings, database, verifier_of(settings))) as door:
            good = await ask(door, token_of(SUBJECT))
            other = await ask(door, issuer.token())

        assert good.json() == {**ME, "name": None, "email": None}
        assert_refused(other)

    @pytest.mark.parametrize("secret", [None, "short"])
    def test_refuses_to_verify_with_nothing(self, secret: str | None) -> None:
        with pytest.raises(SettingsError, match="JWT_SECRET"):
            verifier_of(Settings(jwt_secret=secret))

    async def test_has_the_keys_fetched_when_the_application_starts(self, issuer: Issuer, database_url: str) -> None:
        settings = Settings(jwks_url=issuer.jwks_url, jwt_issuer=issuer.origin, jwt_audience=issuer.origin)
        app = create_app(settings, Database(database_url), verifier_of(settings))

        async with app.router.lifespan_context(app):
            await eventually(issuer.fetches)

        assert issuer.fetches() == 1
