"""Checks of the schema in PostgreSQL's catalogue: nothing in it may leak data between users.

Each rule is a query for offenders, with an example that it must find, so that no rule passes by finding nothing.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import psycopg
import pytest

from todo.database import DatabaseError, isolation
from todo.migrations.change_log import CHANGE_LOG
from todo.services.entities import ENTITIES
from todo.services.tasks.errors import to_undo_conflict

# Tables without an owner column, and why. The role todo_app has no privileges on them.
OF_NOBODY: Mapping[str, str] = {
    '"user"': "The accounts of Better Auth. The application only calls app.caller_exists() for the caller.",
    "todo_alembic_version": "The migrations that have run.",
    "app.sql_files": "The SQL files that are applied.",
    "app.sql_objects": "The objects that the SQL files created.",
}

# Functions that run as their owner, to whom the policies do not apply, and why.
DEFINERS: Mapping[str, str] = {
    **isolation.DEFINERS,
    "app.purge_user_changes()": "A trigger. Deletes the log with its counter; the deleting role has no access.",
    "app.purge_user_words()": "A trigger. Deletes the words with the user; the deleting role has no access.",
}

# Tables without a foreign key to the users, and how their rows are deleted with the user.
WITHOUT_REFERENCE: Mapping[str, str] = {
    "changes": "The revision counter references the user, and app.purge_user_changes() deletes the log with it.",
    "task_words": "The revision counter references the user, and app.purge_user_words() deletes the words with it.",
}

# Tables that are not in the change log, because their rows are derived or internal.
NOT_LOGGED: Mapping[str, str] = {
    "revisions": "The counter of the log itself.",
    "changes": "The log itself.",
    "idempotency_keys": "Responses to requests. The changes of a request are in the log.",
    "task_counts": "Counts of tasks; the tasks themselves are in the log.",
    "task_words": "The search index of tasks; the tasks themselves are in the log.",
    "tag_counts": "Counts of tasks with a tag; the tasks themselves are in the log.",
    "task_tags": "The index of tags; the tasks themselves are in the log.",
}

# Functions without their own search_path, and why.
UNPINNED: Mapping[str, str] = {
    "app.uid()": "A SET clause would keep the planner from inlining it into every policy. Every name is qualified.",
}


_OURS = f"WITH {isolation.OBJECTS}"


@dataclass(frozen=True)
class Rule:
    """A rule. ``offenders`` completes the query. Each example breaks the rule, and is mapped to the offender."""

    offenders: str
    examples: Mapping[str, str]


_OWNED_TABLE = "CREATE TABLE bad (user_id text NOT NULL, id uuid NOT NULL, kind text);"
_SECURED = _OWNED_TABLE + "ALTER TABLE bad ENABLE ROW LEVEL SECURITY; ALTER TABLE bad FORCE ROW LEVEL SECURITY;"

RULES: Mapping[str, Rule] = {
    "every table belongs to a user": Rule(
        "SELECT name FROM tables"
        " WHERE relkind IN ('r', 'p', 'f') AND owner_column IS NULL AND name <> ALL (%(nobody)s)",
        {"CREATE TABLE bad (id uuid PRIMARY KEY)": "bad"},
    ),
    "the owner is never null": Rule(
        "SELECT name FROM owned JOIN pg_attribute ON attrelid = oid AND attnum = owner_column WHERE NOT attnotnull",
        {"CREATE TABLE bad (user_id text)": "bad"},
    ),
    "row-level security is enabled": Rule(
        "SELECT name FROM owned WHERE NOT relrowsecurity",
        {_SECURED + "ALTER TABLE bad DISABLE ROW LEVEL SECURITY": "bad"},
    ),
    "row-level security is forced on the owner too": Rule(
        "SELECT name FROM owned WHERE NOT relforcerowsecurity",
        {_SECURED + "ALTER TABLE bad NO FORCE ROW LEVEL SECURITY": "bad"},
    ),
    "every table has exactly one policy": Rule(
        f"SELECT name FROM owned WHERE {isolation.NOT_ONE_POLICY}",
        {_SECURED: "bad", "CREATE POLICY bad ON tasks FOR SELECT USING (priority = 'low')": "tasks"},
    ),
    "the policy has the required form": Rule(
        f"SELECT name FROM owned WHERE {isolation.OTHER_POLICY}",
        {
            _SECURED + "CREATE POLICY bad ON bad USING (user_id = (SELECT app.uid())) WITH CHECK (true)": "bad",
            # Correct, but app.uid() is called once for each row.
            _SECURED + "CREATE POLICY bad ON bad USING (user_id = app.uid()) WITH CHECK (user_id = app.uid())": "bad",
            _SECURED + "CREATE POLICY bad ON bad TO todo_app USING (user_id = (SELECT app.uid()))": "bad",
        },
    ),
    "keys begin with the user": Rule(
        "SELECT conname FROM owned JOIN pg_constraint ON conrelid = owned.oid"
        " WHERE contype IN ('p', 'u', 'x', 'f') AND conkey[1] <> owner_column",
        {_OWNED_TABLE + "ALTER TABLE bad ADD CONSTRAINT key_of_everybody UNIQUE (id, user_id)": "key_of_everybody"},
    ),
    "every table has a primary key": Rule(
        "SELECT name FROM owned"
        " WHERE NOT EXISTS (SELECT FROM pg_constraint WHERE conrelid = owned.oid AND contype = 'p')",
        {_OWNED_TABLE: "bad"},
    ),
    "foreign keys stay within the user": Rule(
        "SELECT conname FROM owned JOIN pg_constraint ON conrelid = owned.oid AND contype = 'f'"
        " LEFT JOIN owned referred ON referred.oid = confrelid"
        " WHERE confrelid <> 'public.\"user\"'::regclass AND confkey[1] IS DISTINCT FROM referred.owner_column",
        {
            "CREATE TABLE target (id uuid PRIMARY KEY);"
            "CREATE TABLE bad (user_id uuid CONSTRAINT to_everybody REFERENCES target (id))": "to_everybody"
        },
    ),
    "rows are deleted with their user": Rule(
        "SELECT name FROM owned WHERE name <> ALL (%(without_reference)s)"
        " AND NOT EXISTS (SELECT FROM pg_constraint WHERE conrelid = owned.oid"
        " AND confrelid = 'public.\"user\"'::regclass AND conkey = ARRAY[owner_column] AND confdeltype = 'c')",
        {'CREATE TABLE bad (user_id text REFERENCES "user" (id))': "bad"},
    ),
    # The three triggers of a logged table must exist unchanged: with a condition, or disabled, they would miss writes.
    "every table is logged": Rule(
        "SELECT name FROM owned WHERE name <> ALL (%(not_logged)s) AND ARRAY["
        "   ('t10_lock_user_writes', 'lock_user_writes_trigger', 'BEFORE INSERT OR DELETE OR UPDATE',"
        "    'STATEMENT')::text,"
        "   ('t40_log_write', 'log_change_of_' || relname, 'BEFORE INSERT OR UPDATE', 'ROW')::text,"
        "   ('t70_log_delete', 'log_change_of_' || relname, 'AFTER DELETE', 'ROW')::text"
        " ] <> ARRAY(SELECT (t.tgname, p.proname,"
        "     substring(pg_get_triggerdef(t.oid) FROM ' ((BEFORE|AFTER) .*) ON '),"
        "     CASE t.tgtype & 1 WHEN 1 THEN 'ROW' ELSE 'STATEMENT' END)::text"
        "   FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid"
        "   WHERE t.tgrelid = owned.oid AND NOT t.tgisinternal AND t.tgenabled = 'O' AND t.tgqual IS NULL"
        "     AND p.pronamespace = 'app'::regnamespace"
        "     AND t.tgname IN ('t10_lock_user_writes', 't40_log_write', 't70_log_delete') ORDER BY t.tgname)",
        {
            _SECURED: "bad",
            "DROP TRIGGER t70_log_delete ON tasks": "tasks",
            "ALTER TABLE tasks DISABLE TRIGGER t40_log_write": "tasks",
            "DROP TRIGGER t40_log_write ON tasks; CREATE TRIGGER t40_log_write BEFORE UPDATE ON tasks"
            " FOR EACH ROW EXECUTE FUNCTION app.log_change_of_tasks()": "tasks",
            "DROP TRIGGER t40_log_write ON tasks; CREATE TRIGGER t40_log_write BEFORE INSERT OR UPDATE ON tasks"
            " FOR EACH ROW WHEN (NEW.priority = 'low') EXECUTE FUNCTION app.log_change_of_tasks()": "tasks",
        },
    ),
    "indexes begin with the user": Rule(
        "SELECT indexrelid::regclass::text FROM owned JOIN pg_index ON indrelid = oid WHERE indkey[0] <> owner_column",
        {_OWNED_TABLE + "CREATE UNIQUE INDEX kinds_of_everybody ON bad (lower(kind), user_id)": "kinds_of_everybody"},
    ),
    "views run as the caller": Rule(
        f"SELECT name FROM tables WHERE {isolation.VIEW_OF_ITS_OWNER}",
        {"CREATE VIEW bad WITH (security_invoker = false) AS SELECT * FROM tasks": "bad"},
    ),
    "there are no materialized views": Rule(
        "SELECT name FROM tables WHERE relkind = 'm'",
        {"CREATE MATERIALIZED VIEW bad AS SELECT * FROM tasks": "bad"},
    ),
    "no function runs as its owner": Rule(
        "SELECT name FROM functions WHERE prosecdef AND name <> ALL (%(definers)s)",
        {
            "CREATE FUNCTION bad() RETURNS bigint LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog"
            " AS 'SELECT count(*) FROM public.tasks'": "bad()"
        },
    ),
    "PUBLIC may not call functions that run as their owner": Rule(
        "SELECT name FROM functions, aclexplode(coalesce(proacl, acldefault('f', proowner)))"
        " WHERE prosecdef AND grantee = 0",
        {"CREATE FUNCTION bad() RETURNS int LANGUAGE sql SECURITY DEFINER SET search_path = '' AS 'SELECT 1'": "bad()"},
    ),
    "every function has a search_path": Rule(
        "SELECT name FROM functions WHERE name <> ALL (%(unpinned)s)"
        " AND NOT EXISTS (SELECT FROM unnest(proconfig) AS setting WHERE setting LIKE 'search_path=%%')",
        {"CREATE FUNCTION bad() RETURNS int LANGUAGE sql SET work_mem = '1MB' AS 'SELECT 1'": "bad()"},
    ),
    "there are no enum types": Rule(
        "SELECT name || '.' || attname FROM tables JOIN pg_attribute ON attrelid = tables.oid"
        " JOIN pg_type t ON t.oid = atttypid LEFT JOIN pg_type e ON e.oid = t.typelem"
        " WHERE 'e' IN (t.typtype, e.typtype) AND relkind <> 'c'",
        {"CREATE TYPE mood AS ENUM ('good', 'bad'); CREATE TABLE bad (moods mood[])": "bad.moods"},
    ),
    "the application has access only to tables of users' rows": Rule(
        "SELECT DISTINCT name FROM tables, aclexplode(relacl)"
        " WHERE grantee = 'todo_app'::regrole AND relkind IN ('r', 'p', 'm', 'f') AND owner_column IS NULL",
        {'GRANT SELECT ON "user" TO todo_app': '"user"'},
    ),
    "the application has no access to columns of other tables": Rule(
        "SELECT name || '.' || attname FROM tables JOIN pg_attribute ON attrelid = oid, aclexplode(attacl)"
        " WHERE grantee IN (0, 'todo_app'::regrole)",
        {'GRANT SELECT (email) ON "user" TO todo_app': '"user".email'},
    ),
    "the application may only read and write rows": Rule(
        "SELECT name || ' ' || privilege_type FROM tables, aclexplode(relacl) WHERE grantee = 'todo_app'::regrole"
        " AND relkind <> 'S' AND (privilege_type NOT IN ('SELECT', 'INSERT', 'UPDATE', 'DELETE') OR is_grantable)",
        {"GRANT TRUNCATE ON tasks TO todo_app": "tasks TRUNCATE"},
    ),
    "nothing is granted to PUBLIC": Rule(
        "SELECT name FROM tables, aclexplode(relacl) WHERE grantee = 0",
        {"GRANT SELECT ON tasks TO PUBLIC": "tasks"},
    ),
    "only the owner may create objects": Rule(
        "SELECT nspname || ' ' || grantee::regrole FROM pg_namespace, aclexplode(nspacl) WHERE nspname !~ '^pg_'"
        " AND privilege_type = 'CREATE' AND grantee <> nspowner AND grantee <> 'pg_database_owner'::regrole",
        {"GRANT CREATE ON SCHEMA app TO todo_app": "app todo_app"},
    ),
    "there are no default privileges": Rule(
        "SELECT defaclobjtype::text || ' ' || grantee::regrole FROM pg_default_acl, aclexplode(defaclacl)"
        " WHERE grantee IN (0, 'todo_app'::regrole)",
        {"ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO todo_app": "r todo_app"},
    ),
}


@pytest.fixture
def catalogue(database_url: str) -> Iterator[psycopg.Connection]:
    """The migrated database, in a transaction that is rolled back."""
    with psycopg.connect(database_url) as connection:
        yield connection
        connection.rollback()


def offenders(catalogue: psycopg.Connection, rule: Rule) -> set[str]:
    lists = {
        "nobody": list(OF_NOBODY),
        "definers": list(DEFINERS),
        "without_reference": list(WITHOUT_REFERENCE),
        "not_logged": list(NOT_LOGGED),
        "unpinned": list(UNPINNED),
    }
    return {name for (name,) in catalogue.execute(_OURS + rule.offenders, lists)}


# Task: T-061
class TestRules:
    @pytest.mark.parametrize("name", RULES)
    def test_schema_follows_the_rule(self, catalogue: psycopg.Connection, name: str) -> None:
        found = offenders(catalogue, RULES[name])

        assert not found, (
            f"the rule '{name}' is broken by {sorted(found)}; exceptions with reasons are at the top of this file"
        )

    @pytest.mark.parametrize(
        ("name", "example"), [(name, each) for name, rule in RULES.items() for each in rule.examples]
    )
    def test_rule_finds_its_example(self, catalogue: psycopg.Connection, name: str, example: str) -> None:
        rule = RULES[name]

        catalogue.execute(example)

        assert offenders(catalogue, rule) == {rule.examples[example]}


# Task: T-061
class TestLists:
    """Exceptions of the rules. One that is no longer needed would hide the next offender."""

    def test_exceptions_name_existing_objects(self, catalogue: psycopg.Connection) -> None:
        [[tables, definers, unpinned]] = catalogue.execute(
            "SELECT (SELECT array_agg(name::text) FROM unnest(%s::text[]) name WHERE to_regclass(name) IS NOT NULL),"
            " (SELECT array_agg(oid::regprocedure::text) FROM pg_proc"
            " WHERE prosecdef AND pronamespace::regnamespace::text !~ '^pg_'),"
            " (SELECT array_agg(oid::regprocedure::text) FROM pg_proc"
            " WHERE proconfig IS NULL AND pronamespace::regnamespace::text !~ '^(pg_|information_schema$)')",
            (list(OF_NOBODY),),
        )

        assert (set(tables), set(definers), set(unpinned)) == (set(OF_NOBODY), set(DEFINERS), set(UNPINNED))

    @pytest.mark.parametrize(
        ("name", "exempt"),
        [("rows are deleted with their user", WITHOUT_REFERENCE), ("every table is logged", NOT_LOGGED)],
    )
    def test_exceptions_contain_only_offenders(
        self, catalogue: psycopg.Connection, name: str, exempt: Mapping[str, str]
    ) -> None:
        nothing: dict[str, list[str]] = {"without_reference": [], "not_logged": []}

        found = {table for (table,) in catalogue.execute(_OURS + RULES[name].offenders, nothing)}

        assert found == set(exempt), f"correct the exceptions of '{name}' at the top of this file"


# Task: T-141
class TestLogged:
    """Each entity that the database logs must be known to the change feed."""

    def test_logged_tables_are_the_entities_of_the_registry(self, catalogue: psycopg.Connection) -> None:
        logged = logged_as(catalogue)
        declared = {name: entity.table.name for name, entity in ENTITIES.items()}

        missing = {name: table for name, table in logged.items() if name not in declared}
        assert not missing, (
            f"the change feed fails for these entities: {missing}. "
            "Add them to ENTITY_MODELS in models/entities.py and to ENTITIES in services/entities.py"
        )
        unlogged = {name: table for name, table in declared.items() if name not in logged}
        assert not unlogged, (
            f"no trigger logs these entities of services/entities.py: {unlogged}. Add them to migrations/change_log.py"
        )
        assert logged == {table.entity: table.name for table in CHANGE_LOG}
        assert logged == declared, "an entity of models/entities.py has another table than its trigger"

    def test_every_constraint_of_a_logged_table_maps_to_an_undo_error(self, catalogue: psycopg.Connection) -> None:
        unexplained = unexplained_constraints(catalogue)

        assert not unexplained, (
            f"an undo that violates one of these would be a 500: {unexplained}. "
            "Give their entities in services/entities.py a to_conflict that maps them"
        )

    def test_unmapped_constraint_of_a_logged_table_is_found(self, catalogue: psycopg.Connection) -> None:
        before = unexplained_constraints(catalogue)

        catalogue.execute("CREATE UNIQUE INDEX bad ON profiles (user_id, time_zone)")
        catalogue.execute("ALTER TABLE views ADD CONSTRAINT worse FOREIGN KEY (user_id, id) REFERENCES tasks NOT VALID")

        assert unexplained_constraints(catalogue) - before == {"bad", "worse"}

    def test_new_log_function_is_found(self, catalogue: psycopg.Connection) -> None:
        catalogue.execute(
            "CREATE FUNCTION app.log_change_of_bad() RETURNS trigger LANGUAGE plpgsql SET search_path = '' AS"
            " $$BEGIN PERFORM app.append_change(NEW.user_id, 1, 'evil', NEW.id::text, 'create', NULL, NULL); END$$"
        )

        assert logged_as(catalogue)["evil"] == "bad"


def unexplained_constraints(catalogue: psycopg.Connection) -> set[str]:
    """Return the constraints of logged tables whose violation by an undo maps to no error.

    A primary key is left out: another object with the same id is a later change. So is the reference to the user.
    """
    constraints = catalogue.execute(
        "SELECT conname::text, relname::text, CASE contype WHEN 'f' THEN '23503' WHEN 'c' THEN '23514' END"
        " FROM pg_constraint JOIN pg_class ON pg_class.oid = conrelid"
        " WHERE contype IN ('f', 'c') AND confrelid <> 'public.\"user\"'::regclass"
        " UNION ALL SELECT indexrelid::regclass::text, relname::text, '23505'"
        " FROM pg_index JOIN pg_class ON pg_class.oid = indrelid WHERE indisunique AND NOT indisprimary"
    ).fetchall()
    entities = {entity.table.name: entity for entity in ENTITIES.values()}
    violations = [
        (entities[table], DatabaseError(state, name)) for name, table, state in constraints if table in entities
    ]
    assert {violation.sqlstate for _, violation in violations} == {"23503", "23505", "23514"}
    return {
        str(violation.constraint)
        for entity, violation in violations
        if not (entity.to_conflict(violation) or to_undo_conflict(violation))
    }


def logged_as(catalogue: psycopg.Connection) -> dict[str, str]:
    """Return the tables with a log function, by the entity names that they log."""
    return dict(
        catalogue.execute(
            "SELECT DISTINCT (regexp_matches(prosrc, $re$, '(\\w+)', \\w+\\.id::text, '$re$, 'g'))[1],"
            " substring(proname FROM '^log_change_of_(.*)')"
            " FROM pg_proc WHERE pronamespace = 'app'::regnamespace AND proname LIKE 'log\\_change\\_of\\_%%'"
        ).fetchall()
    )
