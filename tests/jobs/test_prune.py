"""Deletion of old rows of all users, although row-level security hides them from the application's role."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace

import psycopg
import pytest
from httpx import AsyncClient
from psycopg import sql

from support.expired_rows import Connection, keep_key, keys_left, log_days_ago, revisions_left
from support.helpers import LONG_TIMEOUTS, eventually, grace_period
from support.subtrees import act, add_line, changes_of, faults_of, read, read_all, revision_of, trash, undo
from support.tasks import add_task
from support.users import sign_up
from todo.database import Database, Session
from todo.errors import Gone
from todo.jobs.prune import PruneOptions, keep_pruning, prune_all
from todo.services import changes

AT_ONCE = PruneOptions(kept_days=90, first_after_seconds=0, every_seconds=0, pause_seconds=0)


@pytest.fixture
def admin(database_url: str) -> Iterator[Connection]:
    """Yield a superuser connection in autocommit mode."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
async def impatient(database_url: str) -> AsyncIterator[Database]:
    """Yield a database on which a statement may take 0.3 seconds."""
    database = Database(database_url, replace(LONG_TIMEOUTS, statement_timeout_milliseconds=300))
    await database.open()
    yield database
    await database.close()


# Task: T-113
class TestPruneAll:
    async def test_pruning_deletes_old_changes_and_keys_and_keeps_the_rest(
        self, database: Database, database_url: str, admin: Connection
    ) -> None:
        alice, bob = sign_up(database_url, "alice"), sign_up(database_url, "bob")
        log_days_ago(admin, alice, 400, 91, 89, 0)
        log_days_ago(admin, bob, 89, 3)
        for user_id in (alice, bob):
            keep_key(admin, user_id, "old", hours_ago=25)
            keep_key(admin, user_id, "young", hours_ago=23)

        removed = await prune_all(database, AT_ONCE)

        assert removed >= 4
        assert (revisions_left(admin, alice), revisions_left(admin, bob)) == ([3, 4], [1, 2])
        assert keys_left(admin, alice) == keys_left(admin, bob) == {"young"}
        assert await prune_all(database, AT_ONCE) == 0

    async def test_pruning_keeps_tasks_and_revision_numbers(
        self, database: Database, alice: AsyncClient, admin: Connection
    ) -> None:
        task = await add_task(alice)
        user_id = (await alice.get("/me")).json()["id"]
        admin.execute("UPDATE changes SET changed_at = now() - interval '91 days' WHERE user_id = %s", (user_id,))

        await prune_all(database, AT_ONCE)

        assert (await alice.get(f"/tasks/{task['id']}")).json() == task
        assert (await alice.get("/changes", params={"since": 1})).json() == {
            "changes": [],
            "revision": 1,
            "has_more": False,
        }
        assert (await add_task(alice))["revision"] == 2

    async def test_clients_with_a_pruned_revision_must_resync(
        self, database: Database, alice: AsyncClient, admin: Connection
    ) -> None:
        user_id = (await alice.get("/me")).json()["id"]
        log_days_ago(admin, user_id, 92, 91, 1)

        await prune_all(database, AT_ONCE)

        answers = [await alice.get("/changes", params={"since": since}) for since in range(5)]
        assert [answer.status_code for answer in answers] == [410, 410, 200, 200, 410]
        assert answers[1].json()["code"] == "resync_required"
        assert [change["revision"] for change in answers[2].json()["changes"]] == [3]
        assert (await alice.post("/changes/2/undo")).status_code == 404

    async def test_pruning_does_not_read_keys_that_are_still_valid(self, database_url: str, admin: Connection) -> None:
        """Otherwise the keys of one user could keep a batch from ending, and no old rows would be deleted any more."""
        user_id = sign_up(database_url, "alice")
        admin.execute(
            "INSERT INTO idempotency_keys SELECT %s, n::text, '', '[]', now() FROM generate_series(1, 5000) AS n",
            (user_id,),
        )
        keep_key(admin, user_id, "old", hours_ago=25)
        admin.execute("ANALYZE idempotency_keys")

        with admin.transaction():
            admin.execute("""SELECT app.prune(90, (SELECT count(*) FROM "user" WHERE id < %s))""", (user_id,))
            read = admin.execute(
                "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relname = 'idempotency_keys'"
            ).fetchone()

        assert read is not None
        assert 1 <= read[0] < 1000
        assert len(keys_left(admin, user_id)) == 5000

    async def test_pruning_leaves_no_gap_in_the_change_log(
        self, database: Database, database_url: str, admin: Connection
    ) -> None:
        """A change has the time of its transaction, which may have waited for one that began later."""
        user_id = sign_up(database_url, "alice")
        log_days_ago(admin, user_id, 91, 89, 91, 1)

        await prune_all(database, AT_ONCE)

        assert revisions_left(admin, user_id) == [2, 3, 4]

    async def test_pruning_continues_where_the_last_batch_ended(
        self, database: Database, database_url: str, admin: Connection
    ) -> None:
        """One user has more rows than a batch, and there are more users than a batch."""
        names = ["alice", *["bob"] * 110, "zoe"]
        user_ids = [sign_up(database_url, name) for name in names]
        log_days_ago(admin, user_ids[0], *[91] * 1_200, 1)
        log_days_ago(admin, user_ids[-1], 91, 1)
        for n in range(600):
            keep_key(admin, user_ids[0], str(n), hours_ago=25)

        await prune_all(database, AT_ONCE)

        assert revisions_left(admin, user_ids[0]) == [1_201]
        assert revisions_left(admin, user_ids[-1]) == [2]
        assert keys_left(admin, user_ids[0]) == set()

    async def test_pruning_does_not_block_writers(
        self, database: Database, database_url: str, admin: Connection
    ) -> None:
        user_id = sign_up(database_url, "alice")
        log_days_ago(admin, user_id, 91, 1)
        with psycopg.connect(database_url) as writer:
            writer.execute("UPDATE tasks SET priority = 'high' WHERE user_id = %s", (user_id,))

            await prune_all(database, AT_ONCE)

            writer.commit()
        assert revisions_left(admin, user_id) == [2, 3, 4]

    async def test_feed_read_during_pruning_is_complete_or_gone(
        self, database: Database, database_url: str, admin: Connection
    ) -> None:
        """A feed page read while its changes are deleted is complete, or raises Gone."""
        user_id = sign_up(database_url, "alice")
        log_days_ago(admin, user_id, *[91] * 2_000, 0)
        outcomes: list[list[int] | None] = []

        async def read() -> None:
            for _ in range(40):
                try:
                    feed = await changes.since(Session(database, user_id), 700, limit=50)
                except Gone:
                    outcomes.append(None)
                else:
                    outcomes.append([change["revision"] for change in feed.changes])

        await asyncio.gather(read(), prune_all(database, AT_ONCE))

        assert {tuple(outcome) for outcome in outcomes if outcome} <= {tuple(range(701, 751))}
        assert revisions_left(admin, user_id) == [2_001]
        with pytest.raises(Gone):
            await changes.since(Session(database, user_id), 700, limit=50)


async def age_trash(client: AsyncClient, admin: Connection, days: int) -> str:
    """Make everything in a user's trash ``days`` days older, without logging a change; return the user's id."""
    user_id: str = (await client.get("/me")).json()["id"]
    with admin.transaction():
        admin.execute("SET LOCAL session_replication_role = replica")
        admin.execute(
            "UPDATE tasks SET trashed_at = trashed_at - make_interval(days => %s) WHERE user_id = %s", (days, user_id)
        )
    return user_id


@contextmanager
def slow_deletes(admin: Connection, user_id: str, *, seconds: float) -> Iterator[None]:
    """Make each deletion of a task of the user take this long."""
    admin.execute(
        sql.SQL(
            "CREATE FUNCTION public.sleep_before_delete() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN IF OLD.user_id = {} THEN PERFORM pg_sleep({}); END IF; RETURN OLD; END $$;"
            " CREATE TRIGGER sleep_before_delete BEFORE DELETE ON tasks FOR EACH ROW"
            " EXECUTE FUNCTION public.sleep_before_delete()"
        ).format(user_id, seconds)
    )
    try:
        yield
    finally:
        admin.execute("DROP FUNCTION public.sleep_before_delete() CASCADE")


# Task: T-352
class TestEmptyTrash:
    async def test_pruning_deletes_only_what_is_in_the_trash_for_too_long(
        self, database: Database, database_url: str, alice: AsyncClient, admin: Connection
    ) -> None:
        old, kept = await add_line(alice, 5), await add_task(alice, title="Kept")
        recent, partly = await add_line(alice, 2), await add_line(alice, 2)
        await trash(alice, old[0])
        await trash(alice, partly[1])
        await age_trash(alice, admin, 31)
        await trash(alice, recent[0])
        before = await read_all(alice, kept, *recent)

        removed = await prune_all(database, AT_ONCE)

        gone = [(await alice.get(f"/tasks/{task['id']}")).status_code for task in [*old, partly[1]]]
        assert removed >= 6
        assert gone == [404] * 6
        assert await read_all(alice, kept, *recent) == before
        assert (await read(alice, partly[0]))["subtasks_total"] == 0
        assert await faults_of(alice, database_url) == []
        assert await prune_all(database, AT_ONCE) == 0

    @pytest.mark.parametrize(("days", "status"), [(29, 200), (31, 404)])
    async def test_trash_is_kept_for_30_days(
        self, database: Database, alice: AsyncClient, admin: Connection, days: int, status: int
    ) -> None:
        task = await trash(alice, await add_task(alice))
        await age_trash(alice, admin, days)

        await prune_all(database, AT_ONCE)

        assert (await alice.get(f"/tasks/{task['id']}")).status_code == status

    async def test_trash_is_kept_as_long_as_configured(
        self, database: Database, alice: AsyncClient, admin: Connection
    ) -> None:
        task = await trash(alice, await add_task(alice))
        await age_trash(alice, admin, 31)

        await prune_all(database, replace(AT_ONCE, trash_kept_days=32))

        assert (await alice.get(f"/tasks/{task['id']}")).status_code == 200

    async def test_pruned_tasks_are_logged_as_deletions_that_can_be_undone(
        self, database: Database, database_url: str, alice: AsyncClient, admin: Connection
    ) -> None:
        top, below = await add_line(alice, 2)
        before = await read(alice, top)
        await trash(alice, top)
        await age_trash(alice, admin, 31)
        since = await revision_of(alice)

        await prune_all(database, AT_ONCE)

        changes = await changes_of(alice, since)
        assert [(change["operation"], change["id"]) for change in changes] == [
            ("delete", below["id"]),
            ("delete", top["id"]),
        ]
        assert [(await undo(alice, change["revision"])).status_code for change in reversed(changes)] == [200, 200]
        restored = await act(alice, top, "restore")
        assert (restored["title"], restored["subtasks_total"]) == (before["title"], 1)
        assert await faults_of(alice, database_url) == []

    async def test_emptying_the_trash_continues_where_the_last_batch_ended(
        self, database: Database, alice: AsyncClient, admin: Connection
    ) -> None:
        """One task has more subtasks than a batch; the size of a batch does not depend on the subtree."""
        parent = await add_task(alice)
        user_id = (await alice.get("/me")).json()["id"]
        admin.execute(
            "INSERT INTO tasks (user_id, id, parent_id, title, status, priority, created_at, updated_at,"
            " creation_digest)"
            " SELECT %s, gen_random_uuid(), %s, n, 'pending', 'low', now(), now(), '' FROM generate_series(1, 1200) n",
            (user_id, parent["id"]),
        )
        await trash(alice, parent)
        await age_trash(alice, admin, 31)

        place = admin.execute('SELECT count(*) FROM "user" WHERE id < %s', (user_id,)).fetchone()
        bite = admin.execute("SELECT removed FROM app.empty_trash(30, %s)", place).fetchone()
        await prune_all(database, AT_ONCE)

        assert bite == (500,)
        assert admin.execute("SELECT count(*) FROM tasks WHERE user_id = %s", (user_id,)).fetchone() == (0,)

    # Task: T-502
    async def test_tasks_that_are_slow_to_delete_are_deleted_in_smaller_batches(
        self, impatient: Database, alice: AsyncClient, admin: Connection
    ) -> None:
        """All tasks of one batch together exceed the time limit of a statement."""
        parent = (await add_line(alice, 1))[0]
        user_id = await age_trash(alice, admin, 0)
        log_days_ago(admin, user_id, *[1] * 30)
        admin.execute(
            "UPDATE tasks SET parent_id = %s WHERE user_id = %s AND id <> %s", (parent["id"], user_id, parent["id"])
        )
        await trash(alice, parent)
        await age_trash(alice, admin, 31)

        with slow_deletes(admin, user_id, seconds=0.03):
            await prune_all(impatient, AT_ONCE)

        assert admin.execute("SELECT count(*) FROM tasks WHERE user_id = %s", (user_id,)).fetchone() == (0,)

    # Task: T-502
    async def test_user_whose_tasks_cannot_be_deleted_does_not_stop_the_pruning_of_others(
        self, impatient: Database, alice: AsyncClient, bob: AsyncClient, admin: Connection
    ) -> None:
        tasks = [await trash(client, await add_task(client)) for client in (alice, bob)]
        first_id, other_id = [await age_trash(client, admin, 31) for client in (alice, bob)]
        log_days_ago(admin, other_id, 91)

        with slow_deletes(admin, first_id, seconds=60):
            await prune_all(impatient, AT_ONCE)

        found = [
            (await client.get(f"/tasks/{task['id']}")).status_code
            for client, task in zip((alice, bob), tasks, strict=True)
        ]
        assert first_id < other_id
        assert found == [200, 404]

    async def test_emptying_the_trash_skips_locked_users_without_waiting_or_failing(
        self, database: Database, database_url: str, alice: AsyncClient, bob: AsyncClient, admin: Connection
    ) -> None:
        tasks = [await trash(client, await add_task(client)) for client in (alice, bob)]
        writer_id, _ = [await age_trash(client, admin, 31) for client in (alice, bob)]
        with psycopg.connect(database_url) as writer:
            writer.execute("SELECT set_config('app.user', extract(epoch FROM now()) || ' ' || %s, true)", (writer_id,))
            writer.execute("UPDATE tasks SET priority = 'high' WHERE user_id = %s", (writer_id,))

            await prune_all(database, AT_ONCE)

            writer.commit()
        assert [
            (await client.get(f"/tasks/{task['id']}")).status_code
            for client, task in zip((alice, bob), tasks, strict=True)
        ] == [200, 404]
        await prune_all(database, AT_ONCE)
        assert (await alice.get(f"/tasks/{tasks[0]['id']}")).status_code == 404


# Task: T-113
class TestKeepPruning:
    async def test_pruning_repeats_until_it_is_cancelled(
        self, database: Database, database_url: str, admin: Connection
    ) -> None:
        user_id = sign_up(database_url, "alice")
        log_days_ago(admin, user_id, 91)
        task = asyncio.create_task(keep_pruning(database, AT_ONCE))
        await eventually(lambda: revisions_left(admin, user_id) == [])
        log_days_ago(admin, user_id, 1)
        admin.execute("UPDATE changes SET changed_at = now() - interval '91 days' WHERE user_id = %s", (user_id,))

        await eventually(lambda: revisions_left(admin, user_id) == [])

        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    async def test_pruning_survives_an_unavailable_database(self, database_url: str, admin: Connection) -> None:
        user_id = sign_up(database_url, "alice")
        log_days_ago(admin, user_id, 91)
        database = Database(database_url, LONG_TIMEOUTS)
        task = asyncio.create_task(keep_pruning(database, AT_ONCE))
        await grace_period()
        assert revisions_left(admin, user_id) == [1]

        await database.open()

        await eventually(lambda: revisions_left(admin, user_id) == [])
        task.cancel()
        await asyncio.wait([task])
        await database.close()
