"""The check at startup rejects a database that does not isolate users, and says why."""

from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from support.databases import open_database
from support.helpers import ADD, COUNT
from support.users import sign_up
from todo.database import Database, DatabaseOptions, Session, UnsafeDatabase
from todo.errors import Unavailable

Admin = psycopg.Connection[Any]

ONE_POLICY = "the policy that isolates users is missing, different or not the only one on"


# Task: T-025
class TestVerify:
    async def test_check_accepts_a_migrated_database(self, database: Database) -> None:
        await database.verify_isolation()

    async def test_check_accepts_an_owner_who_is_no_superuser(self, own_url: str) -> None:
        async with open_database(own_url) as database:
            await database.verify_isolation()

    @pytest.mark.parametrize(
        ("do", "undo", "message"),
        [
            ("ALTER ROLE todo_app SUPERUSER", "ALTER ROLE todo_app NOSUPERUSER", "todo_app is a superuser"),
            ("ALTER ROLE todo_app BYPASSRLS", "ALTER ROLE todo_app NOBYPASSRLS", "todo_app has BYPASSRLS"),
            ("ALTER ROLE todo_app CREATEROLE", "ALTER ROLE todo_app NOCREATEROLE", "todo_app has CREATEROLE"),
            (
                "ALTER TABLE tasks OWNER TO todo_app",
                "ALTER TABLE tasks OWNER TO todo_owner; GRANT SELECT, INSERT, UPDATE, DELETE ON tasks TO todo_app",
                "todo_app owns tasks",
            ),
            (
                "CREATE ROLE middle; CREATE ROLE strong BYPASSRLS; GRANT strong TO middle; GRANT middle TO todo_app",
                "DROP ROLE middle; DROP ROLE strong",
                "todo_app is a member of strong, which has BYPASSRLS",
            ),
            (
                "GRANT pg_read_server_files TO todo_app",
                "REVOKE pg_read_server_files FROM todo_app",
                "todo_app is a member of pg_read_server_files",
            ),
            (
                "CREATE ROLE middle; ALTER TABLE tasks OWNER TO middle; GRANT middle TO todo_app WITH INHERIT FALSE",
                "ALTER TABLE tasks OWNER TO todo_owner; DROP ROLE middle",
                "todo_app is a member of middle, which owns tasks",
            ),
            (
                "GRANT CREATE ON SCHEMA public TO todo_app",
                "REVOKE CREATE ON SCHEMA public FROM todo_app",
                "todo_app may create objects in the schema public",
            ),
            (
                "GRANT CREATE ON SCHEMA app TO PUBLIC",
                "REVOKE CREATE ON SCHEMA app FROM PUBLIC",
                "todo_app may create objects in the schema app",
            ),
            (
                "GRANT CREATE ON DATABASE todo TO todo_app",
                "REVOKE CREATE ON DATABASE todo FROM todo_app",
                "todo_app may create schemas in the database",
            ),
            (
                "ALTER TABLE tasks DISABLE ROW LEVEL SECURITY",
                "ALTER TABLE tasks ENABLE ROW LEVEL SECURITY",
                "row-level security is not both enabled and forced on tasks",
            ),
            (
                "ALTER TABLE tasks NO FORCE ROW LEVEL SECURITY",
                "ALTER TABLE tasks FORCE ROW LEVEL SECURITY",
                "row-level security is not both enabled and forced on tasks",
            ),
            (
                """CREATE SCHEMA other; GRANT USAGE ON SCHEMA other TO todo_app;
                CREATE TABLE other.notes (user_id text, note text); GRANT SELECT (note) ON other.notes TO todo_app""",
                "DROP SCHEMA other CASCADE",
                "row-level security is not both enabled and forced on other.notes",
            ),
            (
                "GRANT TRUNCATE ON tasks TO todo_app",
                "REVOKE TRUNCATE ON tasks FROM todo_app",
                "todo_app may truncate tasks",
            ),
            (
                "CREATE OR REPLACE FUNCTION app.uid() RETURNS text LANGUAGE sql STABLE AS $$ SELECT 'alice' $$",
                None,
                "app.uid() does not return the user of the statement",
            ),
            (
                # A constant that would pass if the check always used the same user id.
                """CREATE OR REPLACE FUNCTION app.uid() RETURNS text LANGUAGE sql STABLE
                AS $$ SELECT ' ''probe" '::text $$""",
                None,
                "app.uid() does not return the user of the statement",
            ),
            ("ALTER ROLE todo_app REPLICATION", "ALTER ROLE todo_app NOREPLICATION", "todo_app has REPLICATION"),
            (
                "GRANT pg_read_all_data TO todo_app",
                "REVOKE pg_read_all_data FROM todo_app",
                "todo_app is a member of pg_read_all_data",
            ),
            (
                'CREATE ROLE reader; GRANT SELECT ON "user" TO reader; GRANT reader TO todo_app WITH INHERIT FALSE',
                'REVOKE SELECT ON "user" FROM reader; DROP ROLE reader',
                'todo_app is a member of reader, which has access to "user", which has no user_id',
            ),
            (
                "CREATE SCHEMA other; GRANT CREATE ON SCHEMA other TO todo_app",
                "DROP SCHEMA other",
                "todo_app may create objects in the schema other",
            ),
            (
                "ALTER FUNCTION app.uid() OWNER TO todo_app",
                "ALTER FUNCTION app.uid() OWNER TO todo_owner",
                "todo_app owns app.uid()",
            ),
            (
                "CREATE POLICY another ON tasks FOR SELECT USING (priority = 'low')",
                "DROP POLICY another ON tasks",
                f"{ONE_POLICY} tasks",
            ),
            (
                "ALTER POLICY owner ON tasks USING (true)",
                "ALTER POLICY owner ON tasks USING (user_id = (SELECT app.uid()))",
                f"{ONE_POLICY} tasks",
            ),
            (
                "ALTER POLICY owner ON changes WITH CHECK (true)",
                "ALTER POLICY owner ON changes WITH CHECK (user_id = (SELECT app.uid()))",
                f"{ONE_POLICY} changes",
            ),
            (
                "CREATE VIEW bad AS SELECT * FROM tasks; GRANT SELECT ON bad TO todo_app",
                "DROP VIEW bad",
                "todo_app has access to bad, a view that runs as its owner",
            ),
            (
                "CREATE MATERIALIZED VIEW bad AS SELECT * FROM tasks; GRANT SELECT (title) ON bad TO PUBLIC",
                "DROP MATERIALIZED VIEW bad",
                "todo_app has access to bad, which no policy guards",
            ),
            (
                'GRANT SELECT (email) ON "user" TO todo_app',
                'REVOKE SELECT (email) ON "user" FROM todo_app',
                'todo_app has access to "user", which has no user_id',
            ),
            (
                "CREATE TABLE bad (id int); GRANT INSERT ON bad TO todo_app",
                "DROP TABLE bad",
                "todo_app has access to bad, which has no user_id",
            ),
            (
                "CREATE FUNCTION bad(int) RETURNS bigint LANGUAGE sql SECURITY DEFINER AS 'SELECT count(*) FROM tasks'",
                "DROP FUNCTION bad",
                "todo_app may call bad(integer), which runs as its owner",
            ),
        ],
    )
    async def test_check_rejects_an_unsafe_database(
        self, own_url: str, own_admin: Admin, do: str, undo: str | None, message: str
    ) -> None:
        [[definition]] = own_admin.execute("SELECT pg_get_functiondef('app.uid'::regproc)").fetchall()
        own_admin.execute(do)
        try:
            async with open_database(own_url) as database:
                with pytest.raises(UnsafeDatabase) as refusal:
                    await database.verify_isolation()
        finally:
            own_admin.execute(undo or definition)

        assert str(refusal.value) == f"users would not be isolated from each other: {message}"
        async with open_database(own_url) as database:
            await database.verify_isolation()

    @pytest.mark.parametrize(
        ("do", "undo"),
        [
            # The view has the rows of its caller.
            (
                """CREATE VIEW good WITH (security_invoker) AS SELECT * FROM tasks; GRANT SELECT ON good TO todo_app""",
                "DROP VIEW good",
            ),
            ("ALTER POLICY owner ON tasks TO todo_app", "ALTER POLICY owner ON tasks TO PUBLIC"),
            # No role can call a trigger function.
            (
                """CREATE FUNCTION good() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
                AS 'BEGIN RETURN NULL; END'""",
                "DROP FUNCTION good",
            ),
            # The application has no access to the schema.
            (
                """CREATE SCHEMA hosts; CREATE FUNCTION hosts.good() RETURNS int LANGUAGE sql SECURITY DEFINER
                AS 'SELECT 1'""",
                "DROP SCHEMA hosts CASCADE",
            ),
            # Statistics that many hosting providers publish by extensions.
            (
                """CREATE VIEW good AS SELECT 1 AS calls; GRANT SELECT ON good TO PUBLIC;
                CREATE FUNCTION good() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1';
                ALTER EXTENSION plpgsql ADD VIEW good; ALTER EXTENSION plpgsql ADD FUNCTION good()""",
                """ALTER EXTENSION plpgsql DROP VIEW good; ALTER EXTENSION plpgsql DROP FUNCTION good();
                DROP VIEW good; DROP FUNCTION good()""",
            ),
        ],
    )
    async def test_check_accepts_harmless_objects(self, own_url: str, own_admin: Admin, do: str, undo: str) -> None:
        own_admin.execute(do)
        try:
            async with open_database(own_url) as database:
                await database.verify_isolation()
        finally:
            own_admin.execute(undo)

    async def test_check_reports_all_problems_in_one_line(self, own_url: str, own_admin: Admin) -> None:
        own_admin.execute("CREATE ROLE todo_wrong BYPASSRLS CREATEROLE; GRANT todo_app TO todo_wrong")
        own_admin.execute("GRANT todo_wrong TO todo_owner")
        try:
            async with open_database(own_url, DatabaseOptions(role="todo_wrong")) as database:
                with pytest.raises(UnsafeDatabase) as refusal:
                    await database.verify_isolation()
        finally:
            own_admin.execute("DROP ROLE todo_wrong")

        assert str(refusal.value) == (
            "users would not be isolated from each other: todo_wrong has BYPASSRLS; todo_wrong has CREATEROLE"
        )

    async def test_check_rejects_a_database_without_the_role(self, own_url: str) -> None:
        async with open_database(own_url, DatabaseOptions(role="todo_missing")) as database:
            with pytest.raises(UnsafeDatabase, match="the role todo_missing or its schema is missing: run"):
                await database.verify_isolation()

    async def test_check_rejects_a_database_without_migrations(self, own_url: str) -> None:
        async with open_database(make_conninfo(own_url, dbname="postgres")) as database:
            with pytest.raises(UnsafeDatabase, match="run 'todo migrate'"):
                await database.verify_isolation()

    async def test_check_rejects_a_login_that_may_not_switch_roles(self, own_url: str, own_admin: Admin) -> None:
        own_admin.execute("CREATE ROLE todo_stranger LOGIN")
        try:
            async with open_database(make_conninfo(own_url, user="todo_stranger")) as database:
                with pytest.raises(UnsafeDatabase, match="may not switch to todo_app"):
                    await database.verify_isolation()
        finally:
            own_admin.execute("DROP ROLE todo_stranger")

    async def test_check_ignores_tables_without_grants_to_the_application(self, own_url: str, own_admin: Admin) -> None:
        """Tables of Better Auth may have a column ``user_id``."""
        own_admin.execute("CREATE TABLE session (id text, user_id text)")
        try:
            async with open_database(own_url) as database:
                await database.verify_isolation()
        finally:
            own_admin.execute("DROP TABLE session")

    async def test_check_raises_unavailable_without_a_server(self) -> None:
        async with open_database("postgresql://127.0.0.1:1/todo") as database:
            with pytest.raises(Unavailable):
                await database.verify_isolation(budget_seconds=0.2)


# Task: T-060
class TestOwner:
    """The database owner: Better Auth and the migrations connect as this role. FORCE applies the policies to it."""

    async def test_owner_sees_no_rows(self, own_url: str) -> None:
        user_id = sign_up(own_url, "alice")
        async with open_database(own_url) as database:
            await Session(database, user_id).fetch_one(ADD, task_id=uuid4())

        with psycopg.connect(own_url) as owner:
            assert owner.execute("SELECT * FROM tasks").fetchall() == []

    async def test_owner_who_deletes_a_user_deletes_the_users_rows(self, own_url: str, own_admin: Admin) -> None:
        alice, bob = (sign_up(own_url, name) for name in ("alice", "bob"))
        async with open_database(own_url) as database:
            for user_id in (alice, bob):
                await Session(database, user_id).fetch_one(ADD, task_id=uuid4())

            with psycopg.connect(own_url) as owner:
                owner.execute('DELETE FROM "user" WHERE id = %s', (alice,))

            left = own_admin.execute("SELECT user_id FROM tasks WHERE user_id IN (%s, %s)", (alice, bob)).fetchall()
            assert left == [(bob,)]
            assert await Session(database, bob).fetch_one(COUNT) == {"n": 1}
