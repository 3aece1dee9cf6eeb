"""Settings: from the environment and ``.env``, checked once at start. A wrong one is one clear line."""

import errno
import os
import re
import secrets
import shlex
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from dotenv import dotenv_values

ENV_FILE = Path(".env")

_LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
# RFC 7518, section 3.2: a key for HS256 is at least as long as the hash.
_SHORTEST_SECRET_BYTES = 32
_MOST_CONNECTIONS = 500
_DEFAULT_PORTS = {"http": 80, "https": 443}
_NEON_DOMAINS = (".neon.tech", ".neon.build")


# Task: T-014
class SettingsError(Exception):
    """A setting is missing or wrong. The message is one line, names the variable, and never shows a secret."""


# Task: T-014
@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that can be configured; ``.env.example`` explains each.

    Without ``database_url`` the program runs its own PostgreSQL in ``data_dir``. Tokens are verified either
    against ``jwks_url`` (then ``jwt_issuer`` and ``jwt_audience`` are set as well), or against ``jwt_secret``.
    """

    database_url: str | None = field(default=None, repr=False)
    direct_database_url: str | None = field(default=None, repr=False)
    better_auth_url: str | None = None
    jwks_url: str | None = None
    jwt_issuer: str | None = None
    jwt_audience: str | None = None
    jwt_secret: str | None = field(default=None, repr=False)
    cors_origins: tuple[str, ...] = ()
    log_level: str = "INFO"
    data_dir: Path = Path(".data")
    database_pool_size: int = 10
    changes_kept_days: int = 90
    trash_kept_days: int = 30
    live_connections_per_user: int = 50
    live_heartbeat_seconds: int = 20
    live_poll_seconds: int = 30

    @classmethod
    def load(
        cls, environ: Mapping[str, str], env_file: Path | None = ENV_FILE, *, verifies_tokens: bool = True
    ) -> "Settings":
        """Read ``environ``, which wins, and ``env_file``; an empty value counts as not set.

        A program that never sees a token (``verifies_tokens=False``) may do without a way to verify one.
        Raises SettingsError.
        """
        given = _merged(environ, env_file)
        database_url = _database_url(given, "DATABASE_URL")
        direct = _database_url(given, "DIRECT_DATABASE_URL")
        if direct and not database_url:
            raise SettingsError("DIRECT_DATABASE_URL is set without DATABASE_URL: set both, or none of them.")
        issuer = _issuer(given)
        if verifies_tokens and database_url and not issuer and "JWT_SECRET" not in given:
            raise SettingsError(
                "DATABASE_URL is set, but there is no way to verify tokens:"
                " set BETTER_AUTH_URL (or JWKS_URL, JWT_ISSUER and JWT_AUDIENCE), or JWT_SECRET."
            )
        return cls(
            database_url=database_url,
            direct_database_url=direct or (_direct(database_url) if database_url else None),
            **issuer,
            jwt_secret=_secret(given),
            cors_origins=_origins(given),
            log_level=_log_level(given),
            data_dir=Path(given.get("TODO_DATA_DIR", ".data")).expanduser().absolute(),
            database_pool_size=_whole_number(given, "DATABASE_POOL_SIZE", default=10, most=_MOST_CONNECTIONS),
            changes_kept_days=_whole_number(given, "CHANGES_KEPT_DAYS", default=90, most=36_500),
            trash_kept_days=_whole_number(given, "TRASH_KEPT_DAYS", default=30, most=36_500),
            live_connections_per_user=_whole_number(given, "LIVE_CONNECTIONS_PER_USER", default=50, most=1_000),
            live_heartbeat_seconds=_whole_number(given, "LIVE_HEARTBEAT_SECONDS", default=20, most=300),
            live_poll_seconds=_whole_number(given, "LIVE_POLL_SECONDS", default=30, most=3_600),
        )


def _merged(environ: Mapping[str, str], env_file: Path | None) -> dict[str, str]:
    try:
        # A secret may contain "${": nothing is expanded.
        from_file = dotenv_values(env_file, interpolate=False) if env_file and env_file.is_file() else {}
    except (OSError, UnicodeDecodeError):
        raise SettingsError(f"{env_file} cannot be read: it has to be text in UTF-8 that you may read.") from None
    merged = {**from_file, **{name: value for name, value in environ.items() if value.strip()}}
    return {name: value.strip() for name, value in merged.items() if value and value.strip()}


def _database_url(given: Mapping[str, str], name: str) -> str | None:
    """Return a URL that libpq takes; SQLAlchemy's ``postgresql+driver`` becomes ``postgresql``."""
    text = given.get(name)
    if text is None:
        return None
    scheme, separator, rest = text.partition("://")
    if not separator or not re.fullmatch(r"postgres(ql)?(\+[a-z0-9_]+)?", scheme):
        raise SettingsError(
            f"{name} has to be a connection string as Neon's console gives it: postgresql://user:password@host/database."
        )
    url = f"{scheme.partition('+')[0]}://{rest}"
    try:
        parts = urlsplit(url, allow_fragments=False)
        is_whole = bool(parts.hostname or "host=" in parts.query) and (_several_hosts(parts) or parts.port != 0)
    except ValueError:
        is_whole = False
    if not is_whole or re.search(r"[\s\x00-\x1f]", url):
        raise SettingsError(
            f"{name} cannot be read: expected postgresql://user:password@host:port/database"
            " (percent-encode what is special in the password)."
        )
    return url


def _several_hosts(parts: SplitResult) -> bool:
    return "," in parts.netloc


def _direct(url: str) -> str:
    """Return the direct host's URL for Neon's pooled one: migrations need a session of their own."""
    parts = urlsplit(url, allow_fragments=False)
    host = parts.hostname or ""
    label, _, domain = host.partition(".")
    if not (label.endswith("-pooler") and host.endswith(_NEON_DOMAINS)):
        return url
    login, at, address = parts.netloc.rpartition("@")
    direct = f"{label.removesuffix('-pooler')}.{domain}"
    return parts._replace(netloc=f"{login}{at}{direct}{address[len(host) :]}").geturl()


def _issuer(given: Mapping[str, str]) -> dict[str, str]:
    """Return what is known of the issuer; Better Auth's URL implies the rest. Raises where it is not clear."""
    issuer_names = [n for n in ("BETTER_AUTH_URL", "JWKS_URL", "JWT_ISSUER", "JWT_AUDIENCE") if n in given]
    if issuer_names and "JWT_SECRET" in given:
        raise SettingsError(
            f"JWT_SECRET and {issuer_names[0]} are both set: tokens are verified against one of them; remove the other."
        )
    if not issuer_names:
        return {}
    issuer = {}
    if "BETTER_AUTH_URL" in given:
        parts = _web_url(given, "BETTER_AUTH_URL")
        origin, path = _origin(parts), parts.path.rstrip("/") or "/api/auth"
        issuer = {
            "better_auth_url": given["BETTER_AUTH_URL"],
            "jwks_url": f"{origin}{path}/jwks",
            "jwt_issuer": origin,
            "jwt_audience": origin,
        }
    if "JWKS_URL" in given:
        _web_url(given, "JWKS_URL")
    issuer |= {n.lower(): given[n] for n in ("JWKS_URL", "JWT_ISSUER", "JWT_AUDIENCE") if n in given}
    missing = [n for n in ("JWKS_URL", "JWT_ISSUER", "JWT_AUDIENCE") if n.lower() not in issuer]
    if missing:
        raise SettingsError(
            f"{issuer_names[0]} is set without {' and '.join(missing)}: set all three of JWKS_URL, JWT_ISSUER and"
            " JWT_AUDIENCE, or BETTER_AUTH_URL."
        )
    return issuer


def _web_url(given: Mapping[str, str], name: str) -> SplitResult:
    parts = _split(given[name])
    if parts is None or parts.username is not None or parts.fragment:
        raise SettingsError(f"{name} has to be a web address, such as https://app.example.com.")
    return parts


def _split(text: str) -> SplitResult | None:
    """Return the parts of an http(s) address, or ``None`` if it is not one."""
    try:
        parts = urlsplit(text)
        is_address = parts.scheme in _DEFAULT_PORTS and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return None
    return parts if is_address and not re.search(r"[\s\x00-\x1f]", text) else None


def _origin(parts: SplitResult) -> str:
    """Return the origin as a browser writes it: lower case, no default port (RFC 6454, section 6.2)."""
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    is_default = parts.port in (None, _DEFAULT_PORTS[parts.scheme])
    return f"{parts.scheme}://{host}" if is_default else f"{parts.scheme}://{host}:{parts.port}"


def _secret(given: Mapping[str, str]) -> str | None:
    secret = given.get("JWT_SECRET")
    if secret is not None and not _is_long_enough(secret):
        raise SettingsError(
            f"JWT_SECRET has to be text of at least {_SHORTEST_SECRET_BYTES} bytes, as `openssl rand -base64 48` makes."
        )
    return secret


def _is_long_enough(secret: str) -> bool:
    try:
        return len(secret.encode()) >= _SHORTEST_SECRET_BYTES
    except UnicodeEncodeError:
        return False


def _origins(given: Mapping[str, str]) -> tuple[str, ...]:
    origins = []
    for text in filter(None, map(str.strip, given.get("CORS_ORIGINS", "").split(","))):
        parts = _split(text)
        if parts is None or "*" in text or parts.path not in ("", "/") or parts.query or parts.fragment or "@" in text:
            raise SettingsError(
                "CORS_ORIGINS has to be a list of origins with commas between them, without paths and without *:"
                " https://app.example.com,http://localhost:3000."
            )
        origins.append(_origin(parts))
    return tuple(dict.fromkeys(origins))


def _log_level(given: Mapping[str, str]) -> str:
    level = given.get("LOG_LEVEL", "INFO").upper()
    if level not in _LOG_LEVELS:
        raise SettingsError(f"LOG_LEVEL has to be one of {', '.join(_LOG_LEVELS)}.")
    return level


def _whole_number(given: Mapping[str, str], name: str, *, default: int, most: int) -> int:
    text = given.get(name, str(default))
    if not re.fullmatch(r"[0-9]{1,6}", text) or not 1 <= int(text) <= most:
        raise SettingsError(f"{name} has to be a whole number from 1 to {most}.")
    return int(text)


# Task: T-015
def local_secret(data_dir: Path) -> str:
    """Return the secret that this directory's tokens are signed with; make it where there is none.

    Only its owner can read it. Two processes at once get the same. Raises SettingsError.
    """
    file = data_dir / "jwt-secret"
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not file.exists():
            _write_once(file, secrets.token_urlsafe(48))
        # What was looked at is what is read.
        with os.fdopen(os.open(file, os.O_RDONLY | os.O_NOFOLLOW)) as opened:
            found = os.fstat(opened.fileno())
            if found.st_uid != os.geteuid():
                raise SettingsError(f"{file} belongs to another account: remove it, and another one is made.")
            if found.st_mode & 0o077:
                raise SettingsError(f"{file} can be read by others: run `chmod 600 {shlex.quote(str(file))}`.")
            secret = opened.read().strip()
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise SettingsError(f"{file} is a symbolic link: put the file itself there.") from None
        raise SettingsError(f"{file} cannot be used: {error.strerror}.") from None
    except UnicodeDecodeError:
        secret = ""
    if not _is_long_enough(secret):
        raise SettingsError(f"{file} does not hold a secret of ours: remove it, and another one is made.")
    return secret


def _write_once(file: Path, text: str) -> None:
    """Write a file that is whole from the moment it can be seen; leave one that somebody else made first."""
    descriptor, name = tempfile.mkstemp(prefix=f".{file.name}-", dir=file.parent)
    try:
        with os.fdopen(descriptor, "w") as unfinished:
            unfinished.write(f"{text}\n")
            unfinished.flush()
            os.fsync(descriptor)
        with suppress(FileExistsError):
            file.hardlink_to(name)
    finally:
        Path(name).unlink()
