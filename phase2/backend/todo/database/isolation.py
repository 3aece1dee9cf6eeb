"""The check at start that the role which statements run as could not pass the policies."""

from todo.database.connection import Call, Connection
from todo.database.errors import DatabaseFault, UnsafeDatabase
from todo.database.identity import Identities
from todo.database.statements import raw

# Nobody's id, in the form that is hardest to carry: with a space at both ends, and quotes.
_PROBE = " 'probe\" "

# One row for each thing that is wrong. Membership counts even where it is not inherited: SET ROLE would do.
# The three predefined roles read and write the server's files, and so its data.
_PROBLEMS = raw(
    """
WITH me AS (
    SELECT * FROM pg_catalog.pg_roles WHERE rolname = current_user
), theirs AS (
    SELECT r.* FROM pg_catalog.pg_roles r, me
    WHERE r.oid <> me.oid AND NOT me.rolsuper AND pg_catalog.pg_has_role(me.oid, r.oid, 'MEMBER')
), owned AS (
    SELECT c.oid, c.oid::pg_catalog.regclass::text AS name, c.relowner, c.relrowsecurity, c.relforcerowsecurity,
        pg_catalog.has_any_column_privilege(me.oid, c.oid, 'SELECT, INSERT, UPDATE')
            OR pg_catalog.has_table_privilege(me.oid, c.oid, 'DELETE, TRUNCATE') AS within_reach
    FROM me, pg_catalog.pg_class c
    JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attname = 'user_id' AND NOT a.attisdropped
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'f') AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%'
)
SELECT 'statements run as ' || current_user || ', not as ' || $1 AS problem WHERE current_user <> $1
UNION ALL SELECT 'the user of a statement does not arrive' WHERE app.uid() IS DISTINCT FROM $2
UNION ALL SELECT rolname || ' is a superuser' FROM me WHERE rolsuper
UNION ALL SELECT rolname || ' has BYPASSRLS' FROM me WHERE rolbypassrls
UNION ALL SELECT rolname || ' has CREATEROLE' FROM me WHERE rolcreaterole
UNION ALL SELECT me.rolname || ' is a member of ' || theirs.rolname || ', which could pass the policies' FROM me, theirs
    WHERE theirs.rolsuper OR theirs.rolbypassrls OR theirs.rolcreaterole OR theirs.rolname IN
        ('pg_execute_server_program', 'pg_read_server_files', 'pg_write_server_files')
UNION ALL SELECT me.rolname || ' owns ' || name FROM me, owned WHERE relowner = me.oid
UNION ALL SELECT me.rolname || ' is a member of ' || theirs.rolname || ', which owns ' || name
    FROM me, owned JOIN theirs ON theirs.oid = relowner
UNION ALL SELECT me.rolname || ' may create objects in the schema ' || nspname FROM me, pg_catalog.pg_namespace n
    WHERE NOT me.rolsuper AND nspname IN ('public', 'app') AND pg_catalog.has_schema_privilege(me.oid, n.oid, 'CREATE')
UNION ALL SELECT me.rolname || ' may create schemas in the database' FROM me
    WHERE NOT me.rolsuper AND pg_catalog.has_database_privilege(me.oid, pg_catalog.current_database(), 'CREATE')
UNION ALL SELECT 'row-level security is not both enabled and forced on ' || name FROM owned
    WHERE within_reach AND NOT (relrowsecurity AND relforcerowsecurity)
UNION ALL SELECT me.rolname || ' may empty ' || name FROM me, owned
    WHERE NOT me.rolsuper AND me.oid <> relowner AND pg_catalog.has_table_privilege(me.oid, owned.oid, 'TRUNCATE')
""",
    "role",
    "user_id",
)

# No such role; no such schema, function.
_NOT_MIGRATED = frozenset({"22023", "42704", "3F000", "42883"})
_NOT_ALLOWED = "42501"


# Task: T-025
async def verify(connection: Connection, *, role: str, deadline: float) -> None:
    """Raise UnsafeDatabase with everything that is wrong, in one line."""
    try:
        rows = await _ask(connection, role=role, deadline=deadline)
    except DatabaseFault as fault:
        if fault.sqlstate in _NOT_MIGRATED:
            raise UnsafeDatabase(f"the role {role} or its schema is missing: run 'todo migrate'") from None
        if fault.sqlstate == _NOT_ALLOWED:
            raise UnsafeDatabase(f"the database's user may not switch to {role}: GRANT {role} TO it") from None
        raise
    if rows:
        raise UnsafeDatabase("users would not be kept apart: " + "; ".join(rows))


async def _ask(connection: Connection, *, role: str, deadline: float) -> list[str]:
    calls: list[Call] = [
        Identities(role=role, timeout_milliseconds=5_000).of(_PROBE),
        (_PROBLEMS, connection.encode(_PROBLEMS, {"role": role, "user_id": _PROBE})),
    ]
    _, result = await connection.exchange(calls, deadline=deadline)
    return [row["problem"] for row in connection.rows(result, _PROBLEMS)]
