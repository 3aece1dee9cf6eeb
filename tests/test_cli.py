"""The command ``todo``: its output, its effects, and one-line errors."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import jwt
import psycopg
import pytest

from support.processes import SETTINGS, accessible, environment, run
from support.users import SECRET
from todo import database
from todo.cli import main
from todo.migrations import schema


class Outcome(NamedTuple):
    code: int
    out: str
    err: str


Todo = Callable[..., Outcome]


@pytest.fixture
def todo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Todo]:
    """A function that runs a command in this process with only the given settings."""
    monkeypatch.chdir(tmp_path)
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}

    def run_here(*arguments: str, **settings: str) -> Outcome:
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        try:
            code: Any = main(arguments)
        except SystemExit as end:
            code = end.code
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    yield run_here
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture
def local(todo: Todo, database_url: str) -> Todo:
    """The same function with the shared database and a secret."""

    def run_here(*arguments: str, **settings: str) -> Outcome:
        return todo(*arguments, **{"DATABASE_URL": database_url, "JWT_SECRET": SECRET, **settings})

    return run_here


def claims_of(token: str) -> dict[str, Any]:
    claims: dict[str, Any] = jwt.decode(token.strip(), SECRET, ["HS256"])
    return claims


# Task: T-017
class TestMain:
    @pytest.mark.parametrize("command", ["serve", "migrate", "token", "openapi"])
    def test_help_of_each_command_has_examples(self, todo: Todo, command: str) -> None:
        outcome = todo(command, "--help")

        assert outcome.code == 0
        assert outcome.out.startswith(f"usage: todo {command} ")
        assert f"examples:\n  todo {command}" in outcome.out

    def test_help_lists_the_commands(self, todo: Todo) -> None:
        outcome = todo("--help")

        assert outcome.code == 0
        for command in ("serve", "migrate", "token", "openapi"):
            assert f"\n  todo {command} " in outcome.out

    @pytest.mark.parametrize(
        ("arguments", "complaint"),
        [
            ([], "todo: the following arguments are required: COMMAND (see: todo --help)\n"),
            (["token"], "todo: the following arguments are required: USER_ID (see: todo token --help)\n"),
            (
                ["serve", "--port", "70000"],
                "todo: argument --port: expected a whole number from 0 to 65535 (see: todo serve --help)\n",
            ),
            (["serve", "--prot", "9000"], "todo: unrecognized arguments: --prot 9000 (see: todo serve --help)\n"),
            (["token", "alice", "bob"], "todo: unrecognized arguments: bob (see: todo token --help)\n"),
            (
                ["serve", "--workers", "0"],
                "todo: argument --workers: expected a whole number from 1 to 64 (see: todo serve --help)\n",
            ),
            (
                ["token", "alice", "--minutes", "x"],
                "todo: argument --minutes: expected a whole number from 1 to 525600 (see: todo token --help)\n",
            ),
            (
                ["token", "alice", "--email", "alice"],
                "todo: argument --email: expected an e-mail address (see: todo token --help)\n",
            ),
            (
                ["token", "a\tb"],
                "todo: argument USER_ID: expected 1 to 255 printable characters (see: todo token --help)\n",
            ),
        ],
    )
    def test_invalid_arguments_are_reported_in_one_line(self, todo: Todo, arguments: list[str], complaint: str) -> None:
        assert todo(*arguments) == (2, "", complaint)

    @pytest.mark.parametrize("command", [["serve"], ["token", "alice"], ["migrate"]])
    def test_invalid_setting_is_reported_in_one_line(self, todo: Todo, command: list[str]) -> None:
        outcome = todo(*command, LOG_LEVEL="loud")

        expected = "todo: LOG_LEVEL has to be one of DEBUG, INFO, WARNING, ERROR, CRITICAL.\n"
        assert outcome == (1, "", expected)

    def test_misspelt_setting_is_a_warning_with_a_suggestion(self, todo: Todo, tmp_path: Path) -> None:
        (tmp_path / ".env").write_text("TRASH_KEPTDAYS=4\n")

        outcome = todo("token", "alice", LOG_LEVEL="loud")

        first, second = outcome.err.splitlines()
        assert first == "todo: TRASH_KEPTDAYS is not a setting and has no effect. Did you mean TRASH_KEPT_DAYS?"
        assert second.startswith("todo: LOG_LEVEL has to be one of ")

    def test_unreadable_env_file_is_reported_in_one_line(self, todo: Todo, tmp_path: Path) -> None:
        (tmp_path / ".env").write_bytes(b"LOG_LEVEL=\xff")

        expected = "todo: .env cannot be read: it has to be text in UTF-8 that you may read.\n"
        assert todo("token", "alice") == (1, "", expected)

    def test_unusable_data_directory_is_reported_in_one_line(self, todo: Todo, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("in the way")

        outcome = todo("migrate", TODO_DATA_DIR=str(tmp_path / "file"))

        assert outcome == (1, "", f"todo: PostgreSQL cannot be kept in {tmp_path}/file: File exists.\n")

    def test_todo_is_installed_as_a_command(self) -> None:
        done = subprocess.run(
            [Path(sys.executable).with_name("todo"), "--help"], capture_output=True, text=True, check=True
        )

        assert done.stdout.startswith("usage: todo COMMAND")


MODULES_AFTER = """
import sys
from todo.cli import main
try:
    main(sys.argv[1:])
except SystemExit:
    pass
print("modules", *sys.modules)
"""


def modules_after(*arguments: str, **settings: str) -> set[str]:
    """Return the names of the modules that a process has loaded after a command."""
    done = subprocess.run(
        [sys.executable, "-c", MODULES_AFTER, *arguments],
        capture_output=True,
        text=True,
        check=True,
        env=environment(**settings),
    )
    return set(done.stdout.splitlines()[-1].split()[1:])


# Task: T-469
class TestImports:
    SERVER = frozenset(
        ("alembic", "fastapi", "httpx", "sqlalchemy", "sqlmodel", "starlette", "structlog", "uvicorn", "yaml")
    )

    @pytest.mark.parametrize("arguments", [["--help"], ["serve", "--help"], ["serve", "--prot", "9000"]])
    def test_help_loads_no_library(self, arguments: list[str]) -> None:
        modules = modules_after(*arguments)

        assert modules & {*self.SERVER, "jwt", "psycopg", "pydantic"} == set()
        assert {name for name in modules if name.startswith("todo.")} == {
            "todo.cli", "todo.errors", "todo.kit", "todo.kit.etags",
        }  # fmt: skip

    def test_token_command_does_not_load_the_server(self, database_url: str) -> None:
        modules = modules_after("token", "alice", DATABASE_URL=database_url, JWT_SECRET=SECRET)

        assert modules & {*self.SERVER, "todo.main", "todo.server"} == set()
        assert modules >= {"jwt", "psycopg", "todo.database.accounts"}

    def test_server_with_a_secret_does_not_load_yaml_and_httpx(self) -> None:
        done = subprocess.run(
            [sys.executable, "-c", "import sys, todo.server; print(*sys.modules)"],
            capture_output=True,
            text=True,
            check=True,
        )

        assert set(done.stdout.split()) & {"alembic", "httpx", "yaml"} == set()

    def test_every_public_name_of_the_database_package_exists(self) -> None:
        assert [name for name in database.__all__ if not hasattr(database, name)] == []
        with pytest.raises(AttributeError, match="nothing"):
            _ = database.nothing


# Task: T-017
class TestToken:
    def test_token_for_a_new_user_creates_the_user(self, local: Todo, database_url: str) -> None:
        outcome = local("token", "dora", "--minutes", "5")

        claims = claims_of(outcome.out)
        with psycopg.connect(database_url) as connection:
            row = connection.execute(
                'SELECT name, email, "emailVerified" FROM "user" WHERE id = %s', ["dora"]
            ).fetchone()
        assert (outcome.code, outcome.err) == (0, "")
        assert outcome.out.count("\n") == 1
        assert claims.pop("exp") - claims.pop("iat") == 300
        assert claims == {"sub": "dora", "name": "dora", "email": "dora@example.com"}
        assert row == ("dora", "dora@example.com", True)

    def test_token_for_an_existing_user_has_the_stored_name_and_address(self, local: Todo) -> None:
        local("token", "emil", "--name", "Emil Sinclair", "--email", "emil@example.org")

        again = local("token", "emil")

        assert again.code == 0
        assert claims_of(again.out)["name"] == "Emil Sinclair"
        assert claims_of(again.out)["email"] == "emil@example.org"

    @pytest.mark.parametrize(
        ("user_id", "email"),
        [("flo@example.net", "flo@example.net"), ("Größe 7", "Gr--e-7@example.com")],
    )
    def test_token_for_any_user_id_gets_an_email_address(self, local: Todo, user_id: str, email: str) -> None:
        claims = claims_of(local("token", user_id).out)

        assert (claims["sub"], claims["email"]) == (user_id, email)

    def test_email_address_of_another_user_is_rejected(self, local: Todo) -> None:
        local("token", "gina", "--email", "gina@example.org")

        outcome = local("token", "hugo", "--email", "gina@example.org")

        expected = "todo: Another user has the e-mail address gina@example.org: choose one with --email.\n"
        assert outcome == (1, "", expected)

    def test_two_concurrent_token_commands_create_one_user(self, tmp_path: Path, database_url: str) -> None:
        with ThreadPoolExecutor(2) as threads:
            settings = {"DATABASE_URL": database_url, "JWT_SECRET": SECRET}
            outcomes = list(threads.map(lambda _: run(tmp_path, "token", "ida", **settings), range(2)))

        assert [(outcome.returncode, outcome.stderr) for outcome in outcomes] == [(0, ""), (0, "")]

    def test_token_command_is_rejected_if_an_issuer_is_configured(self, todo: Todo, database_url: str) -> None:
        outcome = todo("token", "alice", DATABASE_URL=database_url, BETTER_AUTH_URL="https://app.example.com")

        expected = "todo: Tokens come from the issuer, https://app.example.com: sign in there.\n"
        assert outcome == (1, "", expected)


# Task: T-017
class TestMigrate:
    def test_migrate_can_run_concurrently_and_repeatedly(self, tmp_path: Path) -> None:
        accessible(tmp_path / ".data")

        with ThreadPoolExecutor(2) as threads:
            outcomes = list(threads.map(lambda _: run(tmp_path, "migrate"), range(2)))
        outcomes.append(run(tmp_path, "migrate"))

        # Standard error is not compared: as root, it names the directories opened to the account that runs PostgreSQL.
        expected = (0, "The database is up to date.\n")
        assert [(outcome.returncode, outcome.stdout) for outcome in outcomes] == [expected] * 3

    def test_migrate_needs_no_token_settings(self, todo: Todo, database_url: str) -> None:
        assert todo("migrate", DATABASE_URL=database_url) == (0, "The database is up to date.\n", "")
        assert schema.is_current(database_url)

    def test_unreachable_database_is_reported_in_one_line(self, todo: Todo, admin_url: str) -> None:
        outcome = todo("migrate", DATABASE_URL=admin_url.replace("/postgres?", "/nowhere?"))

        assert (outcome.code, outcome.out) == (1, "")
        assert outcome.err.startswith("todo: The database cannot be reached: ")
        assert outcome.err.count("\n") == 1

    # Task: T-432
    def test_migrate_check_reports_changes_made_by_hand(self, todo: Todo, admin_url: str) -> None:
        url = admin_url.replace("/postgres?", "/changed?")
        with psycopg.connect(admin_url, autocommit=True) as connection:
            connection.execute("CREATE DATABASE changed")
            empty = todo("migrate", "--check", DATABASE_URL=url)
            todo("migrate", DATABASE_URL=url)
            migrated = todo("migrate", "--check", DATABASE_URL=url)
            with psycopg.connect(url, autocommit=True) as changed:
                changed.execute("ALTER FUNCTION app.caller_exists() VOLATILE")

            found = todo("migrate", "--check", DATABASE_URL=url)

            todo("migrate", DATABASE_URL=url)
            repaired = todo("migrate", "--check", DATABASE_URL=url)
            connection.execute("DROP DATABASE changed WITH (FORCE)")
        up_to_date = (0, "The database is up to date.\n", "")
        differs = "todo: The database differs from this version in {}; run: todo migrate\n"
        assert empty == (1, "", differs.format(f"revision {schema.newest()}"))
        assert found == (1, "", differs.format("function app.caller_exists()"))
        assert (migrated, repaired) == (up_to_date, up_to_date)

    def test_missing_privileges_for_migrating_are_reported_in_one_line(self, todo: Todo, admin_url: str) -> None:
        with psycopg.connect(admin_url, autocommit=True) as connection:
            connection.execute("CREATE DATABASE not_yours")
            connection.execute("CREATE ROLE stranger LOGIN")

            outcome = todo(
                "migrate", DATABASE_URL=admin_url.replace("//postgres:@/postgres?", "//stranger@/not_yours?")
            )

            connection.execute("DROP DATABASE not_yours WITH (FORCE)")
            connection.execute("DROP ROLE stranger")
        expected = (
            "todo: The database refused: permission denied for database not_yours."
            " Migrate with a login that owns the database and may create roles: set DIRECT_DATABASE_URL.\n"
        )
        assert outcome == (1, "", expected)


# Task: T-017
class TestOpenapi:
    def test_openapi_prints_writes_and_checks_the_same_document(self, todo: Todo, tmp_path: Path) -> None:
        printed = todo("openapi")
        written = todo("openapi", "--output", "specification.yaml")
        checked = todo("openapi", "--check", "specification.yaml")

        assert printed.code == 0
        assert "\nopenapi: 3.1." in printed.out
        assert (tmp_path / "specification.yaml").read_text() == printed.out
        assert written == checked == (0, "", "")

    def test_openapi_check_of_another_document_fails_in_one_line(self, todo: Todo, tmp_path: Path) -> None:
        (tmp_path / "old.yaml").write_text("openapi: 3.0.0\n")

        expected = "todo: {} differs from the code; run: make openapi\n"
        assert todo("openapi", "--check", "old.yaml") == (1, "", expected.format("old.yaml"))
        assert todo("openapi", "--check", "none.yaml") == (1, "", expected.format("none.yaml"))

    def test_openapi_does_not_depend_on_settings(self, todo: Todo) -> None:
        assert todo("openapi").out == todo("openapi", LOG_LEVEL="loud", DATABASE_URL="nonsense").out
