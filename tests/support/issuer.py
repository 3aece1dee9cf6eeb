"""A token issuer in a separate process: it signs tokens and publishes its keys as Better Auth does.

Run as a script, this module is the issuer. ``Issuer`` starts it and sends it commands, one line of JSON each. It exits
when its standard input is closed, so it cannot outlive the tests.
"""

import base64
import json
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from uuid import uuid4

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

Json = dict[str, Any]

PATH = "/api/auth/jwks"


class Issuer:
    """A client of the issuer's process. Use it as a context manager."""

    def __init__(self) -> None:
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        arguments = [sys.executable, __file__]
        self._process = self._stack.enter_context(
            subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        )
        assert self._process.stdout is not None
        self.origin: str = json.loads(self._process.stdout.readline())["origin"]
        self.jwks_url = self.origin + PATH
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _command(self, name: str, **arguments: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([name, arguments]) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def reset(self) -> None:
        """Reset to one new EdDSA key, published by an endpoint that answers immediately."""
        self._command("reset")

    def add_key(self, kind: str = "EdDSA", /, **overrides: Any) -> str:
        """Create and publish a key, with ``overrides`` in its JWK (``None`` removes a member). Return its kid."""
        kid: str = self._command("add_key", alg=kind, overrides=overrides)
        return kid

    def withdraw(self, kid: str) -> None:
        """Stop publishing a key. It can still sign."""
        self._command("withdraw", kid=kid)

    def publish(self, *keys: Any) -> None:
        """Publish additional entries without validation."""
        self._command("publish", keys=keys)

    def published(self) -> list[Json]:
        keys: list[Json] = self._command("published")
        return keys

    def behave(self, manner: str) -> None:
        """Set how the endpoint answers: well, hang, trickle, fail, redirect, huge, or a key of ``_GARBAGE``."""
        self._command("behave", manner=manner)

    def fetches(self) -> int:
        """Return the number of requests for the key set since the last reset."""
        count: int = self._command("fetches")
        return count

    def token(self, kid: str | None = None, *, header: Json | None = None, **claims: Any) -> str:
        """Sign a token as Better Auth would, with the first key or the one of ``kid``, whether or not it is published.

        ``header`` and ``claims`` are added to the usual ones or replace them; ``None`` removes one.
        """
        token: str = self._command("token", kid=kid, header=header or {}, claims=claims)
        return token


class _Keys:
    """The state of the issuer's process."""

    def __init__(self, origin: str) -> None:
        self._origin = origin
        # Generating an RSA key is slow, so one is used for the whole run.
        self._rsa = rsa.generate_private_key(65537, 2048)
        self.changed = threading.Condition()
        self.reset()

    def reset(self) -> None:
        self.behave("well")
        self.count = 0
        self._private: dict[str, tuple[Any, str]] = {}
        self.entries: list[Any] = []
        self.add_key("EdDSA", {})

    def add_key(self, alg: str, overrides: Json) -> str:
        kid = uuid4().hex
        private = self._make(alg)
        algorithm = jwt.get_algorithm_by_name(alg)
        public = algorithm.to_jwk(private.public_key(), as_dict=True)
        public.pop("key_ops", None)
        entry = {"alg": alg, **public, "kid": kid, **overrides}
        self._private[kid] = private, alg
        self.entries.append({name: value for name, value in entry.items() if value is not None})
        return kid

    def _make(self, alg: str) -> Any:
        if alg == "EdDSA":
            return ed25519.Ed25519PrivateKey.generate()
        return ec.generate_private_key(ec.SECP256R1()) if alg == "ES256" else self._rsa

    def withdraw(self, kid: str) -> None:
        self.entries = [entry for entry in self.entries if not (isinstance(entry, dict) and entry.get("kid") == kid)]

    def publish(self, keys: list[Any]) -> None:
        self.entries.extend(keys)

    def published(self) -> list[Any]:
        return self.entries

    def behave(self, manner: str) -> None:
        with self.changed:
            self.manner = manner
            self.changed.notify_all()

    def fetches(self) -> int:
        return self.count

    def token(self, kid: str | None, header: Json, claims: Json) -> str:
        kid = kid or next(iter(self._private))
        private, alg = self._private[kid]
        now = int(time.time())
        usual = {
            "iat": now, "name": "Alice", "email": "alice@example.com", "emailVerified": True, "image": None,
            "sub": "k3JxQ7vT9mBzR2wYcN5hLd8sFgPaUeXo", "exp": now + 900, "iss": self._origin, "aud": self._origin,
        }  # fmt: skip
        payload = {name: value for name, value in {**usual, **claims}.items() if value is not None or name == "image"}
        own = {name: value for name, value in {"alg": alg, "kid": kid, **header}.items() if value is not None}
        # Not jwt.encode: it cannot create most of the invalid tokens that a verifier must reject.
        signed = f"{_segment(own)}.{_segment(payload)}"
        algorithm = jwt.get_algorithm_by_name(alg)
        signature = algorithm.sign(signed.encode(), private)
        return f"{signed}.{_base64(signature)}"


def _segment(value: Json) -> str:
    return _base64(json.dumps(value, separators=(",", ":")).encode())


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    keys: _Keys


class _Endpoint(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        keys = self.server.keys
        if self.path == PATH:
            keys.count += 1
        with keys.changed:
            keys.changed.wait_for(lambda: keys.manner != "hang")
        body = json.dumps({"keys": keys.entries}).encode()
        if keys.manner == "fail":
            self._answer(500, body)
        elif keys.manner == "redirect" and self.path == PATH:
            self._answer(302, b"", Location="/elsewhere")
        elif keys.manner == "trickle":
            self._trickle(keys)
        elif keys.manner == "huge":
            self._answer(200, body[:-1] + b" " * 1_000_000 + b"}")
        elif keys.manner in _GARBAGE:
            self._answer(200, _GARBAGE[keys.manner])
        else:
            self._answer(200, body)

    def _answer(self, status: int, body: bytes, **headers: str) -> None:
        # The client may have disconnected.
        with suppress(ConnectionError):
            self._send(status, body, headers)

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _trickle(self, keys: _Keys) -> None:
        """Send a byte every 20 ms, so that each read of the client succeeds."""
        with suppress(ConnectionError):
            self._send(200, b"", {"Content-Length": "10000"})
            while keys.manner == "trickle":
                self.wfile.write(b" ")
                time.sleep(0.02)
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


_GARBAGE = {
    "not json": b"<html>Sign in</html>",
    "not an object": b"[]",
    "not a set": b'{"keys": {"kid": "1"}}',
    "deep": b"[" * 100_000,
    "not text": b"\xff\xfe\x00",
    "empty": b"",
}


def _write_line(value: Any) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def _serve() -> None:
    server = _Server(("127.0.0.1", 0), _Endpoint)
    origin = f"http://127.0.0.1:{server.server_port}"
    server.keys = _Keys(origin)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    _write_line({"origin": origin})
    for line in sys.stdin:
        name, arguments = json.loads(line)
        _write_line(getattr(server.keys, name)(**arguments))


if __name__ == "__main__":
    _serve()
