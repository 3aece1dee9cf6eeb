"""The log of changes under everything that SQL can do: it tells what happened, once, in order, without gaps."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from threading import Thread
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from support.people import sign_up

Connection = psycopg.Connection[Any]

INSERT = (
    "INSERT INTO tasks (user_id, id, title, status, priority, created_at, updated_at, creation_digest)"
    " VALUES (%s, %s, %s, 'pending', 'low', '2026-03-01 07:30Z', '2026-03-01 07:30Z', '\\x0102')"
)
# The columns of a task that nobody has set.
UNSET: dict[str, Any] = {
    **dict.fromkeys(("due_time_zone", "start_date", "recurrence", "series_id", "category_id", "parent_id")),
    **dict.fromkeys(("recurrence_anchor", "recurrence_number", "recurrence_due", "recurrence_start")),
    **dict.fromkeys(("last_occurrence", "last_skipped", "last_completed_at", "trashed_at", "trash_id")),
    "tags": [],
    "tag_keys": [],
    "subtasks_total": 0,
    "subtasks_completed": 0,
    "position": "500000000000001",
}
ON_CONFLICT = " ON CONFLICT (user_id, id) DO "


@pytest.fixture
def connection(database_url: str) -> Iterator[Connection]:
    """The superuser, outside of any transaction."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


def add(connection: Connection, user_id: str, *, title: str = "Buy milk", then: str = "") -> UUID:
    task_id = uuid4()
    connection.execute(INSERT + then, (user_id, task_id, title))
    return task_id


def log_of(connection: Connection, user_id: str) -> list[tuple[int, str, str]]:
    """Revision, operation and id of everything that was logged."""
    return connection.execute(
        "SELECT revision, operation, entity_id FROM changes WHERE user_id = %s ORDER BY revision", (user_id,)
    ).fetchall()


def operations(connection: Connection, user_id: str) -> list[tuple[int, str]]:
    return [(revision, operation) for revision, operation, _ in log_of(connection, user_id)]


def counter_of(connection: Connection, user_id: str) -> int | None:
    row = connection.execute("SELECT revision FROM revisions WHERE user_id = %s", (user_id,)).fetchone()
    return row[0] if row else None


def revisions_of(connection: Connection, user_id: str) -> set[tuple[UUID, int]]:
    return set(connection.execute("SELECT id, revision FROM tasks WHERE user_id = %s", (user_id,)).fetchall())


def last(connection: Connection, user_id: str) -> tuple[Any, Any]:
    """State and before of the last change."""
    rows = connection.execute(
        "SELECT state, before FROM changes WHERE user_id = %s ORDER BY revision DESC LIMIT 1", (user_id,)
    ).fetchall()
    state, before = rows[0]
    return state, before


def become(connection: Connection, user_id: str) -> None:
    """Be the application, on behalf of a user, for the rest of the transaction."""
    connection.execute(
        "SELECT set_config('role', 'todo_app', true),"
        " set_config('app.user', extract(epoch FROM now()) || ' ' || %s, true)",
        (user_id,),
    )


# Task: T-111
class TestOneByOne:
    def test_tells_a_row_from_its_beginning_to_its_end(self, connection: Connection, user_id: str) -> None:
        task_id = add(connection, user_id)
        created = {
            "id": str(task_id),
            "title": "Buy milk",
            "description": None,
            "status": "pending",
            "priority": "low",
            "due_date": None,
            "created_at": "2026-03-01T07:30:00+00:00",
            "updated_at": "2026-03-01T07:30:00+00:00",
            "completed_at": None,
            "creation_digest": "\\x0102",
            **UNSET,
        }
        updated = {**created, "title": "Buy bread", "priority": "high", "updated_at": "2026-03-02T07:30:00.5+00:00"}

        assert last(connection, user_id) == (created, None)
        connection.execute(
            "UPDATE tasks SET title = 'Buy bread', priority = 'high', updated_at = '2026-03-02 07:30:00.5Z'"
            " WHERE id = %s",
            (task_id,),
        )
        assert last(connection, user_id) == (updated, {"title": "Buy milk", "priority": "low"})
        connection.execute("DELETE FROM tasks WHERE id = %s", (task_id,))
        assert last(connection, user_id) == (None, updated)
        assert log_of(connection, user_id) == [
            (1, "create", str(task_id)),
            (2, "update", str(task_id)),
            (3, "delete", str(task_id)),
        ]
        assert counter_of(connection, user_id) == 3

    def test_writes_the_number_into_the_row(self, connection: Connection, user_id: str) -> None:
        first, second = add(connection, user_id), add(connection, user_id)

        connection.execute("UPDATE tasks SET title = 'Buy bread', revision = 99 WHERE id = %s", (first,))

        assert revisions_of(connection, user_id) == {(first, 3), (second, 2)}

    @pytest.mark.parametrize("assignment", ["title = title", "updated_at = now()", "revision = 99", "id = id"])
    def test_is_silent_where_nothing_changes(self, connection: Connection, user_id: str, assignment: str) -> None:
        add(connection, user_id)
        row = "SELECT * FROM tasks WHERE user_id = %s"
        before = connection.execute(row, (user_id,)).fetchall()

        connection.execute(f"UPDATE tasks SET {assignment} WHERE user_id = %s", (user_id,))

        assert connection.execute(row, (user_id,)).fetchall() == before
        assert operations(connection, user_id) == [(1, "create")]

    def test_is_silent_of_what_follows_from_elsewhere(self, connection: Connection, user_id: str) -> None:
        """When a task is due follows from its date and from where its owner is: the profile's change tells it."""
        task_id = add(connection, user_id)
        connection.execute("UPDATE tasks SET due_date = '2026-03-10T09:00:00' WHERE id = %s", (task_id,))
        due_at = "SELECT to_char(due_at AT TIME ZONE 'UTC', 'HH24:MI'), revision FROM tasks WHERE id = %s"
        before = connection.execute(due_at, (task_id,)).fetchone()

        connection.execute(
            "INSERT INTO profiles (user_id, id, time_zone, day_start, week_start, updated_at, revision)"
            " VALUES (%s, 'me', 'Asia/Tokyo', '00:00', 'monday', now(), 0)",
            (user_id,),
        )

        assert (before, connection.execute(due_at, (task_id,)).fetchone()) == (("09:00", 2), ("00:00", 2))
        assert log_of(connection, user_id)[1:] == [(2, "update", str(task_id)), (3, "create", "me")]
        state, _ = last(connection, user_id)
        assert state.keys() == {"id", "time_zone", "day_start", "week_start", "updated_at"}

    def test_tells_of_a_reopened_task_only_that(self, connection: Connection, user_id: str) -> None:
        """It is due where its owner is by now, which is not told."""
        task_id = add(connection, user_id)
        connection.execute(
            "UPDATE tasks SET status = 'cancelled', due_date = '2026-03-10T09:00:00' WHERE id = %s", (task_id,)
        )
        connection.execute(
            "INSERT INTO profiles (user_id, id, time_zone, day_start, week_start, updated_at, revision)"
            " VALUES (%s, 'me', 'Asia/Tokyo', '00:00', 'monday', now(), 0)",
            (user_id,),
        )

        connection.execute("UPDATE tasks SET status = 'pending' WHERE id = %s", (task_id,))

        due_at = connection.execute("SELECT due_at FROM tasks WHERE id = %s", (task_id,)).fetchall()[0][0]
        assert due_at == datetime(2026, 3, 10, tzinfo=UTC)
        assert last(connection, user_id)[1] == {"status": "cancelled"}

    def test_takes_another_key_for_another_thing(self, connection: Connection, user_id: str) -> None:
        old, new = add(connection, user_id), uuid4()

        connection.execute("UPDATE tasks SET id = %s WHERE id = %s", (new, old))

        assert log_of(connection, user_id) == [
            (1, "create", str(old)),
            (2, "delete", str(old)),
            (3, "create", str(new)),
        ]
        assert revisions_of(connection, user_id) == {(new, 3)}

    def test_tells_both_when_a_row_changes_hands(self, connection: Connection, user_id: str, database_url: str) -> None:
        task_id, other = add(connection, user_id), sign_up(database_url, "bob")
        add(connection, other)

        connection.execute("UPDATE tasks SET user_id = %s WHERE id = %s", (other, task_id))

        assert operations(connection, user_id) == [(1, "create"), (2, "delete")]
        assert operations(connection, other) == [(1, "create"), (2, "create")]
        assert (task_id, 2) in revisions_of(connection, other)

    @pytest.mark.parametrize(
        "settings",
        [
            "SET timezone = 'Asia/Kathmandu'; SET datestyle = 'German, DMY'; SET bytea_output = 'hex'",
            "SET timezone = '-11:30'; SET datestyle = 'SQL, MDY'; SET intervalstyle = 'iso_8601'",
            "SET search_path = ''",
        ],
    )
    def test_is_the_same_whatever_the_writers_settings(
        self, connection: Connection, user_id: str, settings: str
    ) -> None:
        task_id = add(connection, user_id)
        usual, _ = last(connection, user_id)
        connection.execute("UPDATE tasks SET title = 'Buy bread' WHERE id = %s", (task_id,))

        connection.execute(settings.encode())
        connection.execute("UPDATE public.tasks SET title = 'Buy milk' WHERE id = %s", (task_id,))
        connection.execute("RESET ALL")

        assert last(connection, user_id) == (usual, {"title": "Buy bread"})

    def test_cannot_be_led_astray_by_objects_of_the_writers_own(self, connection: Connection, user_id: str) -> None:
        with connection.transaction():
            connection.execute("CREATE TEMP TABLE changes (LIKE public.changes) ON COMMIT DROP")
            connection.execute("CREATE TEMP TABLE revisions (LIKE public.revisions) ON COMMIT DROP")
            connection.execute("SET LOCAL search_path = pg_temp, public, pg_catalog")
            add(connection, user_id)

        assert operations(connection, user_id) == [(1, "create")]


# Task: T-111
class TestInBulk:
    def test_numbers_the_rows_of_a_statement(self, connection: Connection, user_id: str) -> None:
        connection.execute(
            "INSERT INTO tasks (user_id, id, title, status, priority, created_at, updated_at, creation_digest)"
            " SELECT %s, gen_random_uuid(), n, 'pending', 'low', now(), now(), '' FROM generate_series(1, 50) n",
            (user_id,),
        )
        connection.execute("UPDATE tasks SET priority = 'high' WHERE user_id = %s AND title::int <= 20", (user_id,))
        connection.execute("DELETE FROM tasks WHERE user_id = %s AND title::int > 40", (user_id,))

        expected = ["create"] * 50 + ["update"] * 20 + ["delete"] * 10
        assert operations(connection, user_id) == list(enumerate(expected, 1))
        assert {revision for _, revision in revisions_of(connection, user_id)} == {*range(21, 41), *range(51, 71)}

    def test_tells_copy(self, connection: Connection, user_id: str) -> None:
        columns = "user_id, id, title, status, priority, created_at, updated_at, creation_digest"

        with connection.cursor() as cursor, cursor.copy(f"COPY tasks ({columns}) FROM STDIN") as copy:
            for n in range(3):
                copy.write_row((user_id, uuid4(), str(n), "pending", "low", "2026-03-01Z", "2026-03-01Z", b""))

        assert operations(connection, user_id) == [(1, "create"), (2, "create"), (3, "create")]

    def test_tells_merge(self, connection: Connection, user_id: str) -> None:
        kept, dropped, new = add(connection, user_id), add(connection, user_id), uuid4()

        connection.execute(
            "MERGE INTO tasks USING (VALUES (%s::uuid, 'a'), (%s, 'b'), (%s, 'c')) v (id, title)"
            " ON tasks.id = v.id AND tasks.user_id = %s WHEN MATCHED AND v.title = 'b' THEN DELETE"
            " WHEN MATCHED THEN UPDATE SET title = v.title"
            " WHEN NOT MATCHED THEN INSERT"
            " (user_id, id, title, status, priority, created_at, updated_at, creation_digest, revision)"
            " VALUES (%s, v.id, v.title, 'pending', 'low', now(), now(), '', 0)",
            (kept, dropped, new, user_id, user_id),
        )

        assert sorted(log_of(connection, user_id)[2:], key=lambda row: row[1]) == [
            (4, "create", str(new)),
            (5, "delete", str(dropped)),
            (3, "update", str(kept)),
        ]

    def test_tells_what_data_modifying_queries_did(self, connection: Connection, user_id: str) -> None:
        old = add(connection, user_id)

        connection.execute(
            "WITH gone AS (DELETE FROM tasks WHERE id = %s RETURNING *)"
            " INSERT INTO tasks SELECT user_id, gen_random_uuid(), title || '!', description, status, priority,"
            " due_date, created_at, updated_at, completed_at, creation_digest, revision FROM gone",
            (old,),
        )

        assert sorted(operation for _, operation in operations(connection, user_id)) == ["create", "create", "delete"]
        assert [revision for revision, _ in operations(connection, user_id)] == [1, 2, 3]

    def test_counts_for_each_user(self, connection: Connection, user_id: str, database_url: str) -> None:
        other = sign_up(database_url, "bob")
        for owner in (user_id, other, user_id):
            add(connection, owner)

        connection.execute("UPDATE tasks SET priority = 'high' WHERE user_id IN (%s, %s)", (user_id, other))

        assert [revision for revision, _ in operations(connection, user_id)] == [1, 2, 3, 4]
        assert [revision for revision, _ in operations(connection, other)] == [1, 2]


# Task: T-111
class TestConflict:
    """An INSERT that meets its own key did not happen, and is not told."""

    def test_that_does_nothing_is_silent(self, connection: Connection, user_id: str) -> None:
        task_id = add(connection, user_id)

        again = connection.execute(INSERT + ON_CONFLICT + "NOTHING", (user_id, task_id, "Buy bread"))

        assert again.rowcount == 0
        assert (operations(connection, user_id), counter_of(connection, user_id)) == ([(1, "create")], 1)

    def test_that_updates_is_an_update(self, connection: Connection, user_id: str) -> None:
        task_id = add(connection, user_id)
        update = ON_CONFLICT + "UPDATE SET title = excluded.title, revision = excluded.revision"

        connection.execute(INSERT + update, (user_id, task_id, "Buy bread"))
        connection.execute(INSERT + update, (user_id, task_id, "Buy bread"))

        assert operations(connection, user_id) == [(1, "create"), (2, "update")]
        assert last(connection, user_id)[1] == {"title": "Buy milk"}
        assert revisions_of(connection, user_id) == {(task_id, 2)}

    def test_with_a_row_of_the_same_statement_is_silent(self, connection: Connection, user_id: str) -> None:
        task_id = uuid4()

        connection.execute(
            "INSERT INTO tasks (user_id, id, title, status, priority, created_at, updated_at, creation_digest)"
            " SELECT %s, %s, n, 'pending', 'low', now(), now(), '' FROM generate_series(1, 3) n"
            + ON_CONFLICT
            + "NOTHING",
            (user_id, task_id),
        )

        assert operations(connection, user_id) == [(1, "create")]
        assert (revisions_of(connection, user_id), counter_of(connection, user_id)) == ({(task_id, 1)}, 1)

    def test_that_fails_leaves_no_gap(self, connection: Connection, user_id: str) -> None:
        task_id = add(connection, user_id)

        with pytest.raises(psycopg.errors.UniqueViolation):
            connection.execute(INSERT, (user_id, task_id, "Buy bread"))
        add(connection, user_id)

        assert operations(connection, user_id) == [(1, "create"), (2, "create")]

    @pytest.mark.parametrize("known", [True, False])
    def test_with_a_rival_who_is_first_is_silent(
        self, connection: Connection, database_url: str, user_id: str, *, known: bool
    ) -> None:
        """Both look while neither has committed: whoever comes second has to look again."""
        task_id = uuid4()
        if known:
            add(connection, user_id)
        with psycopg.connect(database_url) as rival:
            rival.execute(INSERT, (user_id, task_id, "Buy milk"))
            second = Thread(
                target=connection.execute, args=(INSERT + ON_CONFLICT + "NOTHING", (user_id, task_id, "Buy bread"))
            )
            second.start()
            wait_for_a_lock(database_url, connection.info.backend_pid)
            rival.commit()
            second.join()

        count = 1 + known
        assert operations(connection, user_id) == [(n, "create") for n in range(1, count + 1)]
        assert counter_of(connection, user_id) == count


# Task: T-111
class TestTransactions:
    def test_tell_every_step(self, connection: Connection, user_id: str) -> None:
        with connection.transaction():
            task_id = add(connection, user_id)
            for title in ("one", "two"):
                connection.execute("UPDATE tasks SET title = %s WHERE id = %s", (title, task_id))
            connection.execute("DELETE FROM tasks WHERE id = %s", (task_id,))

        assert operations(connection, user_id) == [(1, "create"), (2, "update"), (3, "update"), (4, "delete")]

    def test_that_are_rolled_back_leave_no_gap(self, connection: Connection, user_id: str) -> None:
        add(connection, user_id)

        with suppress(ZeroDivisionError), connection.transaction():
            add(connection, user_id)
            raise ZeroDivisionError
        add(connection, user_id)

        assert operations(connection, user_id) == [(1, "create"), (2, "create")]

    def test_leave_no_gap_at_a_savepoint(self, connection: Connection, user_id: str) -> None:
        with connection.transaction():
            kept = add(connection, user_id)
            with suppress(ZeroDivisionError), connection.transaction():
                add(connection, user_id)
                connection.execute("UPDATE tasks SET title = 'x' WHERE id = %s", (kept,))
                raise ZeroDivisionError
            other = add(connection, user_id)

        assert log_of(connection, user_id) == [(1, "create", str(kept)), (2, "create", str(other))]
        assert revisions_of(connection, user_id) == {(kept, 1), (other, 2)}

    def test_become_visible_in_order(self, connection: Connection, user_id: str, database_url: str) -> None:
        """The one that began to write first is first; the other waits, though it would have been faster."""
        with psycopg.connect(database_url) as slow, psycopg.connect(database_url) as fast:
            first = add(slow, user_id)
            writing = Thread(target=add, args=(fast, user_id))
            writing.start()
            wait_for_a_lock(database_url, fast.info.backend_pid)
            slow.commit()
            writing.join()
            fast.commit()

        assert log_of(connection, user_id)[0] == (1, "create", str(first))
        assert operations(connection, user_id) == [(1, "create"), (2, "create")]

    def test_of_the_application_queue_before_they_lock_a_row(
        self, connection: Connection, user_id: str, database_url: str
    ) -> None:
        """Two that write to the same two rows, in opposite order, do not wait for each other."""
        tasks = [add(connection, user_id) for _ in range(2)]
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
            wait_for_a_lock(database_url, other.info.backend_pid)
            one.execute(title, ("one", tasks[1]))
            one.commit()
            writing.join()
            other.commit()

        assert [revision for revision, _ in operations(connection, user_id)] == [1, 2, 3, 4, 5, 6]

    def test_of_two_users_do_not_wait_for_each_other(
        self, connection: Connection, user_id: str, database_url: str
    ) -> None:
        other = sign_up(database_url, "bob")
        connection.execute("SET lock_timeout = '1ms'")
        with psycopg.connect(database_url) as slow:
            add(slow, user_id)

            add(connection, other)

        assert operations(connection, other) == [(1, "create")]


# Task: T-111
class TestGoneUser:
    """What a user had goes with the user, whoever deletes the account."""

    def test_leaves_nothing_behind(self, connection: Connection, user_id: str, database_url: str) -> None:
        other = sign_up(database_url, "bob")
        for owner in (user_id, other):
            add(connection, owner)

        connection.execute('DELETE FROM "user" WHERE id = %s', (user_id,))

        assert self.left_of(connection, user_id) == [0, 0, 0, 0]
        assert self.left_of(connection, other) == [1, 1, 1, 2]

    @pytest.mark.parametrize("attributes", ["BYPASSRLS", "NOBYPASSRLS"])
    def test_leaves_nothing_behind_when_a_hosts_owner_deletes(
        self, own_url: str, own_admin: Connection, attributes: str
    ) -> None:
        user_id, other = sign_up(own_url, "alice"), sign_up(own_url, "bob")
        for owner in (user_id, other):
            add(own_admin, owner)
        own_admin.execute(f"ALTER ROLE todo_owner {attributes}")

        with psycopg.connect(own_url, autocommit=True) as host:
            host.execute('DELETE FROM "user" WHERE id = %s', (user_id,))

        own_admin.execute("ALTER ROLE todo_owner NOBYPASSRLS")
        assert self.left_of(own_admin, user_id) == [0, 0, 0, 0]
        assert self.left_of(own_admin, other) == [1, 1, 1, 2]

    def test_leaves_nothing_behind_when_somebody_else_may_delete(self, own_url: str, own_admin: Connection) -> None:
        """Better Auth may connect as a role of its own, which has no right to our tables."""
        user_id = sign_up(own_url, "alice")
        add(own_admin, user_id)
        own_admin.execute('CREATE ROLE auth LOGIN; GRANT SELECT, DELETE ON "user" TO auth')

        with psycopg.connect(make_conninfo(own_url, user="auth"), autocommit=True) as auth:
            auth.execute('DELETE FROM "user" WHERE id = %s', (user_id,))

        assert self.left_of(own_admin, user_id) == [0, 0, 0, 0]
        own_admin.execute("DROP OWNED BY auth; DROP ROLE auth")

    def test_leaves_no_log_behind_when_the_counter_goes(self, own_url: str, own_admin: Connection) -> None:
        """Before PostgreSQL 18 a reference's triggers run as whoever deletes, who has no right to the log."""
        user_id = sign_up(own_url, "alice")
        add(own_admin, user_id)
        own_admin.execute("CREATE ROLE auth LOGIN BYPASSRLS; GRANT SELECT, DELETE ON revisions TO auth")

        with psycopg.connect(make_conninfo(own_url, user="auth"), autocommit=True) as auth:
            auth.execute("DELETE FROM revisions WHERE user_id = %s", (user_id,))

        assert log_of(own_admin, user_id) == []
        own_admin.execute("DROP OWNED BY auth; DROP ROLE auth")

    def test_asks_for_no_right_to_the_counts_when_the_tasks_go(self, own_url: str, own_admin: Connection) -> None:
        """Before PostgreSQL 18 a reference's triggers run as whoever deletes: here, once the user is gone already."""
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

    def test_takes_the_identity_back(self, connection: Connection, user_id: str) -> None:
        add(connection, user_id)

        with connection.transaction():
            connection.execute('DELETE FROM "user" WHERE id = %s', (user_id,))
            assert connection.execute("SELECT app.uid()").fetchone() == (None,)

    @pytest.mark.parametrize("ends_with", ["commit", "rollback"])
    def test_waits_for_a_writer(self, connection: Connection, user_id: str, database_url: str, ends_with: str) -> None:
        task_id = add(connection, user_id)
        with psycopg.connect(database_url) as writer:
            become(writer, user_id)
            writer.execute("UPDATE tasks SET title = 'Buy bread' WHERE id = %s", (task_id,))
            deleting = Thread(target=connection.execute, args=('DELETE FROM "user" WHERE id = %s', (user_id,)))
            deleting.start()
            wait_for_a_lock(database_url, connection.info.backend_pid)
            getattr(writer, ends_with)()
            deleting.join()

        assert self.left_of(connection, user_id) == [0, 0, 0, 0]

    def test_cannot_be_written_for(self, connection: Connection, user_id: str) -> None:
        connection.execute('DELETE FROM "user" WHERE id = %s', (user_id,))

        with pytest.raises(psycopg.errors.ForeignKeyViolation):
            add(connection, user_id)

        assert self.left_of(connection, user_id) == [0, 0, 0, 0]

    @staticmethod
    def left_of(connection: Connection, user_id: str) -> Sequence[int]:
        counts = "SELECT " + ", ".join(
            f"(SELECT count(*)::int FROM {table} WHERE user_id = %(user_id)s)"
            for table in ("tasks", "revisions", "changes", "task_words")
        )
        return list(connection.execute(counts, {"user_id": user_id}).fetchall()[0])


# Task: T-111
class TestApplicationRole:
    def test_writes_its_own_users_log(self, connection: Connection, user_id: str) -> None:
        with connection.transaction():
            become(connection, user_id)
            task_id = add(connection, user_id)
            connection.execute("UPDATE tasks SET title = 'Buy bread'")
            connection.execute("DELETE FROM tasks")

        assert log_of(connection, user_id) == [
            (1, "create", str(task_id)),
            (2, "update", str(task_id)),
            (3, "delete", str(task_id)),
        ]

    def test_writes_nobody_elses(self, connection: Connection, user_id: str, database_url: str) -> None:
        other = sign_up(database_url, "bob")

        with pytest.raises(psycopg.errors.InsufficientPrivilege), connection.transaction():
            become(connection, user_id)
            add(connection, other)

        assert (log_of(connection, other), counter_of(connection, other)) == ([], None)


def wait_for_a_lock(url: str, pid: int) -> None:
    """Wait until that process waits for a lock."""
    with psycopg.connect(url, autocommit=True) as observer:
        for _ in range(10_000):
            row = observer.execute("SELECT wait_event_type FROM pg_stat_activity WHERE pid = %s", (pid,)).fetchone()
            if row == ("Lock",):
                return
            observer.execute("SELECT pg_sleep(0.001)")
    raise AssertionError("nobody waits")
