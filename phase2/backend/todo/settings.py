"""Settings: from the environment and ``.env``, checked once at start."""

from dataclasses import dataclass
from pathlib import Path


# Task: T-014
@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that can be configured; ``.env.example`` explains each."""

    database_url: str | None = None
    direct_database_url: str | None = None
    better_auth_url: str | None = None
    jwks_url: str | None = None
    jwt_issuer: str | None = None
    jwt_audience: str | None = None
    jwt_secret: str | None = None
    cors_origins: tuple[str, ...] = ()
    log_level: str = "INFO"
    data_dir: Path = Path(".data")
    database_pool_size: int = 10
