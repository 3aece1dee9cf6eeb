"""Settings: accepted values, derived values, and one clear line for every error."""

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest.mock import patch

import pytest

from todo.settings import Settings, SettingsError, local_secret, misspelt_names

SECRET = "0123456789abcdef0123456789abcdef"
NEON = "ep-cool-name-123456-pooler.eu-central-1.aws.neon.tech"
TLS = "sslmode=require&channel_binding=require"
POOLED = f"postgresql://neondb_owner:npg_abc@{NEON}/neondb?{TLS}"
DIRECT = f"postgresql://neondb_owner:npg_abc@{NEON.replace('-pooler', '')}/neondb?{TLS}"


def load(file: Path | None = None, /, **environ: str) -> Settings:
    with patch.dict(os.environ, environ, clear=True):
        return Settings.load(file)


# Task: T-014
class TestLoad:
    def test_settings_are_all_optional(self) -> None:
        assert load() == Settings(data_dir=Path.cwd() / ".data")

    def test_settings_are_read_from_environment_variables(self) -> None:
        settings = load(
            DATABASE_URL="postgresql://alice:x@db.example.com:6432/todo",
            DIRECT_DATABASE_URL="postgresql://owner:y@db.example.com:5432/todo",
            BETTER_AUTH_URL="https://app.example.com",
            JWKS_URL="https://keys.example.com/jwks",
            JWT_ISSUER="https://issuer.example.com",
            JWT_AUDIENCE="todo",
            CORS_ORIGINS="https://app.example.com",
            LOG_LEVEL="debug",
            TODO_DATA_DIR="/srv/todo",
            DATABASE_POOL_SIZE="20",
            CHANGES_KEPT_DAYS="30",
            TRASH_KEPT_DAYS="7",
            LIVE_CONNECTIONS_PER_USER="7",
            LIVE_HEARTBEAT_SECONDS="5",
            LIVE_POLL_SECONDS="60",
        )

        assert settings == Settings(
            database_url="postgresql://alice:x@db.example.com:6432/todo",
            direct_database_url="postgresql://owner:y@db.example.com:5432/todo",
            better_auth_url="https://app.example.com",
            jwks_url="https://keys.example.com/jwks",
            jwt_issuer="https://issuer.example.com",
            jwt_audience="todo",
            cors_origins=("https://app.example.com",),
            log_level="DEBUG",
            data_dir=Path("/srv/todo"),
            database_pool_size=20,
            changes_kept_days=30,
            trash_kept_days=7,
            live_connections_per_user=7,
            live_heartbeat_seconds=5,
            live_poll_seconds=60,
        )

    def test_empty_value_counts_as_not_set(self) -> None:
        assert load(DATABASE_URL="", JWT_SECRET="  ", LOG_LEVEL="") == load()

    def test_environment_takes_precedence_over_the_file(self, tmp_path: Path) -> None:
        file = tmp_path / ".env"
        file.write_text("LOG_LEVEL=ERROR\nDATABASE_POOL_SIZE=7\nCORS_ORIGINS=http://a.example\n")

        settings = load(file, LOG_LEVEL="DEBUG", CORS_ORIGINS="")

        assert (settings.log_level, settings.database_pool_size) == ("DEBUG", 7)
        assert settings.cors_origins == ("http://a.example",)

    @pytest.mark.parametrize("blank", ["", "  "])
    def test_blank_variable_leaves_the_value_of_the_file(self, tmp_path: Path, blank: str) -> None:
        file = tmp_path / ".env"
        file.write_text("LOG_LEVEL=ERROR\n")

        assert load(file, LOG_LEVEL=blank).log_level == "ERROR"

    def test_values_are_stripped(self, tmp_path: Path) -> None:
        file = tmp_path / ".env"
        file.write_text("TRASH_KEPT_DAYS=' 4 '\n")

        assert (load(file, LOG_LEVEL=" ERROR ").log_level, load(file).trash_kept_days) == ("ERROR", 4)

    def test_constructor_reads_no_environment(self) -> None:
        with patch.dict(os.environ, {"LOG_LEVEL": "ERROR", "log_level": "ERROR"}):
            assert Settings().log_level == "INFO"

    def test_setting_names_are_case_sensitive(self) -> None:
        assert load(log_level="ERROR").log_level == "INFO"

    def test_file_values_are_not_expanded(self, tmp_path: Path) -> None:
        file = tmp_path / ".env"
        file.write_text("JWT_SECRET='${HOME} is where the heart of the secret is'\n")

        assert load(file).jwt_secret == "${HOME} is where the heart of the secret is"

    def test_missing_file_is_ignored(self, tmp_path: Path) -> None:
        assert load(tmp_path / "missing") == load()

    @pytest.mark.parametrize(
        ("given", "understood"),
        [
            (POOLED, POOLED),
            ("postgres://alice@localhost/todo", "postgres://alice@localhost/todo"),
            ("postgresql+psycopg://alice:p%40ss@db:5432/todo", "postgresql://alice:p%40ss@db:5432/todo"),
            (
                "postgresql://a:1,b:2/todo?target_session_attrs=any",
                "postgresql://a:1,b:2/todo?target_session_attrs=any",
            ),
            ("postgresql://postgres@/todo?host=%2Frun", "postgresql://postgres@/todo?host=%2Frun"),
        ],
    )
    def test_database_url_accepts_postgresql_connection_strings(self, given: str, understood: str) -> None:
        assert load(DATABASE_URL=given, JWT_SECRET=SECRET).database_url == understood

    @pytest.mark.parametrize(
        ("pooled", "direct"),
        [
            (POOLED, DIRECT),
            (DIRECT, DIRECT),
            (f"postgresql://a:b@{NEON.upper()}:5432/x", f"postgresql://a:b@{NEON.replace('-pooler', '')}:5432/x"),
            ("postgresql://a:b@ep-pooler.example.com/x", "postgresql://a:b@ep-pooler.example.com/x"),
        ],
    )
    def test_direct_host_is_derived_from_neons_pooled_host(self, pooled: str, direct: str) -> None:
        assert load(DATABASE_URL=pooled, JWT_SECRET=SECRET).direct_database_url == direct

    @pytest.mark.parametrize(
        ("url", "jwks_url", "origin"),
        [
            ("https://app.example.com", "https://app.example.com/api/auth/jwks", "https://app.example.com"),
            ("https://App.example.com:443/", "https://app.example.com/api/auth/jwks", "https://app.example.com"),
            ("http://localhost:3000", "http://localhost:3000/api/auth/jwks", "http://localhost:3000"),
            ("https://app.example.com/auth/", "https://app.example.com/auth/jwks", "https://app.example.com"),
            ("http://[::1]:3000", "http://[::1]:3000/api/auth/jwks", "http://[::1]:3000"),
        ],
    )
    def test_jwks_url_issuer_and_audience_are_derived_from_better_auth_url(
        self, url: str, jwks_url: str, origin: str
    ) -> None:
        settings = load(BETTER_AUTH_URL=url)

        assert (settings.jwks_url, settings.jwt_issuer, settings.jwt_audience) == (jwks_url, origin, origin)

    def test_cors_origins_are_normalized_as_browsers_send_them(self) -> None:
        settings = load(CORS_ORIGINS="https://App.example.com:443/, http://localhost:3000,,http://localhost:3000")

        assert settings.cors_origins == ("https://app.example.com", "http://localhost:3000")

    def test_token_settings_are_not_required_if_the_program_verifies_no_tokens(self) -> None:
        with patch.dict(os.environ, {"DATABASE_URL": POOLED}, clear=True):
            settings = Settings.load(None, verifies_tokens=False)

        assert settings.direct_database_url == DIRECT

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("DATABASE_URL", "psql 'postgresql://a:sesame@b/c'"),
            ("DATABASE_URL", "mysql://a:sesame@b/c"),
            ("DATABASE_URL", "postgresql://"),
            ("DATABASE_URL", "postgresql:///todo"),
            ("DATABASE_URL", "postgresql://a:sesame/@b/c"),
            ("DATABASE_URL", "postgresql://a:sesame#@b/c"),
            ("DATABASE_URL", "postgresql://a:sesame@b:99999/c"),
            ("DATABASE_URL", "postgresql://a:sesame@b c/d"),
            ("DATABASE_URL", "postgresql://a:sesame@[::1/d"),
            ("BETTER_AUTH_URL", "app.example.com"),
            ("BETTER_AUTH_URL", "ftp://app.example.com"),
            ("BETTER_AUTH_URL", "https://alice:sesame@app.example.com"),
            ("BETTER_AUTH_URL", "https://"),
            ("BETTER_AUTH_URL", "https://app.example.com:port"),
            ("JWKS_URL", "/api/auth/jwks"),
            ("JWT_SECRET", "sesame"),
            ("JWT_SECRET", "sesame" * 6 + "\udc80"),
            ("CORS_ORIGINS", "*"),
            ("CORS_ORIGINS", "https://*.example.com"),
            ("CORS_ORIGINS", "https://app.example.com/tasks"),
            ("CORS_ORIGINS", "https://app.example.com https://b.example.com"),
            ("CORS_ORIGINS", "app.example.com"),
            ("CORS_ORIGINS", "null"),
            ("LOG_LEVEL", "loud"),
            ("DATABASE_POOL_SIZE", "0"),
            ("DATABASE_POOL_SIZE", "501"),
            ("DATABASE_POOL_SIZE", "ten"),
            ("DATABASE_POOL_SIZE", "-1"),
            ("CHANGES_KEPT_DAYS", "0"),
            ("CHANGES_KEPT_DAYS", "36501"),
            ("TRASH_KEPT_DAYS", "0"),
            ("TRASH_KEPT_DAYS", "36501"),
            ("LIVE_CONNECTIONS_PER_USER", "0"),
            ("LIVE_CONNECTIONS_PER_USER", "1001"),
            ("LIVE_HEARTBEAT_SECONDS", "0.5"),
            ("LIVE_HEARTBEAT_SECONDS", "301"),
            ("LIVE_POLL_SECONDS", "0"),
            ("LIVE_POLL_SECONDS", "3601"),
        ],
    )
    def test_invalid_value_is_rejected_in_one_line_that_names_the_setting_and_shows_no_secret(
        self, name: str, value: str
    ) -> None:
        with pytest.raises(SettingsError) as refusal:
            load(**{name: value})

        assert str(refusal.value).startswith(f"{name} ")
        assert "\n" not in str(refusal.value)
        assert "sesame" not in str(refusal.value)

    @pytest.mark.parametrize(
        ("environ", "beginning"),
        [
            (
                {"DATABASE_URL": POOLED},
                "DATABASE_URL is set, but there is no way to verify tokens: set BETTER_AUTH_URL",
            ),
            ({"DIRECT_DATABASE_URL": DIRECT}, "DIRECT_DATABASE_URL is set without DATABASE_URL:"),
            (
                {"BETTER_AUTH_URL": "https://a.example", "JWT_SECRET": SECRET},
                "JWT_SECRET and BETTER_AUTH_URL are both set:",
            ),
            ({"JWT_AUDIENCE": "todo", "JWT_SECRET": SECRET}, "JWT_SECRET and JWT_AUDIENCE are both set:"),
            ({"JWKS_URL": "https://a.example"}, "JWKS_URL is set without JWT_ISSUER and JWT_AUDIENCE:"),
            ({"JWT_ISSUER": "https://a.example"}, "JWT_ISSUER is set without JWKS_URL and JWT_AUDIENCE:"),
        ],
    )
    def test_conflicting_settings_are_rejected(self, environ: dict[str, str], beginning: str) -> None:
        with pytest.raises(SettingsError) as refusal:
            load(**environ)

        assert str(refusal.value).startswith(beginning)
        assert "\n" not in str(refusal.value)

    def test_file_that_is_not_utf_8_is_rejected(self, tmp_path: Path) -> None:
        file = tmp_path / ".env"
        file.write_bytes(b"LOG_LEVEL=\xff")

        with pytest.raises(SettingsError, match="cannot be read"):
            load(file)

    def test_repr_of_settings_shows_no_secret(self) -> None:
        shown = repr(load(DATABASE_URL=POOLED, JWT_SECRET=SECRET))

        assert SECRET not in shown
        assert "npg_abc" not in shown


# Task: T-467
class TestMisspeltNames:
    @pytest.mark.parametrize(
        ("name", "meant"),
        [
            ("TRASH_KEPTDAYS", "TRASH_KEPT_DAYS"),
            ("TODO_DATADIR", "TODO_DATA_DIR"),
            ("DATABASE_URI", "DATABASE_URL"),
            ("DATABASE_POOLSIZE", "DATABASE_POOL_SIZE"),
            ("JWT_SECRETS", "JWT_SECRET"),
            ("LIVE_POLL_SECS", "LIVE_POLL_SECONDS"),
            ("CHANGES_KEPT_DAY", "CHANGES_KEPT_DAYS"),
            ("database_url", "DATABASE_URL"),
        ],
    )
    def test_misspelt_name_is_found_in_the_environment_and_in_the_file(
        self, tmp_path: Path, name: str, meant: str
    ) -> None:
        file = tmp_path / ".env"
        file.write_text(f"{name}=1\n")

        with patch.dict(os.environ, {name: "1"}, clear=True):
            assert misspelt_names(None) == [(name, meant)]
        with patch.dict(os.environ, clear=True):
            assert misspelt_names(file) == [(name, meant)]

    @pytest.mark.parametrize(
        "name",
        [
            "DATABASE_URL",
            "TODO_SYNC_EXAMPLES",
            "DATABASE_URL_UNPOOLED",
            "DATABASE_PASSWORD",
            "PATH",
            "BETTER_AUTH_SECRET",
        ],
    )
    def test_settings_and_names_of_other_programs_are_not_misspelt_names(self, name: str) -> None:
        with patch.dict(os.environ, {name: "1"}, clear=True):
            assert misspelt_names(None) == []


# Task: T-015
class TestLocalSecret:
    def test_secret_is_created_once_and_only_its_owner_can_read_it(self, tmp_path: Path) -> None:
        first = local_secret(tmp_path / "data")

        second = local_secret(tmp_path / "data")

        file = tmp_path / "data" / "jwt-secret"
        assert first == second
        assert len(first) >= 32
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert list((tmp_path / "data").iterdir()) == [file]

    def test_secret_is_the_same_for_concurrent_callers(self, tmp_path: Path) -> None:
        with ThreadPoolExecutor(16) as threads:
            secrets = set(threads.map(lambda _: local_secret(tmp_path / "data"), range(64)))

        assert len(secrets) == 1

    def test_secret_differs_between_directories(self, tmp_path: Path) -> None:
        assert local_secret(tmp_path / "a") != local_secret(tmp_path / "b")

    def test_secret_that_others_can_read_is_rejected(self, tmp_path: Path) -> None:
        local_secret(tmp_path)
        (tmp_path / "jwt-secret").chmod(0o644)

        with pytest.raises(SettingsError, match="chmod 600"):
            local_secret(tmp_path)

    def test_secret_behind_a_symbolic_link_is_rejected(self, tmp_path: Path) -> None:
        local_secret(tmp_path / "elsewhere")
        (tmp_path / "jwt-secret").symlink_to(tmp_path / "elsewhere" / "jwt-secret")

        with pytest.raises(SettingsError, match="is a symbolic link"):
            local_secret(tmp_path)

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
    def test_secret_owned_by_another_account_is_rejected(self, tmp_path: Path) -> None:
        local_secret(tmp_path)
        os.chown(tmp_path / "jwt-secret", 65_534, -1)

        with pytest.raises(SettingsError, match="belongs to another account"):
            local_secret(tmp_path)

    @pytest.mark.parametrize("content", [b"", b"short\n", b"\xff" * 64])
    def test_secret_with_invalid_content_is_rejected(self, tmp_path: Path, content: bytes) -> None:
        local_secret(tmp_path)
        (tmp_path / "jwt-secret").write_bytes(content)

        with pytest.raises(SettingsError, match="remove it"):
            local_secret(tmp_path)

    def test_error_names_the_file_if_the_secret_cannot_be_stored(self, tmp_path: Path) -> None:
        (tmp_path / "data").write_text("a file")

        with pytest.raises(SettingsError, match="jwt-secret cannot be used"):
            local_secret(tmp_path / "data")
