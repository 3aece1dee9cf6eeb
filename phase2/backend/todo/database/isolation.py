"""Startup check: the role that runs the statements must not be able to bypass row-level security.

Some conditions are also rules for the schema. The tests check every migration with the same SQL, so it is defined here
once.
"""

import secrets
from collections.abc import Mapping

from todo.database.caller_context import CallerContext
from todo.database.connection import Call, Connection
from todo.database.errors import DatabaseError, UnsafeDatabase
from todo.database.statements import raw

# SECURITY DEFINER functions that the application may call, and why each is safe. They run as their owner, who can
# bypass the policies.
DEFINERS: Mapping[str, str] = {
    "app.caller_exists()": "todo_app cannot read users. It takes no argument and checks the caller only.",
    "app.empty_trash(integer,bigint,bigint,bigint)": "Visits all users. Deletes trashed tasks; returns a count.",
    "app.prune(integer,bigint,bigint,bigint)": "Visits all users. Deletes rows that are days old; returns a count.",
}

# Tables and functions outside PostgreSQL's own schemas. ``owned``: the tables whose rows belong to users (``user_id``).
OBJECTS = """
tables AS (
    SELECT c.oid, c.oid::regclass::text AS name, c.relname, c.relkind, c.relowner, c.relacl, c.reloptions,
        c.relrowsecurity, c.relforcerowsecurity, a.attnum AS owner_column
    FROM pg_class c LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'user_id' AND NOT a.attisdropped
    WHERE c.relnamespace::regnamespace::text !~ '^(pg_|information_schema$)'
), owned AS (
    SELECT * FROM tables WHERE relkind IN ('r', 'p', 'f') AND owner_column IS NOT NULL
), functions AS (
    SELECT p.*, p.oid::regprocedure::text AS name FROM pg_proc p
    WHERE p.pronamespace::regnamespace::text !~ '^(pg_|information_schema$)'
)
"""

# Condition on ``owned``. Permissive policies are combined with OR, so a second policy would admit more rows.
NOT_ONE_POLICY = "1 <> (SELECT count(*) FROM pg_policy WHERE polrelid = owned.oid)"

# Condition on ``owned``: there is a policy that is not permissive, not for all commands, not for PUBLIC or todo_app, or
# that has another expression than ``user_id = (SELECT app.uid())``.
OTHER_POLICY = """EXISTS (
    SELECT FROM pg_policy WHERE polrelid = owned.oid AND (polcmd <> '*' OR NOT polpermissive
        OR (polroles <> '{0}' AND polroles <> ARRAY['todo_app'::regrole::oid])
        OR ('(user_id = ( SELECT app.uid() AS uid))'
            = ALL (ARRAY[pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid)])) IS NOT TRUE)
)"""

# Condition on ``tables``: a view that reads with its owner's privileges, not with those of the caller.
VIEW_OF_ITS_OWNER = """relkind = 'v' AND NOT coalesce(
    reloptions && ARRAY['security_invoker=true', 'security_invoker=on', 'security_invoker=1'], false)"""

# One row per problem. ``roles``: the current role and every role of which it is a member, inherited or not,
# because SET ROLE works for all of them. ``is_checked`` is false for roles with inherited privileges, which the
# checks of the current role cover, and for superusers and predefined roles, which are problems by themselves. Objects
# of extensions are skipped: the host installs them, and some show statistics to everybody.
_PROBLEMS = raw(
    f"""
WITH {OBJECTS}, me AS (
    SELECT * FROM pg_roles WHERE rolname = current_user
), roles AS (
    SELECT me.*, me.rolname::text AS who, NOT me.rolsuper AS is_checked FROM me
    UNION ALL
    SELECT r.*, me.rolname || ' is a member of ' || r.rolname || ', which',
        NOT r.rolsuper AND r.rolname !~ '^pg_' AND NOT pg_has_role(me.oid, r.oid, 'USAGE')
    FROM pg_roles r, me WHERE r.oid <> me.oid AND NOT me.rolsuper AND pg_has_role(me.oid, r.oid, 'MEMBER')
), extended AS (
    SELECT classid, objid FROM pg_depend WHERE deptype = 'e'
), accessible_tables AS (
    SELECT who, roles.oid AS role_oid, tables.* FROM roles, tables
    WHERE is_checked AND (has_any_column_privilege(roles.oid, tables.oid, 'SELECT, INSERT, UPDATE')
        OR has_table_privilege(roles.oid, tables.oid, 'DELETE, TRUNCATE'))
)
SELECT 'statements run as ' || current_user || ', not as ' || $1 AS problem WHERE current_user <> $1
UNION ALL SELECT 'app.uid() does not return the user of the statement' WHERE app.uid() IS DISTINCT FROM $2
UNION ALL SELECT who || ' is a superuser' FROM roles WHERE rolsuper
UNION ALL SELECT who || ' has BYPASSRLS' FROM roles WHERE rolbypassrls
UNION ALL SELECT who || ' has CREATEROLE' FROM roles WHERE rolcreaterole
UNION ALL SELECT who || ' has REPLICATION' FROM roles WHERE rolreplication
UNION ALL SELECT me.rolname || ' is a member of ' || roles.rolname FROM me, roles WHERE roles.rolname ~ '^pg_'
UNION ALL SELECT who || ' owns ' || name FROM roles JOIN owned ON relowner = roles.oid
UNION ALL SELECT who || ' owns ' || name FROM roles JOIN functions ON proowner = roles.oid WHERE is_checked
UNION ALL SELECT who || ' may create objects in the schema ' || nspname FROM roles, pg_namespace n
    WHERE is_checked AND nspname !~ '^pg_(temp|toast)' AND has_schema_privilege(roles.oid, n.oid, 'CREATE')
UNION ALL SELECT who || ' may create schemas in the database' FROM roles
    WHERE is_checked AND has_database_privilege(roles.oid, current_database(), 'CREATE')
UNION ALL SELECT 'row-level security is not both enabled and forced on ' || name FROM owned
    WHERE oid IN (SELECT oid FROM accessible_tables) AND NOT (relrowsecurity AND relforcerowsecurity)
UNION ALL SELECT 'the policy that isolates users is missing, different or not the only one on ' || name FROM owned
    WHERE oid IN (SELECT oid FROM accessible_tables) AND relrowsecurity AND ({NOT_ONE_POLICY} OR {OTHER_POLICY})
UNION ALL SELECT who || ' may truncate ' || name FROM accessible_tables
    WHERE oid IN (SELECT oid FROM owned) AND role_oid <> relowner AND has_table_privilege(role_oid, oid, 'TRUNCATE')
UNION ALL SELECT who || ' has access to ' || name || CASE relkind WHEN 'v' THEN ', a view that runs as its owner'
        WHEN 'm' THEN ', which no policy guards' ELSE ', which has no user_id' END FROM accessible_tables
    WHERE (relkind = 'm' OR {VIEW_OF_ITS_OWNER} OR (relkind IN ('r', 'p', 'f') AND owner_column IS NULL))
        AND ('pg_class'::regclass, oid) NOT IN (SELECT classid, objid FROM extended)
UNION ALL SELECT who || ' may call ' || name || ', which runs as its owner' FROM roles, functions
    WHERE is_checked AND prosecdef AND name <> ALL ('{{{", ".join(f'"{name}"' for name in DEFINERS)}}}')
        AND prorettype NOT IN ('trigger'::regtype, 'event_trigger'::regtype)
        AND has_function_privilege(roles.oid, functions.oid, 'EXECUTE')
        AND has_schema_privilege(roles.oid, pronamespace, 'USAGE')
        AND ('pg_proc'::regclass, functions.oid) NOT IN (SELECT classid, objid FROM extended)
""",  # noqa: S608  It is built from the constants above.
    "role",
    "user_id",
)

# Unknown role (first two); unknown schema; unknown function.
_NOT_MIGRATED = frozenset({"22023", "42704", "3F000", "42883"})
_NOT_ALLOWED = "42501"


# Task: T-025
async def verify(connection: Connection, *, role: str, deadline: float) -> None:
    """Raise UnsafeDatabase with all problems in one line."""
    try:
        rows = await _find_problems(connection, role=role, deadline=deadline)
    except DatabaseError as error:
        if error.sqlstate in _NOT_MIGRATED:
            raise UnsafeDatabase(f"the role {role} or its schema is missing: run 'todo migrate'") from None
        if error.sqlstate == _NOT_ALLOWED:
            raise UnsafeDatabase(f"the database's user may not switch to {role}: GRANT {role} TO it") from None
        raise
    if rows:
        raise UnsafeDatabase("users would not be isolated from each other: " + "; ".join(rows))


async def _find_problems(connection: Connection, *, role: str, deadline: float) -> list[str]:
    # A random id that no user has, with the characters most likely to be damaged: spaces at both ends, and quotes.
    probe = f" '{secrets.token_hex(8)}\" "
    calls: list[Call] = [
        CallerContext(role=role, timeout_milliseconds=5_000, bulk_timeout_milliseconds=5_000).statement_for(probe),
        (_PROBLEMS, connection.encode(_PROBLEMS, {"role": role, "user_id": probe})),
    ]
    _, result = await connection.execute_pipeline(calls, deadline=deadline)
    return [row["problem"] for row in connection.rows(result, _PROBLEMS)]
