"""The check at start that the role which statements run as could not pass the policies.

Some of its rules are the schema's own, and the tests hold every migration to them: they are written once, here.
"""

import secrets
from collections.abc import Mapping

from todo.database.connection import Call, Connection
from todo.database.errors import DatabaseFault, UnsafeDatabase
from todo.database.identity import Identities
from todo.database.statements import raw

# What the application may call although it runs as its owner, who passes the policies, and why that is right.
DEFINERS: Mapping[str, str] = {
    "app.caller_exists()": "todo_app cannot see users. It takes no argument and answers about the caller alone.",
    "app.empty_trash(integer,bigint)": "Goes through all users, by number. Deletes what they deleted days ago.",
    "app.prune(integer,bigint)": "Goes through all users, by number. Deletes what is days old, and answers how much.",
}

# What is in the database and not PostgreSQL's own. ``owned`` are the tables whose rows belong to users.
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

# Of ``owned``: policies add up, so one more lets more through.
NOT_ONE_POLICY = "1 <> (SELECT count(*) FROM pg_policy WHERE polrelid = owned.oid)"

# Of ``owned``: for every command and everybody, or for the application alone, and in the one form.
OTHER_POLICY = """EXISTS (
    SELECT FROM pg_policy WHERE polrelid = owned.oid AND (polcmd <> '*' OR NOT polpermissive
        OR (polroles <> '{0}' AND polroles <> ARRAY['todo_app'::regrole::oid])
        OR ('(user_id = ( SELECT app.uid() AS uid))'
            = ALL (ARRAY[pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid)])) IS NOT TRUE)
)"""

# Of ``tables``: a view that does not ask on behalf of who asks it.
VIEW_OF_ITS_OWNER = """relkind = 'v' AND NOT coalesce(
    reloptions && ARRAY['security_invoker=true', 'security_invoker=on', 'security_invoker=1'], false)"""

# One row for each thing that is wrong. ``hats`` are the role itself and those that it may become: membership counts
# even where it is not inherited, since SET ROLE would do. What it inherits, it has itself. Extensions are the host's
# matter: some of them show statistics to everybody.
_PROBLEMS = raw(
    f"""
WITH {OBJECTS}, me AS (
    SELECT * FROM pg_roles WHERE rolname = current_user
), hats AS (
    SELECT me.*, me.rolname::text AS who, NOT me.rolsuper AS is_worn FROM me
    UNION ALL
    SELECT r.*, me.rolname || ' is a member of ' || r.rolname || ', which',
        NOT r.rolsuper AND r.rolname !~ '^pg_' AND NOT pg_has_role(me.oid, r.oid, 'USAGE')
    FROM pg_roles r, me WHERE r.oid <> me.oid AND NOT me.rolsuper AND pg_has_role(me.oid, r.oid, 'MEMBER')
), extended AS (
    SELECT classid, objid FROM pg_depend WHERE deptype = 'e'
), reach AS (
    SELECT who, hats.oid AS hat, tables.* FROM hats, tables
    WHERE is_worn AND (has_any_column_privilege(hats.oid, tables.oid, 'SELECT, INSERT, UPDATE')
        OR has_table_privilege(hats.oid, tables.oid, 'DELETE, TRUNCATE'))
)
SELECT 'statements run as ' || current_user || ', not as ' || $1 AS problem WHERE current_user <> $1
UNION ALL SELECT 'the user of a statement does not arrive' WHERE app.uid() IS DISTINCT FROM $2
UNION ALL SELECT who || ' is a superuser' FROM hats WHERE rolsuper
UNION ALL SELECT who || ' has BYPASSRLS' FROM hats WHERE rolbypassrls
UNION ALL SELECT who || ' has CREATEROLE' FROM hats WHERE rolcreaterole
UNION ALL SELECT who || ' has REPLICATION' FROM hats WHERE rolreplication
UNION ALL SELECT me.rolname || ' is a member of ' || hats.rolname FROM me, hats WHERE hats.rolname ~ '^pg_'
UNION ALL SELECT who || ' owns ' || name FROM hats JOIN owned ON relowner = hats.oid
UNION ALL SELECT who || ' owns ' || name FROM hats JOIN functions ON proowner = hats.oid WHERE is_worn
UNION ALL SELECT who || ' may create objects in the schema ' || nspname FROM hats, pg_namespace n
    WHERE is_worn AND nspname !~ '^pg_(temp|toast)' AND has_schema_privilege(hats.oid, n.oid, 'CREATE')
UNION ALL SELECT who || ' may create schemas in the database' FROM hats
    WHERE is_worn AND has_database_privilege(hats.oid, current_database(), 'CREATE')
UNION ALL SELECT 'row-level security is not both enabled and forced on ' || name FROM owned
    WHERE oid IN (SELECT oid FROM reach) AND NOT (relrowsecurity AND relforcerowsecurity)
UNION ALL SELECT 'the one policy that keeps users apart is not all that there is on ' || name FROM owned
    WHERE oid IN (SELECT oid FROM reach) AND relrowsecurity AND ({NOT_ONE_POLICY} OR {OTHER_POLICY})
UNION ALL SELECT who || ' may empty ' || name FROM reach
    WHERE oid IN (SELECT oid FROM owned) AND hat <> relowner AND has_table_privilege(hat, oid, 'TRUNCATE')
UNION ALL SELECT who || ' has access to ' || name || CASE relkind WHEN 'v' THEN ', which asks as its owner'
        WHEN 'm' THEN ', which no policy guards' ELSE ', which has no user_id' END FROM reach
    WHERE (relkind = 'm' OR {VIEW_OF_ITS_OWNER} OR (relkind IN ('r', 'p', 'f') AND owner_column IS NULL))
        AND ('pg_class'::regclass, oid) NOT IN (SELECT classid, objid FROM extended)
UNION ALL SELECT who || ' may call ' || name || ', which runs as its owner' FROM hats, functions
    WHERE is_worn AND prosecdef AND name <> ALL ('{{{", ".join(f'"{name}"' for name in DEFINERS)}}}')
        AND prorettype NOT IN ('trigger'::regtype, 'event_trigger'::regtype)
        AND has_function_privilege(hats.oid, functions.oid, 'EXECUTE')
        AND has_schema_privilege(hats.oid, pronamespace, 'USAGE')
        AND ('pg_proc'::regclass, functions.oid) NOT IN (SELECT classid, objid FROM extended)
""",  # noqa: S608  It is put together from what stands above.
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
    # Nobody's id, new each time, in the form that is hardest to carry: with a space at both ends, and quotes.
    probe = f" '{secrets.token_hex(8)}\" "
    calls: list[Call] = [
        Identities(role=role, timeout_milliseconds=5_000, long_timeout_milliseconds=5_000).of(probe),
        (_PROBLEMS, connection.encode(_PROBLEMS, {"role": role, "user_id": probe})),
    ]
    _, result = await connection.exchange(calls, deadline=deadline)
    return [row["problem"] for row in connection.rows(result, _PROBLEMS)]
