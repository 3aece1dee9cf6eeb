"""The change log with conflicts, rollbacks, concurrent writers and deleted users."""

from collections.abc import Sequence
from contextlib import suppress
from threading import Thread
from uuid import uuid4

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from support.change_log import (
    INSERT,
    Connection,
    add,
    become,
    counter_of,
    last,
    log_of,
    operations,
    revisions_of,
)
from support.helpers import commit_when_awaited, wait_for_a_lock
from support.users import sign_up

ON_CONFLICT = " ON CONFLICT (user_id, id) DO "


# Task: T-111
class TestConflict:
    """An INSERT with ON CONFLICT. If the key exists, no row is inserted and nothing is logged."""

    def test_on_conflict_do_nothing_is_not_logged(self, admin: Connection, user_id: str) -> None:
        task_id = add(admin, user_id)

        again = admin.execute(INSERT + ON_CONFLICT + "NOTHING", (user_id, task_id, "Buy bread"))

        assert again.rowcount == 0
        assert (operations(admin, user_id), counter_of(admin, user_id)) == ([(1, "create")], 1)

    def test_on_conflict_do_update_is_logged_as_an_update(self, admin: Connection, user_id: str) -> None:
        task_id = add(admin, user_id)
        update = ON_CONFLICT + "UPDATE SET title = excluded.title, revision = excluded.revision"

        admin.execute(INSERT + update, (user_id, task_id, "Buy bread"))
        admin.execute(INSERT + update, (user_id, task_id, "Buy bread"))

        assert operations(admin, user_id) == [(1, "create"), (2, "update")]
        assert last(admin, user_id)[1] == {"title": "Buy milk"}
        assert revisions_of(admin, user_id) == {(task_id, 2)}

    def test_conflict_with_a_row_of_the_same_statement_is_not_logged(self, admin: Connection, user_id: str) -> None:
        task_id = uuid4()

        admin.execute(
            "INSERT INTO tasks (user_id, id, title, status, priority, created_at, updated_at, creation_digest)"
            " SELECT %s, %s, n, 'pending', 'low', now(), now(), '' FROM generate_series(1, 3) n"
            + ON_CONFLICT
            + "NOTHING",
            (user_id, task_id),
        )

        assert operations(admin, user_id) == [(1, "create")]
        assert (revisions_of(admin, user_id), counter_of(admin, user_id)) == ({(task_id, 1)}, 1)

    def test_unique_violation_leaves_no_gap(self, admin: Connection, user_id: str) -> None:
        task_id = add(admin, user_id)

        with pytest.raises(psycopg.errors.UniqueViolation):
            admin.execute(INSERT, (user_id, task_id, "Buy bread"))
        add(admin, user_id)

        assert operations(admin, user_id) == [(1, "create"), (2, "create")]

    @pytest.mark.parametrize("known", [True, False])
    def test_conflict_with_a_concurrent_insert_is_not_logged(
        self, admin: Connection, database_url: str, user_id: str, *, known: bool
    ) -> None:
        """Both check for the key before either has committed, so the second one must check again."""
        task_id = uuid4()
        if known:
            add(admin, user_id)
        with psycopg.connect(database_url) as rival:
            rival.execute(INSERT, (user_id, task_id, "Buy milk"))
            second = Thread(
                target=admin.execute, args=(INSERT + ON_CONFLICT + "NOTHING", (user_id, task_id, "Buy bread"))
            )
            second.start()
            commit_when_awaited(rival)
            second.join()

        count = 1 + known
        assert operations(admin, user_id) == [(n, "create") for n in range(1, count + 1)]
        assert counter_of(admin, user_id) == count


# Task: T-111
class TestTransactions:
    def test_each_step_of_a_transaction_is_logged(self, admin: Connection, user_id: str) -> None:
        with admin.transaction():
            task_id = add(admin, user_id)
            for title in ("one", "two"):
                admin.execute("UPDATE tasks SET title = %s WHERE id = %s", (title, task_id))
            admin.execute("DELETE FROM tasks WHERE id = %s", (task_id,))

        assert operations(admin, user_id) == [(1, "create"), (2, "update"), (3, "update"), (4, "delete")]

    def test_rolled_back_transaction_leaves_no_gap(self, admin: Connection, user_id: str) -> None:
        add(admin, user_id)

        with suppress(ZeroDivisionError), admin.transaction():
            add(admin, user_id)
            raise ZeroDivisionError
        add(admin, user_id)

        assert operations(admin, user_id) == [(1, "create"), (2, "create")]

    def test_rolled_back_savepoint_leaves_no_gap(self, admin: Connection, user_id: str) -> None:
        with admin.transaction():
            kept = add(admin, user_id)
            with suppress(ZeroDivisionError), admin.transaction():
                add(admin, user_id)
                admin.execute("UPDATE tasks SET title = 'x' WHERE id = %s", (kept,))
                raise ZeroDivisionError
            other = add(admin, user_id)

        assert log_of(admin, user_id) == [(1, "create", str(kept)), (2, "create", str(other))]
        assert revisions_of(admin, user_id) == {(kept, 1), (other, 2)}

    def test_concurrent_changes_become_visible_in_order(
        self, admin: Connection, user_id: str, database_url: str
    ) -> None:
        """The transaction that starts to write first gets the first revision. The other one waits for it."""
        with psycopg.connect(database_url) as slow, psycopg.connect(database_url) as fast:
            first = add(slow, user_id)
            writing = Thread(target=add, args=(fast, user_id))
            writing.start()
            commit_when_awaited(slow)
            writing.join()
            fast.commit()

        assert log_of(admin, user_id)[0] == (1, "create", str(first))
        assert operations(admin, user_id) == [(1, "create"), (2, "create")]

    def test_writers_of_one_user_queue_before_they_lock_rows(
        self, admin: Connection, user_id: str, database_url: str
    ) -> None:
        """Two transactions that write the same rows in opposite order do not deadlock."""
        tasks = [add(admin, user_id) for _ in range(2)]
        title = "UPDATE tasks SET title = %s WHERE id = %s"
        with psycopg.connect(database_url) as one, psycopg.connect(database_url) as other:
            become(one, user_id)
            become(other, user_id)
            one.execute(title, ("one", tasks[0]))

            def write() -> None:
                for task_id in reversed(tasks):
                    other.execute(title, ("other", task_id))

            writing = Thread(target=write)
            writing.start()
            wait_for_a_lock(one)
            one.execute(title, ("one", tasks[1]))
            one.commit()
            writing.join()
            other.commit()

        assert [revision for revision, _ in operations(admin, user_id)] == [1, 2, 3, 4, 5, 6]

    def test_writers_of_two_users_do_not_wait_for_each_other(
        self, admin: Connection, user_id: str, database_url: str
    ) -> None:
        other = sign_up(database_url, "bob")
        admin.execute("SET lock_timeout = '1ms'")
        with psycopg.connect(database_url) as slow:
            add(slow, user_id)

            add(admin, other)

        assert operations(admin, other) == [(1, "create")]


# Task: T-111
class TestDeletedUser:
    """All data of a user is deleted with the user, whichever role deletes the account."""

    def test_deleted_user_leaves_no_rows(self, admin: Connection, user_id: str, database_url: str) -> None:
        other = sign_up(database_url, "bob")
        for owner in (user_id, other):
            add(admin, owner)

        admin.execute('DELETE FROM "user" WHERE id = %s', (user_id,))

        assert self.counts_of(admin, user_id) == [0, 0, 0, 0]
        assert self.counts_of(admin, other) == [1, 1, 1, 2]

    @pytest.mark.parametrize("attributes", ["BYPASSRLS", "NOBYPASSRLS"])
    def test_user_deleted_by_the_owner_leaves_no_rows(
        self, own_url: str, own_admin: Connection, attributes: str
    ) -> None:
        user_id, other = sign_up(own_url, "alice"), sign_up(own_url, "bob")
        for owner in (user_id, other):
            add(own_admin, owner)
        own_admin.execute(f"ALTER ROLE todo_owner {attributes}")

        with psycopg.connect(own_url, autocommit=True) as host:
            host.execute('DELETE FROM "user" WHERE id = %s', (user_id,))

        own_admin.execute("ALTER ROLE todo_owner NOBYPASSRLS")
        assert self.counts_of(own_admin, user_id) == [0, 0, 0, 0]
        assert self.counts_of(own_admin, other) == [1, 1, 1, 2]

    def test_user_deleted_by_a_role_without_other_grants_leaves_no_rows(
        self, own_url: str, own_admin: Connection
    ) -> None:
        """Better Auth may connect as a separate role without privileges on our tables."""
        user_id = sign_up(own_url, "alice")
        add(own_admin, user_id)
        own_admin.execute('CREATE ROLE auth LOGIN; GRANT SELECT, DELETE ON "user" TO auth')

        with psycopg.connect(make_conninfo(own_url, user="auth"), autocommit=True) as auth:
            auth.execute('DELETE FROM "user" WHERE id = %s', (user_id,))

        assert self.counts_of(own_admin, user_id) == [0, 0, 0, 0]
        own_admin.execute("DROP OWNED BY auth; DROP ROLE auth")

    def test_deleted_revision_counter_leaves_no_changes(self, own_url: str, own_admin: Connection) -> None:
        """Before PostgreSQL 18, foreign key triggers run as the deleting role, which has no access to the log."""
        user_id = sign_up(own_url, "alice")
        add(own_admin, user_id)
        own_admin.execute("CREATE ROLE auth LOGIN BYPASSRLS; GRANT SELECT, DELETE ON revisions TO auth")

        with psycopg.connect(make_conninfo(own_url, user="auth"), autocommit=True) as auth:
            auth.execute("DELETE FROM revisions WHERE user_id = %s", (user_id,))

        assert log_of(own_admin, user_id) == []
        own_admin.execute("DROP OWNED BY auth; DROP ROLE auth")

    def test_deleting_tasks_of_a_deleted_user_needs_no_privileges_on_counts(
        self, own_url: str, own_admin: Connection
    ) -> None:
        """Before PostgreSQL 18, foreign key triggers run as the deleting role. The user is already deleted here."""
        user_id = sign_up(own_url, "alice")
        add(own_admin, user_id)
        own_admin.execute("CREATE ROLE auth LOGIN BYPASSRLS; GRANT USAGE ON SCHEMA app TO auth")
        own_admin.execute('GRANT SELECT ON "user" TO auth; GRANT SELECT, DELETE ON tasks TO auth')
        with own_admin.transaction():
            own_admin.execute("SET LOCAL session_replication_role = replica")
            own_admin.execute('DELETE FROM "user" WHERE id = %s', (user_id,))

        with psycopg.connect(make_conninfo(own_url, user="auth"), autocommit=True) as auth:
            gone = auth.execute("DELETE FROM tasks WHERE user_id = %s", (user_id,)).rowcount

        assert gone == 1
        own_admin.execute("DROP OWNED BY auth; DROP ROLE auth")

    def test_deleting_a_user_resets_the_identity(self, admin: Connection, user_id: str) -> None:
        add(admin, user_id)

        with admin.transaction():
            admin.execute('DELETE FROM "user" WHERE id = %s', (user_id,))
            assert admin.execute("SELECT app.uid()").fetchone() == (None,)

    @pytest.mark.parametrize("ends_with", ["commit", "rollback"])
    def test_deleting_a_user_waits_for_a_writer(
        self, admin: Connection, user_id: str, database_url: str, ends_with: str
    ) -> None:
        task_id = add(admin, user_id)
        with psycopg.connect(database_url) as writer:
            become(writer, user_id)
            writer.execute("UPDATE tasks SET title = 'Buy bread' WHERE id = %s", (task_id,))
            deleting = Thread(target=admin.execute, args=('DELETE FROM "user" WHERE id = %s', (user_id,)))
            deleting.start()
            wait_for_a_lock(writer)
            getattr(writer, ends_with)()
            deleting.join()

        assert self.counts_of(admin, user_id) == [0, 0, 0, 0]

    def test_rows_of_a_deleted_user_cannot_be_added(self, admin: Connection, user_id: str) -> None:
        admin.execute('DELETE FROM "user" WHERE id = %s', (user_id,))

        with pytest.raises(psycopg.errors.ForeignKeyViolation):
            add(admin, user_id)

        assert self.counts_of(admin, user_id) == [0, 0, 0, 0]

    @staticmethod
    def counts_of(admin: Connection, user_id: str) -> Sequence[int]:
        counts = "SELECT " + ", ".join(
            f"(SELECT count(*)::int FROM {table} WHERE user_id = %(user_id)s)"
            for table in ("tasks", "revisions", "changes", "task_words")
        )
        return list(admin.execute(counts, {"user_id": user_id}).fetchall()[0])
