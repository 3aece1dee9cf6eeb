"""Settings from the environment and ``.env``, checked once at startup. A wrong one is reported in one clear line."""

import difflib
import errno
import os
import re
import secrets
import shlex
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import SplitResult, urlsplit

from dotenv import dotenv_values
from pydantic import AliasGenerator, Field, ValidationError, ValidationInfo, field_validator
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from todo.errors import CommandFailed

ENV_FILE = Path(".env")

_LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
# RFC 7518, section 3.2: a key for HS256 is at least as long as the hash.
_SHORTEST_SECRET_BYTES = 32
_MAXIMA = {
    "database_pool_size": 500,
    "changes_kept_days": 36_500,
    "trash_kept_days": 36_500,
    "live_connections_per_user": 1_000,
    "live_heartbeat_seconds": 300,
    "live_poll_seconds": 3_600,
}
_DEFAULT_PORTS = {"http": 80, "https": 443}
_NEON_DOMAINS = (".neon.tech", ".neon.build")
# A name with one of these prefixes that is similar to the name of a setting is a typing error.
_PREFIXES = ("TODO_", "DATABASE_", "DIRECT_", "JWT_", "JWKS_", "CORS_", "LOG_", "CHANGES_", "TRASH_", "LIVE_")
_SIMILARITY = 0.8


# Task: T-014
class SettingsError(CommandFailed):
    """A setting is missing or wrong. The message is one line, names the variable, and never shows a secret."""


# Task: T-014
# Task: T-467
class Settings(BaseSettings):
    """All settings; ``.env.example`` explains each.

    Without ``database_url`` the program runs its own PostgreSQL in ``data_dir``. Tokens are verified either
    against ``jwks_url`` (then ``jwt_issuer`` and ``jwt_audience`` are set as well), or against ``jwt_secret``.

    The constructor neither reads nor checks anything; ``load`` does.
    """

    model_config = SettingsConfigDict(frozen=True)

    database_url: str | None = Field(default=None, repr=False)
    direct_database_url: str | None = Field(default=None, repr=False)
    better_auth_url: str | None = None
    jwks_url: str | None = None
    jwt_issuer: str | None = None
    jwt_audience: str | None = None
    jwt_secret: str | None = Field(default=None, repr=False)
    cors_origins: Annotated[tuple[str, ...], NoDecode] = ()
    log_level: str = "INFO"
    data_dir: Path = Path(".data")
    database_pool_size: int = 10
    changes_kept_days: int = 90
    trash_kept_days: int = 30
    live_connections_per_user: int = 50
    live_heartbeat_seconds: int = 20
    live_poll_seconds: int = 30

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - as the library calls it.
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)

    @classmethod
    def load(cls, env_file: Path | None = ENV_FILE, *, verifies_tokens: bool = True) -> "Settings":
        """Read the environment, which takes precedence, and ``env_file``. An empty value counts as not set.

        A program that never sees a token (``verifies_tokens=False``) needs no way to verify one. Raises SettingsError.
        """
        given = _read(env_file)
        if given.direct_database_url and not given.database_url:
            raise SettingsError("DIRECT_DATABASE_URL is set without DATABASE_URL: set both, or none of them.")
        issuer = _issuer(given)
        if verifies_tokens and given.database_url and not issuer and not given.jwt_secret:
            raise SettingsError(
                "DATABASE_URL is set, but there is no way to verify tokens:"
                " set BETTER_AUTH_URL (or JWKS_URL, JWT_ISSUER and JWT_AUDIENCE), or JWT_SECRET."
            )
        direct = given.direct_database_url or (_direct(given.database_url) if given.database_url else None)
        derived = {"direct_database_url": direct, "data_dir": given.data_dir.expanduser().absolute()}
        return cls(**{**dict(given), **derived, **issuer})


def _variable(field: str) -> str:
    """Return the name of the environment variable for a field."""
    return "TODO_DATA_DIR" if field == "data_dir" else field.upper()


class _Environment(Settings):
    """Settings as written in the environment and in ``.env``: checked, but not completed."""

    model_config = SettingsConfigDict(
        alias_generator=AliasGenerator(validation_alias=_variable),
        case_sensitive=True,
        extra="ignore",
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - as the library calls it.
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        if not isinstance(dotenv_settings, DotEnvSettingsSource):
            raise TypeError("pydantic-settings reads .env in another way now")
        file = dotenv_settings.env_file
        return _Texts(settings_cls, os.environ), _Texts(
            settings_cls, _values_in(file if isinstance(file, Path) else None)
        )

    @field_validator("database_url", "direct_database_url")
    @classmethod
    def _is_database_url(cls, text: str | None) -> str | None:
        return text and _database_url(text)

    @field_validator("better_auth_url", "jwks_url")
    @classmethod
    def _is_web_address(cls, text: str | None) -> str | None:
        if text is not None:
            _web_address(text)
        return text

    @field_validator("jwt_secret")
    @classmethod
    def _is_secret(cls, text: str | None) -> str | None:
        if text is not None and not _is_long_enough(text):
            raise ValueError(
                f"has to be text of at least {_SHORTEST_SECRET_BYTES} bytes, as `openssl rand -base64 48` makes."
            )
        return text

    @field_validator("cors_origins", mode="before")
    @classmethod
    def _are_origins(cls, text: Any) -> Any:
        return _origins(text) if isinstance(text, str) else text

    @field_validator("log_level")
    @classmethod
    def _is_log_level(cls, text: str) -> str:
        if text.upper() not in _LOG_LEVELS:
            raise ValueError(f"has to be one of {', '.join(_LOG_LEVELS)}.")
        return text.upper()

    @field_validator(*_MAXIMA, mode="before")
    @classmethod
    def _is_whole_number(cls, text: Any, info: ValidationInfo) -> Any:
        most = _MAXIMA[info.field_name or ""]
        if isinstance(text, str) and not (re.fullmatch(r"[0-9]{1,6}", text) and 1 <= int(text) <= most):
            raise ValueError(f"has to be a whole number from 1 to {most}.")
        return text


class _Texts(PydanticBaseSettingsSource):
    """Variables from the environment or a file. An empty or blank one counts as not set."""

    def __init__(self, settings_cls: type[BaseSettings], values: Mapping[str, str | None]) -> None:
        super().__init__(settings_cls)
        self._values = values

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002
        name = _variable(field_name)
        return (self._values.get(name) or "").strip(), name, False

    def __call__(self) -> dict[str, Any]:
        found = (self.get_field_value(field, name) for name, field in self.settings_cls.model_fields.items())
        return {name: value for value, name, _ in found if value}


def _values_in(env_file: Path | None) -> Mapping[str, str | None]:
    """Read ``.env`` without the library's variable expansion: a secret may contain ``${``. Raises SettingsError."""
    try:
        return dotenv_values(env_file, interpolate=False) if env_file and env_file.is_file() else {}
    except (OSError, UnicodeDecodeError):
        raise _unreadable(env_file) from None


def _unreadable(env_file: Path | None) -> SettingsError:
    return SettingsError(f"{env_file} cannot be read: it has to be text in UTF-8 that you may read.")


def _read(env_file: Path | None) -> _Environment:
    try:
        return _Environment(_env_file=env_file)  # type: ignore[call-arg]  # An argument of the library, not a field.
    except (OSError, UnicodeDecodeError):
        # The library reads the file too.
        raise _unreadable(env_file) from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise SettingsError(f"{first['loc'][0]} {first['msg'].removeprefix('Value error, ')}") from None


# Task: T-467
def misspelt_names(env_file: Path | None = ENV_FILE) -> list[tuple[str, str]]:
    """Return misspelt names in the environment and in ``env_file``, each with the name of the similar setting.

    Raises SettingsError.
    """
    known = [_variable(name) for name in Settings.model_fields]
    names = {*os.environ, *_values_in(env_file)}
    found = []
    for name in sorted(names - set(known)):
        if name.upper().startswith(_PREFIXES):
            found += [(name, meant) for meant in difflib.get_close_matches(name.upper(), known, 1, _SIMILARITY)]
    return found


def _database_url(text: str) -> str:
    """Return a URL that libpq accepts; SQLAlchemy's ``postgresql+driver`` becomes ``postgresql``."""
    scheme, separator, rest = text.partition("://")
    if not separator or not re.fullmatch(r"postgres(ql)?(\+[a-z0-9_]+)?", scheme):
        raise ValueError(
            "has to be a connection string as Neon's console gives it: postgresql://user:password@host/database."
        )
    url = f"{scheme.partition('+')[0]}://{rest}"
    try:
        parts = urlsplit(url, allow_fragments=False)
        is_whole = bool(parts.hostname or "host=" in parts.query) and (_several_hosts(parts) or parts.port != 0)
    except ValueError:
        is_whole = False
    if not is_whole or re.search(r"[\s\x00-\x1f]", url):
        raise ValueError(
            "cannot be read: expected postgresql://user:password@host:port/database"
            " (percent-encode what is special in the password)."
        )
    return url


def _several_hosts(parts: SplitResult) -> bool:
    return "," in parts.netloc


def _direct(url: str) -> str:
    """Return the URL of the direct host for a pooled URL of Neon: migrations need a session of their own."""
    parts = urlsplit(url, allow_fragments=False)
    host = parts.hostname or ""
    label, _, domain = host.partition(".")
    if not (label.endswith("-pooler") and host.endswith(_NEON_DOMAINS)):
        return url
    login, at, address = parts.netloc.rpartition("@")
    direct = f"{label.removesuffix('-pooler')}.{domain}"
    return parts._replace(netloc=f"{login}{at}{direct}{address[len(host) :]}").geturl()


def _issuer(given: Settings) -> dict[str, str]:
    """Return the settings of the issuer; Better Auth's URL implies missing ones. Raises SettingsError if unclear."""
    fields = ("better_auth_url", "jwks_url", "jwt_issuer", "jwt_audience")
    explicit = {name: value for name in fields if (value := getattr(given, name))}
    if not explicit:
        return {}
    first = _variable(next(iter(explicit)))
    if given.jwt_secret:
        raise SettingsError(
            f"JWT_SECRET and {first} are both set: tokens are verified against one of them; remove the other."
        )
    implied = {}
    if given.better_auth_url:
        parts = _web_address(given.better_auth_url)
        origin, path = _origin(parts), parts.path.rstrip("/") or "/api/auth"
        implied = {"jwks_url": f"{origin}{path}/jwks", "jwt_issuer": origin, "jwt_audience": origin}
    issuer = {**implied, **explicit}
    missing = [_variable(name) for name in fields[1:] if name not in issuer]
    if missing:
        raise SettingsError(
            f"{first} is set without {' and '.join(missing)}: set all three of JWKS_URL, JWT_ISSUER and"
            " JWT_AUDIENCE, or BETTER_AUTH_URL."
        )
    return issuer


def _web_address(text: str) -> SplitResult:
    parts = _split(text)
    if parts is None or parts.username is not None or parts.fragment:
        raise ValueError("has to be a web address, such as https://app.example.com.")
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


def _is_long_enough(secret: str) -> bool:
    try:
        return len(secret.encode()) >= _SHORTEST_SECRET_BYTES
    except UnicodeEncodeError:
        return False


def _origins(texts: str) -> tuple[str, ...]:
    origins = []
    for text in filter(None, map(str.strip, texts.split(","))):
        parts = _split(text)
        if parts is None or "*" in text or parts.path not in ("", "/") or parts.query or parts.fragment or "@" in text:
            raise ValueError(
                "has to be a list of origins with commas between them, without paths and without *:"
                " https://app.example.com,http://localhost:3000."
            )
        origins.append(_origin(parts))
    return tuple(dict.fromkeys(origins))


# Task: T-015
def local_secret(data_dir: Path) -> str:
    """Return the secret that signs the tokens of this data directory; create it if there is none.

    Only its owner can read it. Two processes at once get the same secret. Raises SettingsError.
    """
    file = data_dir / "jwt-secret"
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not file.exists():
            _write_once(file, secrets.token_urlsafe(48))
        # Check and read the same open file.
        with os.fdopen(os.open(file, os.O_RDONLY | os.O_NOFOLLOW)) as opened:
            found = os.fstat(opened.fileno())
            if found.st_uid != os.geteuid():
                raise SettingsError(f"{file} belongs to another account: remove it, and a new one is created.")
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
        raise SettingsError(f"{file} does not contain a valid secret: remove it, and a new one is created.")
    return secret


def _write_once(file: Path, text: str) -> None:
    """Write a file that is complete as soon as it is visible. Keep the file if another process has created it first."""
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
