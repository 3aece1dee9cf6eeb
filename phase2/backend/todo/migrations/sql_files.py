"""The SQL files: functions, triggers, policies, privileges and planner statistics. Each file is what the database runs.

``apply`` executes the files that changed since the last time, and drops our functions, triggers and policies that no
file names any more. The database stores the SHA-256 of each file, and of the definition of each object that the files
created, as PostgreSQL returns it. So an object that was changed by hand is found without a lock on any table.

A file in ``functions_per_table`` is a template for one function per table. From CREATE on, ``{table}``, ``{entity}``
and ``{excluded_columns}`` are replaced with the values of a table in ``change_log``; a line with ``{computed_column}``
is repeated for each of its computed columns. Nothing is replaced in any other file.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from todo.migrations.change_log import CHANGE_LOG, LoggedTable

Connection = psycopg.Connection[Any]

DIRECTORY = Path(__file__).parent / "sql"

# Functions before the triggers that call them. The files of one pattern are in the order of their names.
_ORDER = (
    "schema.sql",
    "role.sql",
    "functions/*.sql",
    "functions_per_table/*.sql",
    "row_level_security.sql",
    "grants.sql",
    "triggers/*.sql",
    "planner_statistics.sql",
)
# Executed every time: a dump contains neither roles nor planner statistics, and not every owner may read the latter.
_ALWAYS_FIRST = ("schema.sql", "role.sql")
_ALWAYS_LAST = ("planner_statistics.sql",)
# Executed before the migrations, if they changed: generated columns, indexes and constraints of tables call them.
_CALLED_BY_TABLES = ("functions/normalize_for_search.sql",)
# Templates for ordered tables only; all other templates are for every table in the change log.
_OF_ORDERED_TABLES = ("position_in_{table}.sql", "ensure_unique_position_in_{table}.sql")

_TRIGGER = re.compile(r"^CREATE OR REPLACE TRIGGER (\w+)", re.MULTILINE)
_POLICY = re.compile(r"^CREATE POLICY (\w+) ON public\.(\w+)", re.MULTILINE)

# Every object that the files create, with its definition. Privileges: only those of todo_app and PUBLIC, because the
# operator decides about other roles. The role belongs to the cluster; the server checks it at startup.
_CATALOGUE = """
WITH grantees AS (
    SELECT 0::oid AS oid, 'PUBLIC' AS role UNION ALL SELECT oid, rolname FROM pg_roles WHERE rolname = 'todo_app'
), tables AS (
    SELECT * FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relname = ANY (%(tables)s)
), objects (name, definition) AS (
    SELECT 'function ' || p.oid::regprocedure, pg_get_functiondef(p.oid) || coalesce((
        SELECT string_agg(role, ',' ORDER BY role) FROM aclexplode(coalesce(proacl, acldefault('f', proowner)))
        JOIN grantees ON grantees.oid = grantee
    ), '')
    FROM pg_proc AS p WHERE pronamespace = 'app'::regnamespace AND prokind IN ('f', 'p')
    UNION ALL
    SELECT format('trigger %%s on %%s', tgname, tgrelid::regclass), pg_get_triggerdef(t.oid) || tgenabled::text
    FROM pg_trigger AS t JOIN pg_proc AS p ON p.oid = tgfoid
    WHERE NOT tgisinternal AND pronamespace = 'app'::regnamespace
    UNION ALL
    SELECT format('policy %%s on %%s', polname, polrelid::regclass), concat_ws(' ', polcmd::text, polpermissive,
        polroles::regrole[], pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid))
    FROM pg_policy JOIN tables ON tables.oid = polrelid
    UNION ALL
    SELECT format('row-level security of %%s', oid::regclass), concat_ws(' ', relrowsecurity, relforcerowsecurity)
    FROM tables
    UNION ALL
    SELECT format('privileges on %%s', c.oid::regclass),
        string_agg(concat_ws(' ', role, privilege_type, is_grantable), ',' ORDER BY role, privilege_type)
    FROM pg_class AS c, aclexplode(relacl) JOIN grantees ON grantees.oid = grantee
    WHERE c.oid IN (SELECT oid FROM tables) OR relnamespace = 'app'::regnamespace GROUP BY c.oid
    UNION ALL
    SELECT format('privileges on schema %%s', nspname),
        string_agg(concat_ws(' ', role, privilege_type, is_grantable), ',' ORDER BY role, privilege_type)
    FROM pg_namespace, aclexplode(nspacl) JOIN grantees ON grantees.oid = grantee
    WHERE nspname = 'app' OR nspname = 'public' AND grantees.oid <> 0 GROUP BY nspname
    UNION ALL
    SELECT format('planner statistics of %%s.%%s', attrelid::regclass, attname),
        concat_ws(' ', attstattarget, attoptions)
    FROM pg_attribute JOIN tables ON tables.oid = attrelid
    WHERE attoptions::text LIKE '%%n_distinct%%'
)
SELECT name, encode(sha256(convert_to(definition, 'UTF8')), 'hex') FROM objects
"""

# Statements that drop the objects that no file names any more. If two functions have the same name, the one that this
# transaction did not create comes from an older file with other arguments.
_DROP_UNKNOWN_OBJECTS = """
SELECT format('DROP TRIGGER %%I ON %%s', tgname, tgrelid::regclass)
FROM pg_trigger JOIN pg_proc AS p ON p.oid = tgfoid
WHERE NOT tgisinternal AND pronamespace = 'app'::regnamespace
    AND format('%%s on %%s', tgname, tgrelid::regclass) <> ALL (%(triggers)s)
UNION ALL
SELECT format('DROP POLICY %%I ON %%s', polname, polrelid::regclass)
FROM pg_policy WHERE polrelid::regclass::text = ANY (%(tables)s)
    AND format('%%s on %%s', polname, polrelid::regclass) <> ALL (%(policies)s)
UNION ALL
SELECT format('DROP ROUTINE %%s', p.oid::regprocedure) FROM pg_proc AS p
WHERE pronamespace = 'app'::regnamespace AND (proname <> ALL (%(functions)s) OR age(p.xmin) > 0 AND EXISTS (
    SELECT FROM pg_proc AS newer
    WHERE newer.pronamespace = p.pronamespace AND newer.proname = p.proname AND age(newer.xmin) <= 0
))
"""

# While check_function_bodies is off, a file may refer to objects of a later file. Now all of them exist.
_VALIDATE = """
SELECT CASE lanname WHEN 'sql' THEN fmgr_sql_validator(p.oid) ELSE plpgsql_validator(p.oid) END
FROM pg_proc AS p JOIN pg_language AS l ON l.oid = prolang WHERE pronamespace = 'app'::regnamespace
"""


@dataclass(frozen=True, slots=True)
class SqlFile:
    """A file, or a template filled in for one table. ``path`` is relative to ``DIRECTORY``."""

    path: str
    text: str

    @property
    def name(self) -> str:
        """Return the name of the function, or of the table whose triggers the file creates."""
        return Path(self.path).stem

    @property
    def digest(self) -> str:
        return sha256(self.text.encode()).hexdigest()


# Task: T-431
def files() -> list[SqlFile]:
    """Return all files in the order in which they are executed."""
    return [file for pattern in _ORDER for path in sorted(DIRECTORY.glob(pattern)) for file in _read(path)]


# Task: T-431
def prepare(connection: Connection) -> None:
    """Create what the migrations need: the role, the schema, and the functions that tables call."""
    wanted = {file.path: file for file in files()}
    with connection.transaction():
        for path in _ALWAYS_FIRST:
            _execute(connection, wanted[path])
        applied = _stored(connection, "sql_files")
        for path in _CALLED_BY_TABLES:
            if applied.get(path) != wanted[path].digest:
                _execute(connection, wanted[path])


# Task: T-431
def apply(connection: Connection) -> None:
    """Execute the changed files, or all if an object was changed by hand. Drop the objects that no file names any more.

    In one transaction. The migrations must have run, and no other process may apply files at the same time.
    """
    wanted = files()
    with connection.transaction():
        applied = _stored(connection, "sql_files")
        was_changed_by_hand = bool(_changed_objects(connection, wanted))
        for file in wanted:
            if was_changed_by_hand or file.path in _ALWAYS_LAST or applied.get(file.path) != file.digest:
                _execute(connection, file)
        for (statement,) in connection.execute(_DROP_UNKNOWN_OBJECTS, _names(wanted)).fetchall():
            connection.execute(statement)
        connection.execute("SET LOCAL check_function_bodies = on")
        connection.execute(_VALIDATE)
        _store(connection, "sql_files", {file.path: file.digest for file in wanted})
        _store(connection, "sql_objects", _catalogue(connection, wanted))


def remove(connection: Connection) -> None:
    """Undo ``prepare`` and ``apply``, after our tables were dropped. The role stays: another database may use it."""
    with connection.transaction():
        connection.execute("DROP SCHEMA app CASCADE")
        connection.execute("REVOKE USAGE ON SCHEMA public FROM todo_app")


def are_applied(connection: Connection) -> bool:
    """Return whether exactly these files were applied, with their current content. Locks no table."""
    return _stored(connection, "sql_files") == {file.path: file.digest for file in files()}


# Task: T-432
def differences(connection: Connection) -> list[str]:
    """Return the files that are not applied, and the objects that were changed by hand since. Locks no table."""
    wanted = files()
    applied = _stored(connection, "sql_files")
    changed = [file.path for file in wanted if applied.pop(file.path, None) != file.digest]
    return [*changed, *applied, *_changed_objects(connection, wanted)]


# Task: T-434
def fill(template: str, table: LoggedTable) -> str:
    """Return the text of a template with the values of a table filled in."""
    head, create, body = template.partition("CREATE OR REPLACE")
    lines = []
    for line in body.splitlines(keepends=True):
        each = table.computed_columns if "{computed_column}" in line else ("",)
        lines += [line.replace("{computed_column}", column) for column in each]
    values = {"{table}": table.name, "{entity}": table.entity, "{excluded_columns}": ",".join(table.excluded_columns)}
    return head + create + re.sub("|".join(map(re.escape, values)), lambda match: values[match[0]], "".join(lines))


def _read(path: Path) -> Iterator[SqlFile]:
    text, place = path.read_text("utf-8"), path.relative_to(DIRECTORY).as_posix()
    if "{table}" not in path.name:
        yield SqlFile(place, text)
        return
    for table in CHANGE_LOG:
        if table.is_ordered or path.name not in _OF_ORDERED_TABLES:
            yield SqlFile(place.replace("{table}", table.name), fill(text, table))


def _execute(connection: Connection, file: SqlFile) -> None:
    connection.execute("SET LOCAL check_function_bodies = off")
    connection.execute(file.text.encode())


def _names(wanted: list[SqlFile]) -> dict[str, list[str]]:
    """Return the names in the files: functions, triggers, policies, and the tables with policies."""
    policies = [match for file in wanted for match in _POLICY.findall(file.text)]
    triggers = [f"{trigger} on {file.name}" for file in wanted for trigger in _TRIGGER.findall(file.text)]
    return {
        "functions": [file.name for file in wanted if file.path.startswith("functions")],
        "triggers": triggers,
        "policies": [f"{policy} on {table}" for policy, table in policies],
        "tables": [table for _, table in policies],
    }


def _catalogue(connection: Connection, wanted: list[SqlFile]) -> dict[str, str]:
    return dict(connection.execute(_CATALOGUE, _names(wanted)).fetchall())


def _changed_objects(connection: Connection, wanted: list[SqlFile]) -> list[str]:
    now, before = _catalogue(connection, wanted), _stored(connection, "sql_objects")
    return sorted(name for name in now.keys() | before.keys() if now.get(name) != before.get(name))


def _stored(connection: Connection, table: str) -> dict[str, str]:
    return dict(connection.execute(sql.SQL("SELECT * FROM app.{}").format(sql.Identifier(table))).fetchall())


def _store(connection: Connection, table: str, digests: dict[str, str]) -> None:
    if _stored(connection, table) != digests:
        name = sql.Identifier(table)
        connection.execute(sql.SQL("DELETE FROM app.{}").format(name))
        insert = sql.SQL("INSERT INTO app.{} VALUES (%s, %s)").format(name)
        connection.cursor().executemany(insert, list(digests.items()))
